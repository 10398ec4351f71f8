//! `parr perplexity`: how well a model predicts a text.

use std::fs;
use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::GlobalArgs;
use super::error::CliError;
use super::input::text_of;
use super::interrupt::interruptible;
use super::open::{ModelArgs, tokenizer};
use super::output::write_row;
use super::terminal;
use parr::generate::{Generator, GeneratorOptions};
use parr::ops::{KvFormat, TokenStat};
use parr::tokenizer::Specials;

const LONG_ABOUT: &str = "\
Measures the perplexity of a model on a text file: exp of the mean negative
log-probability per token. Lower is better. Use it to compare formats of the
same model.

The whole file is tokenized, without special tokens, and cut into chunks of
--ctx tokens that do not overlap. There are two methods, and their figures
cannot be compared:

`second-half` counts the predictions in the second half of each chunk. They all
have at least half a chunk of context. A shorter last chunk is left out. These
are the figures of llama.cpp's tool.

`full` counts every prediction in a chunk, also in a shorter last one.";

const EXAMPLES: &str = "\
Examples:
  parr perplexity /usr/share/common-licenses/GPL-3
  parr perplexity corpus.txt --ctx 2048 --kv f32 --json";

/// Measure how well a model predicts a text
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct PerplexityArgs {
    /// Text file in UTF-8
    file: String,

    #[command(flatten)]
    model: ModelArgs,

    /// Tokens per chunk
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(4..))]
    ctx: u32,

    /// Predictions that count
    #[arg(long, value_enum, default_value_t = Method::SecondHalf)]
    method: Method,

    /// Number of chunks computed at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,

    /// Number format of the key/value cache
    #[arg(long, value_name = "f16|f32", default_value = "f16", value_parser = super::open::kv_format)]
    kv: KvFormat,

    /// Print one JSON object: perplexity, nll, tokens, chunks
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Method {
    /// Predictions in the second half of each whole chunk
    SecondHalf,
    /// All predictions in each chunk
    Full,
}

/// Sum and number of log-probabilities.
#[derive(Default)]
struct Score {
    sum: f64,
    tokens: usize,
}

impl Score {
    /// Adds a chunk's predictions, from its second to its last token; `ctx` is the length of a whole chunk.
    fn add(&mut self, stats: &[TokenStat], ctx: usize, method: Method) {
        let first = if method == Method::SecondHalf { ctx / 2 } else { 0 };
        for stat in stats.iter().skip(first) {
            self.sum += f64::from(stat.logprob);
            self.tokens += 1;
        }
    }

    /// Mean negative log-probability, in nats.
    fn nll(&self) -> f64 {
        -self.sum / self.tokens as f64
    }
}

impl PerplexityArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let bytes =
            fs::read(&self.file).map_err(|source| CliError::Input { path: self.file.clone(), source })?;
        let text = text_of(&self.file, &bytes)?;
        let (_, model) = self.model.open(global)?;
        let ids = tokenizer(&model)?.encode(text, Specials::AsText)?;
        let ctx = self.ctx as usize;
        let shortest = match self.method {
            Method::SecondHalf => ctx,
            // A chunk of one token predicts nothing.
            Method::Full => 2,
        };
        let chunks: Vec<Vec<u32>> =
            ids.chunks(ctx).filter(|chunk| chunk.len() >= shortest).map(<[u32]>::to_vec).collect();
        if chunks.is_empty() {
            let reason = format!("{} has {} tokens, too few for a chunk of {shortest}", self.file, ids.len());
            return Err(CliError::Usage(format!("{reason}: lower --ctx or use --method full")));
        }
        let slots = chunks.len().min(self.batch.into());
        let options = GeneratorOptions { slots, context: ctx, kv: self.kv, ..GeneratorOptions::default() };
        let mut generator = Generator::new(&model, options)?;

        let bar = global.bar(Some(chunks.len() as u64), "{bar:30} chunk {pos}/{len} {msg} {eta} left");
        let mut score = Score::default();
        for batch in chunks.chunks(slots) {
            for stats in interruptible(|token| generator.token_stats(batch, None, 1.0, token))? {
                score.add(&stats, ctx, self.method);
            }
            bar.inc(batch.len() as u64);
            bar.set_message(format!("perplexity {:.4}", score.nll().exp()));
        }
        bar.finish_and_clear();
        let (nll, perplexity) = (score.nll(), score.nll().exp());
        if !perplexity.is_finite() {
            let reason = format!("the perplexity is not a number: {nll} nats per token");
            return Err(CliError::Check(format!("{reason}: the model does not fit the text, or is damaged")));
        }
        if self.json {
            let chunks = chunks.len();
            return write_row(&json!({
                "perplexity": perplexity, "nll": nll, "tokens": ids.len(), "scored": score.tokens, "chunks": chunks
            }));
        }
        let what = format!("{} of {} tokens scored in {} chunks", score.tokens, ids.len(), chunks.len());
        writeln!(terminal::stdout(), "perplexity {perplexity:.4}  (nll {nll:.5} nats per token, {what})")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_has_half_a_chunk_of_context() {
        // Four tokens are three predictions, of the tokens 1, 2 and 3; only that of token 3 has more
        // than half a chunk before it.
        let (mut full, mut half) = (Score::default(), Score::default());
        let chunk = [-1.0, -2.0, -4.0].map(|logprob| TokenStat { logprob, entropy: 0.0 });
        full.add(&chunk, 4, Method::Full);
        half.add(&chunk, 4, Method::SecondHalf);
        assert_eq!((full.tokens, full.nll()), (3, 7.0 / 3.0));
        assert_eq!((half.tokens, half.nll()), (1, 4.0));
    }
}
