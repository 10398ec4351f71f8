//! The reward of a reply, from named sources.

use serde::{Deserialize, Serialize};

use crate::align::AlignError;
use crate::principles::PromptType;
use crate::tokenizer::TokenId;

/// A reply to score.
#[derive(Clone, Copy, Debug)]
pub struct FinishedReply<'a> {
    /// The prompt, as the user wrote it.
    pub prompt: &'a str,
    /// Type of the prompt's task.
    pub kind: PromptType,
    /// Texts of the principles that were drawn for the prompt. All replies to one prompt of a rollout share
    /// them.
    pub principles: &'a [&'a str],
    /// The reply, without the end of turn. Empty if the model has no tokenizer.
    pub reply: &'a str,
    /// Its tokens, without the end of turn (T).
    pub tokens: &'a [TokenId],
    /// Whether the policy ended its turn with the chat template's end-of-turn token, so that the reply was
    /// not cut off. This depends only on the sampled tokens. Headings or remarks in the text do not change
    /// it.
    pub ended: bool,
}

/// A source of rewards: a reward model, a rule, a closure, or a callback of another language.
pub trait RewardSource {
    /// Name of its share in logs and settings.
    fn name(&self) -> &str;

    /// Returns one finite number per reply. Larger is better.
    ///
    /// # Errors
    ///
    /// [`AlignError`] if it cannot score them.
    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError>;

    /// The parts of the last scores, for reports: of each reply, one number for each of its principles. Empty if the
    /// source has none.
    fn parts(&mut self) -> Vec<Vec<f32>> {
        Vec::new()
    }
}

/// A boxed source is a source too.
impl<S: RewardSource + ?Sized> RewardSource for Box<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        (**self).score(replies)
    }

    fn parts(&mut self) -> Vec<Vec<f32>> {
        (**self).parts()
    }
}

/// A borrowed source is a source too.
impl<S: RewardSource + ?Sized> RewardSource for &mut S {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        (**self).score(replies)
    }

    fn parts(&mut self) -> Vec<Vec<f32>> {
        (**self).parts()
    }
}

/// A source that scores each reply with a closure.
pub struct FnSource<F> {
    name: String,
    judge: F,
}

impl<F: FnMut(&FinishedReply<'_>) -> f64> FnSource<F> {
    /// Creates the source `name`.
    pub fn new(name: impl Into<String>, judge: F) -> Self {
        FnSource { name: name.into(), judge }
    }
}

impl<F: FnMut(&FinishedReply<'_>) -> f64> RewardSource for FnSource<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        Ok(replies.iter().map(&mut self.judge).collect())
    }
}

/// Penalty for a reply that was cut off before the policy ended its turn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnfinishedConfig {
    /// The penalty, in the units of the reward, 0 or above. 1 as in TRL's example. SALMON subtracts 6 from
    /// rewards with a length term of up to 4. For other rewards, use about two standard deviations of the
    /// reward model's scores.
    pub penalty: f64,
    /// Whether the reward is exactly `-penalty`, without other terms, as in arXiv 2009.01325. SALMON
    /// subtracts.
    pub replace: bool,
}

impl Default for UnfinishedConfig {
    fn default() -> Self {
        UnfinishedConfig { penalty: 1.0, replace: false }
    }
}

/// The weighted sum of sources, `sum_i weight_i score_i(reply)`, minus the penalty for replies that were cut
/// off.
pub struct RewardSum<'a> {
    sources: Vec<(Box<dyn RewardSource + 'a>, f64)>,
    unfinished: UnfinishedConfig,
}

/// The rewards of replies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewards {
    /// The reward of each reply (B): the sum of its shares.
    pub total: Vec<f64>,
    /// The share of each source by name, with its weight (B). The share of the penalty is last.
    pub shares: Vec<(String, Vec<f64>)>,
    /// The parts of the scores of the first source that has some: for each reply, one number for each of its
    /// principles. Empty without such a source.
    pub parts: Vec<Vec<f32>>,
}

/// Name of the penalty's share.
const UNFINISHED: &str = "end_of_turn";

impl<'a> RewardSum<'a> {
    /// Creates a sum with the penalty and no sources.
    pub fn new(unfinished: UnfinishedConfig) -> Self {
        RewardSum { sources: Vec::new(), unfinished }
    }

    /// Adds a source.
    ///
    /// # Errors
    ///
    /// [`AlignError::Source`] if another source has its name, or the weight is not finite.
    pub fn add(&mut self, source: impl RewardSource + 'a, weight: f64) -> Result<(), AlignError> {
        let name = source.name().to_owned();
        let fail = |reason: String| Err(AlignError::Source { name: name.clone(), reason });
        if name == UNFINISHED || self.sources.iter().any(|(known, _)| known.name() == name) {
            return fail("another source has that name".to_owned());
        }
        if !weight.is_finite() {
            return fail(format!("its weight is {weight}, expected a number"));
        }
        self.sources.push((Box::new(source), weight));
        Ok(())
    }

