//! Aligning a policy: what holds before anything is learned, toy tasks with a known optimum, resuming.

/// Algorithms in the table, and one that a program brings along.
mod algorithm;
mod config;
/// Policies from preferences, without a reward model.
mod dpo;
mod estimates;
/// Gradients of the PPO loss through a pass with policy and critic.
mod gradients;
/// A reward model on the same base, and one apart.
mod judged;
/// Device memory, counted beforehand.
mod plan;
/// What is refused, and how it is said.
mod refused;
/// Pausing, cancelling, resuming, giving up.
mod resumed;
/// Tasks whose optimum is known, by each algorithm.
mod solves;
/// The first rollout: nothing has been learned yet.
mod start;
/// Runs whose heavy parts other devices compute.
mod workers;

pub(crate) use judged::opinionated;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parr::ErrorKind;
use parr::adapter::Adapter;
use parr::align::Algorithm;
use parr::align::AlignConfig;
use parr::align::estimate::{CollapseConfig, FinishedReply, FnSource, RewardSource};
use parr::align::{Align, AlignError, AlignMetrics, AlignPrompt, AlignPrompts, Guidelines, Outcome};
use parr::gpu::Device;
use parr::model::{LoadOptions, Model};
use parr::preferences::Prompt;
use parr::principles::PromptType;
use parr::settings::Auto;
use parr::tokenizer::TokenId;
use parr::train::{Control, Event, Step};
use serde_json::Value;

use crate::support::synthetic::{self, Shape};

/// The token that is rewarded.
pub(crate) const WANTED: TokenId = 7;
/// Tokens of every reply.
pub(crate) const REPLY: usize = 6;

/// A model of two small layers and 32 tokens, none of which it finds very likely.
pub(crate) fn tiny(device: &Device, folder: &Path) -> Model {
    let shape = Shape {
        model_type: "llama",
        vocab: 32,
        hidden: 64,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        ffn: 96,
        window: None,
        tied: true,
    };
    let path = folder.join("tiny");
    fs::create_dir_all(&path).expect("a scratch directory is writable");
    synthetic::write_directory(&shape, &synthetic::weights(&shape), &path);
    load(device, &path)
}

pub(crate) fn load(device: &Device, path: &Path) -> Model {
    Model::load(device, path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint loads")
}

/// Prompts of uneven lengths, as tokens; no token ends a turn.
pub(crate) fn prompts(count: usize) -> AlignPrompts {
    let prompt = |number: usize| AlignPrompt {
        prompt: Prompt {
            id: format!("p{number}"),
            kind: PromptType::General,
            language: None,
            text: format!("question {number}"),
        },
        ids: (0..3 + number % 4).map(|at| ((at * 5 + number * 11) % 32) as TokenId).collect(),
    };
    AlignPrompts {
        path: PathBuf::from("prompts.jsonl"),
        prompts: (0..count).map(prompt).collect(),
        end_of_turn: Vec::new(),
        left_out: 0,
    }
}

/// The part of a reply's tokens that are the wanted one.
pub(crate) fn wanted() -> impl RewardSource {
    FnSource::new("wanted", |reply: &FinishedReply<'_>| {
        reply.tokens.iter().filter(|&&token| token == WANTED).count() as f64 / REPLY as f64
    })
}

/// Settings under which a tiny model learns quickly, and may go wherever it likes.
pub(crate) fn settings(algorithm: Algorithm, seed: u64, steps: usize) -> AlignConfig {
    let mut config = AlignConfig { algorithm, seed, steps: Auto::Fixed(steps), ..AlignConfig::default() };
    config.lora.rank = 8;
    config.lora.alpha = 16.0;
    config.optimizer.learning_rate = 1e-2;
    config.rollout.max_reply_tokens = REPLY;
    (config.rollout.prompts, config.rollout.replies) =
        if algorithm.spec().needs_groups { (8, 4) } else { (32, 1) };
    config.update.epochs = 2;
    // Without it a policy that is sure of one wrong token may stay so.
    config.update.entropy_weight = 0.01;
    config.kl.coefficient = 0.002;
    config.reward.unfinished.penalty = 0.0;
    config.collapse =
        CollapseConfig { kl: f64::INFINITY, entropy: 0.0, distinct_2: 0.0, ..CollapseConfig::default() };
    config.checkpoint.every = 0;
    config
}

/// A run over prompts whose rewards need no model.
pub(crate) struct Toy<'a> {
    pub model: &'a Model,
    pub config: &'a AlignConfig,
    pub out: &'a Path,
    pub init: Option<&'a Adapter>,
    pub budget: Option<Duration>,
}

impl Toy<'_> {
    /// The run itself, which goes on where its folder is there.
    pub fn align<'b>(&'b self, prompts: &'b AlignPrompts, guidelines: &'b Guidelines) -> Align<'b> {
        Align::new(self.model, prompts, guidelines, self.out)
            .config(self.config)
            .init(self.init)
            .source(wanted())
            .budget(self.budget)
            .resume(self.out.exists())
    }

    /// Runs it to the end.
    pub fn run(&self) -> (Outcome, Vec<AlignMetrics>) {
        let (outcome, steps) = self.start(usize::MAX);
        (outcome.expect("nobody cancels"), steps)
    }

    /// Runs it until `most` steps are done by this call, and cancels.
    pub fn cancelled_after(&self, most: usize) -> Vec<AlignMetrics> {
        let (outcome, steps) = self.start(most);
        assert_eq!(outcome.expect_err("it was cancelled").kind(), ErrorKind::Cancelled);
        steps
    }

    fn start(&self, most: usize) -> (Result<Outcome, AlignError>, Vec<AlignMetrics>) {
        let (prompts, guidelines, control) = (prompts(24), Guidelines::default(), Control::default());
        let mut steps = Vec::new();
        let outcome = self.align(&prompts, &guidelines).run(&control, &mut |event| {
            if let Event::Step(Step::Aligned(metrics)) = event {
                steps.push(metrics.clone());
                if steps.len() == most {
                    control.cancel.cancel();
                }
            }
        });
        (outcome, steps)
    }
}

/// What a run logged, but for the clock.
pub(crate) fn logged(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("metrics.jsonl")).expect("a run keeps its metrics");
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("a record a line");
        let fields = record.as_object_mut().expect("an object");
        fields.retain(|name, _| !name.contains("second") && !name.contains("runtime"));
        record
    };
    text.lines().map(record).collect()
}
