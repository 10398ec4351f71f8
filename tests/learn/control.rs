//! Pausing, cancelling and resuming a run. A device that computes nothing is enough to steer by.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use parr::ErrorKind;
use parr::gpu::{Device, KernelFamily};
use parr::settings::Auto;
use parr::train::{Control, DataSummary, Event, Row, Rows, Sft, SftConfig, Step};

use super::{golden_path, load};

/// Rows of three tokens, as many as make several small batches.
fn rows() -> Vec<Row> {
    (3..20).map(|id| Row::Ids { ids: vec![1, 2, id], loss_mask: vec![false, true, true] }).collect()
}

/// The number of a finished step.
fn number(step: Step<'_>) -> u64 {
    assert!(matches!(step, Step::Trained(_)));
    step.number()
}

#[test]
fn a_gate_stands_before_every_step_and_after_what_was_saved() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let model = load(&device, &golden_path("tiny/llama-mha-untied"));
    let folder = tempfile::tempdir().expect("a scratch directory");
    let mut config = SftConfig { steps: Auto::Fixed(6), ..SftConfig::default() };
    config.lora.rank = 4;
    config.batch.sequences = 2;
    config.checkpoint.every = 2;
    let out = folder.path().join("run");
    let sft = Sft::new(&model, rows(), &out).config(&config);
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
    let ended = sft.run(&control, &mut |event| {
        if let Event::Step(step) = event {
            steps.push(number(step));
        }
    });
    assert_eq!(ended.expect_err("it was cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(steps, [1, 2, 3], "the gate's cancel holds before the step");
    assert_eq!(*asked.lock().expect("one thread"), [(0, 0), (1, 0), (2, 1), (3, 1)]);
}

#[test]
fn a_run_waits_stops_and_goes_on() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let model = load(&device, &golden_path("tiny/llama-mha-untied"));
    let folder = tempfile::tempdir().expect("a scratch directory");
    let mut config = SftConfig { steps: Auto::Fixed(8), ..SftConfig::default() };
    config.lora.rank = 4;
    config.batch.sequences = 2;
    config.checkpoint.every = 3;
    let out = folder.path().join("run");
    let sft = |resume| Sft::new(&model, rows(), &out).config(&config).resume(resume);

    // It is paused after its second step and let go by another thread; cancelled after its fifth.
    let control = Control::default();
    let (mut steps, mut saved) = (Vec::new(), Vec::new());
    let mut paused_at: Option<Instant> = None;
    let mut planned = None;
    let ended = sft(false).run(&control, &mut |event| match event {
        Event::Planned(plan) => planned = Some(plan.clone()),
        Event::Step(step) => {
            let step = number(step);
            if let Some(since) = paused_at.take() {
                assert!(since.elapsed() >= Duration::from_millis(300), "it did not wait");
            }
            steps.push(step);
            if step == 2 {
                control.pause();
                paused_at = Some(Instant::now());
                let control = control.clone();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(300));
                    control.resume();
                });
            } else if step == 5 {
                control.cancel.cancel();
            }
        }
        Event::Saved(path) => saved.push(path.to_owned()),
        _ => {}
    });
    let ended = ended.expect_err("it was cancelled");
    assert_eq!((ended.kind(), parr::Error::from(ended).is_cancelled()), (ErrorKind::Cancelled, true));
    let plan = planned.expect("the first event");
    assert_eq!((plan.count, plan.held_out, plan.left_out, plan.steps, plan.adapters), (16, 1, 0, Some(8), 1));
    assert!(matches!(&plan.data, DataSummary::Rows(report) if report.rows == 17), "{plan:?}");
    assert!(plan.parameters > 0 && plan.peak_bytes() > 0 && plan.damaged.is_empty(), "{plan:?}");
    assert_eq!(steps, [1, 2, 3, 4, 5]);
    assert_eq!(saved.len(), 2, "after step 3 and on the cancel: {saved:?}");

    let refused = sft(false).run(&Control::default(), &mut |_| {});
    assert!(refused.expect_err("there is a run").to_string().contains("a run at step 5"));
    let mut later = Vec::new();
    // The same rows from a file: their hash is the same, so it is the same run.
    let file = folder.path().join("rows.jsonl");
    let lines = rows().into_iter().map(|row| serde_json::to_string(&row).expect("plain values") + "\n");
    std::fs::write(&file, lines.collect::<String>()).expect("a scratch directory is writable");
    let resumed = Sft::new(&model, Rows::file(&file), &out).config(&config).resume(true);
    let adapter = resumed.run(&Control::default(), &mut |event| match event {
        Event::Resumed { step } => later.push(step),
        Event::Step(step) => later.push(number(step)),
        _ => {}
    });
    assert_eq!(adapter.expect("it resumes"), out.join("adapter"));
    assert_eq!(later, [5, 6, 7, 8]);

    // A damaged state is passed over for the one before it.
    let newest = out.join("checkpoints/step-00000008.safetensors");
    let mut bytes = std::fs::read(&newest).expect("the last state");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&newest, bytes).expect("a scratch directory is writable");
    let (mut damaged, mut from) = (Vec::new(), 0);
    sft(true)
        .run(&Control::default(), &mut |event| match event {
            Event::Planned(plan) => damaged.clone_from(&plan.damaged),
            Event::Resumed { step } => from = step,
            _ => {}
        })
        .expect("the state before is sound");
    assert_eq!(from, 6);
    assert!(damaged.len() == 1 && damaged[0].contains("step-00000008"), "{damaged:?}");
}
