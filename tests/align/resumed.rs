//! A run that was interrupted ends as one that was not; one whose policy collapses ends early.

use std::fs;
use std::path::Path;

use parr::align::Outcome;
use parr::gpu::{Device, DeviceOptions};
use parr::train::PpoConfig;
use parr::train::config::Algorithm;
use parr::train::rollout::Collapse;

use super::{Toy, logged, settings, tiny};
use crate::support::gpu;

fn device() -> Option<Device> {
    gpu::open(&DeviceOptions::default())
}

fn adapter(out: &Path) -> [Vec<u8>; 2] {
    ["adapter_model.safetensors", "parr.json"]
        .map(|file| fs::read(out.join("adapter").join(file)).expect("an adapter"))
}

fn is_the_same(change: impl Fn(&mut PpoConfig), algorithm: Algorithm) {
    let _turn = gpu::turn();
    let Some(device) = device() else { return };
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let mut config = settings(algorithm, 1, 6);
    config.kl.adaptive = true;
    config.checkpoint.every = 2;
    change(&mut config);
    let whole = folder.path().join("whole");
    let (outcome, steps) = Toy { model: &model, config: &config, out: &whole, init: None }.run(None);
    assert_eq!((outcome, steps.len()), (Outcome::Done(whole.join("adapter")), 6));

    // Cancelled after its third step, which is saved; and killed after its fifth, which is not.
    let parts = folder.path().join("parts");
    let toy = Toy { model: &model, config: &config, out: &parts, init: None };
    assert_eq!(toy.run(Some(3)).0, Outcome::Cancelled);
    assert_eq!(toy.run(Some(2)).0, Outcome::Cancelled);
    let state = |step: u64| parts.join(format!("checkpoints/step-{step:08}.safetensors"));
    fs::remove_file(state(5)).expect("it was saved on the cancel");
    assert_eq!(logged(&parts).len(), 5, "the log is ahead of the state now");
    let (outcome, steps) = toy.run(None);
    assert_eq!(outcome, Outcome::Done(parts.join("adapter")));
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), [5, 6]);

    assert_eq!(logged(&parts), logged(&whole));
    assert!(adapter(&parts) == adapter(&whole), "another adapter");
    for step in 1..=6 {
        let rollout =
            |out: &Path| fs::read(out.join(format!("rollouts/step-{step:08}.jsonl"))).expect("kept");
        assert!(rollout(&parts) == rollout(&whole), "rollout {step} differs");
    }
    let states = |out: &Path| fs::read(out.join("checkpoints/step-00000006.safetensors")).expect("the last");
    assert!(states(&parts) == states(&whole), "another state");
    let coefficients: Vec<f64> =
        logged(&whole).iter().filter_map(|record| record["objective/kl_coef"].as_f64()).collect();
    assert!(
        coefficients.windows(2).any(|pair| pair[0] != pair[1]),
        "the price was steered: {coefficients:?}"
    );
}

#[test]
fn a_resumed_run_is_a_run_without_a_pause() {
    is_the_same(|config| config.update.mini_batches = 2, Algorithm::Ppo);
}

#[test]
fn so_is_one_of_groups() {
    is_the_same(|_| {}, Algorithm::Grpo);
}

#[test]
fn a_collapsed_policy_ends_the_run_with_a_word() {
    let _turn = gpu::turn();
    let Some(device) = device() else { return };
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let mut config = settings(Algorithm::Ppo, 0, 30);
    config.collapse.kl = 0.5;
    config.collapse.patience = 2;
    let out = folder.path().join("run");
    let (outcome, steps) = Toy { model: &model, config: &config, out: &out, init: None }.run(None);
    let Outcome::Collapsed { sign, step, adapter } = outcome else { panic!("it went on: {outcome:?}") };
    println!("{sign} in step {step}");
    assert!(matches!(sign, Collapse::Kl { found, limit } if found > limit && limit == 0.5), "{sign}");
    let last = steps.last().expect("it is reported");
    assert_eq!((last.step, last.n_updates, step as usize), (step, 0, steps.len()));
    assert!(step < 30);
    let card = fs::read_to_string(adapter.join("parr.json")).expect("it is kept for who wants to look");
    assert!(card.contains("nats a reply from its reference"), "{card}");
}
