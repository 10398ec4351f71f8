//! Requests to a generator, and its replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::GenerateError;
use super::logits::LogitOptions;
use crate::model::Model;
use crate::model::lora::AdapterId;
use crate::tokenizer::TokenId;

/// Sampling settings of one sequence; [`reference::sample`](crate::reference::sample) is the algorithm. The
/// default is greedy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// Number of tokens to keep; 0 keeps all.
    pub top_k: u32,
    /// Keep the most probable tokens up to this mass, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this many times as probable as the first, in `[0, 1]`; 0 keeps all.
    pub min_p: f32,
    /// Penalty on recent tokens, above 0; 1 is none.
    pub repetition_penalty: f32,
    /// Seed of the sequence: the same seed gives the same text in any batch.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// The default settings of a chat: temperature 0.3, top-p 0.9.
    pub const CHAT: Sampling =
        Sampling { temperature: 0.3, top_k: 0, top_p: 0.9, min_p: 0.0, repetition_penalty: 1.0, seed: 0 };

    /// `Ok` if every setting is in its range.
    pub(crate) fn check(&self, request: usize) -> Result<(), GenerateError> {
        let wrong =
            |setting, value, expected| Err(GenerateError::Setting { request, setting, value, expected });
        if !(0.0..=100.0).contains(&self.temperature) {
            return wrong("temperature", self.temperature, "0 to 100");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p", self.top_p, "more than 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return wrong("min_p", self.min_p, "0 to 1");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty <= 100.0) {
            return wrong("repetition_penalty", self.repetition_penalty, "more than 0 and at most 100");
        }
        Ok(())
    }
}

/// The tokens that end a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StopTokens {
    /// The model's own: [`Model::end_tokens`](crate::model::Model::end_tokens).
    #[default]
    Model,
    /// The same tokens for a text that is no turn of a chat: the reply ends with [`Finish::EndOfText`].
    Text,
    /// Only these. With an empty list, no token ends the reply.
    Only(Vec<TokenId>),
}

impl StopTokens {
    /// The tokens for `model`.
    pub(crate) fn of(&self, model: &Model) -> Vec<TokenId> {
        match self {
            StopTokens::Model | StopTokens::Text => model.end_tokens(),
            StopTokens::Only(ids) => ids.clone(),
        }
    }

    /// Why a reply ends at one of them.
    pub(crate) fn finish(&self) -> Finish {
        match self {
            StopTokens::Text => Finish::EndOfText,
            StopTokens::Model | StopTokens::Only(_) => Finish::EndOfTurn,
        }
    }
}

impl From<&[TokenId]> for StopTokens {
    fn from(ids: &[TokenId]) -> Self {
        StopTokens::Only(ids.to_vec())
    }
}

/// Default maximum length of a reply, in tokens.
pub const MAX_TOKENS: usize = 512;

/// One sequence to continue. The default is greedy and ends at the model's own end tokens or after
/// [`MAX_TOKENS`].
///
/// ```
/// use parr::generate::Request;
///
/// let request = Request { prompt: vec![1, 2, 3], ..Request::default() };
/// assert_eq!(request.max_tokens, 512);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids to continue.
    pub prompt: Vec<TokenId>,
    /// The adapter to use, from the generator's bank; `None` for the base model.
    pub adapter: Option<AdapterId>,
    /// Sampling settings.
    pub sampling: Sampling,
    /// Maximum number of tokens to draw.
    pub max_tokens: usize,
    /// Tokens that end the reply. The drawn stop token is the last of [`Reply::tokens`] and not part of the
    /// text.
    pub stop_ids: StopTokens,
    /// Texts that end the reply and are not part of its text. Needs a model with a tokenizer.
    pub stop: Vec<String>,
    /// Changes to the logits, and reports about them.
    pub logits: LogitOptions,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            prompt: Vec::new(),
            adapter: None,
            sampling: Sampling::default(),
            max_tokens: MAX_TOKENS,
            stop_ids: StopTokens::Model,
            stop: Vec::new(),
            logits: LogitOptions::default(),
        }
    }
}

/// Why a reply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// A stop token was drawn.
    EndOfTurn,
    /// A stop token was drawn in a text that is no turn of a chat: see [`StopTokens::Text`].
    EndOfText,
    /// This stop text was generated.
    Stop(String),
    /// `max_tokens` tokens were drawn.
    Length,
    /// The context is full.
    ContextFull,
    /// The caller cancelled.
    Cancelled,
    /// The job's deadline passed: see [`Job::deadline`](super::Job::deadline).
    Deadline,
}

impl Finish {
    /// A short stable name: `end_of_turn`, `end_of_text`, `stop`, `length`, `context_full`, `cancelled` or `deadline`.
    pub fn name(&self) -> &'static str {
        match self {
            Finish::EndOfTurn => "end_of_turn",
            Finish::EndOfText => "end_of_text",
            Finish::Stop(_) => "stop",
            Finish::Length => "length",
            Finish::ContextFull => "context_full",
            Finish::Cancelled => "cancelled",
            Finish::Deadline => "deadline",
        }
    }
}

/// The result of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The drawn tokens, including a stop token.
    pub tokens: Vec<TokenId>,
    /// Natural log-probability of each under the plain softmax (temperature 1, no filter).
    pub logprobs: Vec<f32>,
    /// The same under the distribution from which it was drawn: at the request's temperature, among the
    /// tokens that pass its filters.
    pub sampling_logprobs: Vec<f32>,
    /// The most probable tokens in place of each, with their log-probabilities under the plain softmax. Empty without
    /// [`LogitOptions::top_logprobs`].
    pub top_logprobs: Vec<Vec<(TokenId, f32)>>,
    /// The text, without special tokens and stop texts; empty for a model without a tokenizer.
    pub text: String,
    /// Why the reply ended.
    pub finish: Finish,
    /// Number of tokens of the prompt.
    pub prompt_tokens: usize,
    /// Number of prompt tokens that were already in the cache.
    pub reused_tokens: usize,
}

/// One token as it arrives.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenEvent {
    /// Index of the request.
    pub request: usize,
    /// The drawn token.
    pub token: TokenId,
    /// Its log-probability under the plain softmax.
    pub logprob: f32,
    /// The most probable tokens in its place: see [`LogitOptions::top_logprobs`].
    pub top: Vec<(TokenId, f32)>,
    /// Text that is complete so far, often empty: only whole characters, and nothing that may still
    /// become a stop text.
    pub text: String,
}

/// Cancels a running call. Clones share the request.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    asked: Arc<AtomicBool>,
}

impl CancelToken {
    /// A token without a cancel request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests a cancel; may be called from any thread and from a signal handler.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Clears the request, so that the token can be used for the next call.
    pub fn reset(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Whether a cancel was requested.
    pub fn is_cancelled(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
