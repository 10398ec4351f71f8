//! A trained reward model on its base: replies in, scores out.

use std::ops::Range;
use std::path::Path;

use super::{Form, RewardCard, RewardError};
use crate::adapter::{Adapter, Card};
use crate::generate::{CancelToken, Generator, GeneratorOptions, generator_bytes};
use crate::model::Model;
use crate::model::lora::{AdapterBank, AdapterError, AdapterId, LoraLayout, LoraWeights};
use crate::ops::KvFormat;
use crate::preferences::{GENERAL_PRINCIPLE, InputLimits, PointwiseFormat, PreferencesError, RewardFormat};
use crate::principles::PrincipleSet;
use crate::tokenizer::{TokenId, Tokenizer};
use crate::train::bank_bytes;

/// Options for opening a reward model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewardOptions {
    /// Number of inputs that are computed together.
    pub slots: usize,
    /// Whether to accept an adapter that was trained on other weights than the model's, such as an
    /// unquantized copy.
    pub any_base: bool,
}

impl Default for RewardOptions {
    /// Eight inputs at a time, only on the adapter's own base.
    fn default() -> Self {
        RewardOptions { slots: 8, any_base: false }
    }
}

/// A reply to score.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreRequest<'a> {
    /// The request.
    pub prompt: &'a str,
    /// The reply.
    pub reply: &'a str,
    /// The principles to score the reply under: definitions or negatives, in their order. Without any, the
    /// model scores how good the reply is in general.
    pub principles: Vec<&'a str>,
    /// Of a pointwise model, the weight of each principle in the sum. Missing ones are 1.
    pub weights: Vec<f32>,
}

impl<'a> ScoreRequest<'a> {
    /// A reply to score under principles of equal weight.
    pub fn new(prompt: &'a str, reply: &'a str, principles: Vec<&'a str>) -> ScoreRequest<'a> {
        ScoreRequest { prompt, reply, principles, weights: Vec::new() }
    }
}

/// A reward model's score of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The score. Larger is better.
    ///
    /// Of a pairwise model, the difference of two scores under the same principles is the log-odds that the first
    /// reply is preferred, and a single score has no meaning without another to compare it with. Of a pointwise model,
    /// it is the sum of [`Score::parts`], each times its weight.
    pub value: f32,
    /// Of a pointwise model, the log-odds that the reply keeps each principle, in their order: above 0 if it rather
    /// does. Empty of a pairwise model.
    pub parts: Vec<f32>,
    /// Number of tokens that were read.
    pub tokens: usize,
    /// Number of tokens that were cut from the start of the prompt.
    pub cut_prompt: usize,
    /// Number of tokens that were cut from the end of the reply.
    pub cut_reply: usize,
}

impl Model {
    /// Opens the reward model in `folder` on this model, with the default options: [`RewardModel::open`].
    ///
    /// # Errors
    ///
    /// [`Error::Reward`](crate::Error::Reward) as [`RewardModel::open`].
    pub fn reward_model(&self, folder: impl AsRef<Path>) -> Result<RewardModel, crate::Error> {
        Ok(RewardModel::open(self, folder.as_ref(), &RewardOptions::default())?)
    }
}

/// A reward model on the device: base, adapter, scalar head.
///
/// Its forward pass is that of training, with keys and values in full precision.
#[derive(Debug)]
pub struct RewardModel {
    generator: Generator,
    adapter: AdapterId,
    limits: InputLimits,
    card: Card,
    reward_card: RewardCard,
    /// The adapter, for loading it again after a loss of the GPU. `None` in a bank of somebody else.
    own: Option<(Adapter, RewardOptions)>,
}

impl RewardModel {
    /// Opens the reward model in `folder`: a PEFT adapter with `reward_head.safetensors`, the folder of a run that
    /// holds one, or [`SHIPPED`](super::SHIPPED).
    ///
    /// # Errors
    ///
    /// * [`RewardError::AdapterFile`] if there is no adapter, it does not fit the model, or it was trained on
    ///   other weights;
    /// * [`RewardError::NoHead`] if it has no head;
    /// * [`RewardError::Card`] or [`RewardError::Context`] if its input limits are not valid;
    /// * [`RewardError::NoTokenizer`] if the model has none;
    /// * [`RewardError::Generate`] if the device cannot hold it.
    pub fn open(model: &Model, folder: &Path, options: &RewardOptions) -> Result<RewardModel, RewardError> {
        let (adapter, card) = RewardModel::read(model, folder, options.any_base)?;
        RewardModel::new(model, &adapter, card, options)
    }

