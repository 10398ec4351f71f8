//! Pointwise reward models: a tiny one learns to read principles one by one, and its scores add up.

use std::fs;
use std::path::{Path, PathBuf};

use parr::ErrorKind;
use parr::adapter::Adapter;
use parr::align::estimate::{FinishedReply, RewardSource};
use parr::align::{ModelReward, RewardRole};
use parr::generate::{CancelToken, GeneratorOptions};
use parr::gpu::DeviceOptions;
use parr::model::Model;
use parr::model::lora::{LoraConfig, LoraWeights, Projections};
use parr::preferences::{Label, LabelledReply};
use parr::principles::PromptType;
use parr::reward::{
    Form, LabelledData, LimitSettings, PointwiseConfig, PointwiseTraining, RewardError, RewardModel,
    RewardOptions, ScoreRequest,
};
use parr::settings::Auto;
use parr::steer::SteeredModel;
use parr::train::{Control, DataSummary, Event};
use serde_json::Value;

use super::{load, tiny_that_reads};
use crate::support::gpu;

/// Replies that say yes or no, loudly or calmly, each under all four rules.
pub fn data(n: usize) -> LabelledData {
    let replies = (0..n).map(|at| {
        let (yes, loud) = (at % 2 == 0, at / 2 % 2 == 0);
        let reply = format!("{}{}", if yes { "yes" } else { "no" }, if loud { "!" } else { "." });
        let label = |principle: &str, keeps: bool| Label {
            principle: principle.to_owned(),
            keeps,
            attribute: Some(principle.to_owned()),
        };
        let labels = vec![
            label("Say yes.", yes),
            label("Say no.", !yes),
            label("Be loud!", loud),
            label("Be calm.", !loud),
        ];
        LabelledReply { id: format!("r{at}"), prompt: format!("Is it {at}?"), reply, labels }
    });
    LabelledData::of_replies(replies.collect()).expect("sound replies")
}

pub fn settings() -> PointwiseConfig {
    let mut config = PointwiseConfig::default();
    config.lora.rank = 8;
    config.optimizer.learning_rate = 4e-3;
    config.limits = LimitSettings { tokens: 120, request: 16, reply: 24 };
    config.batch.replies = 8;
    config.held_out = 0.2;
    config.evaluation.every = 0;
    // The line of counts is longer than these replies; it has a test of its own.
    config.counts = false;
    config
}

pub fn train(
    model: &Model,
    data: &LabelledData,
    config: &PointwiseConfig,
    out: &Path,
    most: Option<u64>,
) -> Result<PathBuf, RewardError> {
    let control = Control::default();
    PointwiseTraining::new(model, data, out).config(config).resume(out.exists()).run(&control, &mut |event| {
        if let Event::Step(step) = event
            && Some(step.number()) == most
        {
            control.cancel.cancel();
        }
    })
}

/// The last record of a run's metrics.
fn last(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("metrics.jsonl")).expect("a run keeps its metrics");
    serde_json::from_str(text.lines().last().expect("a record")).expect("JSON")
}

