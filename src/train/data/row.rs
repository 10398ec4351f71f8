//! One row, and how its kind is read from a line of a file.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::tokenizer::{Message, TokenId};

/// A training row. It serializes to a line of a data file.
///
/// ```
/// use parr::tokenizer::Message;
/// use parr::train::Row;
///
/// let row = Row::chat([Message::new("user", "Hi"), Message::new("assistant", "Ahoy!")]);
/// assert_eq!(
///     serde_json::to_string(&row)?,
///     r#"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ahoy!"}]}"#
/// );
/// let row = Row::pair("Name a river.", "The Loire.");
/// assert_eq!(serde_json::to_string(&row)?, r#"{"prompt":"Name a river.","response":"The Loire."}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Row {
    /// A conversation, written by the model's chat template.
    Chat {
        /// The turns, at least one.
        messages: Vec<Message>,
    },
    /// A chat of one turn, or plain text with [`DataOptions::raw`](super::DataOptions::raw).
    Pair {
        /// The request.
        prompt: String,
        /// The reply, whose tokens are the targets.
        response: String,
    },
    /// Token ids.
    Ids {
        /// The token ids (T).
        ids: Vec<TokenId>,
        /// Which tokens are targets (T).
        loss_mask: Vec<bool>,
    },
}

const KINDS: &str = "a row has messages, or prompt and response, or ids and loss_mask";

/// Keys of all kinds of rows. A null counts as absent, because tools that write tables as JSON fill the
/// columns of the other kinds with nulls.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    messages: Option<Vec<Turn>>,
    prompt: Option<String>,
    response: Option<String>,
    completion: Option<String>,
    ids: Option<Vec<TokenId>>,
    loss_mask: Option<Vec<Mark>>,
    /// In conversations that a chat saved.
    #[serde(rename = "written_by")]
    _written_by: Option<serde::de::IgnoredAny>,
}

/// A message. An unknown key is an error: to leave out tool calls, for instance, would change what a model
/// learns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    role: String,
    content: String,
}

/// `true` or `1`, `false` or `0`.
struct Mark(bool);

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mark, D::Error> {
        struct OneOrZero;

        impl Visitor<'_> for OneOrZero {
            type Value = Mark;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, 1 or 0")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Mark, E> {
                Ok(Mark(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Mark, E> {
                match value {
                    0 | 1 => Ok(Mark(value == 1)),
                    other => Err(E::invalid_value(serde::de::Unexpected::Unsigned(other), &self)),
                }
            }
        }

        deserializer.deserialize_any(OneOrZero)
    }
}

impl Row {
    /// A conversation.
    pub fn chat(messages: impl IntoIterator<Item = Message>) -> Row {
        Row::Chat { messages: messages.into_iter().collect() }
    }

    /// A request and the reply to it.
    pub fn pair(prompt: impl Into<String>, response: impl Into<String>) -> Row {
        Row::Pair { prompt: prompt.into(), response: response.into() }
    }

    /// Checks that the row has the parts that its kind needs.
    ///
    /// # Errors
    ///
    /// A description of the fault.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Row::Chat { messages } if messages.is_empty() => {
                Err("messages is empty; a conversation needs at least one message".to_owned())
            }
            Row::Ids { ids, loss_mask } if ids.len() != loss_mask.len() => {
                let (ids, marks) = (ids.len(), loss_mask.len());
                Err(format!("ids has {ids} entries, loss_mask {marks}; they must have the same number"))
            }
            _ => Ok(()),
        }
    }

    /// Parses one line.
    ///
    /// # Errors
    ///
    /// A description of the fault and of a correct row, without the file and the line.
    pub(super) fn parse(text: &str) -> Result<Row, String> {
        let text = text.trim();
        if !text.starts_with('{') {
            return Err(format!("the line is not a JSON object; {KINDS}"));
        }
        let keys: Keys = serde_json::from_str(text).map_err(|error| {
            // serde ends its messages with " at line 1 column 9": the line is always 1 here.
            let reason = error.to_string();
            let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
            format!("{reason} (column {}); {KINDS}", error.column())
        })?;
        let row = keys.row()?;
        row.check()?;
        Ok(row)
    }
}