    /// Scores `reply` to `prompt` under all principles of `set`, in their order: [`RewardModel::score`] for
    /// one reply. Compare scores only under the same principles.
    ///
    /// ```no_run
    /// use parr::principles::Selection;
    ///
    /// let model = parr::Model::open("smollm2")?;
    /// let mut reward = model.reward_model("reward-models/smollm2-style")?;
    /// let concise = Selection::open("style:style-concise")?.into_set();
    /// let short = reward.rate("Why is the sky blue?", "Air scatters blue light most.", &concise)?;
    /// println!("{:.2}", short.value);
    /// # Ok::<(), parr::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`RewardModel::score`].
    pub fn rate(&mut self, prompt: &str, reply: &str, set: &PrincipleSet) -> Result<Score, RewardError> {
        let principles = set.principles.iter().map(|principle| principle.definition.as_str()).collect();
        let weights = set.principles.iter().map(|principle| principle.weight as f32).collect();
        let request = ScoreRequest { prompt, reply, principles, weights };
        Ok(self.score(&[request], &CancelToken::new(), &mut |_| {})?.remove(0))
    }

    /// Reads the adapter and the card of the reward model in `folder`. The adapter has the layers that the reward model
    /// reads, so only one that reads all of them ([`RewardCard::layers`]) fits a bank of other adapters. `any_base` accepts one that was trained on other weights than the model's.
    ///
    /// # Errors
    ///
    /// Those of [`RewardModel::open`] that need no device.
    pub fn read(model: &Model, folder: &Path, any_base: bool) -> Result<(Adapter, RewardCard), RewardError> {
        let folder = &*super::resolve(folder)?;
        let card = RewardCard::read(&Adapter::inspect(folder)?.card, folder)?;
        let adapter = Adapter::open_on(&card.base(model)?, folder, any_base)?;
        if adapter.head.is_none() {
            return Err(RewardError::NoHead { path: folder.to_owned() });
        }
        Ok((adapter, card))
    }

    /// Creates a reward model from `adapter` on `model`, with the input limits of `card`.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Adapter`] if the adapter has no head, or does not fit;
    /// * otherwise the errors of [`RewardModel::open`] that concern no file.
    pub fn new(
        model: &Model,
        adapter: &Adapter,
        card: RewardCard,
        options: &RewardOptions,
    ) -> Result<RewardModel, RewardError> {
        let LoraWeights { config, .. } = &adapter.weights;
        let base = card.base(model)?;
        let mut reward = model.opening(|| {
            let bank = AdapterBank::new(&base, config.rank, config.targets, 1)?;
            let id = bank.attach(&adapter.weights, adapter.head.as_ref())?;
            RewardModel::in_bank(&base, &bank, id, card.clone(), options)
        })?;
        reward.card = adapter.card.clone();
        reward.own = Some((adapter.clone(), *options));
        Ok(reward)
    }

    /// Creates a reward model from the adapter `id` of `bank`, for a bank that is shared with other adapters,
    /// such as a policy in training. `model` has the layers of the bank.
    ///
    /// # Errors
    ///
    /// As [`RewardModel::new`].
    pub fn in_bank(
        model: &Model,
        bank: &AdapterBank,
        id: AdapterId,
        card: RewardCard,
        options: &RewardOptions,
    ) -> Result<RewardModel, RewardError> {
        if !bank.has_head(id)? {
            return Err(AdapterError::NoHead.into());
        }
        let limits = limits_on(model, &card)?;
        model.check_tokenizer()?;
        let tokenizer = model.tokenizer().ok_or(RewardError::NoTokenizer)?;
        Format::new(&card, tokenizer, limits)?;
        let generator = Generator::with_adapters(model, generator_options(limits, options), bank)?;
        let reward_card = card;
        Ok(RewardModel { generator, adapter: id, limits, card: Card::default(), reward_card, own: None })
    }

