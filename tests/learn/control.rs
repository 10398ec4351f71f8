//! Pausing, cancelling and resuming a run. A device that computes nothing is enough to steer by.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use parr::gpu::{Device, KernelFamily};
use parr::settings::Auto;
use parr::train::{Control, Progress, Sft, SftConfig};

use super::{golden_path, load};

/// Rows of three tokens, as many as make several small batches.
fn rows(path: &std::path::Path) {
    let row = |number: u32| format!("{{\"ids\": [1, 2, {number}], \"loss_mask\": [0, 1, 1]}}\n");
    std::fs::write(path, (3..20).map(row).collect::<String>()).expect("a scratch directory is writable");
}

#[test]
fn a_gate_stands_before_every_step_and_after_what_was_saved() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let model = load(&device, &golden_path("tiny/llama-mha-untied"));
    let folder = tempfile::tempdir().expect("a scratch directory");
    let data = folder.path().join("rows.jsonl");
    rows(&data);
    let mut config = SftConfig { steps: Auto::Fixed(6), ..SftConfig::default() };
    config.lora.rank = 4;
    config.batch.sequences = 2;
    config.checkpoint.every = 2;
    let out = folder.path().join("run");
    let sft = Sft {
        model: &model,
        data: &data,
        held_out: None,
        init: None,
        out: &out,
        config: &config,
        resume: false,
    };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let control = Control::default();
    let (cancel, heard, states) = (control.cancel.clone(), Arc::clone(&asked), out.join("checkpoints"));
    let control = control.with_gate(move |step| {
        let saved = std::fs::read_dir(&states).map_or(0, Iterator::count);
        heard.lock().expect("one thread").push((step, saved));
        if step == 3 {
            cancel.cancel();
        }
    });
    let mut steps = Vec::new();
    let ended = sft.run(&control, &mut |_| {}, &mut |progress| {
        if let Progress::Step(metrics) = progress {
            steps.push(metrics.step);
        }
    });
    assert_eq!(ended.expect("a cancel is no failure"), None);
    assert_eq!(steps, [1, 2, 3], "the gate's cancel holds before the step");
    assert_eq!(*asked.lock().expect("one thread"), [(0, 0), (1, 0), (2, 1), (3, 1)]);
}

#[test]
fn a_run_waits_stops_and_goes_on() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let model = load(&device, &golden_path("tiny/llama-mha-untied"));
    let folder = tempfile::tempdir().expect("a scratch directory");
    let data = folder.path().join("rows.jsonl");
    rows(&data);
    let mut config = SftConfig { steps: Auto::Fixed(8), ..SftConfig::default() };
    config.lora.rank = 4;
    config.batch.sequences = 2;
    config.checkpoint.every = 3;
    let out = folder.path().join("run");
    let sft = |resume| Sft {
        model: &model,
        data: &data,
        held_out: None,
        init: None,
        out: &out,
        config: &config,
        resume,
    };

    // It is paused after its second step and let go by another thread; cancelled after its fifth.
    let control = Control::default();
    let (mut steps, mut saved) = (Vec::new(), Vec::new());
    let mut paused_at: Option<Instant> = None;
    let ended = sft(false).run(&control, &mut |_| {}, &mut |progress| match progress {
        Progress::Step(metrics) => {
            if let Some(since) = paused_at.take() {
                assert!(since.elapsed() >= Duration::from_millis(300), "it did not wait");
            }
            steps.push(metrics.step);
            if metrics.step == 2 {
                control.pause();
                paused_at = Some(Instant::now());
                let control = control.clone();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(300));
                    control.resume();
                });
            } else if metrics.step == 5 {
                control.cancel.cancel();
            }
        }
        Progress::Saved(path) => saved.push(path.to_owned()),
        _ => {}
    });
    assert_eq!(ended.expect("a cancel is no failure"), None);
    assert_eq!(steps, [1, 2, 3, 4, 5]);
    assert_eq!(saved.len(), 2, "after step 3 and on the cancel: {saved:?}");

    let refused = sft(false).run(&Control::default(), &mut |_| {}, &mut |_| {});
    assert!(refused.expect_err("there is a run").to_string().contains("after step 5"));
    let mut later = Vec::new();
    let adapter = sft(true).run(&Control::default(), &mut |_| {}, &mut |progress| match progress {
        Progress::Resumed(step) => later.push(step),
        Progress::Step(metrics) => later.push(metrics.step),
        _ => {}
    });
    assert_eq!(adapter.expect("it goes on"), Some(out.join("adapter")));
    assert_eq!(later, [5, 6, 7, 8]);

    // A damaged state is passed over for the one before it.
    let newest = out.join("checkpoints/step-00000008.safetensors");
    let mut bytes = std::fs::read(&newest).expect("the last state");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&newest, bytes).expect("a scratch directory is writable");
    let (mut damaged, mut from) = (Vec::new(), 0);
    sft(true)
        .run(&Control::default(), &mut |prospect| damaged.clone_from(&prospect.damaged), &mut |progress| {
            if let Progress::Resumed(step) = progress {
                from = step;
            }
        })
        .expect("the state before is sound");
    assert_eq!(from, 6);
    assert!(damaged.len() == 1 && damaged[0].contains("step-00000008"), "{damaged:?}");
}
