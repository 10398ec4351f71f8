//! Self-alignment: a base model writes its own first training answers under written rules, and learns them.
//!
//! The model reads who it is, numbered rules and a few exemplars, thinks aloud about which rules matter, and
//! answers. Answers that pass the filters become rows of supervised fine-tuning from which rules and exemplars
//! are gone, so that what is learned needs no such prompt (Self-Align, arXiv 2305.03047, and stage 0 of SALMON,
//! arXiv 2310.05910).
//!
//! | part | holds |
//! |---|---|
//! | [`InContext`] | the prompt: rules, exemplars, and how many of each fit |
//! | [`Filter`], [`Reason`] | which answers are kept, and what of them |
//! | [`SelfAlign`], [`SelfAlignConfig`] | the run: samples, records, rows, and the adapter |
//! | [`SelfAlignSample`], [`SelfAlignReport`] | what is recorded of each prompt, and of all |

mod config;
mod error;
mod filter;
mod prompt;
mod record;
mod repeats;
mod run;

pub use config::{AnswerSampling, SelfAlignConfig};
pub use error::SelfAlignError;
pub use filter::{Filter, FilterOptions, Filtered, Reason, Unfinished};
pub use prompt::{InContext, Wanted};
pub use record::{SelfAlignReport, SelfAlignSample};
pub use repeats::without_repeats;
pub use run::SelfAlign;
