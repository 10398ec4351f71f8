//! What is refused, and that the message names its place.

use std::fs;
use std::path::Path;

use parr::adapter::{Adapter, Card};
use parr::generate::CancelToken;
use parr::gpu::DeviceOptions;
use parr::model::lora::{LoraConfig, LoraWeights, Projections, ScalarHead};
use parr::model::{Model, ModelConfig};
use parr::reward::{
    LimitSettings, RewardCard, RewardConfig, RewardError, RewardModel, RewardOptions, RewardTraining,
    ScoreRequest,
};
use parr::train::Control;
use serde_json::json;

use super::{data, load, settings, tiny_that_reads};
use crate::support::gpu;

/// A reward model that says nothing sensible.
fn untrained(model: &ModelConfig, limits: LimitSettings) -> Adapter {
    let config = LoraConfig { rank: 4, alpha: 8.0, rs_lora: false, targets: Projections::ALL };
    let weights = LoraWeights::fresh(config, model, 1).expect("sound settings");
    let head = ScalarHead { weight: vec![0.01; model.hidden], bias: 0.0 };
    let card = RewardCard { limits, ..RewardCard::default() };
    let mut other = serde_json::Map::new();
    other.insert("reward".to_owned(), serde_json::to_value(card).expect("plain values"));
    Adapter { weights, head: Some(head), card: Card { other, ..Card::default() } }
}

const LIMITS: LimitSettings = LimitSettings { tokens: 200, request: 16, reply: 24 };

fn opened(model: &Model, folder: &Path) -> Result<RewardModel, RewardError> {
    RewardModel::open(model, folder, &RewardOptions::default())
}

#[test]
fn what_is_no_reward_model_of_this_base_is_not_opened() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(scratch.path()));
    let sound = untrained(model.config(), LIMITS);
    let refused = |name: &str, adapter: &Adapter, parts: &[&str]| {
        let folder = scratch.path().join(name);
        adapter.write_peft(&folder).expect("a scratch directory is writable");
        let error = opened(&model, &folder).map(|_| ()).expect_err(name).to_string();
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    };
    let folder = scratch.path().join("sound");
    sound.write_peft(&folder).expect("a scratch directory is writable");
    let planned = RewardModel::plan_bytes(&model, &folder, &RewardOptions::default()).expect("it fits");
    let before = device.memory().current_bytes;
    let reward = opened(&model, &folder).expect("nothing is wrong with it");
    let taken = device.memory().current_bytes - before;
    // The plan has the buffers of a call, which come and go.
    assert!(taken <= planned && planned <= taken + (64 << 10), "{taken} taken, {planned} planned");
    drop(reward);

    refused(
        "headless",
        &Adapter { head: None, ..sound.clone() },
        &["headless", "not a reward model", "reward_head.safetensors"],
    );
    let mut other_base = sound.clone();
    other_base.card.base_sha256 = Some("12".repeat(32));
    refused("other-base", &other_base, &["trained on", "1212", "use the base"]);
    let folder = scratch.path().join("other-base");
    let any = RewardOptions { any_base: true, ..RewardOptions::default() };
    RewardModel::open(&model, &folder, &any).expect("who knows better may say so");

    let mut wide = model.config().clone();
    wide.hidden += 32;
    refused("other-shape", &untrained(&wide, LIMITS), &["made for another model"]);
    let long = LimitSettings { tokens: model.config().context + 1, ..LIMITS };
    refused("long", &untrained(model.config(), long), &["513", "context has 512"]);
    let short = LimitSettings { tokens: 12, ..LIMITS };
    refused("short", &untrained(model.config(), short), &["there is room for 12"]);
    let mut garbled = sound.clone();
    garbled.card.other.insert("reward".to_owned(), json!({ "limits": { "tokens": "many" } }));
    refused("garbled", &garbled, &["garbled", "`reward` cannot be read", "many"]);
    let error = opened(&model, &scratch.path().join("nowhere")).map(|_| ()).expect_err("nothing there");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn questions_that_cannot_be_asked_are_named_by_number() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(scratch.path()));
    let adapter = untrained(model.config(), LIMITS);
    let card = RewardCard { limits: LIMITS, ..RewardCard::default() };
    let mut reward =
        RewardModel::new(&model, &adapter, card, &RewardOptions::default()).expect("nothing is wrong");
    let sound = ScoreRequest::new("Is it?", "yes", vec!["Say yes."]);
    let endless = "Say yes, and again, and again. ".repeat(20);
    let mut ask = |question: ScoreRequest<'_>| {
        let error = reward
            .score(&[sound.clone(), question], &CancelToken::new(), &mut |_| panic!("nothing is computed"))
            .expect_err("the second cannot be asked");
        assert!(matches!(error, RewardError::Item { item: 1, .. }), "{error:?}");
        error.to_string()
    };
    assert_eq!(ask(ScoreRequest { reply: " \n", ..sound.clone() }), "item 1: the reply is empty");
    assert_eq!(ask(ScoreRequest { prompt: "", ..sound.clone() }), "item 1: the request is empty");
    let error = ask(ScoreRequest { principles: vec![&endless], ..sound.clone() });
    assert!(error.contains("there is room for 200"), "{error}");

    // A prompt that is longer than all that is read loses its beginning, and says so.
    let long = "Once upon a time. ".repeat(500);
    let questions = [sound.clone(), ScoreRequest { prompt: &long, ..sound.clone() }];
    let scores = reward.score(&questions, &CancelToken::new(), &mut |_| {}).expect("it is cut");
    assert_eq!((scores[0].cut_prompt, scores[0].cut_reply), (0, 0));
    assert!(scores[1].cut_prompt > 500 && scores[1].tokens <= 200, "{:?}", scores[1]);

    let cancelled = CancelToken::new();
    cancelled.cancel();
    let error = reward.score(&[sound], &cancelled, &mut |_| {}).expect_err("it was cancelled");
    assert_eq!(error.to_string(), "cancelled");
}

#[test]
fn nothing_is_written_for_a_run_that_cannot_start() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(scratch.path()));
    let out = scratch.path().join("run");
    let start = |model: &Model, config: &RewardConfig, comparisons: u32| {
        let data = data(comparisons);
        let training = RewardTraining::new(model, &data, &out).config(config);
        let error = training.run(&Control::default(), &mut |_| {}).expect_err("it cannot start");
        assert!(!out.exists(), "it left something behind: {error}");
        error
    };
    let mut config = settings();
    config.batch.pairs = 0;
    config.limits.reply = 0;
    let error = start(&model, &config, 8);
    assert!(matches!(error, RewardError::Settings(_)), "{error:?}");
    assert!(error.to_string().contains("limits.reply is 0"), "{error}");

    let mut config = settings();
    config.limits.tokens = 513;
    assert!(start(&model, &config, 8).to_string().contains("context has 512"));
    config = settings();
    config.aggregate.held_out = 1.0;
    assert!(start(&model, &config, 8).to_string().contains("held_out is 1"));
    config = settings();
    config.memory.budget_mib = parr::settings::Auto::Fixed(1);
    assert!(start(&model, &config, 8).to_string().contains("weights of the base"));

    let mute = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tiny/llama-mha-untied");
    let mut config = settings();
    config.limits.tokens = 64;
    let error = start(&load(&device, Path::new(mute)), &config, 8);
    assert!(matches!(error, RewardError::NoTokenizer), "{error:?}");
    assert!(fs::read_dir(scratch.path()).expect("a folder").count() == 1, "the model alone");
}
