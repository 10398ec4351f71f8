//! Flags for steered replies, and their scores as text.

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::CliError;
use super::open::{AdapterArgs, CacheArgs};
use parr::model::Model;
use parr::principles::PrincipleSet;
use parr::reward::RewardOptions;
use parr::steer::{Answer, Search, SteeredModel, Steering, Tell, WatchedSet};

pub(super) fn tell(name: &str) -> Result<Tell, String> {
    Tell::from_name(name).ok_or_else(|| "expected system, question or nobody".to_owned())
}

/// Settings for replies that principles steer.
#[derive(Args)]
pub(super) struct SteeringArgs {
    /// Principles to follow: a set (see `parr principles list`) or a file, which a chat reads again after an
    /// edit. `:ID` chooses principles by id, and `!ID` asks for the opposite of one
    #[arg(long, value_name = "SET|FILE[:ID,!ID]")]
    pub principles: Option<String>,

    /// Reward model that chooses among replies: the folder of a `parr reward train` run, or a PEFT directory
    #[arg(long, value_name = "DIR")]
    reward: Option<PathBuf>,

    /// Sample N replies and keep the one with the highest score
    #[arg(long, value_name = "N", requires = "reward", value_parser = clap::value_parser!(u16).range(1..=256))]
    best_of: Option<u16>,

    /// Every BLOCK tokens, keep the best of N continuations, where N is --best-of or 4
    #[arg(long, value_name = "BLOCK", requires = "reward", value_parser = clap::value_parser!(u16).range(1..))]
    guided: Option<u16>,

    /// Show the scores of replies, in total and under each principle
    #[arg(long, requires = "reward")]
    scores: bool,

    /// Where the prompt holds the principles. Small models follow `question` more. With `nobody` only the
    /// reward model reads them
    #[arg(long, value_name = "system|question|nobody", default_value = "system", value_parser = tell)]
    tell: Tell,

    /// Most principles to use, in order of weight; 0 for all
    #[arg(long, value_name = "N", default_value_t = Steering::MOST)]
    most_principles: usize,

    /// Fixed principles that the reward model reads before those of --principles; without a value,
    /// `interventions`
    #[arg(long, value_name = "SET|FILE", requires = "reward")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "interventions")]
    interventions: Option<String>,
}

impl SteeringArgs {
    /// Opens the principles, so that they can be reloaded.
    pub(super) fn watch(&self) -> Result<Option<WatchedSet>, CliError> {
        Ok(self.principles.as_deref().map(WatchedSet::open).transpose()?)
    }

    /// Steering by `principles`, with the other settings from the flags.
    pub(super) fn steering(&self, principles: Option<&PrincipleSet>) -> Result<Steering, CliError> {
        if self.tell == Tell::Nobody && principles.is_some() && self.reward.is_none() {
            let reason = "--tell nobody leaves the principles to a reward model: add --reward DIR";
            return Err(CliError::Usage(reason.to_owned()));
        }
        Ok(Steering {
            principles: principles.cloned().unwrap_or_default(),
            interventions: self.interventions.as_deref().map(PrincipleSet::open).transpose()?,
            most: self.most_principles,
            tell: self.tell,
            search: self.search(),
            scores: self.scores,
        })
    }

    fn search(&self) -> Search {
        let n = self.best_of.map(usize::from);
        match (self.guided, n) {
            (Some(block), n) => Search::Guided { n: n.unwrap_or(4), block: block.into() },
            (None, Some(n)) => Search::BestOf { n },
            (None, None) => Search::Sample,
        }
    }

    /// The folder of the reward model.
    pub(super) fn reward(&self) -> Option<&Path> {
        self.reward.as_deref()
    }

    /// Number of candidates per choice.
    pub(super) fn candidates(&self) -> usize {
        self.search().n()
    }

    /// Opens the model with its adapter and the reward model, for `slots` sequences at a time.
    pub(super) fn open(
        &self,
        model: &Model,
        adapter: &AdapterArgs,
        cache: &CacheArgs,
        slots: usize,
    ) -> Result<SteeredModel, CliError> {
        let policy = adapter.read(model)?;
        let generator = cache.options(model, slots);
        let reading = RewardOptions { any_base: adapter.any_base, ..RewardOptions::default() };
        let policy = policy.as_ref().map(|adapter| &adapter.weights);
        Ok(SteeredModel::open(model, policy, self.reward.as_deref(), generator, &reading)?)
    }
}

/// The candidates of an answer as text, the chosen one first, each with its score under every principle.
pub(super) fn why(steering: &Steering, answer: &Answer) -> String {
    let Some(choice) = answer.last() else { return "no reply was finished, so none was scored".to_owned() };
    if choice.candidates.iter().all(|one| one.score.is_none() && one.by_principle.is_empty()) {
        return "the reply was not scored: start with --reward DIR, and use /best-of N".to_owned();
    }
    let chosen = choice.chosen;
    let order = std::iter::once(chosen).chain((0..choice.candidates.len()).filter(|place| *place != chosen));
    let mut text = String::new();
    for place in order {
        let Some(one) = choice.candidates.get(place) else { continue };
        let score = one.score.as_ref().map_or("-".to_owned(), |score| format!("{:.2}", score.value));
        let kept = if place == chosen { "kept" } else { "not kept" };
        let shown = one.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let end = shown.char_indices().nth(LONGEST_SHOWN).map(|(at, _)| at);
        let (shown, more) = end.map_or((&shown[..], ""), |at| (&shown[..at], "..."));
        text.push_str(&format!("{kept}, score {score}: {shown}{more}\n"));
        for (principle, score) in steering.used().iter().zip(&one.by_principle) {
            text.push_str(&format!("{score:>8.2}  {}\n", principle.definition));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Characters of a candidate that are shown.
const LONGEST_SHOWN: usize = 160;

/// The scores of an answer as text: of all candidates, then of the chosen one under each principle.
pub(super) fn scores(steering: &Steering, answer: &Answer) -> String {
    let Some(choice) = answer.last() else { return "no reply was finished, so none was scored".to_owned() };
    let shown = |score: Option<f32>| score.map_or("-".to_owned(), |score| format!("{score:.2}"));
    let value = |place: usize| choice.candidates[place].score.as_ref().map(|score| score.value);
    let mut text = format!("score {}", shown(value(choice.chosen)));
    if choice.candidates.len() > 1 {
        let all: Vec<String> = (0..choice.candidates.len()).map(|place| shown(value(place))).collect();
        text.push_str(&format!(", the best of {}", all.join(" ")));
    }
    if answer.choices.len() > 1 {
        text.push_str(&format!(", after {} choices", answer.choices.len()));
    }
    let alone = choice.kept().map_or(&[][..], |kept| &kept.by_principle);
    for (principle, score) in steering.used().iter().zip(alone) {
        text.push_str(&format!("\n{score:>8.2}  {}", principle.id));
    }
    text
}
