//! `parr score`: scores of replies from a reward model.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::GlobalArgs;
use super::error::CliError;
use super::input::{Row, read_rows};
use super::interrupt::interruptible;
use super::open::ModelArgs;
use super::output::write_row;
use super::screen::unclear;
use parr::generate::CancelToken;
use parr::principles::{PromptType, Selection, Use};
use parr::random::Philox;
use parr::reward::{RewardError, RewardModel, RewardOptions, Score, ScoreRequest};

const LONG_ABOUT: &str = "\
Scores replies under principles with a reward model from `parr reward train`.
The model reads the principles as text, so sets that were written after its
training work too.

A higher score means that a reply follows the principles better. Of a pairwise
reward model only differences have a meaning: for two replies to the same prompt
under the same principles, the log-odds that the first one is preferred. Of a
pointwise one, the score is a sum over the principles of the log-odds that the
reply keeps each.

From a set with use = \"sample\", such as `policy`, each row draws some
principles. The draw depends on --seed and the line number.";

const EXAMPLES: &str = "\
Examples:
  parr score replies.jsonl --reward runs/reward --principles reward
  parr score replies.jsonl --reward runs/reward \\
      --principles harmless honest my-principles.toml
  parr score - --reward runs/reward \\
      --principles style:style-concise,!style-bulleted < replies.jsonl
  parr score replies.jsonl --reward runs/start    good replies in general

SET:ID,!ID selects principles of a set; an exclamation mark negates one.

