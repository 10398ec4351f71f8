//! The figures of one method.

use super::{Answered, CheckReport, ComparisonReport, Divergence, Mean, Method, MethodReport, ReplyReport};
use crate::generate::{CancelToken, DISTINCT_WINDOW, Request, distinct};
use crate::principles::Principle;
use crate::report::{Rate, moments};
use crate::reward::{RewardError, Score, ScoreRequest};
use crate::steer::{Answer, SteerError, SteeredModel, Steering};
use crate::tokenizer::{ChatFormat, Message, TokenId};

impl Mean {
    pub(super) fn of(values: &[f64]) -> Mean {
        let (mean, deviation) = moments(values);
        Mean { mean, error: deviation / (values.len().max(1) as f64).sqrt(), of: values.len() }
    }
}

/// Measures the replies of `method` and adds them to the report.
pub(super) fn measure(
    report: &mut ComparisonReport,
    steered: &mut SteeredModel,
    format: &ChatFormat,
    steering: &Steering,
    method: &Method,
    answered: &Answered,
    cancel: &CancelToken,
) -> Result<(), SteerError> {
    let scores = scores(steered, steering, answered, cancel)?;
    let known: Vec<f64> = scores.iter().flatten().map(|score| f64::from(score.value)).collect();
    let of_base = |place: usize| report.replies[place].replies.first().and_then(|reply| reply.score);
    let pairs =
        scores.iter().enumerate().filter_map(|(place, score)| Some((of_base(place)?, score.as_ref()?.value)));
    let better = Rate::of(pairs.map(|(base, score)| score > base));
    let lengths: Vec<f64> = answered.answers.iter().map(|answer| answer.reply.tokens.len() as f64).collect();
    let is_base = report.methods.is_empty();
    let divergence =
        if is_base { None } else { Some(divergence(steered, format, method, answered, cancel)?) };
    report.methods.push(MethodReport {
        name: method.name.clone(),
        score: (!known.is_empty()).then(|| Mean::of(&known)),
        better: (!is_base && !known.is_empty()).then_some(better),
        checks: checks(steering, answered),
        kept: kept(steering, &scores),
        reply_tokens: Mean::of(&lengths),
        distinct_2: distinct(
            answered.answers.iter().map(|answer| &answer.reply.tokens[..]),
            2,
            DISTINCT_WINDOW,
        ),
        divergence,
        cost: answered.cost(),
    });
    for ((prompt, answer), score) in report.replies.iter_mut().zip(&answered.answers).zip(scores) {
        let value = score.as_ref().map(|score| score.value);
        let parts = score.map_or_else(Vec::new, |score| own_parts(steering, &score).to_vec());
        prompt.replies.push(ReplyReport { text: answer.reply.text.clone(), score: value, parts });
    }
    Ok(())
}

/// The score of each reply under the whole list. Replies that the search did not score are scored now.
fn scores(
    steered: &mut SteeredModel,
    steering: &Steering,
    answered: &Answered,
    cancel: &CancelToken,
) -> Result<Vec<Option<Score>>, SteerError> {
    let of_search = |answer: &Answer| answer.last()?.kept()?.score.clone();
    let mut scores: Vec<Option<Score>> = answered.answers.iter().map(of_search).collect();
    let Some(reward) = steered.reward() else { return Ok(scores) };
    let principles = steering.guidelines();
    let unscored =
        |place: &usize| scores[*place].is_none() && !answered.answers[*place].reply.text.trim().is_empty();
    let places: Vec<usize> = (0..scores.len()).filter(unscored).collect();
    let question = |&place: &usize| ScoreRequest {
        prompt: &answered.asks[place].question,
        reply: &answered.answers[place].reply.text,
        principles: principles.clone(),
        weights: steering.weights(),
    };
    let questions: Vec<ScoreRequest<'_>> = places.iter().map(question).collect();
    let read = reward.score(&questions, cancel, &mut |_| {}).map_err(|error| match error {
        RewardError::Item { item, source } => SteerError::Ask { ask: places[item], source },
        other => other.into(),
    })?;
    for (place, score) in places.into_iter().zip(read) {
        scores[place] = Some(score);
    }
    Ok(scores)
}

/// The log-odds of a score under the principles in use, without those of the interventions, which come first.
fn own_parts<'a>(steering: &Steering, score: &'a Score) -> &'a [f32] {
    &score.parts[score.parts.len().saturating_sub(steering.used().len())..]
}

/// How often the reward model reads that a reply keeps each principle. Blank replies keep none.
fn kept(steering: &Steering, scores: &[Option<Score>]) -> Vec<CheckReport> {
    if scores.iter().flatten().all(|score| score.parts.is_empty()) {
        return Vec::new();
    }
    let rate = |(place, principle): (usize, &&Principle)| {
        let keeps = |score: &Score| own_parts(steering, score).get(place).is_some_and(|odds| *odds > 0.0);
        let kept = scores.iter().map(|score| score.as_ref().is_some_and(keeps));
        CheckReport { principle: principle.id.clone(), rate: Rate::of(kept) }
    };
    steering.used().iter().enumerate().map(rate).collect()
}

/// How often replies follow each principle that a program can check on a single reply.
fn checks(steering: &Steering, answered: &Answered) -> Vec<CheckReport> {
    let rate = |principle: &&Principle| {
        let check = principle.check?;
        let kept = answered.answers.iter().map(|answer| check.keeps(&answer.reply.text));
        let kept = kept.collect::<Option<Vec<bool>>>()?;
        Some(CheckReport { principle: principle.id.clone(), rate: Rate::of(kept) })
    };
    steering.used().iter().filter_map(rate).collect()
}

/// Distance of the replies from those of the base without principles.
fn divergence(
    steered: &mut SteeredModel,
    format: &ChatFormat,
    method: &Method,
    answered: &Answered,
    cancel: &CancelToken,
) -> Result<Divergence, SteerError> {
    let mut differences = Vec::with_capacity(answered.answers.len());
    let mut choices = 0;
    for (ask, answer) in answered.asks.iter().zip(&answered.answers) {
        choices += answer.choices.len();
        let prompt = format.encode_chat(&[Message::new("user", ask.question.as_str())], true)?;
        // Sampled from the base itself, without principles or adapter.
        if answer.reply.tokens.is_empty() || (prompt == ask.request.prompt && !method.adapter) {
            differences.push(0.0);
            continue;
        }
        let Request { prompt: asked, adapter, sampling, .. } = &ask.request;
        // Greedy replies are not sampled from a distribution. Temperature 1 is as good as any other.
        let temperature = if sampling.temperature > 0.0 { sampling.temperature } else { 1.0 };
        let mut read = |prompt: &[TokenId], adapter| {
            steered.logprob(prompt, &answer.reply.tokens, adapter, temperature, cancel)
        };
        differences.push(read(asked, *adapter)? - read(&prompt, None)?);
    }
    let choices = choices as f64 / answered.answers.len().max(1) as f64;
    Ok(Divergence { drawn: Mean::of(&differences), choosing: method.steering.search.kl_bound(choices) })
}
