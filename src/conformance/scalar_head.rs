//! `scalar_head` and its gradients: rows with several heads and without a head.

use super::Case;
use super::check::{Check, GUARD};
use crate::ops::{NO_HEAD, ShapeError, scalar_head, scalar_head_backward, scalar_head_len};
use crate::reference;

/// Rows, width, heads, number of trainable heads, and values that belong to earlier rows.
const SHAPES: [(usize, usize, usize, usize, usize); 6] = [
    (1, 1, 1, 1, 0),
    (3, 31, 2, 1, 2),
    (70, 576, 3, 3, 0),
    (5, 130, 2, 0, 1),
    (300, 32, 2, 2, 0),
    (2, 2050, 1, 1, 3),
];

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("scalar_head", "f32", 1e-12, |check| {
            SHAPES.into_iter().try_for_each(|shape| forward(check, shape))
        }),
        Case::new("scalar_head_backward", "f32", 1e-12, |check| {
            SHAPES.into_iter().try_for_each(|shape| backward(check, shape))
        }),
    ]
}

/// `n` heads in the kernel's layout, and the head of each row; with several heads, some rows have none.
fn heads_of(check: &mut Check<'_>, width: usize, n: usize, rows: usize) -> (Vec<f32>, Vec<u32>) {
    let mut heads = check.values(n * scalar_head_len(width));
    for head in heads.chunks_exact_mut(scalar_head_len(width)) {
        let bias = head[width.next_multiple_of(32)];
        head[width..].fill(0.0);
        head[width.next_multiple_of(32)] = bias;
    }
    let mut head_of = check.integers(rows, n);
    if rows > 2 {
        head_of[rows - 1] = NO_HEAD;
        head_of[rows - 3] = n as u32;
    }
    (heads, head_of)
}

fn forward(
    check: &mut Check<'_>,
    (rows, width, n, _, first): (usize, usize, usize, usize, usize),
) -> Result<(), ShapeError> {
    check.shape(format!("{rows} rows of {width}, {n} heads, from row {first} on"));
    let hidden = check.values(rows * width);
    let (heads, head_of) = heads_of(check, width, n, first + rows);
    let hidden_device = check.activation(width, &hidden)?;
    let heads_device = check.device().upload("conformance", &heads)?;
    let head_of_device = check.device().upload("conformance", &head_of)?;
    let values = check.guarded(&vec![f32::from_bits(GUARD); first + rows])?;
    check
        .run(|rec| scalar_head(rec, &hidden_device, &heads_device, &head_of_device, &values, first, rows))?;
    let found = check.read_guarded("values", &values)?;
    if found[..first].iter().any(|v| v.to_bits() != GUARD) {
        check.fault(format!("values: wrote before row {first}"));
    }
    let expected: Vec<f32> = hidden
        .chunks_exact(width)
        .zip(&head_of[first..])
        .map(|(hidden, &index)| match heads.chunks_exact(scalar_head_len(width)).nth(index as usize) {
            Some(head) => reference::scalar_head(hidden, &head[..width], head[width.next_multiple_of(32)]),
            None => 0.0,
        })
        .collect();
    check.compare_values("values", &found[first..], &expected);
    Ok(())
}

fn backward(
    check: &mut Check<'_>,
    (rows, width, n, n_trainable, first): (usize, usize, usize, usize, usize),
) -> Result<(), ShapeError> {
    check.shape(format!("{rows} rows of {width}, {n_trainable} of {n} heads train, from row {first} on"));
    let len = scalar_head_len(width);
    let hidden = check.values(rows * width);
    let d_values = check.values(first + rows);
    let (heads, head_of) = heads_of(check, width, n, first + rows);
    let mut d_hidden = check.values(rows * width);
    // Earlier values, also beside weights and bias, where they must not change.
    let mut grads = check.values(n_trainable * len);
    let hidden_device = check.activation(width, &hidden)?;
    let heads_device = check.device().upload("conformance", &heads)?;
    let head_of_device = check.device().upload("conformance", &head_of)?;
    let d_values_device = check.device().upload("conformance", &d_values)?;
    let d_hidden_device = check.activation(width, &d_hidden)?;
    let grads_device = check.guarded(&grads)?;
    check.run(|rec| {
        scalar_head_backward(
            rec,
            &hidden_device,
            &heads_device,
            &head_of_device,
            &d_values_device,
            &d_hidden_device,
            &grads_device,
            n_trainable,
            first,
            rows,
        )
    })?;
    for (index, head) in heads.chunks_exact(len).enumerate() {
        let mine: Vec<usize> = (0..rows).filter(|row| head_of[first + row] as usize == index).collect();
        let rows_of: Vec<f32> =
            mine.iter().flat_map(|row| &hidden[row * width..][..width]).copied().collect();
        let d_of: Vec<f32> = mine.iter().map(|row| d_values[first + row]).collect();
        let (slopes, d_weight, d_bias) = reference::scalar_head_backward(&rows_of, &head[..width], &d_of);
        for (row, slopes) in mine.iter().zip(slopes.chunks_exact(width)) {
            d_hidden[row * width..][..width].iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
        }
        if index < n_trainable {
            let grads = &mut grads[index * len..][..len];
            grads.iter_mut().zip(&d_weight).for_each(|(sum, slope)| *sum += slope);
            grads[width.next_multiple_of(32)] += d_bias;
        }
    }
    check.compare("d_hidden", &d_hidden_device, &d_hidden)?;
    let found = check.read_guarded("grads", &grads_device)?;
    check.compare_values("grads", &found, &grads);
    Ok(())
}
