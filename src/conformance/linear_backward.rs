//! `linear_backward`: every storage format, one row to many, gradients that overwrite and that add,
//! matrices in several slices.

use super::Case;
use super::check::Check;
use super::linear::{HostWeights, cols_of, weights_of};
use crate::ops::{ShapeError, Store, Weight, linear_backward};
use crate::quant::Quant;
use crate::reference;

/// As for the forward product: several hundred products in f32, and offsets subtracted at the end.
const BOUND: f64 = 1e-11;

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Quant::ALL.iter().map(|&quant| one_format(quant)).collect();
    cases.push(Case::new("linear_backward", "slices", BOUND, slices));
    cases.push(Case::new("linear_backward", "infinities", BOUND, infinities));
    cases
}

fn one_format(quant: Quant) -> Case {
    Case::new("linear_backward", quant.name(), BOUND, move |check| {
        let [narrow, middle, wide] = cols_of(quant);
        // Batches around the tiles of 8 and 64 rows, outputs around the steps of 32, and odd numbers
        // of blocks, where the last tile of two is half empty.
        let shapes = [
            (1, narrow, 1),
            (31, wide, 3),
            (64, middle, 8),
            (33, wide, 11),
            (515, middle, 9),
            (7, middle, 66),
            (130, narrow, 130),
        ];
        for (outputs, cols, rows) in shapes {
            let (host, decoded) = weights_of(check, quant, outputs, cols);
            let weight = Weight::upload(check.device(), "conformance", &[host.part()], cols)?;
            for store in [Store::Overwrite, Store::Add] {
                one_shape(check, &weight, &decoded, rows, store)?;
            }
        }
        Ok(())
    })
}

/// Slices that begin and end within a step of 32 columns of `d_y`: each must not change the others' columns,
/// and all but the first must add.
fn slices(check: &mut Check<'_>) -> Result<(), ShapeError> {
    let formats = [(Quant::Q4K, 40), (Quant::F16, 9), (Quant::Q8_0, 5), (Quant::Q6K, 73), (Quant::F32, 1)];
    let mut host = Vec::new();
    let mut decoded = Vec::new();
    for (quant, outputs) in formats {
        let (part, values) = weights_of(check, quant, outputs, 256);
        host.push(part);
        decoded.extend(values);
    }
    let parts: Vec<_> = host.iter().map(HostWeights::part).collect();
    // The gradient does not depend on a bias.
    let bias = check.values(decoded.len() / 256);
    let weight = Weight::upload(check.device(), "conformance", &parts, 256)?;
    let weight = weight.with_bias(check.device(), "conformance", &bias)?;
    for rows in [1, 20, 67] {
        for store in [Store::Overwrite, Store::Add] {
            one_shape(check, &weight, &decoded, rows, store)?;
        }
    }
    Ok(())
}

fn one_shape(
    check: &mut Check<'_>,
    weight: &Weight,
    decoded: &[f32],
    rows: usize,
    store: Store,
) -> Result<(), ShapeError> {
    let (outputs, cols) = (weight.rows(), weight.cols());
    check.shape(format!("{rows} rows of {outputs} back to {cols}, {store:?}"));
    let d_y = check.values(rows * outputs);
    let residual = (store == Store::Add).then(|| check.values(rows * cols));
    let d_y_device = check.activation(outputs, &d_y)?;
    let d_x = match &residual {
        Some(residual) => check.activation(cols, residual)?,
        None => check.output(rows, cols)?,
    };
    check.run(|rec| linear_backward(rec, weight, &d_y_device, &d_x, rows, store))?;
    let expected = reference::linear_backward(decoded, cols, &d_y, residual.as_deref());
    check.compare("d_x", &d_x, &expected)?;
    Ok(())
}

/// A gradient that overflowed affects only its own row: neither the neighbouring rows nor the zeros beyond
/// the width, on which later steps rely.
fn infinities(check: &mut Check<'_>) -> Result<(), ShapeError> {
    let (outputs, cols, rows, spoilt) = (40, 33, 3, 1);
    check.shape(format!("{rows} rows of {outputs} back to {cols}, row {spoilt} infinite"));
    let (host, decoded) = weights_of(check, Quant::F16, outputs, cols);
    let weight = Weight::upload(check.device(), "conformance", &[host.part()], cols)?;
    let mut d_y = check.values(rows * outputs);
    d_y[spoilt * outputs] = f32::INFINITY;
    let d_y_device = check.activation(outputs, &d_y)?;
    let d_x = check.output(rows, cols)?;
    check.run(|rec| linear_backward(rec, &weight, &d_y_device, &d_x, rows, Store::Overwrite))?;
    let found = check.device().read(&d_x.buffer, 0, rows * d_x.stride)?;
    let expected = reference::linear_backward(&decoded, cols, &d_y, None);
    for (row, (found, expected)) in found.chunks(d_x.stride).zip(expected.chunks(cols)).enumerate() {
        if found[cols..].iter().any(|v| v.to_bits() != 0) {
            check.fault(format!("d_x: row {row} is not zero beyond its width"));
        }
        if row != spoilt {
            check.compare_values("d_x", &found[..cols], expected);
        } else if found[..cols].iter().any(|v| v.is_finite()) {
            check.fault(format!("d_x: row {row} is finite"));
        }
    }
    Ok(())
}
