//! How well a reward model reads sentences: seen and new ones, about seen and new attributes.
//!
//! For each attribute, programs make pairs of replies to one request: one reply has the attribute, the other has
//! another attribute instead. Then the model scores both under sentences that ask for the attribute, and under
//! sentences that forbid it. And it ranks several replies under lists of sentences. Programs decide which reply is right, so no figure depends on a judge.

mod certainty;
mod lists;
mod report;

pub use certainty::{CertaintyReport, measure_certainty};
pub use lists::ListReading;
pub use report::{AttributeReading, ReadingReport, SplitReading};

use super::{Form, RewardError, RewardModel, ScoreRequest};
use crate::attributes::{AttributeSet, Case, CaseOptions, EverydaySentence, PlainReply, cases, lists};
use crate::generate::CancelToken;

/// Measures how well `model` reads sentences about the attributes of `set`, on edited `replies`. Those should be
/// replies to prompts that the model was not trained on. `written` are sentences about trained attributes that no
/// training has seen. `on_done` receives the numbers of cases done, and of all.
///
/// # Errors
///
/// * [`RewardError::Nothing`] if no pair can be made;
/// * those of [`RewardModel::score`].
pub fn read_sentences(
    model: &mut RewardModel,
    set: &AttributeSet,
    written: &[EverydaySentence],
    replies: &[PlainReply],
    options: &CaseOptions,
    cancel: &CancelToken,
    on_done: &mut dyn FnMut(usize, usize),
) -> Result<ReadingReport, RewardError> {
    let cases = cases(set, written, replies, options);
    if cases.is_empty() {
        let reason = "no pair of replies could be made: there are too few replies or attributes".to_owned();
        return Err(RewardError::Nothing { reason });
    }
    let lists = lists(set, written, replies, options);
    let all = cases.len() + lists.len();
    let single = model.reward_card().form == Form::Pointwise;
    let mut report = ReadingReport::new(options, single);
    for (done, case) in cases.iter().enumerate() {
        let scores = scores(model, case, cancel)?;
        report.add(case, &scores);
        on_done(done + 1, all);
    }
    for (done, case) in lists.iter().enumerate() {
        let principles: Vec<&str> = case.principles.iter().map(String::as_str).collect();
        let requests: Vec<ScoreRequest<'_>> = case
            .replies
            .iter()
            .map(|reply| ScoreRequest::new(&case.prompt, reply, principles.clone()))
            .collect();
        let scores = model.score(&requests, cancel, &mut |_| {})?;
        report.add_list(case, &scores.iter().map(|score| score.value).collect::<Vec<f32>>());
        on_done(cases.len() + done + 1, all);
    }
    report.finish();
    Ok(report)
}

/// For each of the two replies, its score under every sentence of the case: those that ask, then those that forbid.
fn scores(
    model: &mut RewardModel,
    case: &Case<'_>,
    cancel: &CancelToken,
) -> Result<[Vec<f32>; 2], RewardError> {
    let sentences = || case.want.iter().chain(&case.avoid);
    if model.reward_card().form == Form::Pointwise {
        // One pass over a reply gives its score under every sentence.
        let principles: Vec<&str> = sentences().map(String::as_str).collect();
        let question = |reply| ScoreRequest::new(&case.prompt, reply, principles.clone());
        let questions = case.replies.each_ref().map(|reply| question(reply));
        let mut scores = model.score(&questions, cancel, &mut |_| {})?.into_iter();
        let mut parts = || scores.next().expect("one score per reply").parts;
        return Ok([parts(), parts()]);
    }
    let questions: Vec<ScoreRequest<'_>> = case
        .replies
        .iter()
        .flat_map(|reply| {
            sentences().map(move |sentence| ScoreRequest::new(&case.prompt, reply, vec![sentence.as_str()]))
        })
        .collect();
    let scores = model.score(&questions, cancel, &mut |_| {})?;
    let values: Vec<f32> = scores.iter().map(|score| score.value).collect();
    let (first, second) = values.split_at(values.len() / 2);
    Ok([first.to_vec(), second.to_vec()])
}
