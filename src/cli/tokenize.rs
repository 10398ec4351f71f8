//! `parr tokenize`: text to token ids and back.

use std::io::{self, Read, Write};

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::error::CliError;
use super::input::text_of;
use super::open::{double_bos, no_tokenizer};
use super::output::write_row;
use super::terminal;
use parr::format::Checkpoint;
use parr::hub::{self, CATALOG};
use parr::model::text;
use parr::tokenizer::{Specials, TokenId};

const LONG_ABOUT: &str = "\
Shows how a model's tokenizer splits a text. Each line has the id and the text
of one token. This uses no GPU and reads no weights.";

const EXAMPLES: &str = "\
Examples:
  parr tokenize 'Hello, 2026!'
  parr tokenize --json < README.md
  parr tokenize --count < /usr/share/common-licenses/GPL-3
  parr tokenize --specials '<|im_start|>user'
  parr tokenize --decode '9690 198 2683'";

/// Turn text into token ids, or ids into text
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct TokenizeArgs {
    /// Text [default: standard input]
    text: Option<String>,

    /// Model: a name from `parr pull`, a GGUF file or a Hugging Face directory
    #[arg(short, long, default_value = CATALOG[0].name)]
    model: String,

    /// Read special tokens such as <|im_start|> as one token, not as text
    #[arg(long)]
    specials: bool,

    /// Print only the number of tokens
    #[arg(long, conflicts_with_all = ["json", "decode"])]
    count: bool,

    /// Print one JSON object with ids and tokens
    #[arg(long)]
    json: bool,

    /// Turn ids into text: the argument is a list of ids
    #[arg(long, conflicts_with_all = ["json", "specials"])]
    decode: bool,
}

impl TokenizeArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let checkpoint = Checkpoint::open(&hub::resolve(&self.model)?)?;
        let text = text::load(&checkpoint);
        text.check_tokenizer()?;
        let tokenizer = text.tokenizer().ok_or_else(no_tokenizer)?;
        for note in tokenizer.notes() {
            global.note(format!("note: {note}"));
        }
        if let Err(reason) = text.check_chat() {
            global.note(format!("note: the model's chat template cannot be used: {reason}"));
        }
        let text = match &self.text {
            Some(text) => text.clone(),
            None => {
                let mut bytes = Vec::new();
                let read = io::stdin().lock().read_to_end(&mut bytes);
                read.map_err(|source| CliError::Input { path: "standard input".to_owned(), source })?;
                text_of("-", &bytes)?.to_owned()
            }
        };
        let mut out = terminal::stdout();
        if self.decode {
            writeln!(out, "{}", tokenizer.decode(&parse_ids(&text, tokenizer.vocab_len())?, false))?;
            return Ok(());
        }
        let specials = if self.specials { Specials::Parse } else { Specials::AsText };
        let ids = tokenizer.encode(&text, specials)?;
        if self.specials && tokenizer.begins_with_bos(&text) {
            global.note(double_bos(tokenizer));
        }
        if self.count {
            writeln!(out, "{}", ids.len())?;
            return Ok(());
        }
        let tokens: Vec<String> = ids.iter().map(|&id| tokenizer.token_shown(id)).collect();
        if self.json {
            drop(out);
            return write_row(&json!({ "ids": ids, "tokens": tokens }));
        }
        for (id, token) in ids.iter().zip(&tokens) {
            writeln!(out, "{id}\t{token:?}")?;
        }
        Ok(())
    }
}

/// Parses ids that are separated by blanks or commas, with or without brackets.
fn parse_ids(text: &str, vocab: usize) -> Result<Vec<TokenId>, CliError> {
    let words = text.split(|c: char| c.is_whitespace() || "[],".contains(c)).filter(|word| !word.is_empty());
    let id = |word: &str| match word.parse::<TokenId>() {
        Ok(id) if (id as usize) < vocab => Ok(id),
        Ok(_) => Err(CliError::Usage(format!("token {word} is outside the vocabulary of {vocab}"))),
        Err(_) => Err(CliError::Usage(format!("`{word}` is not a token id"))),
    };
    words.map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_people_copy_them() {
        assert_eq!(parse_ids("[1, 22,\n333]", 400).expect("three ids"), [1, 22, 333]);
        assert!(parse_ids("1 x", 400).expect_err("a letter").to_string().contains("`x`"));
        assert!(parse_ids("400", 400).expect_err("too large").to_string().contains("outside"));
    }
}
