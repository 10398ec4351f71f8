//! What the policy does differently: rates by principle, and replies before and after.

use super::PipelineReport;
use crate::report::Rate;
use crate::steer::compare::{ComparisonReport, MethodKind, MethodReport};

/// How often replies to the compared prompts follow a principle, before and after training.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Id of the principle.
    pub principle: String,
    /// Its text, or the id if the guidelines no longer have it.
    pub text: String,
    /// What decided whether a reply follows it.
    pub by: Measure,
    /// Rate of the base's replies.
    pub before: Rate,
    /// Rate of the policy's replies.
    pub after: Rate,
}

/// What decides whether a reply follows a principle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The program that the principle names.
    Program,
    /// The reward model. The policy was trained with its scores, so this is not independent of the training.
    RewardModel,
}

impl Measure {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Program => "program",
            Measure::RewardModel => "reward model",
        }
    }
}

/// Replies to one prompt, before and after training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyPair<'a> {
    /// The prompt.
    pub prompt: &'a str,
    /// The reply before training.
    pub before: &'a str,
    /// The reply after training.
    pub after: &'a str,
}

impl PipelineReport {
    /// The change of each principle in the comparison of base and policy. A program's rate comes before that of the
    /// reward model. Empty if they were not compared.
    pub fn changes(&self) -> Vec<Change> {
        let Some((comparison, policy)) = self.compared_policy() else { return Vec::new() };
        let (base, policy) = (&comparison.methods[0], &comparison.methods[policy]);
        let text = |id: &str| {
            let mut all = self.guidelines.iter().flat_map(|set| &set.principles);
            all.find(|one| one.id == id).map_or_else(|| id.to_owned(), |one| one.definition.clone())
        };
        let mut changes = Vec::new();
        for principle in &comparison.principles {
            for by in [Measure::Program, Measure::RewardModel] {
                let rate = |method: &MethodReport| {
                    let rates = if by == Measure::Program { &method.checks } else { &method.kept };
                    rates.iter().find(|one| one.principle == *principle).map(|one| one.rate)
                };
                if let (Some(before), Some(after)) = (rate(base), rate(policy)) {
                    let (principle, text) = (principle.clone(), text(principle));
                    changes.push(Change { principle, text, by, before, after });
                }
            }
        }
        changes
    }

    /// Replies before and after training. If base and policy were compared, these are their replies to the compared
    /// prompts. Otherwise they are those of the first and the last rollout
    /// ([`PipelineReport::before_and_after`]).
    pub fn replies(&self) -> Vec<ReplyPair<'_>> {
        let Some((comparison, policy)) = self.compared_policy() else {
            let of_rollouts = self.before_and_after().into_iter();
            let pair = of_rollouts.map(|[(_, first), (_, last)]| ReplyPair {
                prompt: &first.prompt,
                before: &first.reply,
                after: &last.reply,
            });
            return pair.collect();
        };
        let pair = comparison.replies.iter().filter_map(|one| {
            let (before, after) = (one.replies.first()?, one.replies.get(policy)?);
            Some(ReplyPair { prompt: &one.prompt, before: &before.text, after: &after.text })
        });
        pair.collect()
    }

    /// The comparison, and the index of the policy among its methods.
    pub(super) fn compared_policy(&self) -> Option<(&ComparisonReport, usize)> {
        let comparison = self.comparison.as_ref()?;
        let name = MethodKind::Adapter.name();
        let policy = comparison.methods.iter().position(|method| method.name == name)?;
        Some((comparison, policy))
    }
}
