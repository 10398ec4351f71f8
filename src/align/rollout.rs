//! One rollout: replies are sampled, scored, and read by policy, reference and critic.

use serde::{Deserialize, Serialize};

use super::AlignConfig;
use super::AlignError;
use super::roles::{Critic, Roles};
use super::units::divide;
use super::workers::{Passage, Remote};
use super::{AlignPrompt, AlignPrompts, Guidelines, RolloutConfig};
use crate::align::estimate::{FinishedReply, RewardSum, Rewards, Trace};
use crate::generate::{CancelToken, Finish, GenerateError, Generator, Request, Sampling};
use crate::principles::Principle;
use crate::random::{Philox, Purpose};
use crate::tokenizer::TokenId;
use crate::train::objective::TokenStats;
use crate::train::{Learner, Order, Unit};

/// A reply that the policy sampled in a rollout.
#[derive(Clone, Debug)]
pub(super) struct RolloutReply<'a> {
    pub prompt: &'a AlignPrompt,
    /// Principles under which the reward model scores the reply.
    pub principles: Vec<&'a Principle>,
    /// Tokens of the reply, including the end-of-turn token (T). At least one.
    pub tokens: Vec<TokenId>,
    /// Log-probability of each token in generation, at the sampling temperature.
    pub logprobs: Vec<f32>,
    /// Text of the reply, without the end of turn.
    pub text: String,
    /// Whether the policy ended its turn.
    pub ended: bool,
}

impl RolloutReply<'_> {
    /// Tokens of the reply, without the end-of-turn token.
    fn content(&self) -> &[TokenId] {
        &self.tokens[..self.tokens.len() - usize::from(self.ended)]
    }
}

/// Samples the replies of a run, step by step.
#[derive(Debug)]
pub(super) struct Sampler<'a> {
    pub prompts: &'a AlignPrompts,
    pub guidelines: &'a Guidelines,
    pub config: &'a AlignConfig,
    pub order: Order,
}

impl<'a> Sampler<'a> {
    pub fn new(prompts: &'a AlignPrompts, guidelines: &'a Guidelines, config: &'a AlignConfig) -> Self {
        let order = Order::new(config.seed, prompts.prompts.len());
        Sampler { prompts, guidelines, config, order }
    }

    /// Samples the replies of the step that follows `step` finished steps, by `generate`. Replies to the same prompt
    /// are adjacent. The same step and policy always give the same replies.
    pub fn sample(
        &mut self,
        step: u64,
        generate: impl FnOnce(Vec<Draw>) -> Result<Vec<Sampled>, AlignError>,
    ) -> Result<Vec<RolloutReply<'a>>, AlignError> {
        let random = Philox::new(self.config.seed);
        let rollout = &self.config.rollout;
        let first = step * rollout.prompts as u64;
        let mut asked = Vec::new();
        for number in 0..rollout.prompts {
            let prompt = &self.prompts.prompts[self.order.example(first + number as u64)];
            let principles = self.guidelines.draw(prompt.prompt.kind, random, step as u32, number as u32);
            asked.extend((0..rollout.replies).map(|_| (prompt, principles.clone())));
        }
        let draw = |(index, (prompt, _)): (usize, &(&AlignPrompt, _))| Draw {
            prompt: prompt.ids.clone(),
            seed: random.bits64(Purpose::Rollout, step as u32, index as u32, 0),
        };
        let replies = generate(asked.iter().enumerate().map(draw).collect())?;
        let replies = asked.into_iter().zip(replies).map(|((prompt, principles), reply)| {
            let Sampled { tokens, logprobs, text, ended } = reply;
            RolloutReply { prompt, principles, ended, tokens, logprobs, text }
        });
        Ok(replies.collect())
    }
}

/// A reply to sample: its prompt, and the seed of its tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Draw {
    pub prompt: Vec<TokenId>,
    pub seed: u64,
}

/// What the policy answered: the fields of [`RolloutReply`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sampled {
    pub tokens: Vec<TokenId>,
    pub logprobs: Vec<f32>,
    pub text: String,
    pub ended: bool,
}

/// Samples a reply to each of `draws` from the policy. After a cancel the error is [`GenerateError::Cancelled`].
pub(super) fn generate(
    generator: &mut Generator,
    roles: &Roles,
    rollout: &RolloutConfig,
    end_of_turn: &[TokenId],
    draws: Vec<Draw>,
    cancel: &CancelToken,
) -> Result<Vec<Sampled>, GenerateError> {
    let temperature = rollout.temperature as f32;
    let request = |Draw { prompt, seed }| Request {
        prompt,
        adapter: Some(roles.policy),
        sampling: Sampling { temperature, seed, ..Sampling::default() },
        max_tokens: rollout.max_reply_tokens,
        stop_ids: end_of_turn.into(),
        ..Request::default()
    };
    let requests: Vec<Request> = draws.into_iter().map(request).collect();
    // The policy has changed since it filled the cache.
    generator.clear();
    let replies = generator.generate(&requests, cancel, &mut |_| {})?;
    if cancel.is_cancelled() || replies.iter().any(|reply| reply.finish == Finish::Cancelled) {
        return Err(GenerateError::Cancelled);
    }
    let sampled = replies.into_iter().map(|reply| Sampled {
        ended: reply.finish == Finish::EndOfTurn,
        tokens: reply.tokens,
        logprobs: reply.sampling_logprobs,
        text: reply.text,
    });
    Ok(sampled.collect())
}

