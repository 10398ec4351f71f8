//! The answer to a question: the reply, the candidates that it was chosen from, and the cost.

use crate::generate::{Finish, Reply};
use crate::reward::Score;

/// A candidate of a choice: a reply, or the beginning of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Seed of its tokens. `parr generate` with this seed and the same prompt samples them again.
    pub seed: u64,
    /// The whole reply up to here, as text.
    pub text: String,
    /// Number of tokens that this choice added.
    pub tokens: usize,
    /// Why it ended. `None` if it is not complete.
    pub finish: Option<Finish>,
    /// Score of the reward model under the whole list. `None` if it was not scored, and for a blank text.
    pub score: Option<Score>,
    /// Score under each principle alone, in the order of [`Steering::used`](super::Steering::used). Empty if
    /// it was not scored.
    pub by_principle: Vec<f32>,
}

/// One choice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The candidates, in the order of the seeds.
    pub candidates: Vec<Candidate>,
    /// Index of the candidate that was kept: the first with the largest score.
    pub chosen: usize,
}

impl Choice {
    /// The candidate that was kept.
    pub fn kept(&self) -> Option<&Candidate> {
        self.candidates.get(self.chosen)
    }
}

/// Cost of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Number of generated tokens, of all candidates.
    pub generated_tokens: usize,
    /// Number of tokens that the reward model reads. A common start of several inputs is computed once.
    pub scored_tokens: usize,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The reply. Its `reused_tokens` are those of the first choice.
    pub reply: Reply,
    /// The choices that led to it, in order: one for a sample and for best of n, one per block for guided
    /// decoding.
    pub choices: Vec<Choice>,
    /// Its cost.
    pub cost: Cost,
}

impl Answer {
    /// The last choice, which completed the reply.
    pub fn last(&self) -> Option<&Choice> {
        self.choices.last()
    }

    /// The reply's score under the whole list, if it was asked for.
    pub fn score(&self) -> Option<f32> {
        Some(self.last()?.kept()?.score.as_ref()?.value)
    }
}

/// Progress while replies are generated.
#[derive(Clone, Debug, PartialEq)]
pub enum SteerEvent<'a> {
    /// Text of a reply that no longer changes.
    Text {
        /// Index of the question.
        ask: usize,
        /// The text after the earlier parts.
        text: &'a str,
    },
    /// Text of the reasoning before an answer, of a model that thinks. Only chats separate it; elsewhere it is text.
    Reasoning {
        /// Index of the question.
        ask: usize,
        /// The text after the earlier parts, without the marks around the reasoning.
        text: &'a str,
    },
    /// A token of a candidate was sampled. It may or may not be kept.
    Drawn,
    /// Progress of the scores of one choice.
    Scored {
        /// Number of scores that are done.
        done: usize,
        /// Number of all scores of the choice.
        of: usize,
    },
}
