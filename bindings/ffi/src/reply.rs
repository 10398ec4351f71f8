//! Messages, options and replies, as values.

use parr::generate::{Finish, Request, Sampling};
use parr::model::lora::AdapterId;
use parr::tokenizer::{Message, TokenId};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ChatMessage {
    /// Role of the speaker: `system`, `user` or `assistant` in most models.
    pub role: String,
    /// Text of the turn.
    pub content: String,
}

impl From<Message> for ChatMessage {
    fn from(Message { role, content }: Message) -> Self {
        ChatMessage { role, content }
    }
}

impl From<ChatMessage> for Message {
    fn from(ChatMessage { role, content }: ChatMessage) -> Self {
        Message { role, content }
    }
}

/// Options for generating a reply. The defaults are those of `parr chat`.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct ReplyOptions {
    /// Maximum length of the reply, in tokens.
    #[uniffi(default = 512)]
    pub max_tokens: u32,
    /// Sampling temperature. 0 always takes the most likely token; higher values give more varied text.
    #[uniffi(default = 0.3)]
    pub temperature: f32,
    /// Samples from the N most likely tokens only. 0 means all tokens.
    #[uniffi(default = 0)]
    pub top_k: u32,
    /// Samples from the most likely tokens that together have this probability, in (0, 1].
    #[uniffi(default = 0.9)]
    pub top_p: f32,
    /// Excludes tokens that are less likely than this fraction of the most likely token, in `[0, 1]`.
    #[uniffi(default = 0.0)]
    pub min_p: f32,
    /// Divides the logits of recent tokens. 1 means no penalty.
    #[uniffi(default = 1.0)]
    pub repetition_penalty: f32,
    /// Random seed. The same seed and prompt give the same text, independent of other replies in the batch.
    #[uniffi(default = 0)]
    pub seed: u64,
    /// Stop texts: each ends the reply and is left out.
    #[uniffi(default = [])]
    pub stop: Vec<String>,
}

impl Default for ReplyOptions {
    fn default() -> Self {
        let parr::chat::ReplyOptions { sampling, max_tokens, stop } = parr::chat::ReplyOptions::default();
        let Sampling { temperature, top_k, top_p, min_p, repetition_penalty, seed } = sampling;
        let max_tokens = max_tokens as u32;
        ReplyOptions { max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed, stop }
    }
}

impl From<ReplyOptions> for parr::chat::ReplyOptions {
    fn from(options: ReplyOptions) -> Self {
        let ReplyOptions { max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed, stop } =
            options;
        parr::chat::ReplyOptions {
            sampling: Sampling { temperature, top_k, top_p, min_p, repetition_penalty, seed },
            max_tokens: max_tokens as usize,
            stop,
        }
    }
}

impl ReplyOptions {
    /// A request for a reply to `prompt`.
    pub(crate) fn request(self, prompt: Vec<TokenId>, adapter: Option<AdapterId>) -> Request {
        let parr::chat::ReplyOptions { sampling, max_tokens, stop } = self.into();
        Request { prompt, adapter, sampling, max_tokens, stop, ..Request::default() }
    }
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum FinishReason {
    /// The model ended its turn.
    EndOfTurn,
    /// One of the stop texts occurred.
    Stop,
    /// The reply has reached its maximum number of tokens.
    Length,
    /// The context is full.
    ContextFull,
    /// The app cancelled the reply. The reply contains the text so far.
    Cancelled,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Reply {
    /// The text, without white space at its end.
    pub text: String,
    /// Why the reply ended.
    pub finish: FinishReason,
    /// Number of generated tokens.
    pub tokens: u32,
    /// Sum of the tokens' natural log-probabilities under the plain softmax.
    pub logprob: f64,
    /// Number of tokens in the prompt.
    pub prompt_tokens: u32,
    /// Number of prompt tokens that were already in the cache.
    pub reused_tokens: u32,
    /// Number of oldest messages that were dropped because they no longer fit into the context.
    pub dropped_messages: u32,
}

impl Reply {
    pub(crate) fn new(reply: &parr::generate::Reply, dropped: usize) -> Reply {
        Reply {
            text: reply.text.trim_end().to_owned(),
            finish: match reply.finish {
                Finish::Stop(_) => FinishReason::Stop,
                Finish::Length => FinishReason::Length,
                Finish::ContextFull => FinishReason::ContextFull,
                Finish::Cancelled | Finish::Deadline => FinishReason::Cancelled,
                _ => FinishReason::EndOfTurn,
            },
            tokens: reply.tokens.len() as u32,
            logprob: reply.logprobs.iter().map(|&logprob| f64::from(logprob)).sum(),
            prompt_tokens: reply.prompt_tokens as u32,
            reused_tokens: reply.reused_tokens as u32,
            dropped_messages: dropped as u32,
        }
    }
}

/// A part of a streamed reply.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Piece {
    /// Text that will not change: whole characters, and nothing that could still become a stop text. Never
    /// empty.
    pub text: String,
}