#[test]
fn a_tiny_model_learns_rules_one_by_one_and_their_scores_add_up() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let (data, mut config) = (data(160), settings());
    config.steps = Auto::Fixed(60);
    let out = folder.path().join("run");
    let mut planned = None;
    let trained = PointwiseTraining::new(&model, &data, &out)
        .config(&config)
        .run(&Control::default(), &mut |event| {
            if let Event::Planned(plan) = event {
                planned = Some((plan.count, plan.held_out, plan.data.clone()));
            }
        })
        .expect("nobody cancels");
    let (count, held_out, summary) = planned.expect("a run begins with its plan");
    assert!(count + held_out == 160 && held_out > 10, "{count} and {held_out}");
    assert_eq!(summary, DataSummary::Labelled { replies: count, labels: 4 * count });
    let accuracy = last(&out)["eval/accuracy"].as_f64().expect("it is measured at the end");
    println!("held-out accuracy {accuracy}");
    assert!(accuracy >= 0.9, "{accuracy}");

    let mut reward = RewardModel::open(&model, &trained, &RewardOptions::default()).expect("it was written");
    let card = reward.reward_card();
    assert_eq!(card.form, Form::Pointwise);
    assert_eq!(card.attributes, ["Be calm.", "Be loud!", "Say no.", "Say yes."]);
    let mut score = |reply: &str, principles: &[&str]| {
        let question = ScoreRequest::new("Is it 9?", reply, principles.to_vec());
        reward.score(&[question], &CancelToken::new(), &mut |_| {}).expect("sound").remove(0)
    };
    // A list that no training saw, with its parts.
    let list = ["Say yes.", "Be calm.", "Say no."];
    let whole = score("yes.", &list);
    assert!(whole.parts[0] > 0.0 && whole.parts[1] > 0.0 && whole.parts[2] < 0.0, "{whole:?}");
    assert_eq!(whole.value, whole.parts.iter().sum::<f32>());
    for (principle, part) in list.iter().zip(&whole.parts) {
        let alone = score("yes.", &[principle]);
        assert!(
            (alone.value - part).abs() <= 1e-4 * part.abs().max(1.0),
            "{principle}: {alone:?} and {part}"
        );
        assert_eq!(alone.parts, [alone.value]);
    }
    assert_eq!(score("yes.", &[]).parts.len(), 1, "without principles, one about replies in general");

    // As a source of rewards, with the parts of each reply. A blank reply cannot be read and has none.
    let mut source = ModelReward::new(&mut reward, &CancelToken::new());
    let finished = |reply| FinishedReply {
        prompt: "Is it 9?",
        kind: PromptType::General,
        principles: &list,
        reply,
        tokens: &[],
        ended: true,
    };
    let values = source.score(&[finished("yes."), finished(" ")]).expect("sound");
    assert_eq!(values, [f64::from(whole.value); 2]);
    assert_eq!(source.parts(), [whole.parts, Vec::new()]);
}

#[test]
fn the_first_scores_are_a_part_of_the_models_own_odds_of_yes_and_no() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let (data, mut config) = (data(16), settings());
    config.steps = Auto::Fixed(1);
    config.optimizer.learning_rate = 1e-12;
    let out = folder.path().join("run");
    let trained = train(&model, &data, &config, &out, None).expect("nobody cancels");
    let mut reward = RewardModel::open(&model, &trained, &RewardOptions::default()).expect("it was written");
    let question = ScoreRequest::new("Is it?", "yes!", vec!["Say yes."]);
    let found = reward.score(&[question], &CancelToken::new(), &mut |_| {}).expect("sound")[0].value;

    use parr::generate::{Generator, GeneratorOptions};
    use parr::ops::KvFormat;
    use parr::preferences::PointwiseFormat;
    let tokenizer = model.tokenizer().expect("it reads");
    let format = PointwiseFormat::new(tokenizer, config.limits.limits()).expect("room");
    let Some([yes, no]) = format.answers().expect("sound texts") else {
        // A tokenizer that splits the answers starts from nothing.
        assert!(found.abs() < 1e-6, "{found}");
        return;
    };
    let input = format.encode("Is it?", "yes!", &["Say yes."]).expect("sound texts");
    let ids = [&input.shared[..], &input.branches[0]].concat();
    let options = GeneratorOptions { slots: 1, context: 128, kv: KvFormat::F32, repetition_window: 1 };
    let mut generator = Generator::new(&model, options).expect("a small cache fits");
    let mut logits = Vec::new();
    generator
        .logits(&ids, None, &CancelToken::new(), &mut |rows| logits.extend_from_slice(rows))
        .expect("known ids");
    let row = &logits[logits.len() - model.config().vocab..];
    // The head starts at a tenth of the difference between the rows of the two answers.
    let odds = 0.1 * (row[yes as usize] - row[no as usize]);
    assert!((odds - found).abs() <= 1e-4 * odds.abs().max(1.0), "{odds} and {found}");
}

#[test]
fn a_resumed_pointwise_run_is_a_run_without_a_pause() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let (data, mut config) = (data(24), settings());
    config.steps = Auto::Fixed(6);
    let (whole, paused) = (folder.path().join("whole"), folder.path().join("paused"));
    train(&model, &data, &config, &whole, None).expect("nobody cancels");
    for most in [2, 5] {
        let error = train(&model, &data, &config, &paused, Some(most)).expect_err("cancelled");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
    // The adapter of the state in between, without another step. It does not keep the run from going on.
    let control = Control::default();
    control.finish();
    let training = PointwiseTraining::new(&model, &data, &paused).config(&config).resume(true);
    let between =
        training.run(&control, &mut |event| assert!(!matches!(event, Event::Step(_)))).expect("a state");
    let card = Adapter::inspect(&between).expect("a reward model").card;
    assert_eq!(card.steps, Some(5));
    train(&model, &data, &config, &paused, None).expect("nobody cancels");
    for file in ["adapter/adapter_model.safetensors", "adapter/reward_head.safetensors", "adapter/parr.json"]
    {
        let read = |out: &Path| fs::read(out.join(file)).expect("a reward model");
        assert!(read(&paused) == read(&whole), "{file} differs");
    }
}