    /// The names of the sources, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|(source, _)| source.name())
    }

    /// Returns the rewards of `replies`. A source with weight 0 is computed too, and logged with a share of
    /// 0, so that runs with different weights can be compared.
    ///
    /// # Errors
    ///
    /// * the error of a source that fails;
    /// * [`AlignError::Source`] if a source returns a wrong number of scores, or a score that is not finite.
    pub fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Rewards, AlignError> {
        let mut rewards = Rewards { total: vec![0.0; replies.len()], ..Rewards::default() };
        for (source, weight) in &mut self.sources {
            let mut share = source.score(replies)?;
            let name = source.name().to_owned();
            if share.len() != replies.len() {
                let reason = format!("it gave {} scores for {} replies", share.len(), replies.len());
                return Err(AlignError::Source { name, reason });
            }
            if let Some(at) = share.iter().position(|score| !score.is_finite()) {
                let reason = format!("its score of reply {at} is {}", share[at]);
                return Err(AlignError::Source { name, reason });
            }
            for (total, score) in rewards.total.iter_mut().zip(&mut share) {
                *score *= *weight;
                *total += *score;
            }
            rewards.shares.push((name, share));
            if rewards.parts.is_empty() {
                rewards.parts = source.parts();
            }
        }
        let UnfinishedConfig { penalty, replace } = self.unfinished;
        let penalty = |(reply, total): (&FinishedReply<'_>, &mut f64)| {
            let share = match (reply.ended, replace) {
                (true, _) => 0.0,
                (false, false) => -penalty,
                (false, true) => -penalty - *total,
            };
            *total += share;
            share
        };
        let share = replies.iter().zip(&mut rewards.total).map(penalty).collect();
        rewards.shares.push((UNFINISHED.to_owned(), share));
        Ok(rewards)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LengthConfig, LengthTerm};
    use super::*;

    fn reply(text: &str, ended: bool) -> FinishedReply<'_> {
        let tokens = &[0; 8][..text.split_whitespace().count()];
        FinishedReply { prompt: "?", kind: PromptType::General, principles: &[], reply: text, tokens, ended }
    }

    fn sum(unfinished: UnfinishedConfig) -> RewardSum<'static> {
        let mut sum = RewardSum::new(unfinished);
        sum.add(FnSource::new("vowels", |reply| reply.reply.matches(['a', 'e']).count() as f64), 0.5)
            .expect("new");
        sum.add(FnSource::new("calm", |reply| -(reply.reply.matches('!').count() as f64)), 2.0).expect("new");
        sum
    }

    #[test]
    fn sources_add_up_by_their_weights() {
        let mut sum = sum(UnfinishedConfig::default());
        let found = sum.score(&[reply("aea!", true), reply("e", false)]).expect("sound sources");
        assert!(sum.names().eq(["vowels", "calm"]));
        assert_eq!(found.total, [1.5 - 2.0, 0.5 - 1.0]);
        let shares =
            [("vowels", vec![1.5, 0.5]), ("calm", vec![-2.0, -0.0]), ("end_of_turn", vec![0.0, -1.0])];
        assert_eq!(found.shares, shares.map(|(name, share)| (name.to_owned(), share)));
    }

    #[test]
    fn a_penalty_may_replace_the_reward_and_shares_still_add_up() {
        let mut sum = sum(UnfinishedConfig { penalty: 6.0, replace: true });
        let found = sum.score(&[reply("aea!", false), reply("aa", true)]).expect("sound sources");
        assert_eq!(found.total, [-6.0, 1.0]);
        for at in 0..2 {
            assert_eq!(found.shares.iter().map(|(_, share)| share[at]).sum::<f64>(), found.total[at]);
        }
    }

    /// In SALMON's code, any `###`, and any line that begins with Note or Update, cuts the answer off and
    /// adds the penalty.
    #[test]
    fn headings_and_notes_in_a_reply_cost_nothing() {
        let mut sum = RewardSum::new(UnfinishedConfig { penalty: 6.0, replace: false });
        let found = sum.score(&[reply("### Steps\n1. Mix.\nNote: stir.", true), reply("Mix", false)]);
        assert_eq!(found.expect("no sources").total, [0.0, -6.0]);
    }

    /// A length term of up to 4 can outweigh the reward model unnoticed. Here each has its own share.
    #[test]
    fn length_and_reward_model_are_told_apart_in_the_shares() {
        let mut sum = RewardSum::new(UnfinishedConfig::default());
        sum.add(FnSource::new("reward_model", |_| 0.25), 1.0).expect("new");
        sum.add(LengthTerm::new(&LengthConfig { score: 5.0, ..LengthConfig::default() }, 10), 1.0)
            .expect("new");
        let found = sum.score(&[reply("a b c d e", true)]).expect("sound sources");
        assert_eq!(found.shares[0], ("reward_model".to_owned(), vec![0.25]));
        assert_eq!(found.shares[1], ("length".to_owned(), vec![2.5]));
        assert_eq!(found.total, [2.75]);
    }

    #[test]
    fn sources_that_cannot_be_used_are_named() {
        let mut sum = sum(UnfinishedConfig::default());
        for (name, weight, expected) in [
            ("vowels", 1.0, "vowels: another source has that name"),
            ("end_of_turn", 1.0, "end_of_turn: another source has that name"),
            ("new", f64::NAN, "new: its weight is NaN, expected a number"),
        ] {
            let error = sum.add(FnSource::new(name, |_| 0.0), weight).expect_err(name).to_string();
            assert!(error.ends_with(expected), "{error}");
        }

        struct Short;
        impl RewardSource for Short {
            fn name(&self) -> &str {
                "short"
            }
            fn score(&mut self, _: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
                Ok(vec![1.0])
            }
        }
        let replies = [reply("a", true), reply("b", true)];
        let mut short = RewardSum::new(UnfinishedConfig::default());
        short.add(Short, 1.0).expect("new");
        let error = short.score(&replies).expect_err("one score for two").to_string();
        assert!(error.ends_with("short: it gave 1 scores for 2 replies"), "{error}");

        sum.add(FnSource::new("broken", |reply| if reply.reply == "b" { f64::NAN } else { 1.0 }), 0.0)
            .expect("new");
        let error = sum.score(&replies).expect_err("no number").to_string();
        assert!(error.ends_with("broken: its score of reply 1 is NaN"), "{error}");
    }
}