    /// Device memory, in bytes, that the reward model in `folder` needs in addition to the weights of
    /// `model`: adapter, cache, activations. It is computed without allocating anything.
    ///
    /// # Errors
    ///
    /// As [`RewardModel::open`], except the errors of the device.
    pub fn plan_bytes(model: &Model, folder: &Path, options: &RewardOptions) -> Result<u64, RewardError> {
        let folder = &*super::resolve(folder)?;
        let summary = Adapter::inspect(folder)?;
        let card = RewardCard::read(&summary.card, folder)?;
        let (limits, base) = (limits_on(model, &card)?, card.base(model)?);
        let layout = LoraLayout::new(base.config(), summary.config.rank, summary.config.targets);
        let tuning = model.device().tuning();
        let generator = generator_options(limits, options);
        Ok(bank_bytes(base.config(), &layout, 1)
            + generator_bytes(base.config(), Some(&layout), tuning, &generator))
    }

    /// Device memory, in bytes, that a reward model with this card needs in a bank of `layout`, in addition
    /// to the bank.
    pub(crate) fn bytes_in_bank(
        model: &Model,
        layout: &LoraLayout,
        card: &RewardCard,
        options: &RewardOptions,
    ) -> Result<u64, RewardError> {
        let generator = generator_options(limits_on(model, card)?, options);
        Ok(generator_bytes(model.config(), Some(layout), model.device().tuning(), &generator))
    }

    /// The base, or its layers that the reward model reads.
    pub fn model(&self) -> &Model {
        self.generator.model()
    }

    /// The adapter's card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// How its input is made, and what it was trained on.
    pub fn reward_card(&self) -> &RewardCard {
        &self.reward_card
    }

    /// Maximum numbers of tokens of an input and its parts.
    pub fn limits(&self) -> InputLimits {
        self.limits
    }

