//! The stages of SALMON (arXiv 2310.05910) between written principles and a reward model that reads them.
//!
//! | part | holds |
//! |---|---|
//! | [`Prompt`], [`Comparison`], [`Verdict`] | what is recorded while replies are sampled and judged |
//! | [`LabelledReply`] | a reply with sentences, and whether it keeps each |
//! | [`Prompts`] | a file of prompts, read once |
//! | [`RecordLog`], [`read_records`] | records in JSON Lines, resumable at any byte |
//! | [`aggregate()`], [`Aggregator`] | makes training pairs with principles from comparisons |
//! | [`held_out`] | which prompts are held out for evaluation |
//! | [`judge_report`] | how consistent a judge is, and its position bias |
//! | [`RewardFormat`] | the input of a pairwise reward model, which reads a list of principles |
//! | [`PointwiseFormat`] | the input of a pointwise one, which reads one principle at a time |
//!
//! Everything here runs on the CPU. Apart from reading and writing files, it is a pure function of its
//! inputs.

mod aggregate;
mod counts;
mod error;
mod input;
mod jsonl;
mod pointwise;
mod prompts;
mod record;
mod split;

pub use aggregate::{
    AggregateOptions, AggregateReport, Aggregated, Aggregator, Bullet, DecidedBy, Mirror, Missing, Normalise,
    PreferencePair, PrincipleReport, aggregate, judge_report,
};
pub use error::PreferencesError;
pub use input::{InputLimits, InputParts, RewardFormat, RewardInput};
pub(crate) use jsonl::parse_numbered;
pub use jsonl::{Record, RecordLog, check_records, read_numbered, read_records};
pub(crate) use pointwise::ANSWERS;
pub use pointwise::{BranchedInput, GENERAL_PRINCIPLE, PointwiseFormat};
pub use prompts::Prompts;
pub use record::{Comparison, Label, LabelledReply, Prompt, SampledReply, Scores, Under, Verdict};
pub use split::held_out;
pub(crate) use split::name as name_words;
