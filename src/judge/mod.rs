//! Stage 1 of SALMON (arXiv 2310.05910): replies are sampled, judged under principles, and recorded.
//!
//! | part | holds |
//! |---|---|
//! | [`Judge`] | which of two replies is better under each principle |
//! | [`LabelJudge`] | which of two labelled replies the model names: SALMON's judge |
//! | [`ContrastJudge`] | how much likelier a reply is under a principle than under its negative |
//! | [`CheckJudge`] | the programs that principles name |
//! | [`PreferenceRun`], [`PreferenceConfig`] | from prompts to a file of [`Comparison`](crate::preferences::Comparison)s |
//! | [`written_report`] | whether a judge finds what replies were written under |
//!
//! A run appends whole records to its file, and a run that was killed goes on there: what it leaves in the
//! end is, byte for byte, what it would have left undisturbed.

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

pub use chat::{AdaptedModel, system_message};
pub use check::CheckJudge;
pub use collect::{PreferenceProgress, PreferenceReport, PreferenceRun};
pub use config::{
    JudgeKind, PreferenceConfig, PromptSettings, ReplyPlan, ReplySettings, SlotSettings, TooLong, Verdicts,
};
pub use contrast::ContrastJudge;
pub use error::JudgeError;
pub use labels::LabelJudge;
pub use report::{WrittenReport, written_report};

use crate::generate::CancelToken;
use crate::preferences::Scores;
use crate::principles::Principle;

/// Two replies to one prompt, and the principles to judge them under.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// What was asked.
    pub prompt: &'a str,
    /// The replies; neither is empty.
    pub replies: [&'a str; 2],
    /// The principles.
    pub principles: Vec<&'a Principle>,
}

impl<'a> Question<'a> {
    /// The same with the replies in the other order.
    #[must_use]
    pub fn swapped(&self) -> Question<'a> {
        let [first, second] = self.replies;
        Question { replies: [second, first], ..self.clone() }
    }
}

/// Says which of two replies is better under a principle, and by how much.
pub trait Judge {
    /// What records call it.
    fn name(&self) -> &'static str;

    /// Inputs that it computes for each principle of a question; 0 for a judge that computes none.
    fn inputs_per_principle(&self) -> usize;

    /// For each question, in order, the scores under each of its principles, in theirs; `None` under a
    /// principle that this judge has no opinion on.
    ///
    /// What it says of a question depends on that question alone, and with the replies in the other order it
    /// says the same of them ([`Scores::swapped`]); both up to the rounding of sums in another order.
    ///
    /// # Errors
    ///
    /// * [`JudgeError::Principle`] for a principle that it cannot judge by, before anything runs;
    /// * [`JudgeError::Generate`] if the model fails to run, or after a cancel;
    /// * [`JudgeError::Text`] if a text cannot be encoded.
    fn judge(
        &mut self,
        questions: &[Question<'_>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Option<Scores>>>, JudgeError>;
}
