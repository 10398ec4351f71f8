//! What a template is rendered for, as the values that it sees.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::super::{Message, TemplateValue};
use super::fault::{Fault, Fuel, Result, fail};
use super::text::{Origin, Text};
use super::value::{DEPTH, Dict, Value};

/// How many bytes of a text a value of JSON counts as. They pay for what a template does with it.
const VALUE_BYTES: usize = 16;

/// The messages of a conversation.
#[derive(Clone, Copy)]
pub(in super::super::super) enum Messages<'a> {
    /// Messages that have only a role and a content.
    Plain(&'a [Message]),
    /// Messages with any fields.
    Json(&'a [Json]),
}

/// What a template is rendered for.
pub(in super::super) struct Given<'a> {
    pub messages: Messages<'a>,
    pub add_generation_prompt: bool,
    pub bos: &'a str,
    pub eos: &'a str,
    /// Other variables. The four above win over variables of the same name.
    pub variables: &'a [(String, TemplateValue)],
}

impl Messages<'_> {
    pub fn len(&self) -> usize {
        match self {
            Messages::Plain(messages) => messages.len(),
            Messages::Json(messages) => messages.len(),
        }
    }

    /// Bytes of all texts, and [`VALUE_BYTES`] for every value of JSON.
    pub fn bytes(&self) -> usize {
        match self {
            Messages::Plain(messages) => {
                messages.iter().map(|message| message.role.len() + message.content.len()).sum()
            }
            Messages::Json(messages) => messages.iter().map(bytes_of).sum(),
        }
    }

    fn values(&self, fuel: &Fuel) -> Result<Vec<Value>> {
        match self {
            Messages::Plain(messages) => messages.iter().map(|message| plain(message, fuel)).collect(),
            Messages::Json(messages) => {
                let each = messages.iter().enumerate();
                each.map(|(at, message)| match message {
                    Json::Object(fields) => with_fields(fields, fuel),
                    _ => fail(format!("message {} is no JSON object", at + 1)),
                })
                .collect()
            }
        }
    }
}

impl Given<'_> {
    /// The names that the template can use, with their values.
    pub(super) fn names(&self, fuel: &Fuel) -> Result<Vec<(Arc<str>, Value)>> {
        // A template always sees tools and documents, as in `transformers`. Both are none unless a variable names some.
        let mut names: Vec<(Arc<str>, Value)> =
            ["tools", "documents"].map(|name| (Arc::from(name), Value::None)).into();
        for (name, value) in self.variables {
            let value = match value {
                TemplateValue::Bool(value) => Value::Bool(*value),
                TemplateValue::Int(value) => Value::Int(*value),
                TemplateValue::Text(value) => Value::text(value),
                TemplateValue::Json(value) => from_json(value, Origin::Content, 0, fuel)?,
            };
            names.push((Arc::from(name.as_str()), value));
        }
        let own = [
            ("messages", Value::list(self.messages.values(fuel)?, fuel)?),
            ("add_generation_prompt", Value::Bool(self.add_generation_prompt)),
            ("bos_token", Value::text(self.bos)),
            ("eos_token", Value::text(self.eos)),
        ];
        names.extend(own.map(|(name, value)| (Arc::from(name), value)));
        Ok(names)
    }
}

fn plain(message: &Message, fuel: &Fuel) -> Result<Value> {
    let fields = [
        (Text::own("role"), Value::Text(Text::new(&message.role, Origin::Role))),
        (Text::own("content"), Value::Text(Text::new(&message.content, Origin::Content))),
    ];
    Ok(Value::dict(Dict::of(fields, fuel)?))
}

/// A message with any fields, as `transformers` shows it to a template: fields that are null are left out, and the
/// reasoning is found under its usual names, whichever was given.
fn with_fields(fields: &Map<String, Json>, fuel: &Fuel) -> Result<Value> {
    const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
    let reasoning = REASONING.iter().find_map(|name| fields.get(*name).filter(|value| !value.is_null()));
    let mut message = Dict::default();
    let mut set = |name: &str, value: &Json| {
        fuel.bytes(name.len())?;
        let origin = if name == "role" { Origin::Role } else { Origin::Content };
        let name = Value::Text(Text::new(name, Origin::Content));
        message.insert(name, from_json(value, origin, 1, fuel)?, fuel)
    };
    if let Some(reasoning) = reasoning {
        set("thinking", reasoning)?;
    }
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        set(name, value)?;
    }
    if let Some(reasoning) = reasoning {
        set("reasoning_content", reasoning)?;
    }
    Ok(Value::dict(message))
}

/// The value of `json`, which lies in `depth` lists and maps. Its texts have the origin `origin`, and names of fields
/// count as content: both can come from a stranger.
fn from_json(json: &Json, origin: Origin, depth: usize, fuel: &Fuel) -> Result<Value> {
    fuel.step()?;
    if depth > DEPTH {
        return fail(format!("a value of JSON is nested more than {DEPTH} deep"));
    }
    match json {
        Json::Null => Ok(Value::None),
        Json::Bool(truth) => Ok(Value::Bool(*truth)),
        Json::Number(number) => {
            let float = || number.as_f64().filter(|_| number.is_f64()).map(Value::Float);
            let value = number.as_i64().map(Value::Int).or_else(float);
            value.ok_or_else(|| Fault::new(format!("the number {number} is too large")))
        }
        Json::String(text) => {
            fuel.bytes(text.len())?;
            Ok(Value::Text(Text::new(text, origin)))
        }
        Json::Array(values) => {
            let values = values.iter().map(|value| from_json(value, Origin::Content, depth + 1, fuel));
            Value::list(values.collect::<Result<_>>()?, fuel)
        }
        Json::Object(fields) => {
            let mut dict = Dict::default();
            for (name, value) in fields {
                fuel.bytes(name.len())?;
                let name = Value::Text(Text::new(name, Origin::Content));
                dict.insert(name, from_json(value, Origin::Content, depth + 1, fuel)?, fuel)?;
            }
            Ok(Value::dict(dict))
        }
    }
}

/// Bytes of all texts in `json`, and [`VALUE_BYTES`] for every value.
pub(in super::super) fn bytes_of(json: &Json) -> usize {
    let mut bytes = 0;
    // A value can be nested deeper than the stack allows.
    let mut left = vec![json];
    while let Some(value) = left.pop() {
        bytes += VALUE_BYTES;
        match value {
            Json::String(text) => bytes += text.len(),
            Json::Array(values) => left.extend(values),
            Json::Object(fields) => {
                bytes += fields.keys().map(String::len).sum::<usize>();
                left.extend(fields.values());
            }
            _ => {}
        }
    }
    bytes
}
