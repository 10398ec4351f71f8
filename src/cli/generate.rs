//! `parr generate`: replies to one prompt or to a file of them.

use std::io::{self, Write};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::GlobalArgs;
use super::error::CliError;
use super::input::{Row, read_rows};
use super::interrupt::interruptible;
use super::open::{AdapterArgs, CacheArgs, ModelArgs, chat_format, tokenizer};
use super::output::write_row;
use super::sampling::SamplingArgs;
use crate::generate::{Finish, Generator, Reply, Request};
use crate::model::Model;
use crate::model::lora::AdapterId;
use crate::tokenizer::{Message, Specials, TokenId};

const LONG_ABOUT: &str = "\
Generates text for one prompt, or for every line of a JSON Lines file, many at a time.

A prompt is put into the model's chat template as a message of the user; --raw continues it as plain
text instead. The same seed and prompt give the same text whatever else is in the batch.";

const EXAMPLES: &str = "\
Examples:
  parr generate 'Why is the sky blue?'
  parr generate --raw 'Once upon a time' --max-tokens 40 --temperature 0.8 --seed 7
  parr generate --jsonl prompts.jsonl --batch 16 > replies.jsonl

Input rows, one JSON object a line:
  {\"prompt\": \"Name three rivers.\"}
  {\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": \"Hi\"}]}
and optionally \"id\" (any value, copied to the output), \"seed\" and \"max_tokens\" of their own.

Output rows, in the order of the input: line, id, text, finish (end_of_turn, stop, length or
context_full), prompt_tokens, tokens (ids) and logprobs (natural, one a token). --json prints one
such row for a prompt argument.";

/// Generate text for a prompt, or for JSON Lines of them
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct GenerateArgs {
    /// What to reply to
    #[arg(required_unless_present = "jsonl", conflicts_with = "jsonl")]
    prompt: Option<String>,

    /// Read rows from FILE (- for standard input), write rows to standard output
    #[arg(long, value_name = "FILE")]
    jsonl: Option<String>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Continue the prompt as plain text, without the chat template
    #[arg(long)]
    raw: bool,

    /// System message in front of prompts; rows of messages bring their own
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,

    /// End a reply at this text, which is left out; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// Sequences generated at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    /// Print the prompt argument's reply as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    cache: CacheArgs,
}

/// Rows of one call to the generator, for each of its slots.
const ROUND: usize = 8;

/// One line of input.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    id: Option<Value>,
    prompt: Option<String>,
    messages: Option<Vec<InputMessage>>,
    seed: Option<u64>,
    max_tokens: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputMessage {
    role: String,
    content: String,
}

/// One line of output.
#[derive(Serialize)]
struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    text: &'a str,
    finish: &'static str,
    prompt_tokens: usize,
    tokens: &'a [TokenId],
    logprobs: &'a [f32],
}

impl<'a> Output<'a> {
    fn new(line: Option<usize>, id: Option<&'a Value>, reply: &'a Reply) -> Output<'a> {
        Output {
            line,
            id,
            text: &reply.text,
            finish: reply.finish.name(),
            prompt_tokens: reply.prompt_tokens,
            tokens: &reply.tokens,
            logprobs: &reply.logprobs,
        }
    }
}

/// Who answers.
struct Voice<'a> {
    model: &'a Model,
    generator: Generator,
    adapter: Option<AdapterId>,
}

