//! Replies that are JSON, or follow a JSON schema: only tokens that fit are drawn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use super::openai::errors::ApiError;
use super::openai::fields::Fields;
use crate::generate::{Constraint, TokenConstraint};
use crate::model::Model;
use crate::tokenizer::TokenId;

/// What a reply has to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ReplyFormat {
    Text,
    /// JSON that this schema describes.
    Json(Value),
}

impl ReplyFormat {
    /// Reads `response_format`.
    pub fn read(fields: &mut Fields) -> Result<ReplyFormat, ApiError> {
        const FIELD: &str = "response_format";
        let Some(value) = fields.take::<Value>(FIELD)? else { return Ok(ReplyFormat::Text) };
        match value["type"].as_str() {
            Some("text") => Ok(ReplyFormat::Text),
            Some("json_object") => Ok(ReplyFormat::Json(json!({ "type": "object" }))),
            Some("json_schema") => {
                let schema = &value["json_schema"]["schema"];
                if !schema.is_object() {
                    let message = "`response_format.json_schema.schema` is missing, or not an object";
                    return Err(ApiError::field(FIELD, message));
                }
                Ok(ReplyFormat::Json(schema.clone()))
            }
            _ => {
                let message = "`response_format.type` is not text, json_object or json_schema";
                Err(ApiError::field(FIELD, message))
            }
        }
    }
}

/// The vocabulary of a model as grammars need it.
pub(super) struct Grammars {
    factory: ParserFactory,
    vocab: usize,
    bytes: Arc<Vec<Vec<u8>>>,
}

impl Grammars {
    /// Reads the vocabulary of `model`. The error is a message.
    pub fn new(model: &Model) -> Result<Grammars, String> {
        let tokenizer =
            model.tokenizer().ok_or("the model has no tokenizer, so its replies cannot follow a schema")?;
        let ends = match model.chat_format() {
            Some(format) => format.end_of_turn().to_vec(),
            None => model.end_tokens(),
        };
        let Some(&end) = ends.first() else {
            return Err(
                "the model has no token that ends a reply, so its replies cannot follow a schema".to_owned()
            );
        };
        let vocab = model.config().vocab;
        let word = |id: TokenId| {
            let bytes = tokenizer.token_bytes(id);
            if tokenizer.is_special(id) {
                [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
            } else {
                bytes.to_vec()
            }
        };
        let words: Vec<Vec<u8>> = (0..vocab as TokenId).map(word).collect();
        let bytes = (0..vocab as TokenId).map(|id| tokenizer.token_bytes(id).to_vec()).collect();
        let info = TokRxInfo::new(vocab as u32, end);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment).map_err(|error| error.to_string())?;
        factory.quiet().limits_mut().verbose_errors = false;
        Ok(Grammars { factory, vocab, bytes: Arc::new(bytes) })
    }

    /// The constraint for replies that `schema` describes. If the reply begins inside of reasoning, it applies from
    /// the text `after` on.
    pub fn constraint(&self, schema: &Value, after: Option<&str>) -> Result<Constraint, ApiError> {
        let grammar = TopLevelGrammar::from_json_schema(closed(schema.clone()));
        let matcher = Matcher::new(self.factory.create_parser(grammar));
        if let Some(reason) = matcher.get_error() {
            // The first line names the fault; the rest is about the grammar.
            let reason = reason.lines().next().unwrap_or_default().to_owned();
            let message = format!("the schema cannot be followed: {reason}");
            return Err(ApiError::field("response_format", message).code("invalid_schema"));
        }
        let (matcher, vocab, bytes) = (Mutex::new(matcher), self.vocab, Arc::clone(&self.bytes));
        let after = after.map(str::to_owned);
        Ok(Constraint::new(move || {
            let matcher = matcher.lock().unwrap_or_else(PoisonError::into_inner).deep_clone();
            let waiting = after.as_ref().map(|mark| Waiting {
                mark: mark.clone().into_bytes(),
                last: VecDeque::new(),
                bytes: Arc::clone(&bytes),
            });
            Box::new(Following { matcher, vocab, waiting })
        }))
    }
}

/// The schema without properties that it does not list, where it leaves them open. A small model that may add any
/// property seldom ends. Such replies follow the given schema too.
fn closed(mut schema: Value) -> Value {
    // The parts of `allOf` describe one object together, and each lists only some of its properties.
    if !schema.to_string().contains("\"allOf\"") {
        close(&mut schema);
    }
    schema
}

