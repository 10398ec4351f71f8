//! The reward of a reply is the part of its tokens that are the wanted one: at best 1, a thirtieth by chance.

use std::time::Instant;

use parr::align::Algorithm;
use parr::align::Outcome;
use parr::gpu::DeviceOptions;

use super::{Toy, settings, tiny};
use crate::support::gpu;

fn solved_by(algorithm: Algorithm) {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    for seed in 0..3 {
        let config = settings(algorithm, seed, 16);
        let out = folder.path().join(format!("run-{seed}"));
        let start = Instant::now();
        let (outcome, steps) =
            Toy { model: &model, config: &config, out: &out, init: None, budget: None }.run();
        let scores: Vec<f64> = steps.iter().map(|step| step.rollout.scores).collect();
        println!("{algorithm} seed {seed}: {:.1?}, scores {scores:.2?}", start.elapsed());
        assert_eq!(outcome, Outcome::Done(out.join("adapter")));
        assert!(scores[0] < 0.2, "seed {seed}: nothing was to be learned: {}", scores[0]);
        let last = scores[scores.len() - 3..].iter().sum::<f64>() / 3.0;
        assert!(last > 0.85, "{algorithm}, seed {seed}: {last} of 1");
    }
}

#[test]
fn ppo_finds_the_optimum() {
    solved_by(Algorithm::PPO);
}

#[test]
fn grpo_finds_the_optimum() {
    solved_by(Algorithm::GRPO);
}

#[test]
fn rloo_finds_the_optimum() {
    solved_by(Algorithm::RLOO);
}
