//! `parr generate`: replies to one prompt or to a file of prompts.

use std::io::Write;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::GlobalArgs;
use super::error::CliError;
use super::input::{Row, read_rows};
use super::interrupt::interruptible;
use super::open::{AdapterArgs, CacheArgs, ModelArgs, chat_format, note_double_bos, tokenizer};
use super::output::write_row;
use super::sampling::SamplingArgs;
use super::steering::{SteeringArgs, scores};
use super::terminal;
use parr::generate::{Finish, Request, StopTokens};
use parr::model::Model;
use parr::steer::{
    Answer, Ask, Candidate, Search, SteerError, SteerEvent, SteeredModel, Steering, WatchedSet,
};
use parr::tokenizer::{Message, Specials, TokenId};

const LONG_ABOUT: &str = "\
Generates text for one prompt, or for each line of a JSON Lines file, many at
the same time.

A prompt becomes a user message in the model's chat template. --raw continues it
as plain text instead. The same seed and prompt give the same text in any batch.

--principles puts written principles into the system message. With --reward, a
reward model reads the same principles and chooses among several replies
(--best-of) or block by block (--guided).";

const EXAMPLES: &str = "\
Examples:
  parr generate 'Why is the sky blue?'
  parr generate --raw 'Once upon a time' --max-tokens 40 --temperature 0.8
  parr generate --jsonl prompts.jsonl --batch 16 > replies.jsonl
  parr generate --jsonl prompts.jsonl --principles honest --temperature 0.8 \\
      --reward runs/reward --best-of 4

Input rows, one JSON object per line:
  {\"prompt\": \"Name three rivers.\"}
  {\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": \"Hi\"}]}
A row may also have \"id\" (any value, copied to the output), \"seed\" and
\"max_tokens\". \"type\" and \"language\", as in files of prompts, are not used.

Output rows, in input order: line, id, text, finish (end_of_turn, end_of_text
with --raw, stop, length or context_full), prompt_tokens, tokens (ids) and
logprobs (natural, one per token).

With --best-of, --guided or --scores, a row also has score, choices (their
number) and candidates. The candidates are those of the last choice, with seed,
text, score and, with --scores, by_principle.

--json prints one such row for a prompt argument.";

/// Generate text for a prompt, or for a file of prompts
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct GenerateArgs {
    /// Prompt to reply to
    #[arg(required_unless_present = "jsonl", conflicts_with = "jsonl")]
    prompt: Option<String>,

    /// Read prompts from FILE (- for standard input) and print one row for each
    #[arg(long, value_name = "FILE")]
    jsonl: Option<String>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    #[command(flatten)]
    steering: SteeringArgs,

    /// Continue the prompt as plain text, without the chat template
    #[arg(long, conflicts_with = "principles")]
    raw: bool,

    /// System message before the prompt; rows with messages have their own
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,

    /// End a reply before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// Number of sequences generated at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    /// Print the reply to the prompt argument as one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    cache: CacheArgs,
}

/// Number of rows per slot in one call of the generator.
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
    /// In conversations that a chat saved.
    #[serde(rename = "written_by")]
    _written_by: Option<serde::de::IgnoredAny>,
    /// In files of prompts.
    #[serde(rename = "type")]
    _kind: Option<serde::de::IgnoredAny>,
    /// In files of prompts.
    #[serde(rename = "language")]
    _language: Option<serde::de::IgnoredAny>,
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
    #[serde(flatten)]
    steered: Option<OutputOfSearch<'a>>,
}

/// Output fields of a scored reply.
#[derive(Serialize)]
struct OutputOfSearch<'a> {
    score: Option<f32>,
    choices: usize,
    candidates: Vec<OutputCandidate<'a>>,
}

#[derive(Serialize)]
struct OutputCandidate<'a> {
    seed: u64,
    text: &'a str,
    score: Option<f32>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    by_principle: Map<String, Value>,
}

impl<'a> Output<'a> {
    fn new(
        line: Option<usize>,
        id: Option<&'a Value>,
        steering: &Steering,
        answer: &'a Answer,
    ) -> Output<'a> {
        let Answer { reply, choices, .. } = answer;
        let candidate = |one: &'a Candidate| {
            let scores = steering.used().into_iter().zip(&one.by_principle);
            OutputCandidate {
                seed: one.seed,
                text: &one.text,
                score: one.score.as_ref().map(|score| score.value),
                by_principle: scores.map(|(principle, score)| (principle.id.clone(), json!(score))).collect(),
            }
        };
        let scored = steering.search != Search::Sample || steering.scores;
        let last = answer.last().filter(|_| scored);
        Output {
            line,
            id,
            text: &reply.text,
            finish: reply.finish.name(),
            prompt_tokens: reply.prompt_tokens,
            tokens: &reply.tokens,
            logprobs: &reply.logprobs,
            steered: last.map(|last| OutputOfSearch {
                score: answer.score(),
                choices: choices.len(),
                candidates: last.candidates.iter().map(candidate).collect(),
            }),
        }
    }
}

/// The model that replies, and its steering.
struct Voice<'a> {
    model: &'a Model,
    steered: SteeredModel,
    steering: Steering,
}

