//! Chat templates: the model's own Jinja template for conversations, run within bounds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TextError;

mod jinja;
mod stack;
mod time;

use jinja::{Bounds, Cause, Fault, Given, Program};
pub(super) use jinja::{Messages, Origin, Text};
use time::Day;

/// Steps a render may take, in addition to those for its messages.
const FUEL: u64 = 100_000;
/// Steps a render may take for each message; long templates need a hundred.
const FUEL_PER_MESSAGE: u64 = 2_000;
/// Bytes of the messages that pay for one step more. A step pays for 64 bytes of text.
const BYTES_PER_FUEL: usize = 2;
/// Bytes a template's source may have; the longest in use have about twenty thousand.
const SOURCE_BYTES: usize = 1 << 16;
/// Bytes a render may write in addition to the messages.
const OUTPUT_BYTES: usize = 1 << 20;
/// How often a render may write each byte of the messages.
const OUTPUT_COPIES: usize = 8;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The speaker: `system`, `user` or `assistant` in most templates.
    pub role: String,
    /// The message as plain text.
    pub content: String,
}

impl Message {
    /// A turn of `role` with the text `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// The value of a template's own variable, such as `enable_thinking`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TemplateValue {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Text that the app wrote. It may hold special tokens.
    Text(String),
    /// A list, a map or any other value of JSON, such as `tools` and `documents`. Its texts can come from a stranger,
    /// so a special token in them is ordinary characters, as in a message.
    Json(serde_json::Value),
}

impl TemplateValue {
    /// The value that `text` spells: `true`, `false`, an integer, a list or a map of JSON, or else the text itself.
    ///
    /// ```
    /// use parr::tokenizer::TemplateValue;
    ///
    /// assert_eq!(TemplateValue::parse("false"), TemplateValue::Bool(false));
    /// assert!(matches!(TemplateValue::parse(r#"[{"title": "Tides", "text": "..."}]"#), TemplateValue::Json(_)));
    /// assert_eq!(TemplateValue::parse("[INST]"), TemplateValue::Text("[INST]".to_owned()));
    /// ```
    pub fn parse(text: &str) -> TemplateValue {
        let json = || serde_json::from_str(text).ok().filter(|_| text.trim_start().starts_with(['[', '{']));
        match (text, text.parse()) {
            ("true", _) => TemplateValue::Bool(true),
            ("false", _) => TemplateValue::Bool(false),
            (_, Ok(number)) => TemplateValue::Int(number),
            _ => json().map_or_else(|| TemplateValue::Text(text.to_owned()), TemplateValue::Json),
        }
    }
}

/// A compiled chat template.
///
/// It behaves as in `transformers`: blocks swallow their line's white space, Python's string
/// methods work, and `raise_exception`, `strftime_now`, `tojson` and `{% generation %}` are known.
/// A template is untrusted input: what it does, how deep it goes and what it writes are bounded, and it can read
/// nothing but the conversation. `strftime_now` returns one fixed day
/// ([`ChatTemplate::with_date`]), so that a prompt depends on its messages only.
///
/// Text that `safe` or `escape` marked as HTML stays marked, as in Jinja2. Text that is added to it is escaped.
///
/// Three things differ from `transformers` on purpose. A byte order mark at the beginning of the source is skipped.
/// What serves only web pages is not known: `{% autoescape %}`, `urlize`, `xmlattr` and `wordwrap`. Nothing is random,
/// so `random` and `lipsum` are not known.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    program: Arc<Program>,
    source: Arc<str>,
    bos: String,
    eos: String,
    day: Day,
    variables: Vec<(String, TemplateValue)>,
}

impl ChatTemplate {
    /// Compiles `source`; `bos_text` and `eos_text` are the values of `bos_token` and `eos_token`.
    ///
    /// # Errors
    ///
    /// [`TextError::TemplateSyntax`] with the line that does not parse.
    pub fn compile(source: &str, bos_text: &str, eos_text: &str) -> Result<Self, TextError> {
        if source.len() > SOURCE_BYTES {
            return Err(TextError::TemplateSyntax {
                line: 1,
                reason: format!("it has {} bytes, more than {SOURCE_BYTES}", source.len()),
            });
        }
        let program =
            stack::with_stack(|| Program::parse(source)).unwrap_or_else(|reason| Err(Fault::new(reason)));
        let program = program.map_err(|fault| TextError::TemplateSyntax {
            line: fault.line.max(1),
            reason: match fault.cause {
                Cause::Other(reason) | Cause::Raised(reason) => reason,
                Cause::Fuel | Cause::TooLong => "it is too long".to_owned(),
            },
        })?;
        Ok(Self {
            program: Arc::new(program),
            source: source.into(),
            bos: bos_text.to_owned(),
            eos: eos_text.to_owned(),
            day: Day::default(),
            variables: Vec::new(),
        })
    }

