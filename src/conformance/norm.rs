//! `rms_norm` and `head_norm`.

use super::Case;
use crate::ops::{head_norm, rms_norm};
use crate::reference;

const EPS: f32 = 1e-5;

pub(super) fn cases() -> Vec<Case> {
    vec![rows(), heads()]
}

fn rows() -> Case {
    Case::new("rms_norm", "f32", 1e-12, |check| {
        // The last has more rows than a grid is wide, and the second line of workgroups half empty.
        for (rows, width) in [(1, 1), (3, 31), (2, 32), (70, 100), (1, 576), (5, 4099), (65_601, 4)] {
            check.shape(format!("{rows} rows of {width}"));
            let x = check.values(rows * width);
            let gain = check.values(width);
            let x_device = check.activation(width, &x)?;
            let mut padded = gain.clone();
            padded.resize(x_device.stride, 0.0);
            let gain_device = check.device().upload("conformance", &padded)?;
            let y = check.output(rows, width)?;
            check.run(|rec| rms_norm(rec, &x_device, &gain_device, EPS, &y, rows))?;
            check.compare("y", &y, &reference::rms_norm(&x, &gain, EPS))?;
        }
        Ok(())
    })
}

fn heads() -> Case {
    Case::new("head_norm", "f32", 1e-12, |check| {
        for (rows, before, heads, head_dim) in
            [(1, 0, 1, 16), (3, 16, 4, 16), (2, 0, 9, 64), (4, 160, 3, 80), (1, 128, 2, 128), (70, 6, 1, 6)]
        {
            check.shape(format!("{rows} rows of {heads} heads of {head_dim} after {before} columns"));
            // Columns on both sides of the heads stay as they are.
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
