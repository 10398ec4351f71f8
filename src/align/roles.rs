//! The roles on one base: policy, critic, reference and reward model are adapters of one bank.

use super::units::reader;
use super::{AlignConfig, AlignError, RewardRole};
use crate::adapter::Adapter;
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId, LoraLayout, LoraWeights, Projections, ScalarHead};
use crate::tokenizer::TokenId;
use crate::train::Sequence;

/// The adapters of a run before its first step.
#[derive(Debug)]
pub(super) struct InitialAdapters<'a> {
    policy: LoraWeights,
    /// The critic, if it has an adapter of its own.
    value: Option<LoraWeights>,
    /// Whether the critic's head is on the policy.
    share_trunk: bool,
    /// The reference. Without one, the base is the reference.
    reference: Option<&'a LoraWeights>,
    reward: Option<&'a Adapter>,
}

impl<'a> InitialAdapters<'a> {
    /// The adapters of a run that starts from `init`, or from a fresh adapter. With a fresh adapter the model
    /// gives the same outputs as the base.
    ///
    /// If the reward model is on the same base, the critic starts from it, as in SALMON, because the reward
    /// model already separates good replies from bad ones. The critic's head starts from zero.
    pub fn new(
        model: &Model,
        init: Option<&'a Adapter>,
        reward: Option<&'a RewardRole<'_>>,
        config: &AlignConfig,
    ) -> Result<InitialAdapters<'a>, AlignError> {
        init.map_or(Ok(()), Adapter::check_speaks)?;
        let fresh = || config.lora.fresh(model.config(), config.seed);
        let policy = init.map_or_else(fresh, |adapter| Ok(adapter.weights.clone()))?;
        let reward = match reward {
            Some(RewardRole::Shared { adapter, .. }) => Some(adapter.as_ref()),
            _ => None,
        };
        let critic = config.algorithm.spec().needs_critic;
        let share_trunk = critic && config.value.share_trunk;
        let value = (critic && !share_trunk).then(|| match reward {
            Some(adapter) => adapter.weights.clone(),
            None => policy.clone(),
        });
        let reference = init.map(|adapter| &adapter.weights);
        Ok(InitialAdapters { policy, value, share_trunk, reference, reward })
    }

    /// All adapters in the order of their slots in the bank. The trained ones come first.
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

    /// Layout of the factors in the bank.
    pub fn layout(&self, model: &Model) -> LoraLayout {
        let (rank, targets, _) = self.bank();
        LoraLayout::new(model.config(), rank, targets)
    }

    /// Number of trained adapters.
    pub fn learning(&self) -> usize {
        1 + usize::from(self.value.is_some())
    }

    /// Number of trained layers, counted from the model's last one.
    pub fn learning_layers(&self, model: &Model) -> usize {
        let lowest = [&self.policy].into_iter().chain(&self.value).map(LoraWeights::first_layer).min();
        model.config().layers.len() - lowest.unwrap_or_default()
    }

    /// Number of trainable values.
    pub fn parameters(&self, hidden: usize) -> usize {
        let head = if self.value.is_some() || self.share_trunk { hidden + 1 } else { 0 };
        let value = self.value.as_ref().map_or(0, LoraWeights::parameters);
        self.policy.parameters() + value + head
    }

    /// Puts all adapters onto the device. Up to `unit_replies` replies to a prompt are read together.
    pub fn attach(&self, model: &Model, unit_replies: usize) -> Result<Roles, AlignError> {
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
        Ok(Roles { bank, policy, critic, reference, reward, unit_replies })
    }
}

/// The source of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Critic {
    /// No critic: the algorithm needs no values.
    None,
    /// A head on the policy.
    Policy,
    /// An adapter.
    Own(AdapterId),
}

/// The adapters of a run in the bank.
#[derive(Debug)]
pub(super) struct Roles {
    pub bank: AdapterBank,
    pub policy: AdapterId,
    pub critic: Critic,
    /// Without one, the base is the reference.
    pub reference: Option<AdapterId>,
    pub reward: Option<AdapterId>,
    /// Number of replies to the same prompt that a unit may hold. 1 reads each reply as a sequence of its own. Above 1
    /// the prompt is read once for the replies of a unit, each of which is a branch.
    pub unit_replies: usize,
}

impl Roles {
    /// The trained adapters, in the order of their slots.
    pub fn learning(&self) -> Vec<AdapterId> {
        match self.critic {
            Critic::Own(value) => vec![self.policy, value],
            Critic::None | Critic::Policy => vec![self.policy],
        }
    }

    /// The sequences in which the trained adapters read `replies` to `prompt`: the policy's, then the critic's if it has
    /// its own adapter. Each has one reading per token of the replies, in order. A unit of several replies, or of one
    /// where others hold several, has the replies as branches.
    pub fn learners(&self, prompt: &[TokenId], replies: &[&[TokenId]]) -> Vec<Sequence> {
        let mut unit =
            vec![self.reader(prompt, replies, Some(self.policy), true, self.critic == Critic::Policy)];
        if let Critic::Own(value) = self.critic {
            unit.push(self.reader(prompt, replies, Some(value), false, true));
        }
        unit
    }

    /// The sequence in which the reference reads `replies` to `prompt`, with one reading per token.
    pub fn reference(&self, prompt: &[TokenId], replies: &[&[TokenId]]) -> Vec<Sequence> {
        vec![self.reader(prompt, replies, self.reference, true, false)]
    }

    /// Distance from a token's reading by the policy to its value, in a unit whose replies have `n` tokens together.
    pub fn to_values(&self, n: usize) -> usize {
        match self.critic {
            Critic::Own(_) => n,
            Critic::None | Critic::Policy => 0,
        }
    }

    fn reader(
        &self,
        prompt: &[TokenId],
        replies: &[&[TokenId]],
        adapter: Option<AdapterId>,
        target: bool,
        head: bool,
    ) -> Sequence {
        Sequence { adapter, ..reader(prompt, replies, self.unit_replies > 1, target, head) }
    }
}
