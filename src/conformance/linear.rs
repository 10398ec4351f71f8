//! `linear`: every storage format, one row to many, with and without bias and residual.

use super::Case;
use super::check::Check;
use crate::ops::{LinearPart, ShapeError, Store, Weight, linear};
use crate::quant::Quant;
use crate::reference;

/// Error of a sum of several hundred products in f32. Symmetric formats sum unsigned values and subtract
/// the offset at the end, which loses some bits if the two nearly cancel.
const BOUND: f64 = 1e-11;

/// A matrix on the host in its storage format.
pub(super) struct HostWeights {
    quant: Quant,
    rows: usize,
    bytes: Vec<u8>,
}

impl HostWeights {
    pub(super) fn part(&self) -> LinearPart<'_> {
        LinearPart { quant: self.quant, rows: self.rows, bytes: &self.bytes }
    }
}

/// Random weights in `quant`, and their decoded values.
pub(super) fn weights_of(
    check: &mut Check<'_>,
    quant: Quant,
    rows: usize,
    cols: usize,
) -> (HostWeights, Vec<f32>) {
    let values = check.values(rows * cols);
    let mut bytes = Vec::new();
    quant.encode(&values, &mut bytes);
    let mut decoded = vec![0.0; rows * cols];
    quant.decode(&bytes, &mut decoded);
    (HostWeights { quant, rows, bytes }, decoded)
}

/// Three widths that the format allows; for unquantized formats, widths that are not multiples of a block.
pub(super) fn cols_of(quant: Quant) -> [usize; 3] {
    match quant.block_weights() {
        1 => [3, 33, 200],
        32 => [32, 96, 224],
        block => [block, 2 * block, 3 * block],
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Quant::ALL.iter().map(|&quant| one_format(quant)).collect();
    cases.push(Case::new("linear", "three formats in one", BOUND, |check| {
        for rows in [1, 3, 20] {
            let formats = [(Quant::Q4K, 40), (Quant::F16, 9), (Quant::Q8_0, 33)];
            let mut host = Vec::new();
            let mut decoded = Vec::new();
            for (quant, outputs) in formats {
                let (part, values) = weights_of(check, quant, outputs, 256);
                host.push(part);
                decoded.extend(values);
            }
            let parts: Vec<_> = host.iter().map(HostWeights::part).collect();
            let weight = Weight::upload(check.device(), "conformance", &parts, 256)?;
            one_shape(check, weight, &decoded, 256, rows, true, Store::Overwrite)?;
        }
        Ok(())
    }));
    cases
}

fn one_format(quant: Quant) -> Case {
    Case::new("linear", quant.name(), BOUND, move |check| {
        let [narrow, middle, wide] = cols_of(quant);
        // Outputs around the tiles of 16, 32 and 64; batches that reach every tile height, whole and
        // partly filled, and both sides of the border between matvec and matmul.
        let shapes = [
            (1, narrow, 1),
            (31, narrow, 1),
            (515, middle, 1),
            (7, wide, 2),
            (64, middle, 2),
            (33, wide, 3),
            (65, narrow, 4),
            (19, middle, 5),
            (40, wide, 7),
            (130, narrow, 8),
            (8, wide, 11),
            (66, narrow, 16),
            (31, wide, 17),
            (65, middle, 20),
            (129, narrow, 70),
        ];
        for (outputs, cols, rows) in shapes {
            let (host, decoded) = weights_of(check, quant, outputs, cols);
            for (bias, store) in
                [(false, Store::Overwrite), (true, Store::Overwrite), (false, Store::Add), (true, Store::Add)]
            {
                let weight = Weight::upload(check.device(), "conformance", &[host.part()], cols)?;
                one_shape(check, weight, &decoded, cols, rows, bias, store)?;
            }
        }
        Ok(())
    })
}

fn one_shape(
    check: &mut Check<'_>,
    mut weight: Weight,
    decoded: &[f32],
    cols: usize,
    rows: usize,
    with_bias: bool,
    store: Store,
) -> Result<(), ShapeError> {
    let outputs = weight.rows();
    check.shape(format!("{rows} rows of {cols} to {outputs}, bias {with_bias}, {store:?}"));
    let x = check.values(rows * cols);
    let bias = with_bias.then(|| check.values(outputs));
    if let Some(bias) = &bias {
        weight = weight.with_bias(check.device(), "conformance", bias)?;
    }
    let residual = (store == Store::Add).then(|| check.values(rows * outputs));
    let x_device = check.activation(cols, &x)?;
    let y = match &residual {
        Some(residual) => check.activation(outputs, residual)?,
        None => check.output(rows, outputs)?,
    };
    check.run(|rec| linear(rec, &weight, &x_device, &y, rows, store))?;
    let expected = reference::linear(decoded, cols, &x, bias.as_deref(), residual.as_deref());
    check.compare("y", &y, &expected)?;
    Ok(())
}