/// Scores `replies` with all sources of rewards.
pub(super) fn reward(
    sources: &mut RewardSum<'_>,
    replies: &[RolloutReply<'_>],
) -> Result<Rewards, AlignError> {
    let lists: Vec<Vec<&str>> = replies
        .iter()
        .map(|reply| reply.principles.iter().map(|principle| principle.definition.as_str()).collect())
        .collect();
    let finished: Vec<FinishedReply<'_>> = replies
        .iter()
        .zip(&lists)
        .map(|(reply, principles)| FinishedReply {
            prompt: &reply.prompt.prompt.text,
            kind: reply.prompt.prompt.kind,
            principles,
            reply: &reply.text,
            tokens: reply.content(),
            ended: reply.ended,
        })
        .collect();
    sources.score(&finished)
}

/// Outputs of policy, reference and critic for a rollout, before its first update.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadOut {
    /// One trace per reply (B).
    pub traces: Vec<Trace>,
    /// Mean entropy of the policy over the tokens, in nats.
    pub entropy: f64,
    /// Largest difference between a token's log-probability in generation and in this pass, in nats.
    pub logprob_distance: f64,
    /// Number of tokens computed.
    pub tokens: usize,
    /// The readings of policy and critic, if the learner holds the pass over all replies.
    pub forwarded: Option<TokenStats>,
}

/// Reads a rollout: the reference first, then policy and critic. If the first update takes all replies in one pass, this
/// pass is the one that it continues from.
///
/// With workers, each pass is a task of its own. The first update computes it again, which is counted as here.
pub(super) fn read(
    learner: &mut Learner,
    workers: Option<&mut Remote<'_>>,
    roles: &Roles,
    replies: &[RolloutReply<'_>],
    config: &AlignConfig,
    scores: &[f64],
) -> Result<ReadOut, AlignError> {
    let all: Vec<usize> = (0..replies.len()).collect();
    let members = divide(&all, config.rollout.replies, roles.unit_replies);
    let references = sequences(roles, replies, &members, Roles::reference);
    let learners = sequences(roles, replies, &members, Roles::learners);
    let (reference, stats, kept) = match workers {
        Some(workers) => {
            let passages = passages(replies, &members);
            let reference = workers.read(learner, true, &references, &passages)?;
            let one_pass = config.update.mini_batches == 1 && learner.passes(&learners)?.len() == 1;
            (reference, workers.read(learner, false, &learners, &passages)?, one_pass)
        }
        None => {
            let reference = learner.read(&references)?;
            // The order of a single mini-batch is that of the replies.
            let forwarded = if config.update.mini_batches == 1 { learner.forward(&learners)? } else { None };
            let kept = forwarded.is_some();
            (reference, forwarded.map_or_else(|| learner.read(&learners), Ok)?, kept)
        }
    };
    let double = |values: &[f32]| -> Vec<f64> { values.iter().map(|&value| value.into()).collect() };
    let tokens = |units: &[Unit]| units.iter().flatten().map(|sequence| sequence.ids.len()).sum::<usize>();
    let mut out = ReadOut {
        traces: vec![Trace::default(); replies.len()],
        tokens: tokens(&references) + tokens(&learners),
        ..ReadOut::default()
    };
    let (mut at, mut reference_at, mut entropy) = (0, 0, 0.0);
    for members in &members {
        let together: usize = members.iter().map(|&member| replies[member].tokens.len()).sum();
        let to_values = roles.to_values(together);
        for &member in members {
            let reply = &replies[member];
            let n = reply.tokens.len();
            let value_at = at + to_values;
            let logprob = double(&stats.logprob[at..at + n]);
            let apart =
                logprob.iter().zip(&reply.logprobs).map(|(ours, &theirs)| (ours - f64::from(theirs)).abs());
            out.logprob_distance = apart.fold(out.logprob_distance, f64::max);
            entropy += stats.entropy[at..at + n].iter().map(|&entropy| f64::from(entropy)).sum::<f64>();
            out.traces[member] = Trace {
                real: vec![true; n],
                logprob,
                ref_logprob: double(&reference.logprob[reference_at..reference_at + n]),
                value: match roles.critic {
                    Critic::None => Vec::new(),
                    Critic::Policy | Critic::Own(_) => double(&stats.value[value_at..value_at + n]),
                },
                score: scores[member],
            };
            at += n;
            reference_at += n;
        }
        at += to_values;
    }
    // The reference has read each token once.
    out.entropy = entropy / reference_at.max(1) as f64;
    out.forwarded = kept.then_some(stats);
    Ok(out)
}

/// The units `members`, as workers get them.
pub(super) fn passages(replies: &[RolloutReply<'_>], members: &[Vec<usize>]) -> Vec<Passage> {
    let unit = |members: &Vec<usize>| Passage {
        prompt: replies[members[0]].prompt.ids.clone(),
        replies: members.iter().map(|&member| replies[member].tokens.clone()).collect(),
    };
    members.iter().map(unit).collect()
}

/// The sequences of the units `members`, as `read` makes them from a prompt and its replies.
pub(super) fn sequences(
    roles: &Roles,
    replies: &[RolloutReply<'_>],
    members: &[Vec<usize>],
    read: fn(&Roles, &[TokenId], &[&[TokenId]]) -> Unit,
) -> Vec<Unit> {
    let unit = |members: &Vec<usize>| {
        let tokens: Vec<&[TokenId]> =
            members.iter().map(|&member| replies[member].tokens.as_slice()).collect();
        read(roles, &replies[members[0]].prompt.ids, &tokens)
    };
    members.iter().map(unit).collect()
}
