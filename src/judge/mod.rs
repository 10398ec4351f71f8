//! Stage 1 of SALMON (arXiv 2310.05910): samples replies, judges them under principles, records the verdicts.
//!
//! | part | holds |
//! |---|---|
//! | [`Judge`] | decides which of two replies is better under each principle |
//! | [`AdaptedModel`] | the model that replies and judges: a base, with an adapter or without one |
//! | [`LabelJudge`] | the label of the better reply, as the model names it: SALMON's judge |
//! | [`ContrastJudge`] | how much more likely a reply is under a principle than under its negative |
//! | [`CheckJudge`] | the programs that check principles |
//! | [`bench`](bench()), [`JudgeBench`] | judges that need no training, compared on pairs whose right order is known |
//! | [`PreferenceRun`], [`PreferenceConfig`] | from prompts to a file of [`Comparison`](crate::preferences::Comparison)s |
//! | [`written_report`] | how often verdicts match the principle that a reply was written under |
//!
//! A run appends whole records to its file. A run that was killed resumes there, and its file is
//! bit-identical to that of an uninterrupted run.

mod bench;
mod chat;
mod check;
mod collect;
mod config;
mod contrast;
mod error;
mod labels;
mod origin;
mod plan;
mod prompts;
mod report;

pub use bench::{JudgeBench, UntrainedJudge, bench};
pub use chat::{AdaptedModel, system_message};
pub use check::CheckJudge;
pub use collect::{PreferenceReport, PreferenceRun};
pub use config::{
    JudgeKind, PreferenceConfig, PromptSettings, ReplyPlan, ReplySettings, SlotSettings, TooLong, Verdicts,
};
pub use contrast::ContrastJudge;
pub use error::JudgeError;
pub use labels::LabelJudge;
pub use report::{WrittenReport, written_report};

use crate::generate::CancelToken;
use crate::ops::TokenStat;
use crate::preferences::Scores;
use crate::principles::Principle;

/// Two replies to one prompt, and the principles to judge them under.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The prompt.
    pub prompt: &'a str,
    /// The replies. Neither is empty.
    pub replies: [&'a str; 2],
    /// The principles.
    pub principles: Vec<&'a Principle>,
}

impl<'a> Question<'a> {
    /// The same question with the replies in the other order.
    #[must_use]
    pub fn swapped(&self) -> Question<'a> {
        let [first, second] = self.replies;
        Question { replies: [second, first], ..self.clone() }
    }
}

/// Decides which of two replies is better under a principle, and by how much.
pub trait Judge {
    /// Name in the records.
    fn name(&self) -> &'static str;

    /// Number of inputs that the model reads for each principle of a question. 0 for a judge without a model.
    fn inputs_per_principle(&self) -> usize;

    /// Returns, for each question, the scores under each of its principles, in the order of both lists.
    /// `None` for a principle that this judge cannot decide on.
    ///
    /// The scores of a question depend only on that question. If its replies are in the other order, the
    /// scores are swapped ([`Scores::swapped`]). Both hold up to the rounding of sums in another order.
    ///
    /// # Errors
    ///
    /// * [`JudgeError::Principle`] for a principle that lacks what this judge needs, before anything runs;
    /// * [`JudgeError::Generate`] if the model fails to run, or after a cancel;
    /// * [`JudgeError::Text`] if a text cannot be encoded.
    fn judge(
        &mut self,
        questions: &[Question<'_>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Option<Scores>>>, JudgeError>;
}

/// Mean log-probability of a token, in nats. 0 for a reply without tokens.
fn mean_logprob(stats: &[TokenStat]) -> f64 {
    stats.iter().map(|stat| f64::from(stat.logprob)).sum::<f64>() / stats.len().max(1) as f64
}