#[test]
fn data_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let path = folder.path().join("labelled.jsonl");
    let fault = |text: &str| {
        fs::write(&path, text).expect("a scratch directory is writable");
        LabelledData::read(std::slice::from_ref(&path)).expect_err("not to be used").to_string()
    };
    let row = r#"{"id":"a","prompt":"p","reply":"r","labels":[{"principle":"x","keeps":true}]}"#;
    assert!(fault("").contains("contains no labelled replies"));
    assert!(fault(&format!("{row}\n{row}\n")).contains("line 2: the id `a` is already used on line 1"));
    assert!(fault(&row.replace("true", "1")).contains("line 1: invalid type"));
    assert!(fault(&row.replace("\"r\"", "\" \"")).contains("line 1: `reply` is empty"));
    assert!(fault(&row.replace("\"x\"", "\"\"")).contains("the principle of label 1 is empty"));
    let none = row.replace(r#"[{"principle":"x","keeps":true}]"#, "[]");
    assert!(fault(&none).contains("it has no labels"));
}

#[test]
fn labels_that_are_reserved_for_evaluation_are_refused() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let out = folder.path().join("run");
    let refused = |principle: &str, attribute: Option<&str>| {
        let mut replies = data(4).replies().to_vec();
        replies[2].labels[1].principle = principle.to_owned();
        replies[2].labels[1].attribute = attribute.map(str::to_owned);
        let data = LabelledData::of_replies(replies).expect("sound replies");
        train(&model, &data, &settings(), &out, Some(0)).expect_err("reserved")
    };
    let attribute = refused("Mind the joints.", Some("emoji+semicolons"));
    assert_eq!(attribute.kind(), ErrorKind::Data);
    let text = attribute.to_string();
    assert!(text.contains("reply `r2`") && text.contains("Mind the joints."), "{text}");
    assert!(text.contains("`semicolons`, an attribute that is held out"), "{text}");
    // The sentence is known, however it is written, and whatever is named as its attribute.
    let text = refused("i hate lists with dashes; JUST talk to me normally", Some("emoji")).to_string();
    assert!(text.contains("is a sentence that is held out for evaluation; leave it out"), "{text}");
    assert!(!out.exists(), "nothing is written before the data is checked");
}

/// Replies that follow each other with the same principles are compared, and stay in one step.
#[test]
fn groups_stay_together_and_their_replies_are_compared() {
    let rows = data(8);
    assert_eq!(rows.groups().count(), 8, "their prompts differ");
    let mut replies = rows.replies().to_vec();
    for reply in &mut replies {
        reply.prompt = "Is it?".to_owned();
    }
    replies[5].labels.swap(0, 1);
    let rows = LabelledData::of_replies(replies).expect("sound replies");
    assert_eq!(rows.groups().map(<[_]>::len).collect::<Vec<_>>(), [5, 1, 2]);

    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let mut replies = data(12).replies().to_vec();
    for reply in &mut replies[..8] {
        reply.prompt = "Is it?".to_owned();
    }
    let rows = LabelledData::of_replies(replies).expect("sound replies");
    let mut config = settings();
    (config.held_out, config.shuffle, config.steps) = (0.0, false, Auto::Fixed(2));
    let out = folder.path().join("run");
    train(&model, &rows, &config, &out, None).expect("nobody cancels");
    let text = fs::read_to_string(out.join("metrics.jsonl")).expect("a run keeps its metrics");
    let compared: Vec<bool> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|record| record.get("train/accuracy").is_some())
        .map(|record| record.get("train/compared").is_some_and(Value::is_number))
        .collect();
    // In the order of the file: a step of eight replies to one prompt, then one of a reply alone.
    assert_eq!(compared, [true, false], "{text}");
}

