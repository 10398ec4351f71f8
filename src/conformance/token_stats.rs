//! `token_stats`.

use super::Case;
use super::check::GUARD;
use crate::ops::{TokenStat, token_stats};
use crate::reference;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("token_stats", "f32", 1e-11, |check| {
        for (rows, vocab, spread) in
            [(1, 1, 1.0), (3, 7, 0.0), (2, 1000, 10.0), (1, 49_157, 3.0), (5, 333, 80.0)]
        {
            check.shape(format!("{rows} rows of {vocab} logits up to {spread}"));
            let logits: Vec<f32> = check.values(rows * vocab).iter().map(|v| spread * v).collect();
            let targets = check.integers(rows, vocab);
            let logits_device = check.activation(vocab, &logits)?;
            let targets_device = check.device().upload("conformance", &targets)?;
            let unwritten = f32::from_bits(GUARD);
            let stats = check.guarded(&vec![TokenStat { logprob: unwritten, entropy: unwritten }; rows])?;
            check.run(|rec| token_stats(rec, &logits_device, &targets_device, &stats, rows))?;
            let found = check.read_guarded("stats", &stats)?;
            let expected: Vec<_> = logits
                .chunks_exact(vocab)
                .zip(&targets)
                .map(|(logits, &target)| reference::token_stats(logits, target))
                .collect();
            // Both can be 0 up to rounding, so they are compared beside 1, not beside themselves.
            let beside_one = |values: Vec<f32>| values.into_iter().map(|v| v + 1.0).collect::<Vec<_>>();
            let logprobs = beside_one(found.iter().map(|s| s.logprob).collect());
            let entropies = beside_one(found.iter().map(|s| s.entropy).collect());
            check.compare_values(
                "log-probability",
                &logprobs,
                &beside_one(expected.iter().map(|s| s.logprob).collect()),
            );
            check.compare_values(
                "entropy",
                &entropies,
                &beside_one(expected.iter().map(|s| s.entropy).collect()),
            );
        }
        Ok(())
    })]
}
