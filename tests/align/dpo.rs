//! A policy from preferences alone.

use std::fs;
use std::path::{Path, PathBuf};

use parr::ErrorKind;
use parr::adapter::Adapter;
use parr::align::{AlignError, DpoConfig, DpoTraining};
use parr::gpu::{Device, DeviceOptions, KernelFamily};
use parr::model::Model;
use parr::reward::RewardData;
use parr::settings::Auto;
use parr::settings::Settings;
use parr::train::{Control, Event};

use super::{load, logged};
use crate::reward::{comparisons, rules, tiny_that_reads};
use crate::support::gpu;

/// A model that chats, and preferences for one of two answers.
fn setup(device: &Device, folder: &Path) -> (Model, RewardData) {
    let path = tiny_that_reads(folder);
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}assistant: {% endif %}";
    fs::write(path.join("chat_template.jinja"), template).expect("a scratch directory is writable");
    let rows = folder.join("pairs.jsonl");
    let row = |number: u32| {
        format!("{{\"prompt\": \"Is it {number}?\", \"chosen\": \"yes!\", \"rejected\": \"no.\"}}\n")
    };
    fs::write(&rows, (0..30).map(row).collect::<String>()).expect("a scratch directory is writable");
    (load(device, &path), RewardData::preferences(&rows).expect("sound rows"))
}

fn settings(steps: usize) -> DpoConfig {
    let mut config = DpoConfig { seed: 2, steps: Auto::Fixed(steps), ..DpoConfig::default() };
    config.lora.rank = 8;
    config.lora.alpha = 16.0;
    config.optimizer.learning_rate = 2e-3;
    config.batch.pairs = 6;
    config.aggregate.held_out = 0.25;
    config.checkpoint.every = 0;
    config
}

/// Runs to the end, or until `most` steps are done and it is cancelled.
fn train(
    model: &Model,
    data: &RewardData,
    config: &DpoConfig,
    init: Option<&Adapter>,
    out: &Path,
    most: Option<u64>,
) -> Result<PathBuf, AlignError> {
    let control = Control::default();
    let training = DpoTraining::new(model, data, out).config(config).init(init).resume(out.exists());
    training.run(&control, &mut |event| {
        if let Event::Step(step) = event
            && Some(step.number()) == most
        {
            control.cancel.cancel();
        }
    })
}

#[test]
fn a_policy_learns_what_pairs_prefer_and_starts_at_its_reference() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let (model, data) = setup(&device, folder.path());
    let first = folder.path().join("first");
    let trained = train(&model, &data, &settings(10), None, &first, None).expect("nobody cancels");
    let init = Adapter::open(&trained, model.config()).expect("it was written");
    assert_eq!(init.card.other["align"]["algorithm"], "dpo");
    // From the adapter that came of it: its reference is that one, not the base.
    let second = folder.path().join("second");
    train(&model, &data, &settings(2), Some(&init), &second, None).expect("nobody cancels");
    for (out, at_least) in [(&first, 0.99), (&second, 0.9)] {
        let measured: Vec<(f64, f64, f64)> = logged(out)
            .iter()
            .filter_map(|record| {
                let figure = |name: &str| record[name].as_f64();
                let (accuracy, margin) = ("eval/rewards/accuracies", "eval/rewards/margins");
                Some((figure("eval/loss")?, figure(accuracy)?, figure(margin)?))
            })
            .collect();
        println!("{measured:?}");
        let (loss, accuracy, margin) = measured[0];
        if device.tuning().family == KernelFamily::Lane8 {
            assert_eq!((accuracy, margin), (0.0, 0.0), "the policy is its reference");
        }
        assert!((loss - std::f64::consts::LN_2).abs() <= 1e-4, "{loss}");
        let (loss, accuracy, margin) = measured[measured.len() - 1];
        assert!(loss < std::f64::consts::LN_2 && accuracy >= at_least && margin > 0.0, "{measured:?}");
    }
}

#[test]
fn a_resumed_run_is_a_run_without_a_pause() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let (model, _) = setup(&device, folder.path());
    // Judged replies: other pairs in every pass, and some of them too long.
    let mut judged = comparisons(12);
    judged[3].replies[0].text = "yes ".repeat(60);
    let data = RewardData::of_comparisons(judged, rules()).expect("sound comparisons");
    let mut config = settings(5);
    config.max_tokens = 60;
    let (whole, paused) = (folder.path().join("whole"), folder.path().join("paused"));
    train(&model, &data, &config, None, &whole, None).expect("nobody cancels");
    for most in [2, 4] {
        let error = train(&model, &data, &config, None, &paused, Some(most)).expect_err("cancelled");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
    train(&model, &data, &config, None, &paused, None).expect("nobody cancels");
    assert_eq!(logged(&paused), logged(&whole));
    let read = |out: &Path| fs::read(out.join("adapter/adapter_model.safetensors")).expect("an adapter");
    assert!(read(&paused) == read(&whole), "another adapter");
}

#[test]
fn settings_are_said_and_judged() {
    let parse = |text: &str| DpoConfig::parse(text, Path::new("dpo.toml"));
    assert_eq!(parse(DpoConfig::SAMPLE).expect("a sound sample"), DpoConfig::default());
    DpoConfig::default().validate().expect("sound defaults");
    let partly = parse("[aggregate]\nheld_out = 0.2\n").expect("a table in part");
    assert_eq!((partly.aggregate.negation, partly.aggregate.held_out), (0.0, 0.2));
    for (text, expected) in [
        ("beta = 0.0", "beta is 0"),
        ("label_smoothing = 0.5", "label_smoothing is 0.5"),
        ("[aggregate]\nnegation = 0.5", "aggregate.negation is 0.5"),
        ("[aggregate]\nnoise = 0.1", "aggregate.noise is 0.1"),
    ] {
        let error = parse(text).expect("settings").validate().expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
    }
    // Without a chat template nothing says where a reply begins.
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = super::tiny(&device, folder.path());
    let data = RewardData::of_comparisons(comparisons(4), rules()).expect("sound comparisons");
    let (config, out) = (settings(1), folder.path().join("run"));
    let training = DpoTraining::new(&model, &data, &out).config(&config);
    let refused = training.run(&Control::default(), &mut |_| {});
    assert!(matches!(refused, Err(AlignError::NoChat)) && !out.exists());
}
