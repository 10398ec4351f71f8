//! Candidates of replies, and the choice among them.

use super::{
    Answer, Ask, Candidate, Choice, Cost, Replies, Scores, Search, SteerError, SteerEvent, Steering, guided,
};
use crate::generate::{CancelToken, Finish, GenerateError, Reply, Request};
use crate::reward::{Form, RewardError, ScoreRequest};

/// Answers every question with replies from `replies`, of which `reward` chooses, as
/// [`SteeredModel::answer`](super::SteeredModel::answer) does. A lost GPU is an error.
///
/// # Errors
///
/// As [`SteeredModel::answer`](super::SteeredModel::answer).
pub fn answer(
    replies: &mut dyn Replies,
    reward: Option<&mut dyn Scores>,
    steering: &Steering,
    asks: &[Ask],
    cancel: &CancelToken,
    on_progress: &mut dyn FnMut(SteerEvent<'_>),
) -> Result<Vec<Answer>, SteerError> {
    steering.check(reward.is_some())?;
    let mut parts = Parts { replies, reward };
    match steering.search {
        Search::Guided { n, block } => {
            guided::answer(&mut parts, steering, (n, block), asks, cancel, on_progress)
        }
        search => parts.answer_whole(steering, search.n(), asks, cancel, on_progress),
    }
}

/// What answers, and what scores.
pub(super) struct Parts<'a, 'b> {
    pub replies: &'a mut dyn Replies,
    pub reward: Option<&'b mut dyn Scores>,
}

impl Parts<'_, '_> {
    /// Generates `n` whole replies to every question and keeps the best of each.
    fn answer_whole(
        &mut self,
        steering: &Steering,
        n: usize,
        asks: &[Ask],
        cancel: &CancelToken,
        on_progress: &mut dyn FnMut(SteerEvent<'_>),
    ) -> Result<Vec<Answer>, SteerError> {
        let requests: Vec<Request> =
            asks.iter().flat_map(|ask| (0..n).map(|place| seeded(&ask.request, ask.seed(place)))).collect();
        let replies = self.replies.generate(&requests, cancel, &mut |event| {
            on_progress(match n {
                1 => SteerEvent::Text { ask: event.request, text: &event.text },
                _ => SteerEvent::Drawn,
            });
        });
        let mut replies = replies.map_err(|error| of_ask(error, n))?.into_iter();
        let mut drawn: Vec<Vec<Reply>> = asks.iter().map(|_| replies.by_ref().take(n).collect()).collect();
        let mut choices: Vec<Choice> = Vec::with_capacity(asks.len());
        for (ask, replies) in asks.iter().zip(&drawn) {
            let candidate = |(place, reply): (usize, &Reply)| Candidate {
                seed: ask.seed(place),
                text: reply.text.clone(),
                tokens: reply.tokens.len(),
                finish: Some(reply.finish.clone()),
                score: None,
                by_principle: Vec::new(),
            };
            choices
                .push(Choice { candidates: replies.iter().enumerate().map(candidate).collect(), chosen: 0 });
        }
        let mut scored = vec![0; asks.len()];
        if !cancel.is_cancelled() && (steering.search != Search::Sample || steering.scores) {
            let places: Vec<usize> = (0..asks.len()).collect();
            let lists = Lists { whole: true, alone: steering.scores };
            scored = self.judge(steering, lists, asks, &places, &mut choices, cancel, on_progress)?;
        }
        let mut answers = Vec::with_capacity(asks.len());
        for (ask, mut choice) in choices.into_iter().enumerate() {
            choice.chosen = best(&choice);
            let generated_tokens = choice.candidates.iter().map(|candidate| candidate.tokens).sum();
            let reply = drawn[ask].swap_remove(choice.chosen);
            if n > 1 {
                on_progress(SteerEvent::Text { ask, text: &reply.text });
            }
            let cost = Cost { generated_tokens, scored_tokens: scored[ask] };
            answers.push(Answer { reply, choices: vec![choice], cost });
        }
        Ok(answers)
    }

    /// Scores the candidates of `choices`, which belong to the questions at `places`, and returns the number
    /// of tokens that were read for each. Candidates with the same text are read once. Blank ones have no
    /// score. After a cancel, no candidate has a score.
    #[expect(clippy::too_many_arguments, reason = "the candidates, the reward model and the callback")]
    pub(super) fn judge(
        &mut self,
        steering: &Steering,
        lists: Lists,
        asks: &[Ask],
        places: &[usize],
        choices: &mut [Choice],
        cancel: &CancelToken,
        on_progress: &mut dyn FnMut(SteerEvent<'_>),
    ) -> Result<Vec<usize>, SteerError> {
        let mut tokens = vec![0; choices.len()];
        let Some(reward) = &mut self.reward else { return Ok(tokens) };
        // A pointwise model gives the scores of single principles anyway.
        let pointwise = reward.form() == Form::Pointwise;
        let mut guidelines: Vec<(Vec<&str>, Vec<f32>)> = Vec::new();
        if lists.whole || pointwise {
            guidelines.push((steering.guidelines(), steering.weights()));
        }
        if lists.alone && !pointwise {
            let alone = steering.used().into_iter().map(|principle| principle.definition.as_str());
            guidelines.extend(alone.map(|definition| (vec![definition], Vec::new())));
        }
        // Pairs of choice and text without repeats, in the order of the candidates.
        let mut texts: Vec<(usize, String)> = Vec::new();
        for (place, choice) in choices.iter().enumerate() {
            let from = texts.len();
            for Candidate { text, .. } in &choice.candidates {
                if !text.trim().is_empty() && !texts[from..].iter().any(|(_, known)| known == text) {
                    texts.push((place, text.clone()));
                }
            }
        }
        let mut questions = Vec::with_capacity(texts.len() * guidelines.len());
        for (place, text) in &texts {
            let prompt = asks[places[*place]].question.as_str();
            questions.extend(guidelines.iter().map(|(principles, weights)| ScoreRequest {
                prompt,
                reply: text,
                principles: principles.clone(),
                weights: weights.clone(),
            }));
        }
        let of = questions.len();
        let scores = match reward.score(&questions, cancel, &mut |done| {
            on_progress(SteerEvent::Scored { done, of });
        }) {
            Ok(scores) => scores,
            Err(RewardError::Generate(GenerateError::Cancelled)) => return Ok(tokens),
            Err(RewardError::Item { item, source }) => {
                return Err(SteerError::Ask { ask: places[texts[item / guidelines.len()].0], source });
            }
            Err(error) => return Err(error.into()),
        };
        for ((place, text), scores) in texts.iter().zip(scores.chunks(guidelines.len().max(1))) {
            tokens[*place] += scores.iter().map(|score| score.tokens).sum::<usize>();
            let (whole, alone) = scores.split_at(usize::from(lists.whole || pointwise));
            for candidate in choices[*place].candidates.iter_mut().filter(|one| one.text == *text) {
                if let Some(score) = whole.first() {
                    candidate.score = Some(score.clone());
                }
                if pointwise {
                    // Behind the interventions, in the same order.
                    let parts = &scores[0].parts;
                    let first = parts.len().saturating_sub(steering.used().len());
                    candidate.by_principle = parts[first..].to_vec();
                } else if lists.alone {
                    candidate.by_principle = alone.iter().map(|score| score.value).collect();
                }
            }
        }
        Ok(tokens)
    }
}

/// Lists of principles that candidates are scored under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists {
    /// All principles in one list.
    pub whole: bool,
    /// Each principle alone.
    pub alone: bool,
}

/// Index of the first candidate with the largest score. Without scores, as after a cancel: index of the first
/// complete candidate, or 0.
pub(super) fn best(choice: &Choice) -> usize {
    let mut best: Option<(usize, f32)> = None;
    for (place, candidate) in choice.candidates.iter().enumerate() {
        if let Some(score) = &candidate.score
            && best.is_none_or(|(_, most)| score.value > most)
        {
            best = Some((place, score.value));
        }
    }
    let complete = |one: &Candidate| !matches!(one.finish, None | Some(Finish::Cancelled));
    best.map(|(place, _)| place).or_else(|| choice.candidates.iter().position(complete)).unwrap_or_default()
}

/// `request` with another seed.
pub(super) fn seeded(request: &Request, seed: u64) -> Request {
    let mut request = request.clone();
    request.sampling.seed = seed;
    request
}

/// Turns an error about one of `n` candidates into one about their question.
pub(super) fn of_ask(mut error: GenerateError, n: usize) -> GenerateError {
    match &mut error {
        GenerateError::ContextOverflow { request, .. }
        | GenerateError::EmptyPrompt { request }
        | GenerateError::UnknownToken { request, .. }
        | GenerateError::Setting { request, .. }
        | GenerateError::Adapter { request, .. } => *request /= n.max(1),
        _ => {}
    }
    error
}
