//! `glu` and its gradients.

use super::Case;
use super::check::Check;
use crate::ops::{Gate, glu, glu_backward};
use crate::reference;

/// Rows and widths: multiples of 4 and others.
const SHAPES: [(usize, usize); 6] = [(1, 1), (2, 33), (3, 64), (70, 100), (2, 30), (1, 1536)];

pub(super) fn cases() -> Vec<Case> {
    Gate::ALL.into_iter().flat_map(|gate| [forward(gate), backward(gate)]).collect()
}

/// The reference of an activation.
fn oracle(act: Gate) -> reference::ActivationFn {
    match act {
        Gate::Silu => reference::silu,
        Gate::Gelu => reference::gelu,
    }
}

/// Gates from -20 to 20, where both ends of the sigmoid are flat.
fn gates(check: &mut Check<'_>, len: usize) -> Vec<f32> {
    check.values(len).iter().map(|v| 20.0 * v).collect()
}

/// `[a | b]`, row by row.
fn joined(a: &[f32], b: &[f32], width: usize) -> Vec<f32> {
    let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
    rows.flat_map(|(a, b)| a.iter().chain(b).copied()).collect()
}

fn forward(act: Gate) -> Case {
    Case::new("glu", act.name(), 1e-11, move |check| {
        for (rows, width) in SHAPES {
            check.shape(format!("{rows} rows of {width}"));
            let gate = gates(check, rows * width);
            let up = check.values(rows * width);
            let gate_up = check.activation(2 * width, &joined(&gate, &up, width))?;
            let y = check.output(rows, width)?;
            check.run(|rec| glu(rec, act, &gate_up, &y, rows))?;
            check.compare("y", &y, &reference::glu(oracle(act), &gate, &up))?;
        }
        Ok(())
    })
}

fn backward(act: Gate) -> Case {
    Case::new("glu_backward", act.name(), 1e-11, move |check| {
        for (rows, width) in SHAPES {
            check.shape(format!("{rows} rows of {width}"));
            let gate = gates(check, rows * width);
            let up = check.values(rows * width);
            let d_y = check.values(rows * width);
            let gate_up = check.activation(2 * width, &joined(&gate, &up, width))?;
            let d_gated = check.activation(width, &d_y)?;
            let d_gate_up = check.output(rows, 2 * width)?;
            check.run(|rec| glu_backward(rec, act, &gate_up, &d_gated, &d_gate_up, rows))?;
            let (d_gate, d_up) = reference::glu_backward(oracle(act), &gate, &up, &d_y);
            check.compare("d_gate_up", &d_gate_up, &joined(&d_gate, &d_up, width))?;
        }
        Ok(())
    })
}
