//! Training rows from a JSON Lines file, or from [`Row`]s in memory, as token ids with a mask of the targets.
//!
//! A line of a file is one of
//!
//! * `{"messages": [{"role": "user", "content": "..."}, ...]}`, written by the model's chat template;
//! * `{"prompt": "...", "response": "..."}` (or `"completion"`), a chat of one turn, or plain text with
//!   [`DataOptions::raw`];
//! * `{"ids": [..], "loss_mask": [..]}`, token ids as they are, with `true` or `1` for each target.
//!
//! Only blank lines are skipped. A line that cannot be used is an error that names the line. A line that is
//! too long is cut, and counted in the [`DataReport`].

mod chat;
mod lines;
mod order;
mod raw;
mod row;
mod rows;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use order::Order;
pub use row::Row;
pub use rows::Rows;

use super::TrainError;
use crate::file::hex;
use crate::model::text::Text;
use crate::settings::Share;
use crate::tokenizer::{ChatFormat, Message, TokenId, Tokenizer};
use lines::Lines;

/// One training sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Token ids (T), at least two.
    pub ids: Vec<TokenId>,
    /// Whether token `t` is a target, to be predicted from the tokens before it (T). The first token is never
    /// a target, and at least one token is.
    pub loss_mask: Vec<bool>,
    /// Line in the file, or number of the row among rows in memory, counted from 1.
    pub line: usize,
}

impl Example {
    /// Number of tokens to be predicted.
    pub fn targets(&self) -> usize {
        self.loss_mask.iter().filter(|&&target| target).count()
    }
}

/// Which tokens of a conversation are targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainOn {
    /// Every message of the assistant, with the token that ends the turn.
    #[default]
    Assistant,
    /// The assistant's last message.
    LastAssistant,
    /// Every token except the first.
    All,
}

/// How rows are encoded as token ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataOptions {
    /// Which tokens are targets. Not used for `{"ids", "loss_mask"}` rows, which mark their own targets.
    pub train_on: TrainOn,
    /// Whether prompt and response are joined as plain text that ends with the end-of-text token. Otherwise
    /// the chat template writes them.
    pub raw: bool,
    /// Maximum number of tokens of a row. Further tokens are cut off and counted. 1024 as in TRL's
    /// `SFTConfig`.
    pub max_tokens: usize,
}

impl Default for DataOptions {
    fn default() -> Self {
        DataOptions { train_on: TrainOn::default(), raw: false, max_tokens: 1024 }
    }
}

/// Summary of the rows that were read from a file or from memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataReport {
    /// Number of lines that hold a row.
    pub rows: usize,
    /// Number of tokens of the kept rows, after cutting.
    pub tokens: usize,
    /// Number of targets among these tokens.
    pub targets: usize,
    /// Number of tokens of the longest row, after cutting.
    pub longest: usize,
    /// Number of rows that were longer than [`DataOptions::max_tokens`], dropped ones included.
    pub truncated: usize,
    /// Number of tokens that were cut off.
    pub cut_tokens: usize,
    /// Lines of the rows that were dropped because all their targets were cut off.
    pub dropped: Vec<usize>,
    /// Number of assistant turns that the chat template does not close with an end-of-turn token. A model
    /// does not learn to stop from these.
    pub unclosed_turns: usize,
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.rows - self.dropped.len();
        write!(f, "{kept} rows, {} tokens, {} of them targets", self.tokens, self.targets)?;
        if self.truncated > 0 {
            write!(f, "; {} rows were too long and lost {} tokens", self.truncated, self.cut_tokens)?;
        }
        if let Some(line) = self.dropped.first() {
            let count = self.dropped.len();
            write!(f, "; {count} of these had no target left and were dropped, the first in line {line}")?;
        }
        if self.unclosed_turns > 0 {
            let turns = self.unclosed_turns;
            write!(f, "; {turns} turns of the assistant end without an end-of-turn token")?;
        }
        Ok(())
    }
}

/// Rows of one file, or rows in memory, as tokens.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Name for messages: the file, or `rows` for rows in memory.
    pub path: PathBuf,
    /// The rows, in their order; never empty after [`Dataset::read`] and [`Dataset::from_rows`].
    pub examples: Vec<Example>,
    /// Summary of the rows that were read.
    pub report: DataReport,
    /// SHA-256 in hexadecimal of the bytes that were read. For rows in memory see [`Dataset::from_rows`].
    pub sha256: String,
}