    /// The same template with a variable of its own, in place of an earlier value. Templates of models that think, for
    /// example, read `enable_thinking`, and some read `tools` or `documents`. The names `messages`,
    /// `add_generation_prompt`, `bos_token` and `eos_token` cannot be changed.
    ///
    /// ```
    /// use parr::tokenizer::{ChatTemplate, Message, TemplateValue};
    ///
    /// let source = "{{ messages[0].content }}{% if enable_thinking is defined and not enable_thinking %} /no_think{% endif %}";
    /// let template = ChatTemplate::compile(source, "", "")?;
    /// let messages = [Message::new("user", "Hello!")];
    /// assert_eq!(template.render(&messages, true)?, "Hello!");
    /// let template = template.with_variable("enable_thinking", TemplateValue::Bool(false));
    /// assert_eq!(template.render(&messages, true)?, "Hello! /no_think");
    /// # Ok::<(), parr::tokenizer::TextError>(())
    /// ```
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: TemplateValue) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value));
        self
    }

    /// The same template with another day for `strftime_now`: some templates, such as those of LLaMA 3, write
    /// today's date into the prompt. Without this call that is 26 July 2024, whenever it is rendered, so that results can
    /// be reproduced. The time of the day is always midnight.
    ///
    /// ```
    /// use parr::tokenizer::{ChatTemplate, Message};
    ///
    /// let source = "Today is {{ strftime_now('%A, %-d %B %Y') }}. {{ messages[0].content }}";
    /// let template = ChatTemplate::compile(source, "", "")?;
    /// let messages = [Message::new("user", "Hello!")];
    /// assert_eq!(template.render(&messages, true)?, "Today is Friday, 26 July 2024. Hello!");
    ///
    /// let template = template.with_date(2026, 3, 9)?;
    /// assert_eq!(template.render(&messages, true)?, "Today is Monday, 9 March 2026. Hello!");
    /// # Ok::<(), parr::tokenizer::TextError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TextError::Date`] if the calendar has no such day, or the year does not have four digits.
    pub fn with_date(mut self, year: u16, month: u8, day: u8) -> Result<Self, TextError> {
        self.day = Day::new(year, month, day).ok_or(TextError::Date { year, month, day })?;
        Ok(self)
    }

    /// The template's source text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes `messages` as one text; with `add_generation_prompt` it ends where the assistant's
    /// next turn begins.
    ///
    /// # Errors
    ///
    /// * [`TextError::TemplateRefused`] if the template does not accept these roles in this order.
    /// * [`TextError::TemplateRender`] if the template cannot use a value.
    /// * [`TextError::TemplateFuel`] or [`TextError::TemplateTooLong`] if it exceeds a bound.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TextError> {
        self.render_text(Messages::Plain(messages), add_generation_prompt)
            .map(|text| text.as_str().to_owned())
    }

    /// As [`ChatTemplate::render`], for messages with other fields than `role` and `content`: each is a JSON object.
    /// The template decides what the fields mean; many know `tool_calls`, and some `reasoning_content`.
    ///
    /// As in `transformers`, a field that is null counts as absent. A template finds the reasoning as
    /// `reasoning_content` and as `thinking`, whether it was given as one of these or as `reasoning`.
    ///
    /// ```
    /// use parr::tokenizer::ChatTemplate;
    /// use serde_json::json;
    ///
    /// let source = "{% for m in messages %}{{ m.tool_calls | tojson if m.tool_calls else m.content }}{% endfor %}";
    /// let template = ChatTemplate::compile(source, "", "")?;
    /// let messages = [json!({ "role": "assistant", "tool_calls": [{ "name": "tides", "arguments": {} }] })];
    /// let text = template.render_json(&messages, false)?;
    /// assert_eq!(text, r#"[{"name": "tides", "arguments": {}}]"#);
    /// # Ok::<(), parr::tokenizer::TextError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::render`], and [`TextError::TemplateRender`] if a message is no JSON object.
    pub fn render_json(
        &self,
        messages: &[serde_json::Value],
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        let text = self.render_text(Messages::Json(messages), add_generation_prompt)?;
        Ok(text.as_str().to_owned())
    }

    /// As [`ChatTemplate::render`], with the origin of every character.
    pub(super) fn render_text(
        &self,
        messages: Messages<'_>,
        add_generation_prompt: bool,
    ) -> Result<Text, TextError> {
        let variables = self.variables.iter().map(|(_, value)| match value {
            TemplateValue::Json(value) => jinja::bytes_of(value),
            _ => 0,
        });
        let given_bytes = messages.bytes() + variables.sum::<usize>();
        let fuel = FUEL
            .saturating_add(FUEL_PER_MESSAGE.saturating_mul(messages.len() as u64))
            .saturating_add((given_bytes / BYTES_PER_FUEL) as u64);
        let limit_bytes = given_bytes.saturating_mul(OUTPUT_COPIES).saturating_add(OUTPUT_BYTES);
        let bounds = Bounds { steps: fuel, output_bytes: limit_bytes };
        let given = Given {
            messages,
            add_generation_prompt,
            bos: &self.bos,
            eos: &self.eos,
            variables: &self.variables,
        };
        let rendered = stack::with_stack(|| self.program.render(&given, &bounds, self.day));
        rendered.unwrap_or_else(|reason| Err(Fault::new(reason))).map_err(|fault| {
            let line = fault.line.max(1);
            match fault.cause {
                Cause::Raised(message) => TextError::TemplateRefused { line, message },
                Cause::Fuel => TextError::TemplateFuel { line, fuel },
                Cause::TooLong => TextError::TemplateTooLong { limit_bytes },
                Cause::Other(reason) => TextError::TemplateRender { line, reason },
            }
        })
    }
}
