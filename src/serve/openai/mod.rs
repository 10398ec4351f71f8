//! OpenAI's endpoints.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod echo;
pub(crate) mod errors;
pub(crate) mod fields;
pub(crate) mod logprobs;
pub(crate) mod models;
pub(crate) mod sampling;
pub(crate) mod steered;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::generate::{Finish, Reply};

/// A name for the program that answered.
pub(crate) const FINGERPRINT: &str = concat!("parr-", env!("CARGO_PKG_VERSION"));

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}

/// Why a reply ended, in OpenAI's words.
pub(crate) fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Length | Finish::ContextFull | Finish::Deadline => "length",
        _ => "stop",
    }
}

/// Counts of tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub prompt: usize,
    pub cached: usize,
    pub completion: usize,
}

impl Usage {
    /// Adds a further reply to the same prompt.
    pub fn add(&mut self, reply: &Reply) {
        self.prompt = self.prompt.max(reply.prompt_tokens);
        self.cached = self.cached.max(reply.reused_tokens);
        self.completion += reply.tokens.len();
    }

    pub fn json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": { "cached_tokens": self.cached },
        })
    }
}
