//! A base that answers and a reward model that scores, on one copy of the weights.

use std::path::Path;
use std::sync::Arc;

use super::recover::Recipe;
use super::{Answer, Scores, SteerError, SteerEvent, Steering, answer};
use crate::generate::{CancelToken, GenerateError, Generator, GeneratorOptions, Request};
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterId, LoraWeights};
use crate::random::{Philox, Purpose};
use crate::reward::{RewardModel, RewardOptions};
use crate::tokenizer::{ChatFormat, Message, TextError, TokenId};

/// A question to answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// The prompt and its sampling options. The first candidate has its seed. The others have seeds that are
    /// derived from it.
    pub request: Request,
    /// The question that the reward model reads.
    pub question: String,
}

impl Ask {
    /// Asks for the next reply of the conversation `messages`, with the principles where `steering` puts
    /// them. The reward model reads only the last message of the user, because it was trained on single
    /// questions.
    ///
    /// Sampling is greedy and `max_tokens` is [`MAX_TOKENS`](crate::generate::MAX_TOKENS) unless the caller
    /// sets them.
    ///
    /// # Errors
    ///
    /// As [`ChatFormat::encode_chat`].
    pub fn new(format: &ChatFormat, steering: &Steering, messages: &[Message]) -> Result<Ask, TextError> {
        let prompt = format.encode_chat(&steering.messages(messages), true)?;
        let question = messages.iter().rev().find(|message| message.role == "user");
        let request = Request { prompt, stop_ids: format.end_of_turn().into(), ..Request::default() };
        Ok(Ask { request, question: question.map(|message| message.content.clone()).unwrap_or_default() })
    }

    /// Seed of a candidate. The first has the request's seed, so that a single candidate is a plain sample.
    pub(super) fn seed(&self, candidate: usize) -> u64 {
        let seed = self.request.sampling.seed;
        if candidate == 0 {
            return seed;
        }
        Philox::new(seed).bits64(Purpose::Candidates, 0, candidate as u32, 0)
    }
}

/// A model that answers and an optional reward model that chooses: up to two adapters on one base, in one
/// bank, each with its own cache.
#[derive(Debug)]
pub struct SteeredModel {
    pub(super) generator: Generator,
    pub(super) policy: Option<AdapterId>,
    /// What `policy` was before losses of the GPU.
    pub(super) former: Vec<AdapterId>,
    pub(super) reward: Option<RewardModel>,
    /// `None` in a bank of somebody else.
    pub(super) recipe: Option<Arc<Recipe>>,
}

impl SteeredModel {
    /// Loads `policy`, the adapter that answers, and the reward model in the folder `reward` onto `model`.
    /// Both are optional. The slots of `generator` are the number of candidates that are computed together.
    ///
    /// # Errors
    ///
    /// * [`SteerError::Reward`] if the reward model cannot be read, has no head, or was trained on other
    ///   weights;
    /// * [`SteerError::Adapter`] if an adapter does not fit;
    /// * [`SteerError::Generate`] if the device cannot hold it all.
    pub fn open(
        model: &Model,
        policy: Option<&LoraWeights>,
        reward: Option<&Path>,
        generator: GeneratorOptions,
        reading: &RewardOptions,
    ) -> Result<SteeredModel, SteerError> {
        let recipe = Recipe {
            model: model.clone(),
            policy: policy.cloned(),
            reward: reward.map(Path::to_owned),
            generator,
            reading: *reading,
        };
        let recipe = Arc::new(recipe);
        model.opening(|| SteeredModel::from_recipe(&recipe))
    }

    /// Puts on the device what `recipe` names.
    pub(super) fn from_recipe(recipe: &Arc<Recipe>) -> Result<SteeredModel, SteerError> {
        let Recipe { model, generator, reading, .. } = &**recipe;
        let (policy, reward, generator) = (recipe.policy.as_ref(), recipe.reward.as_deref(), *generator);
        let recipe = Arc::clone(recipe);
        let mut reward =
            reward.map(|folder| RewardModel::read(model, folder, reading.any_base)).transpose()?;
        // One that reads the first layers alone shares no bank with an adapter of all layers.
        let apart = reward.take_if(|(_, card)| card.layers.is_some());
        let apart =
            apart.map(|(adapter, card)| RewardModel::new(model, &adapter, card, reading)).transpose()?;
        let scorer = reward.as_ref().map(|(adapter, _)| &adapter.weights);
        let all: Vec<&LoraWeights> = policy.into_iter().chain(scorer).collect();
        let Some(first) = all.first() else {
            return Ok(SteeredModel {
                generator: Generator::new(model, generator)?,
                policy: None,
                former: Vec::new(),
                reward: apart,
                recipe: Some(recipe),
            });
        };
        let targets = all.iter().fold(first.config.targets, |one, more| one.union(more.config.targets));
        let rank = all.iter().map(|weights| weights.config.rank).max().unwrap_or(1);
        let bank = AdapterBank::new(model, rank, targets, all.len())?;
        let policy = policy.map(|weights| bank.attach(weights, None)).transpose()?;
        let reward = match reward {
            Some((adapter, card)) => {
                let id = bank.attach(&adapter.weights, adapter.head.as_ref())?;
                Some(RewardModel::in_bank(model, &bank, id, card, reading)?)
            }
            None => apart,
        };
        let generator = Generator::with_adapters(model, generator, &bank)?;
        Ok(SteeredModel { generator, policy, former: Vec::new(), reward, recipe: Some(recipe) })
    }

