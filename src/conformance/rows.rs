//! `gather_rows` and `scatter_rows`: only copies.

use super::Case;
use super::check::{Check, GUARD};
use crate::ops::{gather_rows, scatter_rows};
use crate::reference;

/// Rows of the indexed matrix, its width, indices in use, and indices before them.
const SHAPES: [(usize, usize, usize, usize); 5] =
    [(1, 1, 1, 0), (7, 33, 3, 2), (70, 576, 70, 0), (5, 260, 4, 70), (9, 32, 2, 1)];

pub(super) fn cases() -> Vec<Case> {
    vec![gather(), scatter()]
}

/// Indices of `taken` distinct rows of `rows` in random order, after `first` indices beyond every matrix.
fn indices(check: &mut Check<'_>, rows: usize, taken: usize, first: usize) -> Vec<u32> {
    let mut order: Vec<(u32, u32)> = check.integers(rows, 1 << 20).into_iter().zip(0..).collect();
    order.sort_unstable();
    let beyond = std::iter::repeat_n(u32::MAX, first);
    beyond.chain(order.into_iter().take(taken).map(|(_, row)| row)).collect()
}

fn gather() -> Case {
    Case::new("gather_rows", "f32", 0.0, |check| {
        for (rows, width, taken, first) in SHAPES {
            check.shape(format!("{taken} of {rows} rows of {width}, indices from {first} on"));
            let x = check.values(rows * width);
            let mut index = indices(check, rows, taken, first);
            // A row may be gathered twice.
            index[first] = index[first + taken - 1];
            let x_device = check.activation(width, &x)?;
            let index_device = check.device().upload("conformance", &index)?;
            let y = check.output(taken, width)?;
            check.run(|rec| gather_rows(rec, &x_device, &index_device, first, &y, taken))?;
            check.compare("y", &y, &reference::gather_rows(&x, width, &index[first..]))?;

            if first > 0 {
                check.shape(format!("an index beyond {rows} rows of {width}"));
                let y = check.output(1, width)?;
                check.run(|rec| gather_rows(rec, &x_device, &index_device, 0, &y, 1))?;
                if check.device().read(&y.buffer, 0, width)?.iter().any(|v| v.to_bits() != GUARD) {
                    check.fault("y: its row was written".to_owned());
                }
            }
        }
        Ok(())
    })
}

fn scatter() -> Case {
    Case::new("scatter_rows", "f32", 0.0, |check| {
        for (rows, width, taken, first) in SHAPES {
            check.shape(format!("{taken} of {rows} rows of {width}, indices from {first} on"));
            let d_y = check.values((taken + first) * width);
            let before = check.values(rows * width);
            let index = indices(check, rows, taken, first);
            let d_x = check.activation(width, &before)?;
            let index_device = check.device().upload("conformance", &index)?;
            let d_y_device = check.activation(width, &d_y[..taken * width])?;
            check.run(|rec| scatter_rows(rec, &d_y_device, &index_device, first, &d_x, taken))?;
            let mut expected = before.clone();
            reference::scatter_rows(&d_y[..taken * width], width, &index[first..], &mut expected);
            check.compare("d_x", &d_x, &expected)?;

            if first > 0 {
                check.shape(format!("{first} indices beyond {rows} rows of {width}"));
                let beyond = check.activation(width, &d_y)?;
                check.run(|rec| scatter_rows(rec, &beyond, &index_device, 0, &d_x, first))?;
                check.compare("d_x", &d_x, &expected)?;
            }
        }
        Ok(())
    })
}
