//! What comes of a question: the reply, what it was chosen from, and what that cost.

use crate::generate::{Finish, Reply};
use crate::reward::Score;

/// One of the replies, or beginnings of replies, that a choice was made among.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What its tokens were drawn with: `parr generate` with this seed and the same prompt draws them again.
    pub seed: u64,
    /// The whole reply up to here, as text.
    pub text: String,
    /// Tokens that this choice added.
    pub tokens: usize,
    /// Why it ended; `None` if it goes on.
    pub finish: Option<Finish>,
    /// What the reward model says under the whole list; `None` if it was not asked, and for a blank text.
    pub score: Option<Score>,
    /// What it says under each principle alone, in the order of [`Steering::used`](super::Steering::used); empty
    /// if it was not asked.
    pub by_principle: Vec<f32>,
}

/// One choice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// What there was, in the order of the seeds.
    pub candidates: Vec<Candidate>,
    /// Which of them was kept: the first of the largest score.
    pub chosen: usize,
}

impl Choice {
    /// The candidate that was kept.
    pub fn kept(&self) -> Option<&Candidate> {
        self.candidates.get(self.chosen)
    }
}

/// What a reply cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Tokens that were drawn, those of all candidates.
    pub generated_tokens: usize,
    /// Tokens that the reward model was given to read. What several readings begin with is computed once.
    pub scored_tokens: usize,
}

/// What comes of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The reply. Its `reused_tokens` are those of the first choice.
    pub reply: Reply,
    /// The choices that led to it, the first first: one for a sample and for the best of n, one for each block
    /// of guided decoding.
    pub choices: Vec<Choice>,
    /// What it cost.
    pub cost: Cost,
}

impl Answer {
    /// The last choice: that of the whole reply.
    pub fn last(&self) -> Option<&Choice> {
        self.choices.last()
    }

    /// The reply's score under the whole list, if it was asked for.
    pub fn score(&self) -> Option<f32> {
        Some(self.last()?.kept()?.score?.value)
    }
}

/// What happens while replies are made.
#[derive(Clone, Debug, PartialEq)]
pub enum SteerEvent<'a> {
    /// Text of a reply that is certain by now.
    Text {
        /// Index of the question.
        ask: usize,
        /// What follows on the text before.
        text: &'a str,
    },
    /// A token of a candidate was drawn that may or may not be kept.
    Drawn,
    /// So many of the readings of one choice are done.
    Scored {
        /// How many.
        done: usize,
        /// Of how many.
        of: usize,
    },
}
