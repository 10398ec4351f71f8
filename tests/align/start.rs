//! Before anything was learned the policy is its reference, every ratio is 1, and the critic knows nothing.

use std::collections::BTreeMap;

use parr::adapter::{Adapter, Card};
use parr::align::Algorithm;
use parr::align::AlignConfig;
use parr::gpu::{Device, DeviceOptions, KernelFamily};
use parr::random::{Philox, Purpose};

use super::{REPLY, Toy, settings, tiny};
use crate::support::gpu;

/// An adapter that changes what the model says.
fn adapter(model: &parr::model::Model, config: &AlignConfig) -> Adapter {
    let mut weights = config.lora.fresh(model.config(), 5).expect("sound settings");
    for (at, pair) in weights.layers.iter_mut().flat_map(BTreeMap::values_mut).enumerate() {
        for (index, value) in pair.b.iter_mut().enumerate() {
            let draw = Philox::new(9).uniform(Purpose::Conformance, at as u32, index as u32, 0);
            *value = 0.1 * (draw - 0.5);
        }
    }
    Adapter { weights, head: None, card: Card::default() }
}

fn first_step(device: &Device, config: &AlignConfig, with_init: bool) -> parr::align::AlignMetrics {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(device, folder.path());
    let init = with_init.then(|| adapter(&model, config));
    let out = folder.path().join("run");
    let toy = Toy { model: &model, config, out: &out, init: init.as_ref(), budget: None };
    toy.cancelled_after(1).remove(0)
}

fn figure(metrics: &parr::align::AlignMetrics, wanted: &str) -> f64 {
    let found = metrics.updates.iter().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("{wanted} in {:?}", metrics.updates)).1
}

fn holds(device: &Device, config: &AlignConfig, with_init: bool) {
    let lane8 = device.tuning().family == KernelFamily::Lane8;
    let metrics = first_step(device, config, with_init);
    let (kl, ratio) = (metrics.rollout.kl, figure(&metrics, "val/ratio"));
    let apart = metrics.logprob_distance;
    println!("kl {kl:e}, ratio - 1 {:e}, apart {apart:e}", ratio - 1.0);
    if lane8 {
        // Every log-ratio is 0, so every ratio is 1; their mean is a sum of rounded shares.
        assert_eq!((kl, figure(&metrics, "policy/approxkl_avg")), (0.0, 0.0));
        assert!((ratio - 1.0).abs() <= 1e-13, "{ratio}");
        assert!(apart <= 4e-6, "{apart:e}");
    }
    // Kernels that suit the number of rows may round in another order.
    assert!(kl.abs() <= 1e-3 && (ratio - 1.0).abs() <= 1e-4, "kl {kl}, ratio {ratio}");
    assert_eq!(figure(&metrics, "policy/clipfrac_avg"), 0.0);
    assert!(apart <= 1e-3, "{apart:e}");
    assert_eq!(metrics.rollout.mean_length, REPLY as f64);
    assert_eq!((metrics.rollout.n_ended, metrics.n_updates), (0, 1));
    if let Some(error) = metrics.value_error {
        assert_eq!(metrics.value, Some(0.0), "a head of zeros");
        // So the returns are the whole error.
        let loss = figure(&metrics, "loss/value_avg");
        assert!(
            error > 0.0 && (loss - 0.5 * error * error).abs() <= 1e-6 * loss,
            "error {error}, loss {loss}"
        );
    }
}

fn starts(family: KernelFamily, algorithm: Algorithm, change: impl Fn(&mut AlignConfig)) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let mut config = settings(algorithm, 3, 2);
    config.update.epochs = 1;
    // With lambda 1 returns are suffix sums, whatever the values.
    config.update.lambda = 1.0;
    change(&mut config);
    for with_init in [false, true] {
        holds(&device, &config, with_init);
    }
}

#[test]
fn ppo_starts_at_its_reference_with_values_of_zero(family: KernelFamily) {
    starts(family, Algorithm::PPO, |_| {});
}

#[test]
fn a_critic_on_the_policy_starts_at_zero_too(family: KernelFamily) {
    starts(family, Algorithm::PPO, |config| config.value.share_trunk = true);
}

#[test]
fn so_it_is_at_another_temperature(family: KernelFamily) {
    starts(family, Algorithm::PPO, |config| config.rollout.temperature = 0.7);
}

#[test]
fn grpo_and_rloo_start_at_their_reference(family: KernelFamily) {
    starts(family, Algorithm::GRPO, |_| {});
    starts(family, Algorithm::RLOO, |_| {});
}

/// Of several mini-batches the first one's ratio is 1, those behind it have moved.
#[test]
fn later_mini_batches_see_a_policy_that_has_moved() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let mut config = settings(Algorithm::PPO, 3, 2);
    (config.update.epochs, config.update.mini_batches) = (1, 4);
    let metrics = first_step(&device, &config, false);
    assert_eq!(metrics.n_updates, 4);
    assert!(figure(&metrics, "policy/approxkl_avg") > 0.0);
    // With a target of nearly nothing the second mini-batch is the last.
    config.update.target_kl = 1e-12;
    let metrics = first_step(&device, &config, false);
    assert_eq!(metrics.n_updates, 2);
}

/// Replies to one prompt are read together. In mini-batches some of them are elsewhere, and the policy reads the same.
#[test]
fn a_prompt_is_read_once_for_its_replies() {
    let _turn = gpu::turn();
    let device = gpu::device(KernelFamily::Lane8);
    let mut config = settings(Algorithm::RLOO, 3, 2);
    config.update.epochs = 1;
    let metrics = first_step(&device, &config, false);
    // Policy and reference read the 8 prompts of 3 to 6 tokens, and the update continues from the policy's pass. The last
    // token of a prompt is in each branch, and that of a reply in none.
    let tokens = |prompts: std::ops::RangeInclusive<u64>, times: u64| {
        let replies = 4 * REPLY as u64;
        2 * 8 * (times * (prompts.start() - 1) + replies)..=2 * 8 * (times * (prompts.end() - 1) + replies)
    };
    assert!(tokens(3..=6, 1).contains(&metrics.num_tokens), "{}", metrics.num_tokens);
    assert!(
        tokens(3..=6, 4).start() > tokens(3..=6, 1).end(),
        "each reply with its own prompt would be more"
    );

    // A step so small that no mini-batch moves the policy.
    config.update.mini_batches = 5;
    config.optimizer.learning_rate = 1e-30;
    let metrics = first_step(&device, &config, true);
    assert_eq!((metrics.n_updates, figure(&metrics, "policy/approxkl_avg")), (5, 0.0));
    assert!((figure(&metrics, "val/ratio") - 1.0).abs() <= 1e-13);
}