Rows, one JSON object per line:
  {\"prompt\": \"Name a river.\", \"response\": \"The Loire.\"}

Output, one JSON object per row:
  {\"scores\": {\"honest\": 1.25}, \"tokens\": 143}
With a pointwise reward model it has \"by_principle\" too, the log-odds that the
reply keeps each principle. It has \"cut_prompt\" and \"cut_response\" if tokens
were cut to fit, and \"principles\" if they were drawn. Without --principles it
has \"score\".";

/// Score replies under principles with a reward model
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ScoreArgs {
    /// JSON Lines with prompt and response; - for standard input
    file: String,

    /// Reward model: the folder of a `parr reward train` run, or a PEFT directory
    #[arg(long, value_name = "DIR")]
    reward: PathBuf,

    /// Sets of principles that come with parr, or files; each set gives one score
    #[arg(long, value_name = "SET|FILE[:ID,!ID]", num_args = 1..)]
    principles: Vec<String>,

    #[command(flatten)]
    model: ModelArgs,

    /// Number of inputs computed at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,

    /// Random seed for the principles that are drawn from a set
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Accept a reward model that was trained on other weights, such as an unquantized copy
    #[arg(long)]
    any_base: bool,
}

#[derive(Deserialize)]
struct Reply {
    prompt: String,
    response: String,
}

/// A set of principles, or a part of one, and the name of its scores.
struct Guidelines {
    name: String,
    selection: Selection,
}

impl Guidelines {
    fn open(spec: &str) -> Result<Guidelines, CliError> {
        let selection = Selection::open(spec)?;
        let name = if selection.picked.is_some() { spec.to_owned() } else { selection.set.id.clone() };
        Ok(Guidelines { name, selection })
    }

    /// The principles of a row: the place of each in the set, and whether it is negated.
    fn of_row(&self, seed: u64, line: usize) -> Vec<(usize, bool)> {
        match &self.selection.picked {
            Some(picked) => picked.clone(),
            None => {
                let drawn = self.selection.set.draw(PromptType::General, Philox::new(seed), 0, line as u32);
                drawn.into_iter().map(|place| (place, false)).collect()
            }
        }
    }

    fn texts(&self, principles: &[(usize, bool)]) -> Vec<&str> {
        let text = |&(place, negated): &(usize, bool)| self.selection.set.principles[place].text(negated);
        principles.iter().filter_map(text).collect()
    }

    fn ids(&self, principles: &[(usize, bool)]) -> Vec<&str> {
        principles.iter().map(|&(place, _)| self.selection.set.principles[place].id.as_str()).collect()
    }

    /// A principle's id, with an exclamation mark if it is negated.
    fn id(&self, place: usize, negated: bool) -> String {
        let id = &self.selection.set.principles[place].id;
        if negated { format!("!{id}") } else { id.clone() }
    }

    fn draws(&self) -> bool {
        self.selection.picked.is_none() && matches!(self.selection.set.uses, Use::Sample { .. })
    }
}

impl ScoreArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let guidelines =
            self.principles.iter().map(|spec| Guidelines::open(spec)).collect::<Result<Vec<_>, _>>()?;
        if let Some(twice) = guidelines
            .iter()
            .enumerate()
            .find_map(|(place, one)| guidelines[..place].iter().find(|earlier| earlier.name == one.name))
        {
            return Err(CliError::Usage(format!("`{}` is named twice", twice.name)));
        }
        let rows: Vec<Row<Reply>> = read_rows(&self.file)?;
        for Row { line, value } in &rows {
            for (key, text) in [("prompt", &value.prompt), ("response", &value.response)] {
                if text.trim().is_empty() {
                    return Err(CliError::line(&self.file, *line, format!("`{key}` is empty")));
                }
            }
        }
        let (_device, model) = self.model.open(global)?;
        let options = RewardOptions { slots: self.batch.into(), any_base: self.any_base };
        let mut reward = RewardModel::open(&model, &self.reward, &options)?;
        self.warn(&mut reward, &guidelines, global)?;

        let bar = global.bar(Some(rows.len() as u64), "{bar:30} row {pos}/{len}, {eta} left");
        // Whole batches, so that finished rows are printed before the next batch.
        let per_row = guidelines.len().max(1);
        let at_a_time = (usize::from(self.batch) / per_row).max(1);
        for rows in rows.chunks(at_a_time) {
            let written = self.score(&mut reward, &guidelines, rows);
            if let Err(error) = written {
                bar.finish_and_clear();
                return Err(error);
            }
            bar.inc(rows.len() as u64);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Names the principles that the reward model hardly reads. Large sets, of which a few are drawn for each row, are
    /// left out: they would take longer than many rows.
    fn warn(
        &self,
        reward: &mut RewardModel,
        guidelines: &[Guidelines],
        global: &GlobalArgs,
    ) -> Result<(), CliError> {
        let texts = guidelines.iter().filter(|one| !one.draws()).flat_map(|one| one.texts(&one.of_row(0, 0)));
        let texts: Vec<&str> = texts.collect();
        for principle in reward.unclear(&texts, &CancelToken::new())? {
            global.note(unclear(principle));
        }
        Ok(())
    }

    /// Scores some rows under all guidelines and prints the scores.
    fn score(
        &self,
        reward: &mut RewardModel,
        guidelines: &[Guidelines],
        rows: &[Row<Reply>],
    ) -> Result<(), CliError> {
        let drawn: Vec<Vec<Vec<(usize, bool)>>> = rows
            .iter()
            .map(|row| guidelines.iter().map(|one| one.of_row(self.seed, row.line)).collect())
            .collect();
        let mut questions = Vec::new();
        for (row, drawn) in rows.iter().zip(&drawn) {
            let Reply { prompt, response } = &row.value;
            let ask = |principles| ScoreRequest::new(prompt, response, principles);
            match guidelines {
                [] => questions.push(ask(Vec::new())),
                _ => questions.extend(guidelines.iter().zip(drawn).map(|(one, list)| ask(one.texts(list)))),
            }
        }
        let scores = interruptible(|token| reward.score(&questions, token, &mut |_| {}));
        let per_row = guidelines.len().max(1);
        let scores = scores.map_err(|error| match error {
            RewardError::Item { item, source } => {
                CliError::line(&self.file, rows[item / per_row].line, source)
            }
            other => other.into(),
        })?;
        for (drawn, scores) in drawn.iter().zip(scores.chunks(per_row)) {
            write_row(&row(guidelines, drawn, scores))?;
        }
        Ok(())
    }
}

/// The output row of one reply.
fn row(guidelines: &[Guidelines], drawn: &[Vec<(usize, bool)>], scores: &[Score]) -> Value {
    let mut row = Map::new();
    match guidelines {
        [] => row.insert("score".to_owned(), json!(scores[0].value)),
        _ => {
            let named = guidelines.iter().zip(scores);
            let named: Map<String, Value> =
                named.map(|(one, score)| (one.name.clone(), json!(score.value))).collect();
            row.insert("scores".to_owned(), named.into())
        }
    };
    let parts = guidelines.iter().zip(drawn).zip(scores).filter(|(_, score)| !score.parts.is_empty());
    let by_principle: Map<String, Value> = parts
        .map(|((one, list), score)| {
            let ids = list.iter().map(|&(place, negated)| one.id(place, negated));
            let parts: Map<String, Value> = ids.zip(score.parts.iter().map(|part| json!(part))).collect();
            (one.name.clone(), parts.into())
        })
        .collect();
    if !by_principle.is_empty() {
        row.insert("by_principle".to_owned(), by_principle.into());
    }
    let drawn: Map<String, Value> = guidelines
        .iter()
        .zip(drawn)
        .filter(|(one, _)| one.draws())
        .map(|(one, list)| (one.name.clone(), json!(one.ids(list))))
        .collect();
    if !drawn.is_empty() {
        row.insert("principles".to_owned(), drawn.into());
    }
    let most = |of: fn(&Score) -> usize| scores.iter().map(of).max().unwrap_or(0);
    row.insert("tokens".to_owned(), json!(most(|score| score.tokens)));
    for (key, cut) in
        [("cut_prompt", most(|score| score.cut_prompt)), ("cut_response", most(|score| score.cut_reply))]
    {
        if cut > 0 {
            row.insert(key.to_owned(), json!(cut));
        }
    }
    row.into()
}