impl GenerateArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        // Read first, to report a mistake in the file before the model is loaded.
        let rows: Option<Vec<Row<Input>>> = self.jsonl.as_deref().map(read_rows).transpose()?;
        let watched = self.steering.watch()?;
        let steering = self.steering.steering(watched.as_ref().map(WatchedSet::set))?;
        let (_, model) = self.model.open(global)?;
        if self.raw {
            let prompts = rows.iter().flatten().filter_map(|row| row.value.prompt.as_deref());
            note_double_bos(&model, prompts.chain(self.prompt.as_deref()), global);
        }
        let n = self.steering.candidates();
        let slots = rows.as_ref().map_or(n, |rows| (n * rows.len()).clamp(1, self.batch.into()));
        let steered = self.steering.open(&model, &self.adapter, &self.cache, slots)?;
        let mut voice = Voice { model: &model, steered, steering };
        match (rows, &self.jsonl, &self.prompt) {
            (Some(rows), Some(path), _) => self.answer_rows(&mut voice, slots, path, &rows),
            (_, _, Some(prompt)) => self.answer_prompt(&mut voice, prompt),
            _ => unreachable!("clap requires a prompt without --jsonl"),
        }
    }

    fn answer_prompt(&self, voice: &mut Voice<'_>, prompt: &str) -> Result<(), CliError> {
        let input = Input { prompt: Some(prompt.to_owned()), ..Input::default() };
        let ask = self.ask(voice, &input).map_err(CliError::Model)?;
        let mut written = Ok(());
        let Voice { steered, steering, .. } = voice;
        let answers = interruptible(|token| {
            steered.answer(steering, &[ask], token, &mut |progress| {
                let SteerEvent::Text { text, .. } = progress else { return };
                if self.json {
                    return;
                }
                let mut out = terminal::stdout();
                let result = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                if result.is_err() {
                    token.cancel();
                    written = result;
                }
            })
        });
        written?;
        let answer = answers?.swap_remove(0);
        if self.json {
            write_row(&Output::new(None, None, steering, &answer))?;
        } else {
            writeln!(terminal::stdout())?;
            if steering.scores {
                terminal::say(scores(steering, &answer));
            }
        }
        if matches!(answer.reply.finish, Finish::Cancelled) { Err(CliError::Interrupted) } else { Ok(()) }
    }

    fn answer_rows(
        &self,
        voice: &mut Voice<'_>,
        slots: usize,
        path: &str,
        rows: &[Row<Input>],
    ) -> Result<(), CliError> {
        let context = self.cache.context(voice.model);
        let mut asks = Vec::with_capacity(rows.len());
        for row in rows {
            let ask = self.ask(voice, &row.value).map_err(|reason| CliError::line(path, row.line, reason))?;
            let needed = ask.request.prompt.len();
            if needed + 1 > context {
                let reason =
                    format!("the prompt has {needed} tokens, the context has {context}: raise --context");
                return Err(CliError::line(path, row.line, reason));
            }
            asks.push(ask);
        }
        // Slots are refilled as replies end, so a round has several rows per slot. Rows are written after
        // each round.
        let Voice { steered, steering, .. } = voice;
        let round = (slots * ROUND / steering.search.n()).max(1);
        for (rows, asks) in rows.chunks(round).zip(asks.chunks(round)) {
            let (answers, cancelled) = interruptible(|token| {
                (steered.answer(steering, asks, token, &mut |_| {}), token.is_cancelled())
            });
            let answers = answers.map_err(|error| match error {
                SteerError::Ask { ask, source } => CliError::line(path, rows[ask].line, source),
                other => other.into(),
            })?;
            for (row, answer) in rows.iter().zip(&answers) {
                // Without scores no reply was chosen, so such a row is not written.
                if matches!(answer.reply.finish, Finish::Cancelled)
                    || (cancelled && steering.search != Search::Sample)
                {
                    return Err(CliError::Interrupted);
                }
                write_row(&Output::new(Some(row.line), row.value.id.as_ref(), steering, answer))?;
            }
        }
        Ok(())
    }

    /// Builds the request for a row; the error is a message about the row.
    fn ask(&self, voice: &Voice<'_>, input: &Input) -> Result<Ask, String> {
        let Voice { model, steered, steering } = voice;
        let mut ask = match (&input.prompt, &input.messages) {
            (Some(prompt), None) if self.raw => {
                let question = prompt.clone();
                let prompt = raw_prompt(model, prompt)?;
                let request = Request { prompt, stop_ids: StopTokens::Text, ..Request::default() };
                Ask { request, question }
            }
            (Some(prompt), None) => {
                let system = self.system.iter().map(|text| Message::new("system", text.as_str()));
                let messages: Vec<_> = system.chain([Message::new("user", prompt.as_str())]).collect();
                chat_ask(model, steering, &messages)?
            }
            (None, Some(messages)) => {
                let message = |m: &InputMessage| Message::new(m.role.as_str(), m.content.as_str());
                chat_ask(model, steering, &messages.iter().map(message).collect::<Vec<_>>())?
            }
            _ => return Err("give either `prompt` or `messages`".to_owned()),
        };
        let request = &mut ask.request;
        request.adapter = steered.policy();
        request.sampling = self.sampling.sampling(input.seed.unwrap_or(self.sampling.seed));
        request.max_tokens = input.max_tokens.unwrap_or(self.sampling.max_tokens);
        request.stop = self.stop.clone();
        Ok(ask)
    }
}

fn raw_prompt(model: &Model, text: &str) -> Result<Vec<TokenId>, String> {
    let tokenizer = tokenizer(model).map_err(|error| error.to_string())?;
    let ids = tokenizer.encode_raw(text, Specials::Parse).map_err(|error| error.to_string())?;
    if ids.is_empty() { Err("the prompt is empty".to_owned()) } else { Ok(ids) }
}

fn chat_ask(model: &Model, steering: &Steering, messages: &[Message]) -> Result<Ask, String> {
    let format = chat_format(model).map_err(|error| error.to_string())?;
    Ask::new(format, steering, messages).map_err(|error| error.to_string())
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
