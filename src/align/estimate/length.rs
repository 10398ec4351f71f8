//! A reward for length that depends on the type of the prompt.

use serde::{Deserialize, Serialize};

use super::{FinishedReply, RewardSource};
use crate::align::AlignError;
use crate::principles::PromptType;

/// `score * min(m n / L, cap)` for a reply of `n` tokens, where `L` is the maximum length and `m` depends on
/// the type of the prompt.
///
/// SALMON rewards length for open questions and penalizes it for questions that need reasoning: a score of 5,
/// a cap of 0.8, and `m` of 1, -0.4 and 0. The cap limits only the reward. The penalty is at most `m` times
/// `score`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LengthConfig {
    /// Reward of a reply with the maximum length at `m = 1`, in the units of the reward. 0 turns the source
    /// off: principles should describe how long replies should be.
    pub score: f64,
    /// Largest fraction of `score` that a reply can get.
    pub cap: f64,
    /// `m` for general prompts.
    pub general: f64,
    /// `m` for prompts that need reasoning.
    pub reasoning: f64,
    /// `m` for prompts that ask for something harmful.
    pub red_team: f64,
}

impl Default for LengthConfig {
    fn default() -> Self {
        LengthConfig { score: 0.0, cap: 0.8, general: 1.0, reasoning: -0.4, red_team: 0.0 }
    }
}

/// The source `length`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LengthTerm {
    config: LengthConfig,
    longest: usize,
}

impl LengthTerm {
    /// Creates the term for replies of up to `longest` tokens (L, above 0).
    pub fn new(config: &LengthConfig, longest: usize) -> LengthTerm {
        LengthTerm { config: *config, longest }
    }

    /// Reward of a reply of `n_tokens` tokens to a prompt of type `kind`.
    pub fn of(&self, kind: PromptType, n_tokens: usize) -> f64 {
        let LengthConfig { score, cap, general, reasoning, red_team } = self.config;
        let multiplier = match kind {
            PromptType::General => general,
            PromptType::Reasoning => reasoning,
            PromptType::RedTeam => red_team,
        };
        score * (multiplier * n_tokens as f64 / self.longest as f64).min(cap)
    }
}

impl RewardSource for LengthTerm {
    fn name(&self) -> &str {
        "length"
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        Ok(replies.iter().map(|reply| self.of(reply.kind, reply.tokens.len())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pays_and_charges_as_in_salmon() {
        let term = LengthTerm::new(&LengthConfig { score: 5.0, ..LengthConfig::default() }, 1024);
        let near = |kind, n_tokens, expected: f64| {
            let found = term.of(kind, n_tokens);
            assert!((found - expected).abs() < 1e-12, "{kind:?} {n_tokens}: {found}, expected {expected}");
        };
        near(PromptType::General, 512, 2.5);
        near(PromptType::General, 820, 4.0);
        near(PromptType::General, 1024, 4.0);
        near(PromptType::Reasoning, 512, -1.0);
        near(PromptType::Reasoning, 1024, -2.0);
        near(PromptType::RedTeam, 1024, 0.0);
        assert_eq!(LengthTerm::new(&LengthConfig::default(), 64).of(PromptType::General, 64), 0.0, "off");
    }
}