/// Tokenizer, chat template and options with which rows are encoded.
struct Encoder<'a> {
    text: &'a Text,
    vocab: usize,
    options: &'a DataOptions,
}

/// A row as tokens, before it is cut to length.
struct Encoded {
    ids: Vec<TokenId>,
    loss_mask: Vec<bool>,
    unclosed_turns: usize,
}

/// Encodes a chat of one turn. Returns its token ids, and a mask of the reply's tokens with the token that
/// ends the turn. The mask marks at least one token, and never the first.
///
/// # Errors
///
/// A description of the fault.
pub(crate) fn encode_reply(
    chat: &ChatFormat,
    prompt: &str,
    reply: &str,
) -> Result<(Vec<TokenId>, Vec<bool>), String> {
    let messages = [Message::new("user", prompt), Message::new("assistant", reply)];
    let encoded = chat::encode(chat, &messages, TrainOn::Assistant, usize::MAX)?;
    if !encoded.loss_mask.iter().skip(1).any(|&of_reply| of_reply) {
        return Err("the reply has no tokens".to_owned());
    }
    Ok((encoded.ids, encoded.loss_mask))
}

impl Dataset {
    /// Reads all rows of `path` for a model with this tokenizer and chat template and an embedding of `vocab`
    /// rows. Stops at the first fault, so that faults show before the training.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Io`] if the file cannot be read.
    /// * [`TrainError::Row`] for the first line that is not a usable row.
    /// * [`TrainError::Data`] if no row is left.
    pub fn read(
        path: &Path,
        text: &Text,
        vocab: usize,
        options: &DataOptions,
    ) -> Result<Dataset, TrainError> {
        let mut reading = Reading::new(path, text, vocab, options);
        let mut lines = Lines::open(path)?;
        while let Some((line, text)) = lines.next()? {
            let row = Row::parse(text).map_err(|reason| TrainError::row(path, line, reason))?;
            reading.add(line, &row)?;
        }
        reading.finish(lines.sha256())
    }

    /// Encodes rows in memory, in the same way as [`Dataset::read`]. Messages call the first row line 1 of
    /// `rows`.
    ///
    /// The hash is that of a file that has each row on one line, as [`Row`] serializes to JSON. Such a file
    /// gives the same data set, and a run on the file can be resumed with the rows in memory.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Row`] for the first row that cannot be used.
    /// * [`TrainError::Data`] if no row is left.
    pub fn from_rows(
        rows: &[Row],
        text: &Text,
        vocab: usize,
        options: &DataOptions,
    ) -> Result<Dataset, TrainError> {
        let path = Path::new("rows");
        let mut reading = Reading::new(path, text, vocab, options);
        let mut hash = Sha256::new();
        for (row, line) in rows.iter().zip(1..) {
            row.check().map_err(|reason| TrainError::row(path, line, reason))?;
            reading.add(line, row)?;
            hash.update(serde_json::to_vec(row).expect("a row is plain values"));
            hash.update(b"\n");
        }
        reading.finish(hex(hash.finalize()))
    }

    /// Takes held-out examples out of the set and returns them. The choice depends only on the seed and the
    /// number of rows. Both parts stay in the order of their lines.
    ///
    /// A fraction above 0 is rounded to a number of rows, at least one.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] if no row would be left to train on.
    pub fn split(&mut self, held_out: Share, seed: u64) -> Result<Vec<Example>, TrainError> {
        let rows = self.examples.len();
        let count = match held_out {
            Share::Count(count) => count,
            Share::Fraction(part) if part > 0.0 => ((rows as f64 * part).round() as usize).max(1),
            Share::Fraction(_) => 0,
        };
        if count >= rows && count > 0 {
            let reason = format!(
                "holding out {count} of {rows} rows leaves none to train on; lower held_out or add rows"
            );
            return Err(TrainError::Data { path: self.path.clone(), reason });
        }
        let mut taken = vec![false; rows];
        for index in order::held_out(seed, rows, count) {
            taken[index] = true;
        }
        let (mut held, mut kept) = (Vec::with_capacity(count), Vec::with_capacity(rows - count));
        for (example, taken) in self.examples.drain(..).zip(taken) {
            if taken { held.push(example) } else { kept.push(example) }
        }
        self.examples = kept;
        Ok(held)
    }
}

/// A data set to which rows are added one by one.
struct Reading<'a> {
    path: &'a Path,
    encoder: Encoder<'a>,
    examples: Vec<Example>,
    report: DataReport,
}

