//! The programs that principles name, as a judge.

use super::{Judge, JudgeError, Question};
use crate::generate::CancelToken;
use crate::preferences::Scores;
use crate::principles::Principle;

/// Says 1, 0 or -1 where the first reply keeps the principle better, as well, or less, by the program that
/// the principle names ([`Check`](crate::principles::Check)). It has no opinion under principles that name
/// none, sees no order, and needs no model.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckJudge;

impl Judge for CheckJudge {
    fn name(&self) -> &'static str {
        "check"
    }

    fn inputs_per_principle(&self) -> usize {
        0
    }

    fn judge(
        &mut self,
        questions: &[Question<'_>],
        _cancel: &CancelToken,
    ) -> Result<Vec<Vec<Option<Scores>>>, JudgeError> {
        let of_question = |question: &Question<'_>| {
            let [first, second] = question.replies;
            let scores = |principle: &&Principle| {
                Some(Scores::without_order(f64::from(principle.check?.compare(first, second) as i8)))
            };
            question.principles.iter().map(scores).collect()
        };
        Ok(questions.iter().map(of_question).collect())
    }
}