    /// Creates a model without a reward model that answers with the adapter `policy` of `bank`. Other models
    /// may use the bank too.
    ///
    /// # Errors
    ///
    /// [`SteerError::Generate`] if the device cannot hold its cache.
    pub fn in_bank(
        model: &Model,
        bank: &AdapterBank,
        policy: AdapterId,
        generator: GeneratorOptions,
    ) -> Result<SteeredModel, SteerError> {
        let generator = Generator::with_adapters(model, generator, bank)?;
        Ok(SteeredModel { generator, policy: Some(policy), former: Vec::new(), reward: None, recipe: None })
    }

    /// The base.
    pub fn model(&self) -> &Model {
        self.generator.model()
    }

    /// The adapter that answers, for [`Request::adapter`].
    pub fn policy(&self) -> Option<AdapterId> {
        self.policy
    }

    /// The model that scores.
    pub fn reward(&mut self) -> Option<&mut RewardModel> {
        self.reward.as_mut()
    }

    /// Maximum number of tokens of a prompt and its reply together.
    pub fn context(&self) -> usize {
        self.generator.context()
    }

    /// Answers every question, with one [`Answer`] each, in order. All random draws depend only on the seeds
    /// of the questions, not on the other questions of the call.
    ///
    /// After a cancel, each answer holds the text and the scores so far. It ends in [`Finish::Cancelled`](crate::generate::Finish::Cancelled)
    /// unless it was complete.
    ///
    /// If the GPU is lost meanwhile, it is opened again, everything is loaded again, and the questions are
    /// answered again: once. Text that was passed to `on_progress` is not passed twice.
    ///
    /// # Errors
    ///
    /// * those of [`Steering::check`] before anything runs;
    /// * [`SteerError::Ask`] with the index of a question that is empty, or for which the principles leave no
    ///   room;
    /// * [`SteerError::Generate`], naming the question, as [`Generator::generate`];
    /// * [`SteerError::Reward`] if the device fails while scores are read.
    pub fn answer(
        &mut self,
        steering: &Steering,
        asks: &[Ask],
        cancel: &CancelToken,
        on_progress: &mut dyn FnMut(SteerEvent<'_>),
    ) -> Result<Vec<Answer>, SteerError> {
        let recipe = self.recipe.clone();
        let rebuild = || SteeredModel::from_recipe(&recipe?).ok();
        self.answer_rebuilding(steering, asks, cancel, on_progress, rebuild)
    }

    pub(super) fn answer_once(
        &mut self,
        steering: &Steering,
        asks: &[Ask],
        cancel: &CancelToken,
        on_progress: &mut dyn FnMut(SteerEvent<'_>),
    ) -> Result<Vec<Answer>, SteerError> {
        let reward = self.reward.as_mut().map(|reward| reward as &mut dyn Scores);
        answer(&mut self.generator, reward, steering, asks, cancel, on_progress)
    }

    /// Log-probability of `reply` after `prompt`, in nats, under `adapter` or the base, at `temperature`.
    ///
    /// # Errors
    ///
    /// As [`Generator::token_stats`].
    pub fn logprob(
        &mut self,
        prompt: &[TokenId],
        reply: &[TokenId],
        adapter: Option<AdapterId>,
        temperature: f32,
        cancel: &CancelToken,
    ) -> Result<f64, GenerateError> {
        let stats = self.generator.token_stats(&[[prompt, reply].concat()], adapter, temperature, cancel)?;
        let of_reply = stats[0].iter().skip(prompt.len().saturating_sub(1));
        Ok(of_reply.map(|stat| f64::from(stat.logprob)).sum())
    }
}