impl<'a> Reading<'a> {
    fn new(path: &'a Path, text: &'a Text, vocab: usize, options: &'a DataOptions) -> Reading<'a> {
        let encoder = Encoder { text, vocab, options };
        Reading { path, encoder, examples: Vec::new(), report: DataReport::default() }
    }

    fn add(&mut self, line: usize, row: &Row) -> Result<(), TrainError> {
        let fault = |reason: String| TrainError::row(self.path, line, reason);
        self.report.rows += 1;
        let encoded = self.encoder.encode(row).map_err(fault)?;
        self.report.unclosed_turns += encoded.unclosed_turns;
        match cut(encoded, line, self.encoder.options.max_tokens, &mut self.report).map_err(fault)? {
            Some(example) => self.examples.push(example),
            None => self.report.dropped.push(line),
        }
        Ok(())
    }

    fn finish(self, sha256: String) -> Result<Dataset, TrainError> {
        let Reading { path, encoder, examples, report } = self;
        if examples.is_empty() {
            let reason = match report.rows {
                0 => "it has no rows".to_owned(),
                rows => format!(
                    "none of its {rows} rows has a target among its first {} tokens; raise max_tokens",
                    encoder.options.max_tokens
                ),
            };
            return Err(TrainError::Data { path: path.to_owned(), reason });
        }
        Ok(Dataset { path: path.to_owned(), examples, report, sha256 })
    }
}

/// Cuts a row to `max_tokens`. Returns none if that leaves no target.
fn cut(
    encoded: Encoded,
    line: usize,
    max_tokens: usize,
    report: &mut DataReport,
) -> Result<Option<Example>, String> {
    let Encoded { mut ids, mut loss_mask, .. } = encoded;
    let lost = ids.len().saturating_sub(max_tokens);
    if lost > 0 {
        report.truncated += 1;
        report.cut_tokens += lost;
        ids.truncate(max_tokens);
        loss_mask.truncate(max_tokens);
    }
    // The first token has no tokens before it from which it could be predicted.
    if let Some(first) = loss_mask.first_mut() {
        *first = false;
    }
    let example = Example { ids, loss_mask, line };
    match example.targets() {
        0 if lost == 0 => Err("no token of the row is a target, so the row cannot be trained on; \
                               the first token is never a target"
            .to_owned()),
        0 => Ok(None),
        targets => {
            report.tokens += example.ids.len();
            report.targets += targets;
            report.longest = report.longest.max(example.ids.len());
            Ok(Some(example))
        }
    }
}

impl Encoder<'_> {
    /// Encodes a row. An error describes the fault.
    fn encode(&self, row: &Row) -> Result<Encoded, String> {
        match row {
            Row::Chat { messages } => self.chat(messages),
            Row::Pair { prompt, response } if self.options.raw => {
                raw::encode(self.tokenizer()?, prompt, response, self.options.train_on)
            }
            Row::Pair { prompt, response } => self
                .chat(&[Message::new("user", prompt.as_str()), Message::new("assistant", response.as_str())]),
            Row::Ids { ids, loss_mask } => {
                if let Some(at) = ids.iter().position(|&id| id as usize >= self.vocab) {
                    let (id, vocab) = (ids[at], self.vocab);
                    return Err(format!("ids[{at}] is {id}, outside the model's vocabulary of {vocab}"));
                }
                if !loss_mask.iter().skip(1).any(|&target| target) {
                    return Err("loss_mask marks no token after the first, so the row cannot be trained on"
                        .to_owned());
                }
                Ok(Encoded { ids: ids.clone(), loss_mask: loss_mask.clone(), unclosed_turns: 0 })
            }
        }
    }

    fn tokenizer(&self) -> Result<&Tokenizer, String> {
        self.text.check_tokenizer().map_err(|error| error.to_string())?;
        self.text.tokenizer().ok_or_else(|| "the model has no tokenizer; give ids and loss_mask".to_owned())
    }

    fn chat(&self, messages: &[Message]) -> Result<Encoded, String> {
        self.text.check_chat().map_err(|error| error.to_string())?;
        let chat = self.text.chat().ok_or(
            "the model has no chat template; give ids and loss_mask, or prompt and response with raw = true",
        )?;
        chat::encode(chat, messages, self.options.train_on, self.options.max_tokens)
    }
}

/// Number of leading tokens that two sequences share.
fn shared(left: &[TokenId], right: &[TokenId]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}
