//! `multiply_add`.

use super::Case;
use crate::ops::{MULTIPLY_ADD_STEPS, multiply_add};
use crate::reference;

pub(super) fn cases() -> Vec<Case> {
    let case = Case::new("multiply_add", "f32", 1e-12, |check| {
        for (len, rounds) in [(4, 0), (4, 1), (12, 3), (1024, 2), (1036, 1)] {
            check.shape(format!("{len} values, {rounds} rounds"));
            let values = check.values(len);
            let x = check.guarded(&values)?;
            let y = check.guarded(&vec![f32::NAN; len])?;
            check.run(|rec| multiply_add(rec, &x, &y, len, rounds))?;
            let found = check.read_guarded("y", &y)?;
            check.compare_values("y", &found, &reference::multiply_add(&values, rounds * MULTIPLY_ADD_STEPS));
        }
        Ok(())
    });
    vec![case]
}
