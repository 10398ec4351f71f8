//! `sample`: every filter alone and all together, with different settings in one batch.

use super::Case;
use super::check::{Check, GUARD};
use crate::ops::{SampleRow, ShapeError, sample};
use crate::reference::random::token_gumbel;
use crate::reference::sample as oracle;

/// Maximum distance of a drawn token's score from the best: f32 scores of two candidates this close may
/// be in the other order.
const SCORE_TOLERANCE: f64 = 1e-3;

/// Maximum probability at the edge of a filter that may fall on the other side because sums are rounded.
const MASS_TOLERANCE: f64 = 1e-4;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("sample", "f32", 1e-9, |check| {
        // Short rows that leave lanes empty, a length that is not a multiple of 4, and ordinary rows.
        for (vocab, spread) in [(1, 1.0), (5, 3.0), (1003, 12.0), (49_152, 14.0), (49_157, 0.2)] {
            one_batch(check, vocab, spread, 64)?;
        }
        one_batch(check, 500, 5.0, 0)?;
        ties(check)?;
        infinite(check)
    })]
}

const PLAIN: oracle::SampleRow = oracle::SampleRow {
    temperature: 1.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    seed: 0x1234_5678_9abc_def0,
    position: 3,
};

fn settings() -> Vec<oracle::SampleRow> {
    vec![
        PLAIN,
        oracle::SampleRow { temperature: 0.0, repetition_penalty: 1.3, ..PLAIN },
        oracle::SampleRow { temperature: 0.7, seed: 1, ..PLAIN },
        oracle::SampleRow { top_k: 1, ..PLAIN },
        oracle::SampleRow { top_k: 40, seed: 2, repetition_penalty: 1.1, ..PLAIN },
        oracle::SampleRow { top_k: 900, seed: 3, ..PLAIN },
        oracle::SampleRow { top_p: 0.9, temperature: 0.5, position: 70_000, ..PLAIN },
        oracle::SampleRow { top_p: 0.99, temperature: 1.5, seed: 4, ..PLAIN },
        oracle::SampleRow { min_p: 0.05, repetition_penalty: 0.8, seed: 5, ..PLAIN },
        oracle::SampleRow { top_k: 50, top_p: 0.95, min_p: 0.02, temperature: 0.8, seed: 6, ..PLAIN },
        oracle::SampleRow { top_k: 700, top_p: 0.6, temperature: 3.0, seed: 7, ..PLAIN },
        oracle::SampleRow { top_p: 1e-6, temperature: 10.0, seed: 8, ..PLAIN },
    ]
}

fn one_batch(check: &mut Check<'_>, vocab: usize, spread: f32, window: usize) -> Result<(), ShapeError> {
    let settings = settings();
    let rows = settings.len();
    let mut logits: Vec<f32> = check.values(rows * vocab).iter().map(|v| spread * v * v.abs()).collect();
    if vocab > 4 {
        // Logits that are not finite, also in the last column: such a token is not drawn.
        for (row, column, fault) in [
            (2, 3, f32::NAN),
            (5, 1, f32::NEG_INFINITY),
            (8, vocab - 1, f32::NAN),
            (11, vocab - 2, f32::NEG_INFINITY),
        ] {
            logits[row * vocab + column] = fault;
        }
    }
    // Likely tokens among the recent ones, some twice; full rings and others.
    let mut recent = check.integers(rows * window, vocab);
    for (row, ring) in recent.chunks_exact_mut(window.max(1)).enumerate() {
        let best = oracle::sample(
            &logits[row * vocab..][..vocab],
            &[],
            &oracle::SampleRow { temperature: 0.0, ..PLAIN },
        );
        ring[0] = best.token;
        ring[window - 1] = best.token;
    }
    let counts: Vec<u32> = (0..rows as u32).map(|row| [5, 64, 200][row as usize % 3]).collect();
    let together = draw(check, vocab, &logits, window, &recent, &counts, &settings)?;
    // The same row alone gives bit-identical results.
    for row in [4, 7, 9] {
        let logits = &logits[row * vocab..][..vocab];
        let recent = &recent[row * window..][..window];
        let alone = draw(check, vocab, logits, window, recent, &[counts[row]], &[settings[row]])?;
        if alone[0] != together[row] {
            check.fault(format!("alone {:x?}, in a batch {:x?}", alone[0], together[row]));
        }
    }
    Ok(())
}

/// Equal logits at the edge of every filter.
fn ties(check: &mut Check<'_>) -> Result<(), ShapeError> {
    let vocab = 2000;
    let steps: Vec<f32> = check.values(12 * vocab).iter().map(|v| (v * 4.0).round()).collect();
    draw(check, vocab, &steps, 0, &[], &[0; 12], &settings())?;
    Ok(())
}

/// An infinite logit is the largest, and the row has no log-probabilities.
fn infinite(check: &mut Check<'_>) -> Result<(), ShapeError> {
    let mut logits = check.values(300);
    logits[299] = f32::INFINITY;
    let drawn = draw(check, 300, &logits, 0, &[], &[0], &[oracle::SampleRow { temperature: 0.0, ..PLAIN }])?;
    if drawn[0][0] != 299 {
        check.fault(format!("drew token {}, expected 299", drawn[0][0]));
    }
    Ok(())
}