fn close(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    const OPEN: [&str; 5] =
        ["additionalProperties", "unevaluatedProperties", "patternProperties", "$ref", "if"];
    let listed = fields.contains_key("properties");
    let joined = fields.contains_key("anyOf") || fields.contains_key("oneOf");
    if listed && !joined && !OPEN.iter().any(|name| fields.contains_key(*name)) {
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for (name, inner) in fields.iter_mut() {
        match (name.as_str(), inner) {
            ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                named.iter_mut().for_each(|(_, inner)| close(inner));
            }
            ("anyOf" | "oneOf" | "prefixItems", Value::Array(inner)) if !listed => {
                inner.iter_mut().for_each(close);
            }
            ("items" | "additionalProperties", inner) => close(inner),
            _ => {}
        }
    }
}

/// One reply on its way through a grammar.
struct Following {
    matcher: Matcher,
    vocab: usize,
    /// While the reasoning has not ended.
    waiting: Option<Waiting>,
}

/// Looks for the end of the reasoning.
struct Waiting {
    mark: Vec<u8>,
    /// The last bytes, no more than the mark has.
    last: VecDeque<u8>,
    bytes: Arc<Vec<Vec<u8>>>,
}

impl Waiting {
    /// Takes a token; true once the mark is complete.
    fn ends(&mut self, token: TokenId) -> bool {
        self.last.extend(self.bytes.get(token as usize).map(Vec::as_slice).unwrap_or_default());
        let extra = self.last.len().saturating_sub(self.mark.len());
        self.last.drain(..extra);
        self.last.iter().eq(&self.mark)
    }
}

impl TokenConstraint for Following {
    fn allowed(&mut self) -> Result<Vec<u32>, String> {
        if self.waiting.is_some() {
            return Ok(vec![u32::MAX; self.vocab.div_ceil(32)]);
        }
        let mask = self.matcher.compute_mask_or_eos().map_err(|error| error.to_string())?;
        Ok(mask.as_slice().to_vec())
    }

    fn accept(&mut self, token: TokenId) -> Result<(), String> {
        if let Some(waiting) = &mut self.waiting {
            if waiting.ends(token) {
                self.waiting = None;
            }
            return Ok(());
        }
        if self.matcher.is_stopped() {
            return Ok(());
        }
        self.matcher.consume_token(token).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_and_mistakes_named() {
        let read =
            |value: Value| ReplyFormat::read(&mut Fields::new(json!({ "response_format": value })).unwrap());
        assert_eq!(read(json!({"type": "text"})).unwrap(), ReplyFormat::Text);
        assert_eq!(read(Value::Null).unwrap(), ReplyFormat::Text);
        let schema = json!({"type": "object", "properties": {}});
        let asked = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
        assert_eq!(read(asked).unwrap(), ReplyFormat::Json(schema));
        for wrong in [json!("json"), json!({"type": "xml"}), json!({"type": "json_schema"})] {
            assert_eq!(read(wrong).unwrap_err().param.as_deref(), Some("response_format"));
        }
    }

    #[test]
    fn objects_are_closed_where_the_schema_leaves_them_open() {
        let open = json!({
            "type": "object",
            "properties": {
                "a": { "type": "object", "properties": { "properties": { "type": "string" } } },
                "b": { "type": "array", "items": { "properties": {} } },
                "c": { "properties": {}, "additionalProperties": { "type": "string" } },
            },
        });
        let closed_one = closed(open);
        assert_eq!(closed_one["additionalProperties"], false);
        let properties = &closed_one["properties"];
        assert_eq!(properties["a"]["additionalProperties"], false);
        assert_eq!(properties["a"]["properties"]["properties"], json!({ "type": "string" }));
        assert_eq!(properties["b"]["items"]["additionalProperties"], false);
        assert_eq!(properties["c"]["additionalProperties"], json!({ "type": "string" }));
        for kept in [
            json!({ "allOf": [{ "properties": { "a": {} } }, { "properties": { "b": {} } }] }),
            json!({ "properties": { "a": {} }, "anyOf": [{ "properties": { "b": {} } }] }),
            json!({ "type": "object" }),
        ] {
            assert_eq!(closed(kept.clone()), kept);
        }
    }

    #[test]
    fn the_end_of_reasoning_may_span_tokens() {
        let bytes = ["<", "/think", ">", "a"].map(|text| text.as_bytes().to_vec());
        let mut waiting =
            Waiting { mark: b"</think>".to_vec(), last: VecDeque::new(), bytes: Arc::new(bytes.to_vec()) };
        let ends: Vec<bool> = [3, 0, 1, 3, 0, 1, 2].map(|token| waiting.ends(token)).to_vec();
        assert_eq!(ends, [false, false, false, false, false, false, true]);
    }
}
