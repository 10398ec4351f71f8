//! A TOML or JSON file as a tree of values, each with its byte offset.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Faults;

/// A value and its byte offset in the file.
#[derive(Debug)]
pub(super) struct Node {
    pub at: usize,
    pub value: Value,
}

/// The kinds of value that files of principles use; any other kind is `Other`, with its name.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Number {
        number: f64,
        whole: bool,
    },
    Flag(bool),
    List(Vec<Node>),
    /// In the order of the file; keys are unique.
    Table(Vec<(Key, Node)>),
    Other(&'static str),
}

/// A key and its byte offset in the file.
#[derive(Debug)]
pub(super) struct Key {
    pub at: usize,
    pub name: String,
}

impl Value {
    /// The kind of the value, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Number { .. } => "a number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// Parses TOML. Syntax errors are added to `faults`; the tree must not be used then.
pub(super) fn from_toml(text: &str, faults: &mut Faults) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        faults.add(at, error.message().replace('\n', ", "));
    }
    let at = table.span().start;
    Node { at, value: toml_table(table.into_inner()) }
}

fn toml_table(table: DeTable<'_>) -> Value {
    let entry = |(name, value): (Spanned<Cow<str>>, Spanned<DeValue>)| {
        let key = Key { at: name.span().start, name: name.into_inner().into_owned() };
        (key, toml_node(value))
    };
    let mut entries: Vec<(Key, Node)> = table.into_iter().map(entry).collect();
    // The parser sorts keys by name.
    entries.sort_by_key(|(key, _)| key.at);
    Value::Table(entries)
}

fn toml_node(value: Spanned<DeValue<'_>>) -> Node {
    let at = value.span().start;
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Number { number: number as f64, whole: true },
            Err(_) => Value::Other("a number that is too large"),
        },
        DeValue::Float(number) => match f64::from_str(number.as_str()) {
            Ok(number) => Value::Number { number, whole: false },
            Err(_) => Value::Other("no number"),
        },
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.into_iter().map(toml_node).collect()),
        DeValue::Table(table) => toml_table(table),
    };
    Node { at, value }
}

/// Parses JSON that is a list of objects of plain values; nothing else is needed here. Deeper values are
/// `Other`.
pub(super) fn from_json(text: &str, faults: &mut Faults) -> Node {
    let start = text.len() - text.trim_start().len();
    let items: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(items) => items,
        Err(error) => {
            let before = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len);
            let at = before.sum::<usize>() + error.column().saturating_sub(1);
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            faults.add(at, format!("not a JSON list of principles: {reason}"));
            Vec::new()
        }
    };
    let items = items.into_iter().map(|item| json_node(text, item, faults)).collect();
    Node { at: start, value: Value::List(items) }
}

fn json_node(text: &str, raw: &RawValue, faults: &mut Faults) -> Node {
    let at = offset(text, raw);
    let value = match raw.get().as_bytes().first() {
        Some(b'{') => {
            let entries = serde_json::from_str(raw.get());
            // The parser does not check keys for lone surrogates when it skips objects.
            let Entries(entries) = entries.unwrap_or_else(|_| {
                faults.add(at, "a key in this object is not valid Unicode");
                Entries(Vec::new())
            });
            let mut known: Vec<(Key, Node)> = Vec::new();
            for (name, raw) in entries {
                let node = Node { at: offset(text, raw), value: json_plain(raw) };
                if known.iter().any(|(key, _)| key.name == name) {
                    faults.add(node.at, format!("duplicate key `{}`", super::error::shown(&name)));
                    continue;
                }
                // The key is a few characters before its value, which is near enough.
                known.push((Key { at: node.at, name }, node));
            }
            Value::Table(known)
        }
        _ => json_plain(raw),
    };
    Node { at, value }
}

fn json_plain(raw: &RawValue) -> Value {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => match serde_json::from_str(text) {
            Ok(text) => Value::Text(text),
            // The parser does not check strings for lone surrogates when it skips them.
            Err(_) => Value::Other("a string that is not valid Unicode"),
        },
        Some(b't' | b'f') => Value::Flag(text == "true"),
        Some(b'n') => Value::Other("null"),
        Some(b'{') => Value::Other("an object"),
        Some(b'[') => Value::Other("a list"),
        _ => match f64::from_str(text) {
            Ok(number) => Value::Number { number, whole: !text.contains(['.', 'e', 'E']) },
            Err(_) => Value::Other("no number"),
        },
    }
}

/// Byte offset of `raw` in `text`, from which it borrows.
fn offset(text: &str, raw: &RawValue) -> usize {
    raw.get().as_ptr() as usize - text.as_ptr() as usize
}

/// The entries of a JSON object in their order, with duplicate keys.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
