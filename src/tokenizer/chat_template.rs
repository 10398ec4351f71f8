//! Chat templates: the model's own Jinja template for conversations, run within bounds.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value, context};
use serde::{Deserialize, Serialize};

use super::TextError;

mod json;
mod namespaces;
mod stack;
mod time;

use time::Day;

/// The name of the one template of an environment; without an extension nothing is escaped.
const NAME: &str = "chat";
/// Steps a render may take, in addition to those for its messages.
const FUEL: u64 = 100_000;
/// Steps a render may take for each message; long templates need a hundred.
const FUEL_PER_MESSAGE: u64 = 2_000;
/// Stack, in bytes, that a render may need for each step: about eight steps nest a value one level
/// deeper, and the engine drops and prints nested values by recursion.
const STACK_PER_STEP: usize = 128;
/// Stack, in bytes, that compiling may need for each byte of the source: five bytes, such as `|list`,
/// nest an expression one level deeper, and the engine compiles nested expressions by recursion.
const STACK_PER_BYTE: usize = 1024;
/// Nested loops, conditions and macros; real templates stay below 30.
const RECURSION: usize = 200;
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

/// A compiled chat template.
///
/// It behaves as in `transformers`: blocks swallow their line's white space, Python's string
/// methods work, and `raise_exception`, `strftime_now`, `tojson` and `{% generation %}` are known.
/// A template is untrusted input: steps, depth and output are bounded, only the fields of namespaces may be
/// used, and it can read nothing but the conversation. `strftime_now` returns one fixed day
/// ([`ChatTemplate::with_date`]), so that a prompt depends on its messages only.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: Arc<str>,
    bos: String,
    eos: String,
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
        if let Some((line, name)) = namespaces::used_as_value(source) {
            let reason = format!("`{name}` is used as a value; of a namespace only the fields can be");
            return Err(TextError::TemplateSyntax { line, reason });
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the default delimiters are valid"));
        environment.set_recursion_limit(RECURSION);
        environment.set_unknown_method_callback(python_method);
        environment.set_formatter(write_value);
        environment.add_function("raise_exception", raise_exception);
        set_day(&mut environment, Day::default());
        environment.add_filter("tojson", to_json);
        let template = without_generation_tags(source);
        let compiled = stack::with_stack(template.len().saturating_mul(STACK_PER_BYTE), || {
            let added = environment.add_template_owned(NAME, template);
            added.map_err(|error| (error.line().unwrap_or(1), reason(&error)))
        });
        compiled
            .unwrap_or_else(|reason| Err((1, reason)))
            .map_err(|(line, reason)| TextError::TemplateSyntax { line, reason })?;
        Ok(Self { environment, source: source.into(), bos: bos_text.to_owned(), eos: eos_text.to_owned() })
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
        let day = Day::new(year, month, day).ok_or(TextError::Date { year, month, day })?;
        set_day(&mut self.environment, day);
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
        let given_bytes: usize =
            messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        // The engine charges one step for about 64 bytes.
        let fuel = FUEL
            .saturating_add(FUEL_PER_MESSAGE.saturating_mul(messages.len() as u64))
            .saturating_add(given_bytes as u64);
        let stack_bytes = usize::try_from(fuel).unwrap_or(usize::MAX).saturating_mul(STACK_PER_STEP);
        stack::with_stack(stack_bytes, || self.run(messages, add_generation_prompt, given_bytes, fuel))
            .unwrap_or_else(|reason| Err(TextError::TemplateRender { line: 1, reason }))
    }

    /// Renders within `fuel` steps.
    fn run(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        given_bytes: usize,
        fuel: u64,
    ) -> Result<String, TextError> {
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let template = environment.get_template(NAME).map_err(|error| failure(&error, fuel))?;

        let mut output = Bounded {
            bytes: Vec::new(),
            limit: given_bytes.saturating_mul(OUTPUT_COPIES).saturating_add(OUTPUT_BYTES),
            exceeded: false,
        };
        let values = context! {
            messages => Value::from(minijinja::value::Serde(messages)),
            add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => (),
            documents => (),
        };
        let rendered = template.render_captured_to(values, &mut output).map(drop);
        if output.exceeded {
            return Err(TextError::TemplateTooLong { limit_bytes: output.limit });
        }
        rendered.map_err(|error| failure(&error, fuel))?;
        String::from_utf8(output.bytes)
            .map_err(|error| TextError::TemplateRender { line: 1, reason: error.to_string() })
    }
}

/// Sets the day for templates.
fn set_day(environment: &mut Environment<'_>, day: Day) {
    environment.add_function("strftime_now", move |format: &str| day.format(format));
}

/// The output of a render, up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            self.exceeded = true;
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The message of a template's `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raise_exception(message: String) -> Result<Value, Error> {
    let error = Error::new(ErrorKind::InvalidOperation, "the template raised an exception");
    Err(error.with_source(Raised(message)))
}

/// Python's spelling of values, as `transformers` would print them.
fn write_value(output: &mut minijinja::Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool if value.is_true() => output.write_str("True").map_err(Error::from),
        ValueKind::Bool => output.write_str("False").map_err(Error::from),
        ValueKind::None => output.write_str("None").map_err(Error::from),
        _ => minijinja::escape_formatter(output, state, value),
    }
}

/// Python's methods for strings, lists and maps.
fn python_method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    // A width is written before fuel is charged, so a large one is refused first.
    let wide = |text: &str| text.split(|letter: char| !letter.is_ascii_digit()).any(|run| run.len() > 4);
    if method == "format" && value.as_str().is_some_and(wide) {
        let detail = "a width in a format string is larger than 9999";
        return Err(Error::new(ErrorKind::InvalidOperation, detail));
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
}

/// `tojson` without the HTML escapes of Jinja's version, as in `transformers`.
fn to_json(state: &State, value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Templates do not rely on Python's other options.
    for known in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(known)?;
    }
    options.assert_all_used()?;
    let text = json::write(&value, indent).map_err(|error| {
        Error::new(ErrorKind::BadSerialization, "cannot write the value as json").with_source(error)
    })?;
    state.consume_fuel(text.len() as u64 / 64)?;
    Ok(text)
}

/// The render's failure as an error of this crate.
fn failure(error: &Error, fuel: u64) -> TextError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut line = 1;
    while let Some(current) = cause {
        if let Some(raised) = current.downcast_ref::<Raised>() {
            let message = raised.0.clone();
            return TextError::TemplateRefused { line, message };
        }
        if let Some(current) = current.downcast_ref::<Error>() {
            line = current.line().unwrap_or(line);
            if current.kind() == ErrorKind::OutOfFuel {
                return TextError::TemplateFuel { line, fuel };
            }
        }
        cause = current.source();
    }
    TextError::TemplateRender { line: error.line().unwrap_or(1), reason: reason(error) }
}

/// The engine's message without the position, which has its own field.
fn reason(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// The template with `{% generation %}` blocks, which mark the assistant's words for training
/// masks and write nothing themselves, turned into blocks that always apply.
fn without_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        result.push_str(before);
        rest = tag;
        let Some(end) = tag.find("%}") else {
            break;
        };
        let inner = &tag[..end];
        let word = inner.trim_matches(|letter: char| letter.is_whitespace() || "-+".contains(letter));
        let instead = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => continue,
        };
        result.push_str(&inner.replacen(word, instead, 1));
        rest = &tag[end..];
    }
    result.push_str(rest);
    result
}