impl Keys {
    fn row(self) -> Result<Row, String> {
        let Keys { messages, prompt, response, completion, ids, loss_mask, _written_by: _ } = self;
        let answer = match (response, completion) {
            (Some(_), Some(_)) => {
                return Err("it has response and completion, which mean the same; keep one".to_owned());
            }
            (response, completion) => response.or(completion),
        };
        match (messages, prompt, answer, ids, loss_mask) {
            (Some(messages), None, None, None, None) => {
                let message = |turn: Turn| Message { role: turn.role, content: turn.content };
                Ok(Row::chat(messages.into_iter().map(message)))
            }
            (None, Some(prompt), Some(response), None, None) => Ok(Row::Pair { prompt, response }),
            (None, None, None, Some(ids), Some(loss_mask)) => {
                Ok(Row::Ids { ids, loss_mask: loss_mask.into_iter().map(|mark| mark.0).collect() })
            }
            (messages, prompt, answer, ids, loss_mask) => {
                let present = [
                    ("messages", messages.is_some()),
                    ("prompt", prompt.is_some()),
                    ("response", answer.is_some()),
                    ("ids", ids.is_some()),
                    ("loss_mask", loss_mask.is_some()),
                ];
                let names: Vec<&str> =
                    present.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
                let found = if names.is_empty() { "nothing".to_owned() } else { names.join(" and ") };
                Err(format!("it has {found}; {KINDS}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_keys() {
        let chat = r#" {"messages":[{"role":"user","content":"a"}],"prompt":null} "#;
        assert_eq!(Row::parse(chat), Ok(Row::chat([Message::new("user", "a")])));
        let pair = Ok(Row::pair("a", "b"));
        assert_eq!(Row::parse(r#"{"prompt":"a","response":"b"}"#), pair);
        assert_eq!(Row::parse(r#"{"completion":"b","prompt":"a"}"#), pair);
        let ids = Ok(Row::Ids { ids: vec![1, 2, 3], loss_mask: vec![false, true, true] });
        assert_eq!(Row::parse(r#"{"ids":[1,2,3],"loss_mask":[0,true,1]}"#), ids);
    }

    #[test]
    fn whatever_else_is_refused_with_what_would_be_right() {
        let deep = format!("{{\"messages\":{}", "[".repeat(100_000));
        let cases = [
            ("{}", "it has nothing"),
            ("[1]", "the line is not a JSON object"),
            ("nul", "the line is not a JSON object"),
            (r#"{"prompt":"a"}"#, "it has prompt; a row has messages"),
            (r#"{"prompt":"a","response":"b","ids":[1]}"#, "it has prompt and response and ids"),
            (r#"{"prompt":"a","response":"b","completion":"c"}"#, "keep one"),
            (r#"{"prompt":"a","prompt":"b","response":"c"}"#, "duplicate field `prompt`"),
            (r#"{"prompt":"a","response":5}"#, "invalid type: integer `5`, expected a string (column "),
            (r#"{"prompt":"a","respnse":"b"}"#, "unknown field `respnse`"),
            (r#"{"messages":[]}"#, "messages is empty"),
            (r#"{"messages":[{"role":"user"}]}"#, "missing field `content`"),
            (r#"{"messages":[{"role":"user","content":"a","tool_calls":[]}]}"#, "unknown field `tool_calls`"),
            (r#"{"messages":[{"role":"user","content":null}]}"#, "invalid type: null"),
            (r#"{"ids":[1,2],"loss_mask":[1]}"#, "ids has 2 entries, loss_mask 1"),
            (r#"{"ids":[1,-2],"loss_mask":[1,1]}"#, "`-2`, expected u32"),
            (r#"{"ids":[1,4294967296],"loss_mask":[1,1]}"#, "`4294967296`, expected u32"),
            (r#"{"ids":[1,2],"loss_mask":[0,2]}"#, "`2`, expected true, false, 1 or 0"),
            (r#"{"ids":[1,2]}"#, "it has ids"),
            (r#"{"prompt":"a","response":"b"} x"#, "trailing characters"),
            (r#"{"prompt":"a","response":"b"#, "EOF while parsing"),
            (deep.as_str(), "invalid type: sequence, expected a string"),
        ];
        for (text, expected) in cases {
            let reason = Row::parse(text).expect_err(expected);
            let text = &text[..text.len().min(60)];
            assert!(reason.contains(expected) && !reason.contains("at line"), "{text}: {reason}");
        }
    }
}
