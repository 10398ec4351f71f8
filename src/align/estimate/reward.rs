//! One number a reply, from named sources.

use serde::{Deserialize, Serialize};

use crate::align::AlignError;
use crate::principles::PromptType;
use crate::tokenizer::TokenId;

/// A reply that is to be rewarded.
#[derive(Clone, Copy, Debug)]
pub struct FinishedReply<'a> {
    /// The prompt, as the user said it.
    pub prompt: &'a str,
    /// What kind of task it sets.
    pub kind: PromptType,
    /// The principles that were drawn for it, in words: the replies to one prompt of a rollout share them.
    pub principles: &'a [&'a str],
    /// The reply, without the end of turn; empty if the model has no tokenizer.
    pub reply: &'a str,
    /// Its tokens, without the end of turn (T).
    pub tokens: &'a [TokenId],
    /// Whether the policy ended its turn itself, by the token that the chat template ends turns with, and was
    /// not cut off. A fact of the sampling and not of the text: headings or remarks in the reply change nothing.
    pub ended: bool,
}

/// Something that judges replies: a reward model, a rule, a closure, a callback of another language.
pub trait RewardSource {
    /// What its share is called in logs and settings.
    fn name(&self) -> &str;

    /// One finite number a reply, larger for better.
    ///
    /// # Errors
    ///
    /// [`AlignError`] if it cannot judge.
    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError>;
}

/// A source behind a pointer is one too.
impl<S: RewardSource + ?Sized> RewardSource for Box<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Vec<f64>, AlignError> {
        (**self).score(replies)
    }
}

/// A closure over single replies as a source.
pub struct FnSource<F> {
    name: String,
    judge: F,
}

impl<F: FnMut(&FinishedReply<'_>) -> f64> FnSource<F> {
    /// The source `name`.
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

/// What becomes of a reply that was cut off before the policy ended its turn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnfinishedConfig {
    /// In the units of the reward, 0 or above. 1 as TRL's example has it; SALMON takes 6 off rewards with a
    /// length term of up to 4. About two standard deviations of the reward model's scores do the same elsewhere.
    pub penalty: f64,
    /// Whether the reward *is* `-penalty`, whatever else would be in it, as in arXiv 2009.01325; SALMON subtracts.
    pub replace: bool,
}

impl Default for UnfinishedConfig {
    fn default() -> Self {
        UnfinishedConfig { penalty: 1.0, replace: false }
    }
}

/// The sum of sources, each with its weight: `sum_i weight_i score_i(reply)`, less the penalty for replies that
/// were cut off.
pub struct RewardSum<'a> {
    sources: Vec<(Box<dyn RewardSource + 'a>, f64)>,
    unfinished: UnfinishedConfig,
}

/// The rewards of some replies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewards {
    /// The reward of each reply (B): the sum of its shares.
    pub total: Vec<f64>,
    /// What each source added to it, weight included (B), by name; last that of the penalty.
    pub shares: Vec<(String, Vec<f64>)>,
}

/// What the penalty's share is called.
const UNFINISHED: &str = "end_of_turn";

impl<'a> RewardSum<'a> {
    /// The sum of nothing but the penalty.
    pub fn new(unfinished: UnfinishedConfig) -> Self {
        RewardSum { sources: Vec::new(), unfinished }
    }

    /// Adds a source.
    ///
    /// # Errors
    ///
    /// [`AlignError::Source`] if another has its name, or the weight is not finite.
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

    /// The rewards of `replies`. A source of weight 0 is asked too, and logged with a share of 0: weights can be
    /// compared without a run of another shape.
    ///
    /// # Errors
    ///
    /// * whatever a source fails with;
    /// * [`AlignError::Source`] if one gives another number of scores than there are replies, or one that is
    ///   not finite.
    pub fn score(&mut self, replies: &[FinishedReply<'_>]) -> Result<Rewards, AlignError> {
        let mut rewards = Rewards { total: vec![0.0; replies.len()], shares: Vec::new() };
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

    /// In SALMON's code any `###`, and any line that begins with Note or Update, cuts the answer off and costs
    /// the penalty.
    #[test]
    fn headings_and_notes_in_a_reply_cost_nothing() {
        let mut sum = RewardSum::new(UnfinishedConfig { penalty: 6.0, replace: false });
        let found = sum.score(&[reply("### Steps\n1. Mix.\nNote: stir.", true), reply("Mix", false)]);
        assert_eq!(found.expect("no sources").total, [0.0, -6.0]);
    }

    /// A length term of up to 4 can outweigh the reward model unseen; here each has a share of its own.
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
