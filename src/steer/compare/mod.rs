//! Compares the methods of steering: their effect on replies, the distance from the base, and the cost.

mod measure;
#[cfg(feature = "html")]
mod page;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Answer, Ask, Cost, Search, SteerError, SteeredModel, Steering, Tell};
use crate::generate::{CancelToken, GenerateError, Sampling};
use crate::random::{Philox, Purpose};
use crate::report::Rate;
use crate::tokenizer::{ChatFormat, Message};

/// Settings of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareOptions {
    /// Principles, interventions, and where the prompt holds the principles. The searches sample from a model
    /// with this prompt, or from the base. [`Steering::search`] is ignored.
    pub steering: Steering,
    /// Number of candidates of the searches.
    pub n: usize,
    /// Tokens per block of guided decoding. 0 leaves that method out.
    pub block: usize,
    /// Sampling options of the candidates. Each prompt has its own seed, derived from `sampling.seed`, which
    /// is the same for all methods. Without filters, differences of log-probabilities estimate KL
    /// divergences.
    pub sampling: Sampling,
    /// Maximum number of tokens of a reply.
    pub max_tokens: usize,
    /// Number of prompts that are answered at the same time.
    pub batch: usize,
    /// The methods to compare with the base, as far as there is a reward model and a policy for them. An empty list
    /// means all.
    pub methods: Vec<MethodKind>,
}

/// A method of steering that a comparison can include.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MethodKind {
    /// The base with the principles in its prompt.
    Prompt,
    /// Best of n. Needs a reward model.
    BestOf,
    /// Guided decoding. Needs a reward model.
    Guided,
    /// The policy, without principles in its prompt. Needs an adapter.
    Adapter,
}

impl MethodKind {
    /// All methods.
    pub const ALL: [MethodKind; 4] =
        [MethodKind::Prompt, MethodKind::BestOf, MethodKind::Guided, MethodKind::Adapter];

    /// Name in settings files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            MethodKind::Prompt => "prompt",
            MethodKind::BestOf => "best-of",
            MethodKind::Guided => "guided",
            MethodKind::Adapter => "adapter",
        }
    }

    /// The method with this name.
    pub fn from_name(name: &str) -> Option<MethodKind> {
        MethodKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparisonReport {
    /// Path of the base.
    pub base: Option<String>,
    /// Id of the set of principles.
    pub set: String,
    /// Ids of the principles that are used.
    pub principles: Vec<String>,
    /// Number of prompts.
    pub prompts: usize,
    /// Where the prompt of the searches holds the principles.
    pub tell: Tell,
    /// Number of candidates of the searches.
    pub n: usize,
    /// Tokens per block.
    pub block: usize,
    /// Sampling temperature.
    pub temperature: f32,
    /// Whether candidates are sampled from the softmax at a `temperature` above 0, without filters. Only then
    /// does [`Divergence`] estimate a KL divergence.
    pub plain_sampling: bool,
    /// Seed that the prompts' seeds are derived from.
    pub seed: u64,
    /// The methods. The first is the base without principles.
    pub methods: Vec<MethodReport>,
    /// The prompts with the replies of each method.
    pub replies: Vec<PromptReport>,
}

/// Figures of one method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodReport {
    /// Name: `base`, `prompt`, `best of N`, `guided` or `adapter`.
    pub name: String,
    /// Mean score of the replies under the whole list. `None` without a reward model. The searches choose
    /// with the same reward model, so their scores are not independent.
    pub score: Option<Mean>,
    /// How often a reply scores higher than the base's reply to the same prompt.
    pub better: Option<Rate>,
    /// How often replies follow the principles that a program can check.
    pub checks: Vec<CheckReport>,
    /// How often the reward model reads that a reply keeps each principle: log-odds above 0. Empty without a
    /// pointwise reward model. The searches choose with the same reward model.
    #[serde(default)]
    pub kept: Vec<CheckReport>,
    /// Tokens per reply.
    pub reply_tokens: Mean,
    /// Share of distinct pairs among all pairs of neighbouring tokens
    /// ([`distinct`](crate::generate::distinct), over the first 64 tokens of each reply). Far below the
    /// base's if replies repeat themselves.
    pub distinct_2: f64,
    /// Distance of the replies from those of the base. `None` for the base.
    pub divergence: Option<Divergence>,
    /// Cost of answering all prompts, without the measurements.
    pub cost: MethodCost,
}

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Standard error: the standard deviation of the values divided by the root of their number.
    pub error: f64,
    /// Number of values.
    pub of: usize,
}

