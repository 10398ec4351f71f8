//! `swiglu`.

use super::Case;
use crate::ops::swiglu;
use crate::reference;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("swiglu", "f32", 1e-11, |check| {
        for (rows, width) in [(1, 1), (2, 33), (3, 64), (70, 100), (1, 1536)] {
            check.shape(format!("{rows} rows of {width}"));
            // Gates from -20 to 20 reach both flat ends of the sigmoid.
            let gate: Vec<f32> = check.values(rows * width).iter().map(|v| 20.0 * v).collect();
            let up = check.values(rows * width);
            let joined: Vec<f32> = gate
                .chunks_exact(width)
                .zip(up.chunks_exact(width))
                .flat_map(|(gate, up)| gate.iter().chain(up).copied())
                .collect();
            let gate_up = check.activation(2 * width, &joined)?;
            let y = check.output(rows, width)?;
            check.run(|rec| swiglu(rec, &gate_up, &y, rows))?;
            check.compare("y", &y, &reference::swiglu(&gate, &up))?;
        }
        Ok(())
    })]
}
