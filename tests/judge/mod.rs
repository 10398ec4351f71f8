//! Judges, and the collection of preferences, on a tiny model that chats.

mod collect;
mod judges;
mod settings;

use std::path::{Path, PathBuf};

use parr::gpu::Device;
use parr::model::{LoadOptions, Model};
use parr::preferences::Prompt;
use parr::principles::{Principle, PrincipleSet};

/// A model of pseudo-random weights that has a chat template: what it says makes no sense, but it says
/// something else under every seed and every system message.
pub fn tiny_that_chats(folder: &Path) -> PathBuf {
    let model = crate::reward::tiny_that_reads(folder);
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chat/chatml.jinja");
    std::fs::copy(template, model.join("chat_template.jinja")).expect("a scratch directory is writable");
    model
}

fn load(device: &Device, path: &Path) -> Model {
    Model::load(device, path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint loads")
}

/// Some principles of the set that a program can check.
fn style() -> PrincipleSet {
    let spec = "style:style-concise,style-ends-question,style-lowercase".to_owned();
    PrincipleSet::open_all(&[spec]).expect("built in")
}

fn prompts(count: usize) -> Vec<Prompt> {
    let prompt = |number| Prompt {
        id: format!("p{number}"),
        kind: Default::default(),
        language: Some("en".to_owned()),
        text: format!("What is the answer to question {number}?"),
    };
    (0..count).map(prompt).collect()
}

fn without_negative(principle: &Principle) -> Principle {
    Principle { negative: None, ..principle.clone() }
}