/// Draws one token per row and checks it with the oracle; returns each row's token and the bits of its
/// two log-probabilities.
fn draw(
    check: &mut Check<'_>,
    vocab: usize,
    logits: &[f32],
    window: usize,
    recent: &[u32],
    counts: &[u32],
    settings: &[oracle::SampleRow],
) -> Result<Vec<[u32; 3]>, ShapeError> {
    let rows = settings.len();
    let device_rows: Vec<SampleRow> = settings
        .iter()
        .zip(counts)
        .map(|(row, &recent_count)| SampleRow {
            temperature: row.temperature,
            top_p: row.top_p,
            min_p: row.min_p,
            repetition_penalty: row.repetition_penalty,
            top_k: row.top_k,
            position: row.position,
            seed_low: row.seed as u32,
            seed_high: (row.seed >> 32) as u32,
            recent_count,
        })
        .collect();
    let logits_device = check.activation(vocab, logits)?;
    let settings_device = check.guarded(&device_rows)?;
    let recent_device = check.guarded(recent)?;
    let tokens_device = check.guarded(&vec![GUARD; rows])?;
    let logprobs_device = check.guarded(&vec![[f32::from_bits(GUARD); 2]; rows])?;
    check.shape(format!("{rows} rows of {vocab} logits, window {window}"));
    check.run(|rec| {
        sample(
            rec,
            &logits_device,
            &settings_device,
            &recent_device,
            window,
            &tokens_device,
            &logprobs_device,
            rows,
        )
    })?;
    let tokens = check.read_guarded("tokens", &tokens_device)?;
    let logprobs = check.read_guarded("log-probabilities", &logprobs_device)?;
    let after = check.read_guarded("settings", &settings_device)?;
    let rings = check.read_guarded("recent tokens", &recent_device)?;
    for (index, row) in settings.iter().enumerate() {
        check.shape(format!("row {index} of {rows} rows of {vocab} logits, window {window}: {row:?}"));
        let logits = &logits[index * vocab..][..vocab];
        let ring = &recent[index * window..][..window];
        let known = &ring[..window.min(counts[index] as usize)];
        judge(check, logits, known, row, tokens[index], logprobs[index]);
        let mut expected = device_rows[index];
        expected.position += 1;
        let mut expected_ring = ring.to_vec();
        if window > 0 {
            expected_ring[expected.recent_count as usize % window] = tokens[index];
            expected.recent_count += 1;
        }
        if after[index] != expected {
            check.fault(format!("settings became {:?}", after[index]));
        }
        if rings[index * window..][..window] != expected_ring {
            check.fault("the ring of recent tokens is wrong".to_owned());
        }
    }
    let drawn = tokens.iter().zip(&logprobs);
    Ok(drawn.map(|(&token, [plain, filtered])| [token, plain.to_bits(), filtered.to_bits()]).collect())
}

/// Checks one draw with the oracle: the same token, or one that rounding may prefer.
fn judge(
    check: &mut Check<'_>,
    logits: &[f32],
    recent: &[u32],
    row: &oracle::SampleRow,
    token: u32,
    logprobs: [f32; 2],
) {
    if token as usize >= logits.len() {
        return check.fault(format!("drew token {token}"));
    }
    let expected = oracle::sample(logits, recent, row);
    let plain = crate::reference::token_stats(logits, token).logprob;
    let mut filtered = 0.0;
    let z = oracle::penalised(logits, recent, row.repetition_penalty);
    if row.temperature < oracle::GREEDY_BELOW {
        if token != expected.token {
            check.fault(format!("drew token {token}, expected {}", expected.token));
        }
    } else {
        let choices = oracle::choices(&z, row);
        let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // The score as if no filter had removed the token: at an edge, both results are right.
        let score = |token: u32| (f64::from(z[token as usize]) - f64::from(top)) / f64::from(row.temperature);
        let noisy = |token: u32| score(token) + f64::from(token_gumbel(row.seed, row.position, token));
        filtered = (score(token) - choices.log_sum_exp) as f32;
        if token != expected.token {
            let kept = choices.scores[token as usize] > f64::NEG_INFINITY;
            let edge = (score(token) - choices.log_sum_exp).exp() < MASS_TOLERANCE;
            let close = (noisy(token) - noisy(expected.token)).abs() < SCORE_TOLERANCE;
            if !(kept && close || !kept && edge) {
                check.fault(format!("drew token {token}, expected {}", expected.token));
            }
        }
    }
    if logits.iter().any(|logit| !logit.is_finite()) {
        if logprobs.iter().any(|logprob| !logprob.is_nan() || logprob.to_bits() == GUARD) {
            check.fault(format!("a logit is not finite, but the log-probabilities are {logprobs:?}"));
        }
        return;
    }
    // Relative to 1, because a log-probability may be 0.
    check.compare_values(
        "log-probabilities",
        &[logprobs[0] - 1.0, logprobs[1] - 1.0],
        &[plain - 1.0, filtered - 1.0],
    );
}
