//! `rms_norm` and `head_norm`, and their gradients.

use super::Case;
use super::check::GUARD;
use crate::ops::{Store, head_norm, head_norm_backward, rms_norm, rms_norm_backward};
use crate::reference;

const EPS: f32 = 1e-5;

/// Rows and widths. The last has more rows than the width of a grid, and its second line of workgroups is
/// half empty.
const ROWS: [(usize, usize); 7] = [(1, 1), (3, 31), (2, 32), (70, 100), (1, 576), (5, 4099), (65_601, 4)];

/// Rows, columns before the heads, heads, their width.
const HEADS: [(usize, usize, usize, usize); 6] =
    [(1, 0, 1, 16), (3, 16, 4, 16), (2, 0, 9, 64), (4, 160, 3, 80), (1, 128, 2, 128), (70, 6, 1, 6)];

pub(super) fn cases() -> Vec<Case> {
    vec![rows(), heads(), rows_backward(), heads_backward()]
}

fn rows() -> Case {
    Case::new("rms_norm", "f32", 1e-12, |check| {
        for (rows, width) in ROWS {
            check.shape(format!("{rows} rows of {width}"));
            let x = check.values(rows * width);
            let gain = check.values(width);
            let x_device = check.activation(width, &x)?;
            let mut padded = gain.clone();
            padded.resize(x_device.stride, 0.0);
            let gain_device = check.device().upload("conformance", &padded)?;
            let mut expected = reference::rms_norm(&x, &gain, EPS);
            let y = check.output(rows, width)?;
            check.run(|rec| rms_norm(rec, &x_device, &gain_device, EPS, &y, rows, Store::Overwrite))?;
            check.compare("y", &y, &expected)?;
            let before = check.values(rows * width);
            expected.iter_mut().zip(&before).for_each(|(sum, before)| *sum += before);
            let y = check.activation(width, &before)?;
            check.run(|rec| rms_norm(rec, &x_device, &gain_device, EPS, &y, rows, Store::Add))?;
            check.compare("sum", &y, &expected)?;
        }
        // Rows that hold NaN or whose squares overflow are NaN, and no others.
        check.shape("rows that are not finite".to_owned());
        let (rows, width) = (5, 70);
        let mut x = check.values(rows * width);
        x[width + 69] = f32::NAN;
        x[2 * width] = f32::INFINITY;
        x[3 * width + 5] = 1e20;
        let gain = vec![1.0; width];
        let mut padded = gain.clone();
        padded.resize(96, 0.0);
        let (x_device, y) = (check.activation(width, &x)?, check.output(rows, width)?);
        let gain_device = check.device().upload("conformance", &padded)?;
        check.run(|rec| rms_norm(rec, &x_device, &gain_device, EPS, &y, rows, Store::Overwrite))?;
        let expected = reference::rms_norm(&x, &gain, EPS);
        let found = check.device().read(&y.buffer, 0, rows * y.stride)?;
        for (row, values) in found.chunks_exact(y.stride).enumerate() {
            let (values, expected) = (&values[..width], &expected[row * width..][..width]);
            if expected.iter().any(|value| value.is_nan()) {
                if !values.iter().all(|value| value.is_nan() && value.to_bits() != GUARD) {
                    check.fault(format!("y: row {row} hides what is not finite"));
                }
            } else {
                check.compare_values("y", values, expected);
            }
        }
        Ok(())
    })
}

fn heads() -> Case {
    Case::new("head_norm", "f32", 1e-12, |check| {
        for (rows, before, heads, head_dim) in HEADS {
            check.shape(format!("{rows} rows of {heads} heads of {head_dim} after {before} columns"));
            // Columns on both sides of the heads must not change.
            let width = before + heads * head_dim + 5;
            let x = check.values(rows * width);
            let gain = check.values(head_dim);
            let x_device = check.activation(width, &x)?;
            let gain_device = check.device().upload("conformance", &gain)?;
            check.run(|rec| head_norm(rec, &x_device, &gain_device, EPS, before, heads, rows))?;
            let mut expected = x.clone();
            for row in expected.chunks_exact_mut(width) {
                let part = &mut row[before..before + heads * head_dim];
                let normed = reference::head_norm(part, &gain, EPS);
                part.copy_from_slice(&normed);
            }
            check.compare("x", &x_device, &expected)?;
        }
        Ok(())
    })
}

fn rows_backward() -> Case {
    // Wider than for the norm: in a row of one, the two terms cancel except for eps.
    Case::new("rms_norm_backward", "f32", 1e-11, |check| {
        for (rows, width) in ROWS {
            for store in [Store::Overwrite, Store::Add] {
                check.shape(format!("{rows} rows of {width}, {store:?}"));
                let x = check.values(rows * width);
                let gain = check.values(width);
                let d_y = check.values(rows * width);
                let x_device = check.activation(width, &x)?;
                let d_y_device = check.activation(width, &d_y)?;
                let mut padded = gain.clone();
                padded.resize(x_device.stride, 0.0);
                let gain_device = check.device().upload("conformance", &padded)?;
                let mut expected = reference::rms_norm_backward(&x, &gain, EPS, &d_y);
                let d_x = if store == Store::Add {
                    let before = check.values(rows * width);
                    expected.iter_mut().zip(&before).for_each(|(sum, before)| *sum += before);
                    check.activation(width, &before)?
                } else {
                    check.output(rows, width)?
                };
                check.run(|rec| {
                    rms_norm_backward(rec, &x_device, &gain_device, EPS, &d_y_device, &d_x, rows, store)
                })?;
                check.compare("d_x", &d_x, &expected)?;
            }
        }
        Ok(())
    })
}

fn heads_backward() -> Case {
    Case::new("head_norm_backward", "f32", 1e-12, |check| {
        for (rows, before, heads, head_dim) in HEADS {
            check.shape(format!("{rows} rows of {heads} heads of {head_dim} after {before} columns"));
            // Columns on both sides of the heads must not change.
            let width = before + heads * head_dim + 5;
            let x = check.values(rows * width);
            let gain = check.values(head_dim);
            let d = check.values(rows * width);
            let x_device = check.activation(width, &x)?;
            let gain_device = check.device().upload("conformance", &gain)?;
            let d_device = check.activation(width, &d)?;
            check.run(|rec| {
                head_norm_backward(rec, &x_device, &gain_device, EPS, before, heads, &d_device, rows)
            })?;
            let mut expected = d.clone();
            for (d, x) in expected.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let heads = before..before + heads * head_dim;
                let before_norm =
                    reference::head_norm_backward(&x[heads.clone()], &gain, EPS, &d[heads.clone()]);
                d[heads].copy_from_slice(&before_norm);
            }
            check.compare("d", &d_device, &expected)?;
        }
        Ok(())
    })
}
