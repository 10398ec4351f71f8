//! Steered replies: what is drawn, what is chosen among, what principles change.

/// Principles: which are used, who is told, files that change.
mod principles;
/// Best of n and guided decoding against their definitions.
mod search;

use std::fs;
use std::path::{Path, PathBuf};

use parr::adapter::Adapter;
use parr::generate::{GeneratorOptions, Sampling};
use parr::model::lora::ScalarHead;
use parr::model::{Model, ModelConfig};
use parr::ops::KvFormat;
use parr::random::{Philox, Purpose};
use parr::reward::RewardOptions;
use parr::steer::{Ask, SteeredModel, Steering};
use parr::tokenizer::Message;

use crate::adapter::adapter;
use crate::reward::tiny_that_reads;

/// A tiny model of random weights that has a chat template too.
pub fn tiny_that_chats(folder: &Path) -> PathBuf {
    let model = tiny_that_reads(folder);
    fs::copy(crate::adapter::golden("chat/chatml.jinja"), model.join("chat_template.jinja"))
        .expect("a scratch directory is writable");
    model
}

/// A reward model of random weights: its scores mean nothing, and hang on every token that it reads.
pub fn scorer(model: &ModelConfig, folder: &Path) -> PathBuf {
    let weight = |index: usize| Philox::new(5).uniform(Purpose::Conformance, 0, index as u32, 0) - 0.5;
    let weight = (0..model.hidden).map(weight).collect();
    let mut card = parr::adapter::Card::default();
    let limits = serde_json::json!({ "limits": { "tokens": 384, "request": 24, "reply": 96 } });
    card.other.insert("reward".to_owned(), limits);
    let head = Some(ScalarHead { weight, bias: 0.25 });
    let reward = Adapter { head, card, ..adapter(model, 4, 8.0, "all") };
    reward.write_peft(&folder.join("scorer")).expect("a scratch directory is writable");
    folder.join("scorer")
}

/// Room for four candidates.
fn options() -> GeneratorOptions {
    GeneratorOptions { slots: 4, context: 320, kv: KvFormat::F32, repetition_window: 16 }
}

fn open(model: &Model, reward: Option<&Path>) -> SteeredModel {
    SteeredModel::open(model, None, reward, options(), &RewardOptions::default()).expect("they fit")
}

/// A question under `steering`, to be answered at random in `max_tokens` tokens.
fn ask(model: &Model, steering: &Steering, text: &str, seed: u64, max_tokens: usize) -> Ask {
    let format = model.chat_format().expect("it has a template");
    let mut ask = Ask::new(format, steering, &[Message::new("user", text)]).expect("a plain conversation");
    ask.request.sampling = Sampling { temperature: 1.0, seed, ..Sampling::default() };
    ask.request.max_tokens = max_tokens;
    ask
}
