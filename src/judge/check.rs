//! A judge made of the programs that check principles.

use super::{Judge, JudgeError, Question};
use crate::generate::CancelToken;
use crate::preferences::Scores;
use crate::principles::Principle;

/// Scores a pair with the program that its principle names ([`Check`](crate::principles::Check)): 1 if the
/// first reply follows the principle better, 0 if both follow it equally, -1 if the second follows it better.
/// It returns no score for principles that name no program. The order of the replies has no effect, and it
/// needs no model.
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
