//! `advance`: only copies, so every bit is compared.

use super::Case;
use super::check::GUARD;
use crate::ops::{Drawn, advance};

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("advance", "u32", 0.0, |check| {
        for (rows, steps, step) in [(1, 1, 0), (3, 4, 2), (64, 2, 1), (70, 3, 0)] {
            check.shape(format!("{rows} rows, step {step} of {steps}"));
            let tokens = check.integers(rows, 50_000);
            let logprobs: Vec<[f32; 2]> =
                check.values(2 * rows).chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
            let places: Vec<[u32; 2]> =
                check.integers(rows, 1000).iter().map(|&position| [position % 7, position]).collect();
            let unwritten =
                Drawn { token: GUARD, logprob: f32::from_bits(GUARD), sampling_logprob: 0.0, pad: GUARD };
            let tokens_device = check.device().upload("conformance", &tokens)?;
            let logprobs_device = check.device().upload("conformance", &logprobs)?;
            let ids = check.guarded(&vec![GUARD; rows])?;
            let rows_at = check.guarded(&places)?;
            let drawn = check.guarded(&vec![unwritten; steps * rows])?;
            check.run(|rec| {
                advance(rec, &tokens_device, &logprobs_device, &ids, &rows_at, &drawn, step, rows)
            })?;
            if check.read_guarded("ids", &ids)? != tokens {
                check.fault("ids are not the tokens".to_owned());
            }
            let moved: Vec<[u32; 2]> = places.iter().map(|&[base, position]| [base, position + 1]).collect();
            if check.read_guarded("rows_at", &rows_at)? != moved {
                check.fault("positions did not advance by one".to_owned());
            }
            let kept = check.read_guarded("drawn", &drawn)?;
            for (index, found) in kept.iter().enumerate() {
                let row = index % rows;
                let expected = if index / rows == step {
                    let [logprob, sampling_logprob] = logprobs[row];
                    Drawn { token: tokens[row], logprob, sampling_logprob, pad: 0 }
                } else {
                    unwritten
                };
                // As bits, because the unwritten ones hold NaN.
                if bytemuck::bytes_of(found) != bytemuck::bytes_of(&expected) {
                    check.fault(format!("drawn: row {row} of step {} is {found:?}", index / rows));
                }
            }
        }
        Ok(())
    })]
}
