//! Replies judged by a reward model: on the policy's own base, in the same bank, or on a base of its own.

use std::fs;
use std::path::{Path, PathBuf};

use parr::adapter::{Adapter, Card};
use parr::align::Algorithm;
use parr::align::AlignConfig;
use parr::align::{Align, AlignMetrics, AlignPrompt, AlignPrompts, Guidelines, RewardRole, RolloutSample};
use parr::gpu::KernelFamily;
use parr::model::Model;
use parr::model::lora::ScalarHead;
use parr::preferences::Prompt;
use parr::principles::{PrincipleSet, PromptType, Use};
use parr::random::{Philox, Purpose};
use parr::reward::{LimitSettings, RewardCard, RewardModel, RewardOptions};
use parr::tokenizer::Specials;
use parr::train::{Control, Event, Step};
use serde_json::json;

use super::{REPLY, load, settings};
use crate::reward::{rules, tiny_that_reads};
use crate::support::gpu;

/// A reward model that has learned nothing, and has its opinions.
pub fn opinionated(model: &Model, folder: &Path) -> PathBuf {
    let config = settings(Algorithm::PPO, 0, 1);
    let weights = config.lora.fresh(model.config(), 8).expect("sound settings");
    let weight = |at: usize| Philox::new(4).uniform(Purpose::Conformance, 1, at as u32, 0) - 0.5;
    let head = ScalarHead { weight: (0..model.config().hidden).map(weight).collect(), bias: 0.5 };
    let limits = LimitSettings { tokens: 320, request: 24, reply: 48 };
    let card = RewardCard { limits, ..RewardCard::default() };
    let mut of_adapter = Card::default();
    of_adapter.other.insert("reward".to_owned(), json!(card));
    let path = folder.join("reward");
    Adapter { weights, head: Some(head), card: of_adapter }.write_peft(&path).expect("a scratch directory");
    path
}

pub(super) fn prompts(model: &Model) -> AlignPrompts {
    let tokenizer = model.tokenizer().expect("it reads");
    let prompt = |number: usize| {
        let text = format!("Is it {number}?");
        let ids = tokenizer.encode(&text, Specials::AsText).expect("plain text");
        let kind = PromptType::General;
        AlignPrompt { prompt: Prompt { id: format!("p{number}"), kind, language: None, text }, ids }
    };
    let prompts = (0..8).map(prompt).collect();
    AlignPrompts { path: PathBuf::from("prompts"), prompts, end_of_turn: Vec::new(), left_out: 0 }
}

fn first_step(
    model: &Model,
    reward: RewardRole<'_>,
    config: &AlignConfig,
    out: &Path,
) -> (AlignMetrics, Vec<RolloutSample>, usize) {
    let always = PrincipleSet { uses: Use::Always, ..rules() };
    let (prompts, guidelines, control) = (prompts(model), Guidelines::new(vec![always]), Control::default());
    let align = Align::new(model, &prompts, &guidelines, out).config(config).reward(reward);
    let (mut step, mut shown, mut adapters) = (None, Vec::new(), 0);
    let outcome = align.run(&control, &mut |event| match event {
        Event::Planned(plan) => adapters = plan.adapters,
        Event::Rollout { samples, .. } => shown = samples.to_vec(),
        Event::Step(Step::Aligned(metrics)) => step = Some(metrics.clone()),
        _ => {}
    });
    outcome.expect("sound settings");
    (step.expect("one step"), shown, adapters)
}

#[test]
fn a_reward_model_shares_the_bank_or_stands_apart(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let folder = tempfile::tempdir().expect("a scratch directory");
    let base = tiny_that_reads(folder.path());
    let model = load(&device, &base);
    let path = opinionated(&model, folder.path());
    let mut config = settings(Algorithm::PPO, 2, 1);
    config.rollout.prompts = 8;
    config.reward.weights.insert("reward_model".to_owned(), 2.0);
    config.reward.length.score = 1.0;

    let adapter = Adapter::open(&path, model.config()).expect("it was written");
    let role = RewardRole::shared(&adapter, &path).expect("it has a head");
    let (shared, shown, adapters) = first_step(&model, role, &config, &folder.path().join("shared"));
    assert_eq!(adapters, 3, "policy, critic and reward model; the base is the reference");
    assert_eq!((shared.rollout.kl, shared.value), (0.0, Some(0.0)));

    let other = load(&device, &base);
    let reward = RewardModel::open(&other, &path, &RewardOptions::default()).expect("it was written");
    let role = RewardRole::Apart(Box::new(reward));
    let (apart, _, adapters) = first_step(&model, role, &config, &folder.path().join("apart"));
    assert_eq!(adapters, 2);
    let distance = (shared.rollout.scores - apart.rollout.scores).abs();
    assert!(distance <= 1e-5 * shared.rollout.scores.abs().max(1.0), "{distance:e}");
    if device.tuning().family == KernelFamily::Lane8 {
        assert_eq!(shared.rollout, apart.rollout);
    }

    let names: Vec<&str> = shared.rollout.shares.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["objective/reward/reward_model", "objective/reward/length", "objective/reward/end_of_turn"]
    );
    assert_eq!(shown.len(), 8);
    for sample in &shown {
        assert_eq!(sample.principles, ["agrees", "loud"]);
        assert!(sample.tokens == REPLY && !sample.ended && sample.prompt.starts_with("Is it"));
        let sum: f64 = sample.shares.values().sum();
        assert!((sum - sample.reward).abs() < 1e-12, "{sample:?}");
    }
    let scores: Vec<f64> = shown.iter().map(|sample| sample.shares["reward_model"]).collect();
    assert!(scores.windows(2).any(|pair| pair[0] != pair[1]), "{scores:?}");
    // Asked by itself, the reward model says the same.
    let mut reward = RewardModel::open(&model, &path, &RewardOptions::default()).expect("it was written");
    for sample in shown.iter().filter(|sample| !sample.reply.trim().is_empty()) {
        let principles = vec!["Say yes.", "Be loud!"];
        let question = parr::reward::ScoreRequest::new(&sample.prompt, &sample.reply, principles);
        let score = reward.score(&[question], &Default::default(), &mut |_| {}).expect("a sound question");
        let apart = (2.0 * f64::from(score[0].value) - sample.shares["reward_model"]).abs();
        assert!(apart <= 1e-5, "{apart:e} for {sample:?}");
    }
    let lines = fs::read_to_string(folder.path().join("shared/rollouts/step-00000001.jsonl")).expect("kept");
    let read: Vec<RolloutSample> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a sample")).collect();
    assert_eq!(read, shown);
    let card = Adapter::open(&folder.path().join("shared"), model.config()).expect("it was written").card;
    let align = &card.other["align"];
    assert_eq!((&align["algorithm"], &align["ended"]), (&json!("ppo"), &json!("done")));
    assert_eq!(align["reward_sha256"].as_str().map(str::len), Some(64));
    assert!(card.base_sha256.is_some() && card.metrics.contains_key("objective_kl"));
}
