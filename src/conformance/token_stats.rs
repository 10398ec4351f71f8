//! `token_stats` and its gradient.

use super::Case;
use super::check::GUARD;
use crate::ops::{TokenStat, token_stats, token_stats_backward};
use crate::reference;

/// Rows, vocabulary, largest logit, targets that belong to earlier rows, and the temperature.
const SHAPES: [(usize, usize, f32, usize, f32); 7] = [
    (1, 1, 1.0, 0, 1.0),
    (3, 7, 0.0, 2, 1.0),
    (2, 1000, 10.0, 0, 1.0),
    (1, 49_157, 3.0, 5, 1.0),
    (5, 333, 80.0, 1, 1.0),
    (70, 36, 5.0, 0, 0.7),
    (3, 517, 8.0, 2, 1.6),
];

/// The logits divided by the temperature, rounded as in the kernels, for the oracle.
fn divided(logits: &[f32], temperature: f32) -> Vec<f32> {
    logits.iter().map(|logit| logit * temperature.recip()).collect()
}

pub(super) fn cases() -> Vec<Case> {
    vec![forward(), backward()]
}

fn forward() -> Case {
    Case::new("token_stats", "f32", 1e-11, |check| {
        for (rows, vocab, spread, first, temperature) in SHAPES {
            check.shape(format!(
                "{rows} rows of {vocab} logits up to {spread}, from row {first} on, temperature {temperature}"
            ));
            let logits: Vec<f32> = check.values(rows * vocab).iter().map(|v| spread * v).collect();
            let targets = check.integers(first + rows, vocab);
            let logits_device = check.activation(vocab, &logits)?;
            let targets_device = check.device().upload("conformance", &targets)?;
            let unwritten = f32::from_bits(GUARD);
            let unwritten = TokenStat { logprob: unwritten, entropy: unwritten };
            let stats = check.guarded(&vec![unwritten; first + rows])?;
            check.run(|rec| {
                token_stats(rec, &logits_device, &targets_device, &stats, first, rows, temperature)
            })?;
            let found = check.read_guarded("stats", &stats)?;
            let (before, found) = found.split_at(first);
            if bytemuck::cast_slice::<_, u32>(before).iter().any(|&word| word != GUARD) {
                check.fault(format!("stats: wrote before row {first}"));
            }
            let expected: Vec<_> = divided(&logits, temperature)
                .chunks_exact(vocab)
                .zip(&targets[first..])
                .map(|(logits, &target)| reference::token_stats(logits, target))
                .collect();
            // Both can be 0 up to rounding, so they are compared relative to 1, not to themselves.
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
    })
}

fn backward() -> Case {
    Case::new("token_stats_backward", "f32", 1e-11, |check| {
        for (rows, vocab, spread, first, temperature) in SHAPES {
            check.shape(format!(
                "{rows} rows of {vocab} logits up to {spread}, from row {first} on, temperature {temperature}"
            ));
            let logits: Vec<f32> = check.values(rows * vocab).iter().map(|v| spread * v).collect();
            // As large as the vocabulary, so that its product with a probability is of ordinary size.
            let d_stats: Vec<TokenStat> = check
                .values(2 * (first + rows))
                .chunks_exact(2)
                .map(|pair| TokenStat { logprob: pair[0] * vocab as f32, entropy: pair[1] * vocab as f32 })
                .collect();
            let mut targets = check.integers(first + rows, vocab);
            if rows > 1 {
                // The first id beyond the vocabulary would fall into the padding.
                targets[first] = vocab as u32;
                targets[first + 1] = u32::MAX;
            }
            let d_logits = check.activation(vocab, &logits)?;
            let targets_device = check.device().upload("conformance", &targets)?;
            let d_stats_device = check.device().upload("conformance", &d_stats)?;
            check.run(|rec| {
                let (targets, d_stats) = (&targets_device, &d_stats_device);
                token_stats_backward(rec, &d_logits, targets, d_stats, first, rows, temperature)
            })?;
            let given = || targets[first..].iter().zip(&d_stats[first..]);
            let mut expected: Vec<f32> = divided(&logits, temperature)
                .chunks_exact(vocab)
                .zip(given())
                .flat_map(|(logits, (&target, d))| {
                    reference::token_stats_backward(logits, target, d.logprob, d.entropy)
                })
                .map(|slope| slope * temperature.recip())
                .collect();
            check.compare("d_logits", &d_logits, &expected)?;

            // The targets' own gradients are much larger than the others, so the others are also compared
            // alone.
            let mut found = Vec::new();
            for row in check
                .device()
                .read(&d_logits.buffer, 0, rows * d_logits.stride)?
                .chunks_exact(d_logits.stride)
            {
                found.extend_from_slice(&row[..vocab]);
            }
            for (row, (&target, _)) in
                given().enumerate().filter(|(_, (target, _))| (**target as usize) < vocab)
            {
                found[row * vocab + target as usize] = 0.0;
                expected[row * vocab + target as usize] = 0.0;
            }
            check.compare_values("d_logits beside the targets", &found, &expected);
        }
        Ok(())
    })
}
