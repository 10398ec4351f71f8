//! `cap_logits` and its gradient.

use super::Case;
use crate::ops::{LogitCap, cap_logits, cap_logits_backward};
use crate::reference;

/// Rows and widths: multiples of 4 and others.
const SHAPES: [(usize, usize); 4] = [(1, 1), (3, 33), (5, 517), (2, 1000)];
/// A factor alone, and caps that hardly or strongly change the values; the last ones are far beyond the cap.
const CAPS: [LogitCap; 3] = [
    LogitCap { scale: 0.125, cap: None },
    LogitCap { scale: 1.0, cap: Some(30.0) },
    LogitCap { scale: 20.0, cap: Some(2.0) },
];

pub(super) fn cases() -> Vec<Case> {
    vec![forward(), backward()]
}

fn forward() -> Case {
    Case::new("cap_logits", "f32", 1e-11, |check| {
        for cap in CAPS {
            for (rows, width) in SHAPES {
                check.shape(format!("{rows} rows of {width}, {cap:?}"));
                let x: Vec<f32> = check.values(rows * width).iter().map(|v| 10.0 * v).collect();
                let y = check.activation(width, &x)?;
                check.run(|rec| cap_logits(rec, &cap, &y, rows))?;
                check.compare("y", &y, &reference::cap_logits(cap.scale, cap.cap, &x))?;
            }
        }
        Ok(())
    })
}

fn backward() -> Case {
    Case::new("cap_logits_backward", "f32", 1e-11, |check| {
        for cap in CAPS {
            for (rows, width) in SHAPES {
                check.shape(format!("{rows} rows of {width}, {cap:?}"));
                let y = reference::cap_logits(cap.scale, cap.cap, &check.values(rows * width));
                let d = check.values(rows * width);
                let y_device = check.activation(width, &y)?;
                let d_device = check.activation(width, &d)?;
                check.run(|rec| cap_logits_backward(rec, &cap, &y_device, &d_device, rows))?;
                check.compare("d", &d_device, &reference::cap_logits_backward(cap.scale, cap.cap, &y, &d))?;
            }
        }
        Ok(())
    })
}
