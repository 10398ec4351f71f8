//! The next turn of a chat: its prompt, and the parts of its reply.

use serde::Deserialize;

use super::constrained::ReplyFormat;
use super::openai::errors::ApiError;
use super::openai::sampling::Drawing;
use super::state::Served;
use crate::chat::ChatError;
use crate::generate::LogitOptions;
use crate::steer::{Ask, Steering};
use crate::tokenizer::{Message, ReasoningStream, ReplyParts, TokenId};

/// A message as clients send it: its content is a text, or a list of parts.
#[derive(Debug, Deserialize)]
pub(super) struct SentMessage {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// The messages as templates read them.
pub(super) fn messages(sent: Vec<SentMessage>) -> Result<Vec<Message>, ApiError> {
    if sent.is_empty() {
        return Err(ApiError::field("messages", "`messages` is empty"));
    }
    let mut messages = Vec::with_capacity(sent.len());
    for (place, message) in sent.into_iter().enumerate() {
        let content = match message.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let mut text = String::new();
                for part in parts {
                    match (part.kind.as_str(), part.text) {
                        ("text" | "input_text", Some(more)) => text.push_str(&more),
                        (kind, _) => {
                            let message =
                                format!("message {place}: parts of type `{kind}` are not supported");
                            return Err(ApiError::field("messages", message).code("unsupported_parameter"));
                        }
                    }
                }
                text
            }
        };
        // What OpenAI calls the developer, templates call the system.
        let role = if message.role == "developer" { "system".to_owned() } else { message.role };
        messages.push(Message { role, content });
    }
    Ok(messages)
}

/// The next turn of a chat.
pub(super) struct Turn {
    pub ask: Ask,
    pub separator: Separator,
    /// Tokens that end the turn.
    pub stops: Vec<TokenId>,
}

impl Turn {
    pub fn new(
        served: &Served,
        messages: &[Message],
        steering: &Steering,
        drawing: Drawing,
        max_tokens: Option<usize>,
        format: &ReplyFormat,
    ) -> Result<Turn, ApiError> {
        served.model.check_chat()?;
        let chat = served.model.chat_format().ok_or(ChatError::NoTemplate)?;
        let mut ask = Ask::new(chat, steering, messages)?;
        let seen = steering.messages(messages);
        let separator = Separator(chat.reasoning_stream(&seen)?);
        let opened = match chat.reasoning_marks() {
            Some(marks) => {
                marks.opened_by(&chat.template().render(&seen, true)?).then(|| marks.close().to_owned())
            }
            None => None,
        };
        let constraint = match format {
            ReplyFormat::Text => None,
            ReplyFormat::Json(schema) => Some(served.grammars()?.constraint(schema, opened.as_deref())?),
        };
        let room = served.scheduler.context().saturating_sub(ask.request.prompt.len());
        ask.request.max_tokens = max_tokens.unwrap_or(room.max(1));
        ask.request.sampling = drawing.sampling;
        ask.request.stop = drawing.stop;
        ask.request.logits = LogitOptions { constraint, ..drawing.logits };
        Ok(Turn { ask, separator, stops: chat.end_of_turn().to_vec() })
    }
}

/// Separates the reasoning of a model that thinks from its answer.
#[derive(Clone)]
pub(super) struct Separator(Option<ReasoningStream>);

impl Separator {
    /// Takes a token and the text that it completes.
    pub fn push(&mut self, token: TokenId, text: &str) -> ReplyParts {
        match &mut self.0 {
            Some(stream) => stream.push_token(token, text),
            None => answer(text),
        }
    }

    /// Takes text alone.
    pub fn push_text(&mut self, text: &str) -> ReplyParts {
        match &mut self.0 {
            Some(stream) => stream.push(text),
            None => answer(text),
        }
    }

    /// Ends the reply.
    pub fn finish(&mut self) -> ReplyParts {
        self.0.take().map(ReasoningStream::finish).unwrap_or_default()
    }

    /// The parts of a whole reply.
    pub fn separate(&self, text: &str) -> ReplyParts {
        match &self.0 {
            Some(stream) => stream.clone().separate(text),
            None => answer(text),
        }
    }
}

fn answer(text: &str) -> ReplyParts {
    ReplyParts { reasoning: String::new(), answer: text.to_owned() }
}

/// Adds the parts of a piece to those of a reply.
pub(super) fn add(whole: &mut ReplyParts, piece: &ReplyParts) {
    whole.reasoning.push_str(&piece.reasoning);
    whole.answer.push_str(&piece.answer);
}
