//! A tiny model learns rules that a program can check, follows their negation, and is found again on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parr::ErrorKind;
use parr::adapter::Adapter;
use parr::generate::CancelToken;
use parr::gpu::{Device, DeviceOptions};
use parr::model::Model;
use parr::reward::{
    EvaluateOptions, RewardConfig, RewardData, RewardError, RewardModel, RewardOptions, RewardTraining,
    ScoreRequest, evaluate,
};
use parr::settings::Auto;
use parr::train::{Control, Event, Items};
use serde_json::Value;

use super::{data, load, settings, tiny_that_reads};
use crate::support::gpu;

fn device() -> Device {
    gpu::open(&DeviceOptions::default())
}

/// Runs to the end, or until `most` steps are done and it is cancelled, and returns the folder of the reward model.
fn train(
    model: &Model,
    data: &RewardData,
    config: &RewardConfig,
    out: &Path,
    init: Option<&Adapter>,
    most: Option<u64>,
) -> Result<PathBuf, RewardError> {
    let control = Control::default();
    let mut training = RewardTraining::new(model, data, out).config(config).resume(out.exists());
    if let Some(adapter) = init {
        training = training.init(adapter, "earlier");
    }
    training.run(&control, &mut |event| {
        if let Event::Step(step) = event
            && Some(step.number()) == most
        {
            control.cancel.cancel();
        }
    })
}

/// What a run logged, but for the clock.
fn logged(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("metrics.jsonl")).expect("a run keeps its metrics");
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("a record a line");
        let fields = record.as_object_mut().expect("an object");
        fields.retain(|name, _| !name.contains("second") && !name.contains("runtime"));
        record
    };
    text.lines().map(record).collect()
}

#[test]
fn a_tiny_model_learns_rules_and_follows_their_negation() {
    let _turn = gpu::turn();
    let device = device();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let (data, mut config) = (data(160), settings());
    config.steps = Auto::Fixed(56);
    config.evaluation.every = 28;
    let start = Instant::now();
    let trained =
        train(&model, &data, &config, &folder.path().join("run"), None, None).expect("nobody cancels");
    println!("trained in {:.1?}", start.elapsed());
    let held_out: Vec<f64> = logged(&folder.path().join("run"))
        .iter()
        .filter_map(|record| record["eval/accuracy"].as_f64())
        .collect();
    println!("held-out accuracy {held_out:?}");
    assert!(
        held_out.len() == 3 && held_out[0] < 0.7 && held_out[2] >= 0.9,
        "chance before the first step: {held_out:?}"
    );

    let mut reward = RewardModel::open(&model, &trained, &RewardOptions::default()).expect("it was written");
    let card = reward.reward_card().clone();
    assert_eq!(
        (&card.sets, &card.principles),
        (&vec!["rules".into()], &vec!["agrees".into(), "loud".into()])
    );
    assert_eq!(card.aggregate.as_ref(), Some(&config.aggregate), "who measures knows what was held out");
    // It was taught one principle at a time; here it meets two at once as well.
    let mut aggregate = config.aggregate.clone();
    aggregate.most_principles = 2;
    let options = EvaluateOptions { aggregate, everything: false, limit: Some(60) };
    let mut asked = (0, 0);
    let report = evaluate(&mut reward, &data, &options, &CancelToken::new(), &mut |event| {
        let Event::Counted(count) = event else { panic!("{event:?}") };
        assert_eq!(count.what, Items::Scores);
        asked = (count.done, count.of);
    })
    .expect("held-out pairs");
    println!("{} questions, {:.1?} in all", report.questions, start.elapsed());
    assert_eq!(asked, (report.questions, report.questions));

    let lists = &report.lists.all;
    println!("lists {lists:?}, flips {:?}", report.list_flips);
    println!("order {:?}, by length {:?}", report.order_consistency, report.lists.by_length);
    println!("alone {:?}, flips {:?}", report.alone_accuracy, report.alone_flips);
    assert_eq!(lists.pairs, 60);
    let single = report.lists.by_length[&1];
    assert!(single.accuracy >= 0.9 && report.lists.by_length[&2].pairs > 0, "{:?}", report.lists.by_length);
    assert!(report.list_flips.of == 60 && report.list_flips.rate >= 0.6, "{:?}", report.list_flips);
    assert_eq!(report.order_consistency.of, report.lists.by_length[&2].pairs);
    assert!(report.alone_accuracy.rate >= 0.9, "{:?}", report.alone_accuracy);
    assert!(report.alone_flips.rate >= 0.9, "{:?}", report.alone_flips);
    assert_eq!(report.alone.iter().map(|one| one.taught).collect::<Vec<_>>(), [true, true]);
    assert_eq!(report.sensitivity.len(), 2);
    assert!(report.sensitivity.iter().all(|one| one.shift > 0.2), "{:?}", report.sensitivity);
    assert!(report.calibration.bins.len() >= 2, "{:?}", report.calibration);
    assert_eq!(report.margins.len(), 60);

    let json = serde_json::to_value(&report).expect("plain values");
    assert_eq!(json["lists"]["by_length"]["1"]["pairs"], single.pairs);
    let page = report.to_html();
    assert_eq!(page.matches("<svg").count(), 5, "bars, sensitivity, length, calibration, margins");
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    for outside in ["http:", "https:", "<script", "<link", "<img", "url(", "@import", "NaN", "inf\""] {
        assert!(!page.contains(outside), "the page holds {outside}");
    }
    assert!(page.contains("prefers-color-scheme:dark"));
}

