//! Who is who on one base: policy, critic, reference and reward model, as adapters of one bank.

use super::AlignConfig;
use super::{AlignError, RewardRole};
use crate::adapter::Adapter;
use crate::align::Algorithm;
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId, LoraLayout, LoraWeights, Projections, ScalarHead};
use crate::tokenizer::TokenId;
use crate::train::{Reading, Sequence};

/// What stands in the bank before the first step.
#[derive(Debug)]
pub(super) struct Cast<'a> {
    policy: LoraWeights,
    /// A critic of its own.
    value: Option<LoraWeights>,
    /// Whether the critic's head is on the policy.
    share_trunk: bool,
    /// The reference; without one the base is it.
    reference: Option<&'a LoraWeights>,
    reward: Option<&'a Adapter>,
}

impl<'a> Cast<'a> {
    /// The roles of a run that starts from `init`, or from a fresh adapter, which answers as the base does.
    ///
    /// The critic starts from the reward model where that is on the same base, as in SALMON: it has learned
    /// what a good reply is. Its head starts from zero.
    pub fn new(
        model: &Model,
        init: Option<&'a Adapter>,
        judge: Option<&RewardRole<'a>>,
        config: &AlignConfig,
    ) -> Result<Cast<'a>, AlignError> {
        let fresh = || config.lora.fresh(model.config(), config.seed);
        let policy = init.map_or_else(fresh, |adapter| Ok(adapter.weights.clone()))?;
        let reward = match judge {
            Some(RewardRole::Shared { adapter, .. }) => Some(*adapter),
            _ => None,
        };
        let critic = config.algorithm == Algorithm::Ppo;
        let share_trunk = critic && config.value.share_trunk;
        let value = (critic && !share_trunk).then(|| match reward {
            Some(adapter) => adapter.weights.clone(),
            None => policy.clone(),
        });
        Ok(Cast { policy, value, share_trunk, reference: init.map(|adapter| &adapter.weights), reward })
    }

    /// All adapters in the order of their places: those that learn first.
    fn weights(&self) -> impl Iterator<Item = &LoraWeights> {
        let reward = self.reward.map(|adapter| &adapter.weights);
        [&self.policy].into_iter().chain(&self.value).chain(self.reference).chain(reward)
    }

    /// Rank, projections and number of adapters of their bank.
    pub fn bank(&self) -> (usize, Projections, usize) {
        let rank = self.weights().map(|weights| weights.config.rank).max().unwrap_or(1);
        let targets = self
            .weights()
            .fold(Projections::default(), |targets, weights| targets.union(weights.config.targets));
        (rank, targets, self.weights().count())
    }

    /// Where factors lie in it.
    pub fn layout(&self, model: &Model) -> LoraLayout {
        let (rank, targets, _) = self.bank();
        LoraLayout::new(model.config(), rank, targets)
    }

    /// Adapters that learn.
    pub fn learning(&self) -> usize {
        1 + usize::from(self.value.is_some())
    }

    /// The last so many of the model's layers learn.
    pub fn learning_layers(&self, model: &Model) -> usize {
        let lowest = [&self.policy].into_iter().chain(&self.value).map(LoraWeights::first_layer).min();
        model.config().layers - lowest.unwrap_or_default()
    }

    /// Sequences that a reply is read by: policy, reference, critic.
    pub fn readers(&self) -> usize {
        self.learning() + 1
    }

    /// Trainable values.
    pub fn parameters(&self, hidden: usize) -> usize {
        let head = if self.value.is_some() || self.share_trunk { hidden + 1 } else { 0 };
        let value = self.value.as_ref().map_or(0, LoraWeights::parameters);
        self.policy.parameters() + value + head
    }

    /// Puts everyone onto the device.
    pub fn take_places(&self, model: &Model) -> Result<Roles, AlignError> {
        let (rank, targets, count) = self.bank();
        let bank = AdapterBank::new(model, rank, targets, count)?;
        let zero = ScalarHead { weight: vec![0.0; model.config().hidden], bias: 0.0 };
        let policy = bank.attach(&self.policy, self.share_trunk.then_some(&zero))?;
        let value = self.value.as_ref().map(|weights| bank.attach(weights, Some(&zero))).transpose()?;
        let critic = match value {
            Some(id) => Critic::Own(id),
            None if self.share_trunk => Critic::Policy,
            None => Critic::None,
        };
        let reference = self.reference.map(|weights| bank.attach(weights, None)).transpose()?;
        let attach = |adapter: &Adapter| bank.attach(&adapter.weights, adapter.head.as_ref());
        let reward = self.reward.map(attach).transpose()?;
        Ok(Roles { bank, policy, critic, reference, reward })
    }
}

/// Who says what a state is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Critic {
    /// Nobody: replies are compared with each other.
    None,
    /// A head on the policy.
    Policy,
    /// An adapter of its own.
    Own(AdapterId),
}

/// Everyone's place in the bank.
#[derive(Debug)]
pub(super) struct Roles {
    pub bank: AdapterBank,
    pub policy: AdapterId,
    pub critic: Critic,
    /// Without one the base is the reference.
    pub reference: Option<AdapterId>,
    pub reward: Option<AdapterId>,
}

impl Roles {
    /// The adapters that learn, in the order of their places.
    pub fn learning(&self) -> Vec<AdapterId> {
        match self.critic {
            Critic::Own(value) => vec![self.policy, value],
            Critic::None | Critic::Policy => vec![self.policy],
        }
    }

    /// A reply of `n` tokens at the end of `ids`, as those read it who learn: the policy, and behind it the
    /// critic if it is someone else. Each has one reading a token.
    pub fn learners(&self, ids: &[TokenId], n: usize) -> Vec<Sequence> {
        let policy = reader(ids, n, Some(self.policy), true, self.critic == Critic::Policy);
        let mut unit = vec![policy];
        if let Critic::Own(value) = self.critic {
            unit.push(reader(ids, n, Some(value), false, true));
        }
        unit
    }

    /// The same with the reference behind them.
    pub fn readers(&self, ids: &[TokenId], n: usize) -> Vec<Sequence> {
        let mut unit = self.learners(ids, n);
        unit.push(reader(ids, n, self.reference, true, false));
        unit
    }

    /// Where the critic's first value stands in a unit whose policy begins at `first` and reads `n` tokens.
    pub fn values_at(&self, first: usize, n: usize) -> usize {
        match self.critic {
            Critic::Own(_) => first + n,
            Critic::None | Critic::Policy => first,
        }
    }
}

/// The last `n` tokens of `ids`, each read at the token before it; the very last is never fed, since nothing
/// comes behind it.
fn reader(ids: &[TokenId], n: usize, adapter: Option<AdapterId>, target: bool, head: bool) -> Sequence {
    let first = ids.len() - n;
    let reading = |place: usize| Reading { position: place - 1, target: target.then(|| ids[place]), head };
    Sequence {
        ids: ids[..ids.len() - 1].to_vec(),
        adapter,
        readings: (first..ids.len()).map(reading).collect(),
    }
}
