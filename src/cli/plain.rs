//! Plain replies with their prompts, as the factory and evaluations on attributes take them.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::error::CliError;
use super::input::{Row, read_rows};
use parr::attributes::{AttributeSet, PlainReply};

/// Replies to edit, and attributes to give them.
#[derive(Args)]
pub(super) struct PlainArgs {
    /// Prompts: JSON Lines with prompt, and id if the replies have one
    #[arg(long, value_name = "FILE")]
    prompts: String,

    /// Replies to the prompts, as `parr generate --jsonl` prints them
    #[arg(long, value_name = "FILE")]
    replies: String,

    /// Files of attributes, instead of those that come with parr
    #[arg(long, value_name = "FILE", num_args = 1..)]
    attributes: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Prompt {
    id: Option<Value>,
    prompt: String,
}

#[derive(Deserialize)]
struct Reply {
    line: Option<usize>,
    id: Option<Value>,
    text: String,
}

impl PlainArgs {
    pub(super) fn attributes(&self) -> Result<AttributeSet, CliError> {
        Ok(match &self.attributes[..] {
            [] => AttributeSet::shipped(),
            files => AttributeSet::read(files)?,
        })
    }

    /// Every reply with its prompt.
    pub(super) fn replies(&self) -> Result<Vec<PlainReply>, CliError> {
        let prompts: Vec<Row<Prompt>> = read_rows(&self.prompts)?;
        let key = |id: &Value| id.to_string();
        let by_id: HashMap<String, &Prompt> =
            prompts.iter().filter_map(|row| Some((key(row.value.id.as_ref()?), &row.value))).collect();
        let by_line: HashMap<usize, &Prompt> = prompts.iter().map(|row| (row.line, &row.value)).collect();
        let mut plain = Vec::new();
        for Row { line, value: Reply { line: of, id, text } } in read_rows(&self.replies)? {
            let prompt = match (&id, of) {
                (Some(id), _) => by_id.get(&key(id)),
                (None, of) => by_line.get(&of.unwrap_or(line)),
            };
            let Some(prompt) = prompt else {
                let reason = format!("{} has no prompt for it", self.prompts);
                return Err(CliError::Line { path: self.replies.clone(), line, reason });
            };
            plain.push(PlainReply { prompt: prompt.prompt.clone(), reply: text });
        }
        Ok(plain)
    }
}
