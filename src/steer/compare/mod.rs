//! The methods side by side: what each does to replies, how far it takes them from the base, what it costs.

mod measure;
mod page;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Answer, Ask, Cost, Search, SteerError, SteeredModel, Steering, Tell};
use crate::generate::{CancelToken, GenerateError, Sampling};
use crate::random::{Philox, Purpose};
use crate::report::Rate;
use crate::tokenizer::{ChatFormat, Message};

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareOptions {
    /// Principles, interventions, and where a model is told them: the searches go on from a model that is told
    /// there, or from the base. Its search is not looked at.
    pub steering: Steering,
    /// Candidates of the searches.
    pub n: usize,
    /// Tokens of a block of guided decoding; 0 leaves that method out.
    pub block: usize,
    /// How candidates are drawn; every prompt gets a seed of its own from `sampling.seed`, the same for all methods.
    /// Without filters the differences of log-probabilities are estimates of KL divergences.
    pub sampling: Sampling,
    /// Most tokens of a reply.
    pub max_tokens: usize,
    /// Prompts that are answered together.
    pub batch: usize,
}

/// The methods side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparisonReport {
    /// The base, where it was loaded from.
    pub base: Option<String>,
    /// The set of principles.
    pub set: String,
    /// Ids of the principles that are used.
    pub principles: Vec<String>,
    /// Prompts that every method answers.
    pub prompts: usize,
    /// Where the searches' candidates are told the principles.
    pub tell: Tell,
    /// Candidates of the searches.
    pub n: usize,
    /// Tokens of a block.
    pub block: usize,
    /// Temperature of sampling.
    pub temperature: f32,
    /// Whether candidates come from the softmax at `temperature`, above 0, with no filter. Only then are the
    /// figures of divergence what their names say.
    pub plain_sampling: bool,
    /// What the prompts' seeds follow from.
    pub seed: u64,
    /// The methods, the base without any principle first.
    pub methods: Vec<MethodReport>,
    /// What was asked and answered.
    pub replies: Vec<PromptReport>,
}

/// One method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodReport {
    /// `base`, `prompt`, `best of N`, `guided`, `adapter`.
    pub name: String,
    /// Mean score of the replies under the whole list; none without a reward model. Where the same model chose
    /// among candidates, it is the judge of its own choice.
    pub score: Option<Mean>,
    /// How often a reply scores more than that of the base to the same prompt.
    pub better: Option<Rate>,
    /// How often replies keep those principles that a program can check.
    pub checks: Vec<CheckReport>,
    /// Tokens of a reply.
    pub reply_tokens: Mean,
    /// The part of the pairs of neighbouring tokens, in all replies together, that are different ones
    /// ([`distinct`](crate::generate::distinct), over the first 64 tokens of each): far below the base's
    /// where a model repeats itself.
    pub distinct_2: f64,
    /// How far replies are from those of the base; none for the base itself.
    pub divergence: Option<Divergence>,
    /// What it took to answer all prompts, measuring aside.
    pub cost: MethodCost,
}

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Standard deviation of the values, divided by the root of their number.
    pub error: f64,
    /// How many values there are.
    pub of: usize,
}

/// How often replies keep one principle, by the program that checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The principle's id.
    pub principle: String,
    /// How often.
    pub rate: Rate,
}

/// How far the replies of a method are from those of the base without principles, in nats for a reply. By the
/// chain rule the KL divergence is at most the sum of both parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// Mean of the log-probability of a reply to the model that it is drawn from (told the principles, or with an
    /// adapter), minus that to the base which is told nothing; both at the temperature at which it was drawn.
    pub drawn: Mean,
    /// What choosing among candidates adds at most ([`Search::kl_bound`]).
    pub choosing: f64,
}

/// What a method costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodCost {
    /// Tokens drawn, all candidates together.
    pub generated_tokens: usize,
    /// Tokens that the reward model read.
    pub scored_tokens: usize,
    /// Time on the clock.
    pub seconds: f64,
}

/// One prompt and what the methods answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptReport {
    /// What was asked.
    pub prompt: String,
    /// The seed of its first candidates: `parr generate` with it draws them again.
    pub seed: u64,
    /// The replies, in the order of the methods.
    pub replies: Vec<ReplyReport>,
}

/// What one method answers to one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyReport {
    /// The reply.
    pub text: String,
    /// Its score under the whole list.
    pub score: Option<f32>,
}

/// A method that is about to answer.
struct Method {
    name: String,
    steering: Steering,
    adapter: bool,
}

/// What a method answered, before it is measured.
struct Answered {
    asks: Vec<Ask>,
    answers: Vec<Answer>,
    seconds: f64,
}

/// Lets every method that there is answer `prompts`, and measures the replies. `on_done` hears the method's name and
/// how many of its prompts are done.
///
/// There is always the base, and the base that is told the principles; with a reward model the best of `n` and
/// guided decoding; with a policy adapter that adapter, which is told nothing.
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

/// The seed of the prompt at `place`. With one for all, the noise that chooses tokens would be the same in every
/// reply, and so would its errors: no mean over prompts would be what it seems.
fn prompt_seed(seed: u64, place: usize) -> u64 {
    Philox::new(seed).bits64(Purpose::Compare, 0, place as u32, 0)
}

/// The methods that there are means for.
fn methods(steered: &mut SteeredModel, options: &CompareOptions) -> Vec<Method> {
    let CompareOptions { steering, n, block, .. } = options;
    let told = if steering.tell == Tell::Nobody { Tell::System } else { steering.tell };
    let method = |name: &str, tell: Tell, search: Search| Method {
        name: name.to_owned(),
        steering: Steering { tell, search, scores: false, ..steering.clone() },
        adapter: false,
    };
    let mut methods =
        vec![method("base", Tell::Nobody, Search::Sample), method("prompt", told, Search::Sample)];
    if steered.reward().is_some() {
        methods.push(method(&format!("best of {n}"), steering.tell, Search::BestOf { n: *n }));
        if *block > 0 {
            methods.push(method("guided", steering.tell, Search::Guided { n: *n, block: *block }));
        }
    }
    if steered.policy().is_some() {
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