    /// Scores replies, each to its own prompt and under its own principles. Consecutive questions with the
    /// same prompt and reply share their computation, and so do the principles of a pointwise model. `on_done`
    /// receives the number of finished questions.
    ///
    /// If the GPU is lost meanwhile, it is opened again, base and adapter are loaded again, and scoring
    /// continues: once. This is not done for a reward model in a bank of other adapters.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Item`] with the index of a question whose prompt or reply is empty, or whose
    ///   principles leave no room; nothing is computed then;
    /// * [`RewardError::Generate`] after a cancel, or if the device fails.
    pub fn score(
        &mut self,
        questions: &[ScoreRequest<'_>],
        cancel: &CancelToken,
        on_done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Score>, RewardError> {
        let inputs = Inputs::of(self, questions)?;
        let mut values: Vec<f32> = Vec::with_capacity(inputs.rows.len());
        let mut done = 0;
        let mut reloaded = false;
        for ids in inputs.rows.chunks(self.generator.slots()) {
            let found = match self.score_ids(ids, cancel) {
                Err(error) if !reloaded && self.generator.is_lost() => {
                    reloaded = true;
                    if !self.reload() {
                        return Err(error);
                    }
                    self.score_ids(ids, cancel)?
                }
                found => found?,
            };
            values.extend(found);
            let finished = inputs.questions.iter().take_while(|question| question.rows.end <= values.len());
            let finished = finished.count();
            if finished > done {
                done = finished;
                on_done(done);
            }
        }
        Ok(inputs.questions.iter().map(|question| question.score(&values)).collect())
    }

    /// Loads base and adapter again; false if that is not possible.
    fn reload(&mut self) -> bool {
        let model = self.model().clone();
        let Some((adapter, options)) = &self.own else { return false };
        let reopened = || {
            model.reload().ok()?;
            RewardModel::new(&model, adapter, self.reward_card.clone(), options).ok()
        };
        match reopened() {
            Some(reward) => *self = reward,
            None => return false,
        }
        true
    }

    /// Returns the head's values at the last tokens of inputs that are given as tokens.
    ///
    /// # Errors
    ///
    /// [`RewardError::Generate`] if an input is empty, too long or has unknown tokens, after a cancel, or if
    /// the device fails.
    pub fn score_ids(
        &mut self,
        inputs: &[Vec<TokenId>],
        cancel: &CancelToken,
    ) -> Result<Vec<f32>, RewardError> {
        Ok(self.generator.head_values(inputs, self.adapter, cancel)?)
    }

    fn tokenizer(&self) -> Result<&Tokenizer, RewardError> {
        self.generator.model().tokenizer().ok_or(RewardError::NoTokenizer)
    }
}

/// The inputs of several questions.
struct Inputs {
    /// One row for each score that is read (T).
    rows: Vec<Vec<TokenId>>,
    questions: Vec<Question>,
}

/// The rows of a question, and what was cut from its texts.
struct Question {
    rows: Range<usize>,
    form: Form,
    weights: Vec<f32>,
    tokens: usize,
    cut_prompt: usize,
    cut_reply: usize,
}

enum Format<'a> {
    Pairwise(RewardFormat<'a>),
    Pointwise(PointwiseFormat<'a>),
}

impl<'a> Format<'a> {
    fn new(
        card: &RewardCard,
        tokenizer: &'a Tokenizer,
        limits: InputLimits,
    ) -> Result<Self, PreferencesError> {
        Ok(match card.form {
            Form::Pairwise => Format::Pairwise(RewardFormat::new(tokenizer, limits)?),
            Form::Pointwise => {
                Format::Pointwise(PointwiseFormat::new(tokenizer, limits)?.with_counts(card.counts))
            }
        })
    }
}

impl Inputs {
    fn of(model: &RewardModel, questions: &[ScoreRequest<'_>]) -> Result<Inputs, RewardError> {
        let form = model.reward_card.form;
        let tokenizer = model.tokenizer()?;
        let mut inputs = Inputs { rows: Vec::new(), questions: Vec::with_capacity(questions.len()) };
        let format = Format::new(&model.reward_card, tokenizer, model.limits)?;
        for (item, ScoreRequest { prompt, reply, principles, weights }) in questions.iter().enumerate() {
            let fault = |source| RewardError::Item { item, source };
            let first = inputs.rows.len();
            let (tokens, cut_prompt, cut_reply) = match &format {
                Format::Pairwise(format) => {
                    let input = format.encode(prompt, reply, principles).map_err(fault)?;
                    let cut = (input.ids.len(), input.cut_request, input.cut_reply);
                    inputs.rows.push(input.ids);
                    cut
                }
                Format::Pointwise(format) => {
                    let general = [GENERAL_PRINCIPLE];
                    let principles = if principles.is_empty() { &general } else { &principles[..] };
                    let input = format.encode(prompt, reply, principles).map_err(fault)?;
                    let own: usize = input.branches.iter().map(Vec::len).sum();
                    let rows = input.branches.iter().map(|branch| [&input.shared[..], branch].concat());
                    inputs.rows.extend(rows);
                    (input.shared.len() + own, input.cut_request, input.cut_reply)
                }
            };
            let rows = first..inputs.rows.len();
            let weights = weights.clone();
            inputs.questions.push(Question { rows, form, weights, tokens, cut_prompt, cut_reply });
        }
        Ok(inputs)
    }
}

impl Question {
    /// The score, from the values of all rows.
    fn score(&self, values: &[f32]) -> Score {
        let values = &values[self.rows.clone()];
        let &Question { tokens, cut_prompt, cut_reply, .. } = self;
        let (value, parts) = match self.form {
            Form::Pairwise => (values.iter().sum(), Vec::new()),
            Form::Pointwise => {
                let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
                (values.iter().zip(weights).map(|(value, weight)| value * weight).sum(), values.to_vec())
            }
        };
        Score { value, parts, tokens, cut_prompt, cut_reply }
    }
}

/// The limits of `card`, if they fit into the model's context.
pub(super) fn limits_on(model: &Model, card: &RewardCard) -> Result<InputLimits, RewardError> {
    let limits = card.limits.limits();
    let context = model.config().context;
    if limits.tokens > context {
        return Err(RewardError::Context { tokens: limits.tokens, context });
    }
    Ok(limits)
}

/// Options of the generator. Keys and values have full precision, as in training.
fn generator_options(limits: InputLimits, options: &RewardOptions) -> GeneratorOptions {
    let slots = options.slots.max(1);
    GeneratorOptions { slots, context: limits.tokens.max(2), kv: KvFormat::F32, repetition_window: 1 }
}
