//! Rewards, advantages, losses and gradients against PyTorch's in double precision
//! (`golden/ppo/ppo_math.json`).

use std::path::Path;

use parr::align::estimate::{Estimates, Estimator, Trace};
use parr::train::objective::KlEstimator;
use parr::train::objective::{Clip, Objective, Ppo, PpoBatch, PpoReading, PpoToken, TokenStats};
use serde::Deserialize;

/// Replies of 4, 5 and 6 tokens, padded to 7; what stands at pads is not 0 and must not count.
#[derive(Deserialize)]
struct Golden {
    gamma: f64,
    lam: f64,
    kl_coef: f64,
    cliprange: f64,
    cliprange_value: f64,
    vf_coef: f64,
    lengths: Vec<usize>,
    old_logprobs: Vec<Vec<f64>>,
    new_logprobs: Vec<Vec<f64>>,
    ref_logprobs: Vec<Vec<f64>>,
    old_values: Vec<Vec<f64>>,
    new_values: Vec<Vec<f64>>,
    scores: Vec<f64>,
    shaped_rewards: Vec<Vec<f64>>,
    advantages: Vec<Vec<f64>>,
    returns: Vec<Vec<f64>>,
    whitened_advantages: Vec<Vec<f64>>,
    policy_loss: f64,
    value_loss: f64,
    grad_new_logprobs: Vec<Vec<f64>>,
    grad_new_values: Vec<Vec<f64>>,
}

const TOLERANCE: f64 = 1e-9;

impl Golden {
    fn load() -> Golden {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ppo/ppo_math.json");
        serde_json::from_slice(&std::fs::read(path).expect("the golden")).expect("the golden is JSON")
    }

    /// The replies with `pad` at their pads in the place of what PyTorch had there.
    fn traces(&self, pad: Option<f64>) -> Vec<Trace> {
        let column = |values: &[f64], len: usize| -> Vec<f64> {
            let padded = |(at, &value)| if at < len { value } else { pad.unwrap_or(value) };
            values.iter().enumerate().map(padded).collect()
        };
        let trace = |(row, &len): (usize, &usize)| Trace {
            real: (0..self.old_logprobs[row].len()).map(|at| at < len).collect(),
            logprob: column(&self.old_logprobs[row], len),
            ref_logprob: column(&self.ref_logprobs[row], len),
            value: column(&self.old_values[row], len),
            score: self.scores[row],
        };
        self.lengths.iter().enumerate().map(trace).collect()
    }

    fn estimate(&self, traces: &[Trace], whiten_advantages: bool) -> Estimates {
        let estimator = Estimator {
            gamma: self.gamma,
            lambda: self.lam,
            kl: KlEstimator::K1,
            kl_coefficient: self.kl_coef,
            reward_scale: 1.0,
            whiten_rewards: false,
            whiten_advantages,
        };
        estimator.estimate(traces)
    }

    fn objective(&self) -> Ppo {
        Ppo {
            clip: Clip::symmetric(self.cliprange),
            value_radius: self.cliprange_value,
            value_weight: self.vf_coef,
            entropy_weight: 0.0,
        }
    }

    /// The real tokens of all replies, their readings in rows of 7.
    fn tokens(&self, traces: &[Trace]) -> Vec<PpoToken> {
        let estimates = self.estimate(traces, true);
        let replies = estimates.replies.iter().zip(traces).enumerate();
        let width = self.old_logprobs[0].len();
        replies.flat_map(|(row, (reply, trace))| reply.tokens(trace, row * width, row * width)).collect()
    }
}

fn close(what: &str, found: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{what} {at}: {found}, expected {expected}");
    }
}

#[test]
fn rewards_advantages_and_returns_are_pytorch_s() {
    let golden = Golden::load();
    for pad in [None, Some(f64::NAN)] {
        let traces = golden.traces(pad);
        let plain = golden.estimate(&traces, false);
        let whitened = golden.estimate(&traces, true);
        assert_eq!(plain.replies.len(), 3);
        for (row, reply) in plain.replies.iter().enumerate() {
            close("reward", reply.reward.clone(), &golden.shaped_rewards[row], TOLERANCE);
            close("advantage", reply.advantage.clone(), &golden.advantages[row], TOLERANCE);
            close("return", reply.target.clone(), &golden.returns[row], TOLERANCE);
            let whitened = whitened.replies[row].advantage.clone();
            close("whitened advantage", whitened, &golden.whitened_advantages[row], TOLERANCE);
        }
    }
}

#[test]
fn losses_and_gradients_are_pytorch_s() {
    let golden = Golden::load();
    let tokens = golden.tokens(&golden.traces(Some(f64::NAN)));
    let (logprobs, values) = (golden.new_logprobs.concat(), golden.new_values.concat());
    let now: Vec<PpoReading> = tokens
        .iter()
        .map(|token| PpoReading { logprob: logprobs[token.policy], entropy: 1.0, value: values[token.value] })
        .collect();
    assert_eq!(now.len(), 15);
    let losses = golden.objective().losses(&now, &tokens, 15.0);
    close("losses", [losses.policy, losses.value], &[golden.policy_loss, golden.value_loss], TOLERANCE);
    let total = golden.policy_loss + golden.vf_coef * golden.value_loss;
    close("loss", [golden.objective().total(&losses)], &[total], TOLERANCE);

    let spread = |gradients: &[f64], place: fn(&PpoToken) -> usize| {
        let mut spread = vec![0.0; 21];
        tokens.iter().zip(gradients).for_each(|(token, &gradient)| spread[place(token)] = gradient);
        spread
    };
    let by_logprob = spread(&losses.d_logprob, |token| token.policy);
    close("gradient of log-probability", by_logprob, &golden.grad_new_logprobs.concat(), TOLERANCE);
    let by_value = spread(&losses.d_value, |token| token.value);
    close("gradient of value", by_value, &golden.grad_new_values.concat(), TOLERANCE);
}

/// Through the seam, whose numbers are single precision.
#[test]
fn the_seam_rounds_once() {
    let golden = Golden::load();
    let tokens = golden.tokens(&golden.traces(Some(f64::NAN)));
    let single =
        |rows: &[Vec<f64>]| -> Vec<f32> { rows.concat().iter().map(|&value| value as f32).collect() };
    let mut stats = TokenStats {
        logprob: single(&golden.new_logprobs),
        entropy: vec![1.0; 21],
        value: single(&golden.new_values),
    };
    let real: Vec<usize> = tokens.iter().map(|token| token.policy).collect();
    for at in (0..21).filter(|at| !real.contains(at)) {
        (stats.logprob[at], stats.entropy[at], stats.value[at]) = (f32::NAN, f32::NAN, f32::NAN);
    }
    let found = golden.objective().evaluate(&stats, &PpoBatch { tokens, normalizer: 15.0 });
    let total = golden.policy_loss + golden.vf_coef * golden.value_loss;
    // An input's rounding is 2^-24 of up to 8.5, and slopes are below 2.
    close("loss", [found.loss], &[total], 1e-6);
    let double = |values: &[f32]| -> Vec<f64> { values.iter().map(|&value| value.into()).collect() };
    close("d_logprob", double(&found.d_logprob), &golden.grad_new_logprobs.concat(), 1e-6);
    close("d_value", double(&found.d_value), &golden.grad_new_values.concat(), 1e-6);
}