impl GenerateArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        // Read first: a mistake in the file should not wait for the model.
        let rows = self.jsonl.as_deref().map(read_rows).transpose()?;
        let (_, model) = self.model.open(global)?;
        let slots = rows.as_ref().map_or(1, |rows| rows.len().clamp(1, self.batch.into()));
        let (bank, adapter) = self.adapter.attach(&model)?.unzip();
        let generator = self.cache.generator(&model, slots, bank.as_ref())?;
        let mut voice = Voice { model: &model, generator, adapter };
        match (rows, &self.jsonl, &self.prompt) {
            (Some(rows), Some(path), _) => self.answer_rows(&mut voice, slots, path, &rows),
            (_, _, Some(prompt)) => self.answer_prompt(&mut voice, prompt),
            _ => unreachable!("clap demands a prompt where there is no --jsonl"),
        }
    }

    fn answer_prompt(&self, voice: &mut Voice<'_>, prompt: &str) -> Result<(), CliError> {
        let input = Input { prompt: Some(prompt.to_owned()), ..Input::default() };
        let request = self.request(voice, &input).map_err(CliError::Usage)?;
        let mut written = Ok(());
        let replies = interruptible(|token| {
            voice.generator.generate(&[request], token, &mut |event| {
                if self.json {
                    return;
                }
                let mut out = io::stdout().lock();
                let result = out.write_all(event.text.as_bytes()).and_then(|()| out.flush());
                if result.is_err() {
                    token.cancel();
                    written = result;
                }
            })
        });
        written?;
        let reply = replies?.swap_remove(0);
        if self.json {
            write_row(&Output::new(None, None, &reply))?;
        } else {
            writeln!(io::stdout())?;
        }
        if matches!(reply.finish, Finish::Cancelled) { Err(CliError::Interrupted) } else { Ok(()) }
    }

    fn answer_rows(
        &self,
        voice: &mut Voice<'_>,
        slots: usize,
        path: &str,
        rows: &[Row<Input>],
    ) -> Result<(), CliError> {
        let context = self.cache.context(voice.model);
        let mut requests = Vec::with_capacity(rows.len());
        for row in rows {
            let request =
                self.request(voice, &row.value).map_err(|reason| CliError::line(path, row.line, reason))?;
            if request.prompt.len() + 1 > context {
                let reason = format!("the prompt has {} tokens, the context {context}", request.prompt.len());
                return Err(CliError::line(path, row.line, reason));
            }
            requests.push(request);
        }
        // Slots are refilled as replies end, so a round is several times as many rows; between rounds
        // what is done is written.
        let round = slots * ROUND;
        for (rows, requests) in rows.chunks(round).zip(requests.chunks(round)) {
            let replies = interruptible(|token| voice.generator.generate(requests, token, &mut |_| {}));
            let replies = replies?;
            for (row, reply) in rows.iter().zip(&replies) {
                if matches!(reply.finish, Finish::Cancelled) {
                    return Err(CliError::Interrupted);
                }
                write_row(&Output::new(Some(row.line), row.value.id.as_ref(), reply))?;
            }
        }
        Ok(())
    }

    /// What the generator is asked for; the error is a sentence about the input.
    fn request(&self, voice: &Voice<'_>, input: &Input) -> Result<Request, String> {
        let model = voice.model;
        let (prompt, stop_ids) = match (&input.prompt, &input.messages) {
            (Some(prompt), None) if self.raw => (raw_prompt(model, prompt)?, Vec::new()),
            (Some(prompt), None) => {
                let system = self.system.iter().map(|text| Message::new("system", text.as_str()));
                chat_prompt(
                    model,
                    &system.chain([Message::new("user", prompt.as_str())]).collect::<Vec<_>>(),
                )?
            }
            (None, Some(messages)) => {
                let message = |m: &InputMessage| Message::new(m.role.as_str(), m.content.as_str());
                chat_prompt(model, &messages.iter().map(message).collect::<Vec<_>>())?
            }
            _ => return Err("give either `prompt` or `messages`".to_owned()),
        };
        Ok(Request {
            prompt,
            adapter: voice.adapter,
            sampling: self.sampling.sampling(input.seed.unwrap_or(self.sampling.seed)),
            max_tokens: input.max_tokens.unwrap_or(self.sampling.max_tokens),
            stop: self.stop.clone(),
            stop_ids,
        })
    }
}

fn raw_prompt(model: &Model, text: &str) -> Result<Vec<TokenId>, String> {
    let tokenizer = tokenizer(model).map_err(|error| error.to_string())?;
    let mut ids: Vec<TokenId> = tokenizer.bos().filter(|_| tokenizer.add_bos()).into_iter().collect();
    ids.extend(tokenizer.encode(text, Specials::Parse).map_err(|error| error.to_string())?);
    if ids.is_empty() { Err("the prompt is empty".to_owned()) } else { Ok(ids) }
}

fn chat_prompt(model: &Model, messages: &[Message]) -> Result<(Vec<TokenId>, Vec<TokenId>), String> {
    let format = chat_format(model).map_err(|error| error.to_string())?;
    let ids = format.encode_chat(messages, true).map_err(|error| error.to_string())?;
    Ok((ids, format.end_of_turn().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_misspelt_keys_are_refused() {
        let error = serde_json::from_str::<Input>(r#"{"promt":"x"}"#).map(|_| ()).expect_err("misspelt");
        assert!(
            error.to_string().contains("unknown field `promt`, expected one of `id`, `prompt`"),
            "{error}"
        );
    }
}
