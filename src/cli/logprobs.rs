//! `parr logprobs`: log-probabilities of given texts, token by token.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::GlobalArgs;
use super::error::CliError;
use super::input::{Row, read_rows};
use super::interrupt::interruptible;
use super::open::{AdapterArgs, CacheArgs, ModelArgs, note_double_bos, tokenizer};
use super::output::{OutputFile, write_row};
use parr::format::safetensors::{Dtype, SafetensorsWriter};
use parr::generate::Generator;
use parr::hub;
use parr::model::Model;
use parr::model::lora::AdapterId;
use parr::output::{KEY, Mark, PARR};
use parr::tokenizer::{Specials, TokenId};

const LONG_ABOUT: &str = "\
Computes the log-probability of each token in given texts:
log p(token t+1 | tokens 0..t), natural logarithm. The first token has none, so
T tokens give T-1 values.

Rows of ids need no tokenizer: a directory with config.json and
model.safetensors is enough.";

const EXAMPLES: &str = "\
Examples:
  parr logprobs texts.jsonl --kv f32
  echo '{\"text\": \"The capital of France is Paris.\"}' | parr logprobs -
  parr logprobs ids.jsonl --model ./tiny-model --logits logits.safetensors

Input rows: {\"text\": \"...\"} or {\"ids\": [1, 2, 3]}. A row may also have \"id\",
which is copied to the output. Special tokens in a text are read as such. A
start token is added only if the model's tokenizer adds one.

Output rows, in input order: line, id, ids, logprobs, sum.

For the row on line N, --logits FILE holds the tensors `N.ids` (T) i64 and
`N.logits` (T, V) f32.";

/// Compute log-probabilities of texts or token ids
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct LogprobsArgs {
    /// JSON Lines of texts or ids; - for standard input
    #[arg(value_name = "FILE")]
    rows: String,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Write all logits to this safetensors file, too
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,

    /// Number of sequences computed at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    id: Option<Value>,
    text: Option<String>,
    ids: Option<Vec<TokenId>>,
}

#[derive(Serialize)]
struct Output<'a> {
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    ids: &'a [TokenId],
    logprobs: Vec<f32>,
    sum: f64,
}

impl LogprobsArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let model = hub::resolve(&self.model.model)?;
        let mut inputs = vec![Path::new(&self.rows), &model];
        inputs.extend(self.adapter.path());
        let logits = OutputFile::of(self.logits.as_deref(), Mark::Safetensors, &inputs)?;
        let rows: Vec<Row<Input>> = read_rows(&self.rows)?;
        let (_, model) = self.model.open(global)?;
        note_double_bos(&model, rows.iter().filter_map(|row| row.value.text.as_deref()), global);
        let context = self.cache.context(&model);
        let mut sequences = Vec::with_capacity(rows.len());
        for row in &rows {
            let ids = token_ids(&model, &row.value, context);
            sequences.push(ids.map_err(|reason| CliError::line(&self.rows, row.line, reason))?);
        }
        let slots = rows.len().clamp(1, self.batch.into());
        let (bank, adapter) = self.adapter.attach(&model)?.unzip();
        let mut generator = self.cache.generator(&model, slots, bank.as_ref())?;
        for (rows, sequences) in rows.chunks(slots).zip(sequences.chunks(slots)) {
            let computed = interruptible(|token| generator.token_stats(sequences, adapter, 1.0, token))?;
            for ((row, ids), stats) in rows.iter().zip(sequences).zip(&computed) {
                write_row(&Output {
                    line: row.line,
                    id: row.value.id.as_ref(),
                    ids,
                    logprobs: stats.iter().map(|stat| stat.logprob).collect(),
                    sum: stats.iter().map(|stat| f64::from(stat.logprob)).sum(),
                })?;
            }
        }
        match &logits {
            Some(file) => {
                write_logits(file, &mut generator, adapter, model.config().vocab, &rows, &sequences)
            }
            None => Ok(()),
        }
    }
}

/// Writes ids and logits of every row as safetensors, row by row, since all logits may not fit in memory.
fn write_logits(
    file: &OutputFile<'_>,
    generator: &mut Generator,
    adapter: Option<AdapterId>,
    vocab: usize,
    rows: &[Row<Input>],
    sequences: &[Vec<TokenId>],
) -> Result<(), CliError> {
    let mut writer = SafetensorsWriter::new();
    writer.set(KEY, PARR);
    for (row, ids) in rows.iter().zip(sequences) {
        writer.declare(&format!("{}.ids", row.line), Dtype::I64, &[ids.len()])?;
        writer.declare(&format!("{}.logits", row.line), Dtype::F32, &[ids.len(), vocab])?;
    }
    let mut failed = None;
    let written = file.write(|file| {
        let mut body = writer.start(file)?;
        for ids in sequences {
            for &id in ids {
                body.data(&i64::from(id).to_le_bytes())?;
            }
            let mut output = Ok(());
            let computed = interruptible(|token| {
                generator.logits(ids, adapter, token, &mut |row| {
                    let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
                    output = body.data(&bytes);
                    if output.is_err() {
                        token.cancel();
                    }
                })
            });
            output?;
            computed.map_err(|error| {
                failed = Some(CliError::from(error));
                io::Error::other("no logits")
            })?;
        }
        body.finish().map(drop)
    });
    match failed {
        Some(error) => Err(error),
        None => written,
    }
}

fn token_ids(model: &Model, input: &Input, context: usize) -> Result<Vec<TokenId>, String> {
    let ids = match (&input.text, &input.ids) {
        (Some(text), None) => {
            let tokenizer = tokenizer(model).map_err(|error| error.to_string())?;
            tokenizer.encode_raw(text, Specials::Parse).map_err(|error| error.to_string())?
        }
        (None, Some(ids)) => ids.clone(),
        _ => return Err("give either `text` or `ids`".to_owned()),
    };
    let vocab = model.config().vocab;
    if ids.is_empty() {
        return Err("the row has no tokens".to_owned());
    }
    if ids.len() > context {
        return Err(format!("the row has {} tokens, the context has {context}: raise --context", ids.len()));
    }
    match ids.iter().position(|&id| id as usize >= vocab) {
        Some(at) => Err(format!("token {} at index {at} is outside the vocabulary of {vocab}", ids[at])),
        None => Ok(ids),
    }
}