/// How often replies follow one principle, according to a program or to the reward model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The principle's id.
    pub principle: String,
    /// Rate over the replies.
    pub rate: Rate,
}

/// Distance of a method's replies from those of the base without principles, in nats per reply. By the chain
/// rule, the KL divergence is at most the sum of both parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// Mean difference of a reply's log-probability: under the model that it is sampled from (with the
    /// principles in its prompt, or with an adapter) minus under the base without principles. Both at the
    /// sampling temperature.
    pub drawn: Mean,
    /// Upper bound of what the choice among candidates adds ([`Search::kl_bound`]).
    pub choosing: f64,
}

/// Cost of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodCost {
    /// Number of generated tokens, of all candidates.
    pub generated_tokens: usize,
    /// Number of tokens that the reward model read.
    pub scored_tokens: usize,
    /// Wall-clock time in seconds.
    pub seconds: f64,
}

/// One prompt with the replies of each method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptReport {
    /// The prompt.
    pub prompt: String,
    /// Seed of its first candidates. `parr generate` with this seed samples them again.
    pub seed: u64,
    /// The replies, in the order of the methods.
    pub replies: Vec<ReplyReport>,
}

/// The reply of one method to one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyReport {
    /// The reply.
    pub text: String,
    /// Its score under the whole list.
    pub score: Option<f32>,
    /// Of a pointwise reward model, the log-odds that the reply keeps each principle, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<f32>,
}

/// A method of steering.
struct Method {
    name: String,
    steering: Steering,
    adapter: bool,
}

/// The replies of a method, before they are measured.
struct Answered {
    asks: Vec<Ask>,
    answers: Vec<Answer>,
    seconds: f64,
}

/// Answers `prompts` with every available method, and measures the replies. `on_done` receives the method's
/// name and the number of prompts that it has answered.
///
/// The methods are the base without principles and the base with the principles in its prompt. With a reward
/// model there are also best of `n` and guided decoding. With a policy adapter there is also that adapter,
/// without principles in its prompt. [`CompareOptions::methods`] can leave out all but the base.
///
/// # Errors
///
/// * [`SteerError::NoPrompts`] without prompts;
/// * otherwise as [`SteeredModel::answer`]; [`GenerateError::Cancelled`] after a cancel.
pub fn compare(
    steered: &mut SteeredModel,
    format: &ChatFormat,
    prompts: &[String],
    options: &CompareOptions,
    cancel: &CancelToken,
    on_done: &mut dyn FnMut(&str, usize),
) -> Result<ComparisonReport, SteerError> {
    if prompts.is_empty() {
        return Err(SteerError::NoPrompts);
    }
    let methods = methods(steered, options);
    for method in &methods {
        method.steering.check(steered.reward().is_some())?;
    }
    let Sampling { temperature, top_k, top_p, min_p, repetition_penalty, seed } = options.sampling;
    let filtered = top_k > 0 || top_p < 1.0 || min_p > 0.0 || repetition_penalty != 1.0;
    let mut report = ComparisonReport {
        base: steered.model().path().map(|path| path.display().to_string()),
        set: options.steering.principles.id.clone(),
        principles: options.steering.used().iter().map(|principle| principle.id.clone()).collect(),
        prompts: prompts.len(),
        tell: options.steering.tell,
        n: options.n,
        block: options.block,
        temperature,
        plain_sampling: temperature > 0.0 && !filtered,
        seed,
        ..ComparisonReport::default()
    };
    report.replies = prompts
        .iter()
        .enumerate()
        .map(|(place, prompt)| PromptReport {
            prompt: prompt.clone(),
            seed: prompt_seed(seed, place),
            replies: Vec::new(),
        })
        .collect();
    for method in &methods {
        let answered = method.answer(steered, format, &report.replies, options, cancel, on_done)?;
        measure::measure(&mut report, steered, format, &options.steering, method, &answered, cancel)?;
    }
    Ok(report)
}

