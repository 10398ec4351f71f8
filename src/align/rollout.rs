//! One rollout: replies sampled, rewarded, and read by everyone on the base.

use std::time::Instant;

use super::AlignConfig;
use super::AlignError;
use super::roles::{Critic, Roles};
use super::{AlignPrompt, AlignPrompts, Guidelines};
use crate::align::estimate::{FinishedReply, RewardSum, Rewards, Trace};
use crate::generate::{CancelToken, Finish, GenerateError, Generator, Request, Sampling};
use crate::principles::Principle;
use crate::random::{Philox, Purpose};
use crate::tokenizer::TokenId;
use crate::train::{Learner, Order, TrainError, Unit};

/// A reply that was sampled.
#[derive(Clone, Debug)]
pub(super) struct Drawn<'a> {
    pub prompt: &'a AlignPrompt,
    /// Principles that it is judged by.
    pub principles: Vec<&'a Principle>,
    /// Its tokens, a last one that ends the turn included (T); at least one.
    pub tokens: Vec<TokenId>,
    /// Log-probability of each in generation, at the temperature of the draws.
    pub logprobs: Vec<f32>,
    /// Its text, without the end of turn.
    pub text: String,
    /// Whether the policy ended its turn itself.
    pub ended: bool,
}

impl Drawn<'_> {
    /// Prompt and reply.
    pub fn ids(&self) -> Vec<TokenId> {
        [&self.prompt.ids[..], &self.tokens].concat()
    }

    /// The reply without the token that ends the turn.
    fn said(&self) -> &[TokenId] {
        &self.tokens[..self.tokens.len() - usize::from(self.ended)]
    }
}

/// What is sampled from, and how.
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

    /// The replies of the step after `step` others, those to one prompt one behind another; the same whenever
    /// it is asked for. Nothing after a cancel.
    pub fn sample(
        &mut self,
        step: u64,
        generator: &mut Generator,
        roles: &Roles,
        cancel: &CancelToken,
    ) -> Result<Option<Vec<Drawn<'a>>>, GenerateError> {
        let random = Philox::new(self.config.seed);
        let rollout = &self.config.rollout;
        let first = step * rollout.prompts as u64;
        let mut asked = Vec::new();
        for number in 0..rollout.prompts {
            let prompt = &self.prompts.prompts[self.order.example(first + number as u64)];
            let principles = self.guidelines.draw(prompt.prompt.kind, random, step as u32, number as u32);
            asked.extend((0..rollout.replies).map(|_| (prompt, principles.clone())));
        }
        let request = |(index, (prompt, _)): (usize, &(&AlignPrompt, _))| {
            let seed = random.bits64(Purpose::Rollout, step as u32, index as u32, 0);
            let temperature = rollout.temperature as f32;
            Request {
                prompt: prompt.ids.clone(),
                adapter: Some(roles.policy),
                sampling: Sampling { temperature, seed, ..Sampling::default() },
                max_tokens: rollout.max_reply_tokens,
                stop_ids: self.prompts.end_of_turn.as_slice().into(),
                stop: Vec::new(),
            }
        };
        let requests: Vec<Request> = asked.iter().enumerate().map(request).collect();
        // The policy is not what it was when it filled the cache.
        generator.clear();
        let replies = generator.generate(&requests, cancel, &mut |_| {})?;
        if cancel.is_cancelled() || replies.iter().any(|reply| reply.finish == Finish::Cancelled) {
            return Ok(None);
        }
        let drawn = asked.into_iter().zip(replies).map(|((prompt, principles), reply)| Drawn {
            prompt,
            principles,
            ended: reply.finish == Finish::EndOfTurn,
            tokens: reply.tokens,
            logprobs: reply.sampling_logprobs,
            text: reply.text,
        });
        Ok(Some(drawn.collect()))
    }
}

/// What the sources say of `drawn`.
pub(super) fn reward(sources: &mut RewardSum<'_>, drawn: &[Drawn<'_>]) -> Result<Rewards, AlignError> {
    let lists: Vec<Vec<&str>> = drawn
        .iter()
        .map(|drawn| drawn.principles.iter().map(|principle| principle.definition.as_str()).collect())
        .collect();
    let replies: Vec<FinishedReply<'_>> = drawn
        .iter()
        .zip(&lists)
        .map(|(drawn, principles)| FinishedReply {
            prompt: &drawn.prompt.prompt.text,
            kind: drawn.prompt.prompt.kind,
            principles,
            reply: &drawn.text,
            tokens: drawn.said(),
            ended: drawn.ended,
        })
        .collect();
    sources.score(&replies)
}

/// What policy, reference and critic say of a rollout, each in its state before anything is learned from it.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadOut {
    /// One for each reply (B).
    pub traces: Vec<Trace>,
    /// Mean entropy of the policy over the tokens, in nats.
    pub entropy: f64,
    /// The largest difference between a token's log-probability in generation and here, in nats.
    pub logprob_distance: f64,
    /// Tokens computed.
    pub tokens: usize,
    pub seconds: f64,
}

/// Reads a rollout in mixed passes: every reply by policy, critic and reference side by side.
pub(super) fn read(
    learner: &mut Learner,
    roles: &Roles,
    drawn: &[Drawn<'_>],
    scores: &[f64],
) -> Result<ReadOut, TrainError> {
    let start = Instant::now();
    let units: Vec<Unit> =
        drawn.iter().map(|drawn| roles.readers(&drawn.ids(), drawn.tokens.len())).collect();
    let stats = learner.read(&units)?;
    let double = |values: &[f32]| -> Vec<f64> { values.iter().map(|&value| value.into()).collect() };
    let mut out = ReadOut::default();
    let (mut at, mut entropy, mut n_tokens) = (0, 0.0, 0);
    for ((drawn, unit), &score) in drawn.iter().zip(&units).zip(scores) {
        let n = drawn.tokens.len();
        // The reference stands last in the unit.
        let (value_at, reference_at) = (roles.values_at(at, n), at + (unit.len() - 1) * n);
        let logprob = double(&stats.logprob[at..at + n]);
        let apart =
            logprob.iter().zip(&drawn.logprobs).map(|(ours, &theirs)| (ours - f64::from(theirs)).abs());
        out.logprob_distance = apart.fold(out.logprob_distance, f64::max);
        entropy += stats.entropy[at..at + n].iter().map(|&entropy| f64::from(entropy)).sum::<f64>();
        n_tokens += n;
        out.traces.push(Trace {
            real: vec![true; n],
            logprob,
            ref_logprob: double(&stats.logprob[reference_at..reference_at + n]),
            value: match roles.critic {
                Critic::None => Vec::new(),
                Critic::Policy | Critic::Own(_) => double(&stats.value[value_at..value_at + n]),
            },
            score,
        });
        out.tokens += unit.iter().map(|sequence| sequence.ids.len()).sum::<usize>();
        at += unit.len() * n;
    }
    out.entropy = entropy / n_tokens.max(1) as f64;
    out.seconds = start.elapsed().as_secs_f64();
    Ok(out)
}