/// The line of counts is in the input of training and of scoring, and only if the card states it.
#[test]
fn counts_are_read_if_the_model_was_trained_with_them() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let question = || [ScoreRequest::new("Is it?", "yes! yes!", vec!["Say yes."])];
    let mut tokens = Vec::new();
    for counts in [false, true] {
        let mut config = settings();
        (config.counts, config.steps) = (counts, Auto::Fixed(1));
        config.limits.tokens = 400;
        let out = folder.path().join(format!("run-{counts}"));
        let trained = train(&model, &data(16), &config, &out, None).expect("nobody cancels");
        let mut reward =
            RewardModel::open(&model, &trained, &RewardOptions::default()).expect("it was written");
        assert_eq!(reward.reward_card().counts, counts);
        let found = reward.score(&question(), &CancelToken::new(), &mut |_| {}).expect("sound").remove(0);
        tokens.push(found.tokens);
    }
    assert!(tokens[1] > tokens[0] + 50, "{tokens:?}");
}

/// A reward model of the first layers: smaller, saved with their number, the same on every base with these layers.
#[test]
fn a_reward_model_may_read_the_first_layers_alone() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let all = model.config().layers.len();
    assert!(all > 1, "{all} layers");
    let (data, mut config) = (data(24), settings());
    (config.layers, config.steps) = (Auto::Fixed(all - 1), Auto::Fixed(3));
    let out = folder.path().join("run");
    let trained = train(&model, &data, &config, &out, None).expect("nobody cancels");
    let mut reward = RewardModel::open(&model, &trained, &RewardOptions::default()).expect("it was written");
    assert_eq!(reward.reward_card().layers, Some(all - 1));
    assert_eq!(reward.model().config().layers.len(), all - 1);
    let question = || [ScoreRequest::new("Is it?", "yes!", vec!["Say yes.", "Be calm."])];
    let found = reward.score(&question(), &CancelToken::new(), &mut |_| {}).expect("sound").remove(0);
    let first = model.first_layers(all - 1).expect("it has them");
    let mut there = RewardModel::open(&first, &trained, &RewardOptions::default()).expect("it fits");
    assert_eq!(there.score(&question(), &CancelToken::new(), &mut |_| {}).expect("sound").remove(0), found);
    let planned = RewardModel::plan_bytes(&model, &trained, &RewardOptions::default()).expect("it fits");
    assert_eq!(
        planned,
        RewardModel::plan_bytes(&first, &trained, &RewardOptions::default()).expect("it fits")
    );

    // In a chat it has a bank of its own, beside the adapter that answers.
    let lora = LoraConfig { rank: 4, alpha: 8.0, rs_lora: false, targets: Projections::ALL };
    let policy = LoraWeights::fresh(lora, model.config(), 1).expect("sound settings");
    for policy in [None, Some(&policy)] {
        let generation = GeneratorOptions { slots: 2, context: 64, ..GeneratorOptions::default() };
        let options = RewardOptions::default();
        let mut steered = SteeredModel::open(&model, policy, Some(&trained), generation, &options)
            .expect("small models fit");
        assert_eq!(steered.policy().is_some(), policy.is_some());
        let reward = steered.reward().expect("it was named");
        let scored = reward.score(&question(), &CancelToken::new(), &mut |_| {}).expect("sound").remove(0);
        assert_eq!(scored, found);
    }
    let role = RewardRole::open(&model, &trained, false).expect("it is a reward model");
    assert!(matches!(role, RewardRole::Apart(_)), "{role:?}");
    let whole = Adapter::open(&trained, first.config()).expect("it was written");
    let error = RewardRole::shared(&whole, &trained).expect_err("its layers are not those of a policy");
    assert!(error.to_string().contains("use RewardRole::open"), "{error}");

    let card = trained.join("parr.json");
    let text = fs::read_to_string(&card).expect("it was written");
    let more = text.replace(&format!("\"layers\": {}", all - 1), &format!("\"layers\": {}", all + 3));
    assert_ne!(more, text, "{text}");
    fs::write(&card, more).expect("a scratch directory is writable");
    let error =
        RewardModel::open(&model, &trained, &RewardOptions::default()).map(|_| ()).expect_err("too few");
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(
        error.to_string().contains(&format!("reads {} layers of its base, but the model has {all}", all + 3))
    );
    assert!(model.first_layers(0).is_none() && model.first_layers(all + 1).is_none());
    config.layers = Auto::Fixed(all + 1);
    let error =
        train(&model, &data, &config, &folder.path().join("other"), None).expect_err("too many layers");
    assert!(error.to_string().contains(&format!("reads {} layers", all + 1)), "{error}");
}
