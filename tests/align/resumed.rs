//! A run that was interrupted ends as one that was not; one whose policy collapses ends early.

use std::fs;
use std::path::Path;
use std::time::Duration;

use parr::align::Algorithm;
use parr::align::AlignConfig;
use parr::align::Outcome;
use parr::align::estimate::Collapse;
use parr::gpu::{Device, DeviceOptions, KernelFamily};

use super::{Toy, logged, settings, tiny};
use crate::support::gpu;

fn adapter(out: &Path) -> [Vec<u8>; 2] {
    ["adapter_model.safetensors", "parr.json"]
        .map(|file| fs::read(out.join("adapter").join(file)).expect("an adapter"))
}

fn is_the_same(family: Option<KernelFamily>, change: impl Fn(&mut AlignConfig), algorithm: Algorithm) {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions { family, ..DeviceOptions::default() });
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let mut config = settings(algorithm, 1, 6);
    config.kl.adaptive = true;
    config.checkpoint.every = 2;
    change(&mut config);
    let whole = folder.path().join("whole");
    let (outcome, steps) =
        Toy { model: &model, config: &config, out: &whole, init: None, budget: None }.run();
    assert_eq!((outcome, steps.len()), (Outcome::Done(whole.join("adapter")), 6));

    // Cancelled after its third step, which is saved; and killed after its fifth, which is not.
    let parts = folder.path().join("parts");
    let toy = Toy { model: &model, config: &config, out: &parts, init: None, budget: None };
    toy.cancelled_after(3);
    toy.cancelled_after(2);
    let state = |step: u64| parts.join(format!("checkpoints/step-{step:08}.safetensors"));
    fs::remove_file(state(5)).expect("it was saved on the cancel");
    assert_eq!(logged(&parts).len(), 5, "the log is ahead of the state now");
    let (outcome, steps) = toy.run();
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
fn a_resumed_run_is_a_run_without_a_pause(family: KernelFamily) {
    is_the_same(Some(family), |config| config.update.mini_batches = 2, Algorithm::PPO);
}

#[test]
fn so_is_one_of_groups() {
    is_the_same(None, |_| {}, Algorithm::GRPO);
}

#[test]
fn a_collapsed_policy_ends_the_run_with_a_word() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let mut config = settings(Algorithm::PPO, 0, 30);
    config.collapse.kl = 0.5;
    config.collapse.patience = 2;
    let out = folder.path().join("run");
    let (outcome, steps) = Toy { model: &model, config: &config, out: &out, init: None, budget: None }.run();
    let Outcome::Collapsed { sign, step, adapter } = outcome else { panic!("it went on: {outcome:?}") };
    println!("{sign} in step {step}");
    assert!(matches!(sign, Collapse::Kl { found, limit } if found > limit && limit == 0.5), "{sign}");
    let last = steps.last().expect("it is reported");
    assert_eq!((last.step, last.n_updates, step as usize), (step, 0, steps.len()));
    assert!(step < 30);
    let card = fs::read_to_string(adapter.join("parr.json")).expect("it is kept for who wants to look");
    assert!(card.contains("nats per reply, more than"), "{card}");
}

/// The first step tells how many fit, and a run that goes on keeps to that.
#[test]
fn a_run_of_so_much_time_plans_its_steps() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let mut config = settings(Algorithm::GRPO, 0, 9);
    config.checkpoint.every = 1;
    let (short, long) = (folder.path().join("short"), folder.path().join("long"));
    let budget = Some(Duration::from_nanos(1));
    let toy = Toy { model: &model, config: &config, out: &short, init: None, budget };
    let (outcome, steps) = toy.run();
    assert_eq!((outcome, steps.len()), (Outcome::Done(short.join("adapter")), 1), "one there is always");
    assert!(steps[0].learning_rate > 0.0, "which is not thrown away");

    let budget = Some(Duration::from_secs(3600));
    let toy = Toy { model: &model, config: &config, out: &long, init: None, budget };
    toy.cancelled_after(2);
    let planned = |step: u64| {
        let state =
            parr::train::TrainState::read(&long.join(format!("checkpoints/step-{step:08}.safetensors")));
        state.expect("it was saved").meta.extra["planned_steps"]
    };
    let steps = planned(2);
    assert!(steps > 9.0, "an hour is more than nine steps of nothing: {steps}");
    toy.cancelled_after(1);
    assert_eq!(planned(3), steps);
}
