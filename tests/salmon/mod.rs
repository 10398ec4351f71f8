//! The pipeline: what is skipped and what is redone, and runs that are killed.

mod edited;
#[cfg(feature = "cli")]
mod hashed;
#[cfg(feature = "cli")]
mod killed;
mod run;
mod status;

use std::fs;
use std::path::{Path, PathBuf};

use parr::salmon::{Budget, NewRun, PipelineConfig, init};
use parr::settings::Auto;
use parr::settings::Settings;

use crate::reward::tiny_that_reads;

/// A model of random weights that reads, and knows how a conversation is written.
fn tiny(folder: &Path) -> PathBuf {
    let path = tiny_that_reads(folder);
    let template = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    fs::write(path.join("chat_template.jinja"), template).expect("a scratch directory is writable");
    path
}

/// Settings under which the tiny model runs through all stages in seconds: programs judge what it says.
fn minimal(model: &Path) -> PipelineConfig {
    let mut config = PipelineConfig::preset(Budget::Small);
    config.model = model.to_str().expect("UTF-8").to_owned();
    config.preferences.judge = parr::judge::JudgeKind::Check;
    config.preferences.verdicts = parr::judge::Verdicts::All;
    config.preferences.replies.plan = parr::judge::ReplyPlan::Sample;
    config.preferences.replies.max_tokens = 12;
    config.preferences.replies.temperature = 1.5;
    config.preferences.batch.slots = 4;
    config.reward.steps = Auto::Fixed(4);
    config.reward.lora.rank = 2;
    config.reward.batch.pairs = 2;
    config.reward.limits.tokens = 400;
    config.reward.checkpoint.every = 1;
    config.evaluation.limit = 4;
    config.align.steps = Auto::Fixed(2);
    config.align.lora.rank = 2;
    // Of 16 prompts: the second rollout begins with them anew.
    config.align.rollout.prompts = 9;
    config.align.rollout.max_reply_tokens = 6;
    config
}

/// A folder with everything that a pipeline reads, under `config`.
fn folder(path: &Path, config: &PipelineConfig) {
    init(path, &NewRun::default()).expect("an empty folder");
    write(path, config);
}

/// Puts other settings into the folder of a pipeline.
fn write(path: &Path, config: &PipelineConfig) {
    fs::write(path.join(PipelineConfig::FILE), config.to_toml()).expect("a scratch directory is writable");
}

/// Replaces words in a file of the folder.
fn edit(path: &Path, name: &str, from: &str, to: &str) {
    let file = path.join(name);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(text.contains(from), "{name} has no `{from}`: {text}");
    fs::write(&file, text.replacen(from, to, 1)).expect("a scratch directory is writable");
}