/// The seed of the prompt at index `place`. With one seed for all prompts, the random numbers would be the
/// same in every reply. The errors of the replies would then not be independent, and standard errors would be
/// too small.
fn prompt_seed(seed: u64, place: usize) -> u64 {
    Philox::new(seed).bits64(Purpose::Compare, 0, place as u32, 0)
}

/// The available methods that were asked for.
fn methods(steered: &mut SteeredModel, options: &CompareOptions) -> Vec<Method> {
    let CompareOptions { steering, n, block, .. } = options;
    let wanted = |kind| options.methods.is_empty() || options.methods.contains(&kind);
    let in_prompt = if steering.tell == Tell::Nobody { Tell::System } else { steering.tell };
    let method = |name: &str, tell: Tell, search: Search| Method {
        name: name.to_owned(),
        steering: Steering { tell, search, scores: false, ..steering.clone() },
        adapter: false,
    };
    let mut methods = vec![method("base", Tell::Nobody, Search::Sample)];
    if wanted(MethodKind::Prompt) {
        methods.push(method("prompt", in_prompt, Search::Sample));
    }
    let has_reward = steered.reward().is_some();
    if has_reward && wanted(MethodKind::BestOf) {
        methods.push(method(&format!("best of {n}"), steering.tell, Search::BestOf { n: *n }));
    }
    if has_reward && *block > 0 && wanted(MethodKind::Guided) {
        methods.push(method("guided", steering.tell, Search::Guided { n: *n, block: *block }));
    }
    if steered.policy().is_some() && wanted(MethodKind::Adapter) {
        methods.push(Method { adapter: true, ..method("adapter", Tell::Nobody, Search::Sample) });
    }
    methods
}

impl Method {
    fn answer(
        &self,
        steered: &mut SteeredModel,
        format: &ChatFormat,
        prompts: &[PromptReport],
        options: &CompareOptions,
        cancel: &CancelToken,
        on_done: &mut dyn FnMut(&str, usize),
    ) -> Result<Answered, SteerError> {
        let adapter = steered.policy().filter(|_| self.adapter);
        let ask = |PromptReport { prompt, seed, .. }: &PromptReport| -> Result<Ask, SteerError> {
            let mut ask = Ask::new(format, &self.steering, &[Message::new("user", prompt.as_str())])?;
            ask.request.adapter = adapter;
            ask.request.sampling = Sampling { seed: *seed, ..options.sampling };
            ask.request.max_tokens = options.max_tokens;
            Ok(ask)
        };
        let asks = prompts.iter().map(ask).collect::<Result<Vec<_>, _>>()?;
        let mut answers = Vec::with_capacity(asks.len());
        let mut seconds = 0.0;
        for some in asks.chunks(options.batch.max(1)) {
            on_done(&self.name, answers.len());
            let start = Instant::now();
            answers.extend(steered.answer(&self.steering, some, cancel, &mut |_| {})?);
            seconds += start.elapsed().as_secs_f64();
            if cancel.is_cancelled() {
                return Err(GenerateError::Cancelled.into());
            }
        }
        on_done(&self.name, answers.len());
        Ok(Answered { asks, answers, seconds })
    }
}

impl Answered {
    fn cost(&self) -> MethodCost {
        let sum = |of: fn(&Cost) -> usize| self.answers.iter().map(|answer| of(&answer.cost)).sum();
        MethodCost {
            generated_tokens: sum(|cost| cost.generated_tokens),
            scored_tokens: sum(|cost| cost.scored_tokens),
            seconds: self.seconds,
        }
    }
}