#[test]
fn scores_are_those_of_training_and_depend_on_nothing_beside_them() {
    let _turn = gpu::turn();
    let device = device();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let mut config = settings();
    config.steps = Auto::Fixed(4);
    let out = folder.path().join("run");
    let data = data(40);
    let trained = train(&model, &data, &config, &out, None, None).expect("nobody cancels");
    let adapter = Adapter::open(&trained, model.config()).expect("it was written");
    let of_training = &adapter.card.metrics["held_out"]["all"];

    let score = |slots: usize, questions: &[ScoreRequest<'_>]| -> Vec<f32> {
        let options = RewardOptions { slots, any_base: false };
        let mut reward = RewardModel::open(&model, &trained, &options).expect("it was written");
        let scores = reward.score(questions, &CancelToken::new(), &mut |_| {}).expect("sound questions");
        scores.iter().map(|score| score.value).collect()
    };
    let mut reward = RewardModel::open(&model, &trained, &RewardOptions::default()).expect("it was written");
    let options = EvaluateOptions { aggregate: config.aggregate.clone(), everything: false, limit: None };
    let report =
        evaluate(&mut reward, &data, &options, &CancelToken::new(), &mut |_| {}).expect("held-out pairs");
    assert_eq!(Some(report.lists.all.pairs as u64), of_training["pairs"].as_u64());
    let apart = report.lists.all.margin - of_training["margin"].as_f64().expect("a number");
    assert!(apart.abs() <= 1e-5, "mean margins {apart:.1e} apart");

    // Several lists of one reply share its beginning; alone it has nobody to share with.
    let lists: [Vec<&str>; 4] = [vec![], vec!["Say yes."], vec!["Say no.", "Be calm."], vec!["Be loud!"]];
    let questions: Vec<ScoreRequest<'_>> = ["yes!", "no, and that is all that can be said of it."]
        .iter()
        .flat_map(|reply| lists.iter().map(|list| ScoreRequest::new("Is it?", reply, list.clone())))
        .collect();
    let together = score(8, &questions);
    let few = score(3, &questions);
    for (at, question) in questions.iter().enumerate() {
        let alone = score(1, std::slice::from_ref(question))[0];
        for (name, other) in [("together", together[at]), ("by threes", few[at])] {
            let apart = (alone - other).abs();
            assert!(apart <= 1e-5 * alone.abs().max(1.0), "question {at} alone {alone}, {name} {other}");
        }
    }
    assert!(together.windows(2).all(|pair| pair[0] != pair[1]), "different questions: {together:?}");
}

#[test]
fn a_resumed_run_is_a_run_without_a_pause() {
    let _turn = gpu::turn();
    let device = device();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let mut config = settings();
    // Over the end of the first pass, so that the second is found again too.
    config.steps = Auto::Fixed(7);
    config.batch.pairs = 6;
    config.evaluation.every = 3;
    let data = data(30);
    let (whole, paused) = (folder.path().join("whole"), folder.path().join("paused"));
    train(&model, &data, &config, &whole, None, None).expect("nobody cancels");
    for most in [2, 5] {
        let error = train(&model, &data, &config, &paused, None, Some(most)).expect_err("cancelled");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
    train(&model, &data, &config, &paused, None, None).expect("nobody cancels");
    assert_eq!(logged(&paused), logged(&whole));
    for file in ["adapter/adapter_model.safetensors", "adapter/reward_head.safetensors", "adapter/parr.json"]
    {
        let read = |out: &Path| fs::read(out.join(file)).expect("a reward model");
        assert!(read(&paused) == read(&whole), "{file} differs");
    }
}

#[test]
fn preferences_without_principles_are_a_start() {
    let _turn = gpu::turn();
    let device = device();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let rows = folder.path().join("hh.jsonl");
    let row = |number: u32| {
        format!(
            "{{\"prompt\": \"Is it {number}?\", \"chosen\": \"yes!\", \"rejected\": \"no.\", \"more\": 1}}\n"
        )
    };
    fs::write(&rows, (0..24).map(row).collect::<String>()).expect("a scratch directory is writable");
    let preferences = RewardData::preferences(&rows).expect("sound rows");
    let mut config = settings();
    config.steps = Auto::Fixed(12);
    config.batch.pairs = 8;
    let start = train(&model, &preferences, &config, &folder.path().join("start"), None, None);
    let start = Adapter::open(&start.expect("nobody cancels"), model.config()).expect("it was written");
    let accuracy = start.card.metrics["eval_accuracy"].as_f64().expect("it was measured");
    assert!(accuracy == 1.0, "one reply is always the better one: {accuracy}");

    config.steps = Auto::Fixed(1);
    config.optimizer.learning_rate = 1e-9;
    config.factors = parr::reward::Factors::F16;
    let second = train(&model, &data(30), &config, &folder.path().join("second"), Some(&start), None);
    let second = second.expect("nobody cancels");
    let adapter = Adapter::open(&second, model.config()).expect("it was written");
    let (head, before) = (adapter.head.expect("a head"), start.head.expect("a head"));
    let apart = head.weight.iter().zip(&before.weight).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart <= 1e-6, "the head goes on from where it stood: {apart}");
    assert_eq!(adapter.card.other["reward"]["init"], "earlier");
    let bytes = |folder: &Path| fs::metadata(folder.join("adapter_model.safetensors")).expect("there").len();
    assert!(bytes(&second) * 3 < bytes(&folder.path().join("start/adapter")) * 2, "f16 is about half");
}
