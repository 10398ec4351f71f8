//! Reward models: a tiny one that learns, SmolLM2's scores as PyTorch has them, mistakes.

mod data;
mod golden;
mod learns;
mod pointwise;
mod reading;
mod refused;
mod shipped;

use std::path::{Path, PathBuf};

use parr::gpu::Device;
use parr::model::{LoadOptions, Model};
use parr::preferences::{Comparison, Prompt, SampledReply, Scores, Verdict};
use parr::principles::{Principle, PrincipleSet, PromptType};
use parr::random::{Philox, Purpose};
use parr::reward::{LimitSettings, RewardConfig, RewardData};
use parr::settings::Auto;

use crate::support::synthetic::{self, Shape};
use crate::text::byte_level;

/// A model of two small layers and pseudo-random weights that can read: it has a tokenizer, and positions
/// for a whole input.
pub fn tiny_that_reads(folder: &Path) -> PathBuf {
    let tokenizer = byte_level();
    let vocab = tokenizer.vocab_len();
    let shape = Shape {
        model_type: "llama",
        vocab,
        hidden: 64,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        ffn: 96,
        window: None,
        tied: true,
    };
    let model = folder.join("tiny");
    std::fs::create_dir_all(&model).expect("a scratch directory is writable");
    synthetic::write_directory(&shape, &synthetic::weights(&shape), &model);
    let path = model.join("config.json");
    let config = std::fs::read_to_string(&path).expect("just written");
    let config = config.replace("\"max_position_embeddings\":256", "\"max_position_embeddings\":512");
    std::fs::write(path, config).expect("a scratch directory is writable");
    let json = tokenizer.to_json().expect("it has a json form");
    std::fs::write(model.join("tokenizer.json"), json).expect("a scratch directory is writable");
    model
}

fn load(device: &Device, path: &Path) -> Model {
    Model::load(device, path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint loads")
}

/// Two visible qualities, each with its negation.
pub fn rules() -> PrincipleSet {
    let principle = |id: &str, definition: &str, negative: &str| Principle {
        id: id.to_owned(),
        dimension: id.to_owned(),
        definition: definition.to_owned(),
        negative: Some(negative.to_owned()),
        weight: 1.0,
        tags: Vec::new(),
        boost: Default::default(),
        decides: true,
        check: None,
    };
    PrincipleSet {
        id: "rules".to_owned(),
        principles: vec![
            principle("agrees", "Say yes.", "Say no."),
            principle("loud", "Be loud!", "Be calm."),
        ],
        sha256: "0".repeat(64),
        ..PrincipleSet::default()
    }
}

/// Replies that agree or do not, loudly or calmly, and a judge that sees which.
pub fn comparisons(count: u32) -> Vec<Comparison> {
    let set = rules();
    (0..count)
        .map(|number| {
            let draw = |what: u32| Philox::new(3).block(Purpose::Conformance, number, what, 0)[0];
            let kinds = [draw(0) % 4, (draw(0) % 4 + 1 + draw(1) % 3) % 4];
            let text = |kind: u32| {
                let word = if kind.is_multiple_of(2) { "yes" } else { "no" };
                let mark = if kind / 2 == 0 { "!" } else { "." };
                format!("{word}{mark}")
            };
            let score = |of: fn(u32) -> u32| {
                let [first, second] = kinds.map(|kind| f64::from(of(kind)));
                Scores::without_order(second - first)
            };
            let scores = [score(|kind| kind % 2), score(|kind| kind / 2)];
            let verdicts = set.principles.iter().zip(scores);
            Comparison {
                id: format!("c{number}"),
                prompt: Prompt {
                    id: format!("p{number}"),
                    kind: PromptType::General,
                    language: None,
                    text: format!("Is it {number}?"),
                },
                replies: kinds.map(|kind| SampledReply { text: text(kind), seed: 0, under: None }),
                judge: "rule".to_owned(),
                model: "none".to_owned(),
                seed: 0,
                verdicts: verdicts.map(|(principle, scores)| Verdict::new(principle, scores)).collect(),
            }
        })
        .collect()
}

pub fn data(count: u32) -> RewardData {
    RewardData::of_comparisons(comparisons(count), rules()).expect("sound comparisons")
}

/// Settings under which the tiny model learns the rules.
pub fn settings() -> RewardConfig {
    let mut config = RewardConfig {
        seed: 4,
        steps: Auto::Fixed(28),
        limits: LimitSettings { tokens: 256, request: 24, reply: 48 },
        ..RewardConfig::default()
    };
    config.lora.rank = 16;
    config.lora.alpha = 32.0;
    config.optimizer.learning_rate = 5e-3;
    config.batch.pairs = 12;
    config.aggregate.held_out = 0.25;
    config.aggregate.noise = 0.0;
    config.aggregate.most_principles = 1;
    config.evaluation.every = 14;
    config.checkpoint.every = 0;
    config
}
