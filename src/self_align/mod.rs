//! Self-alignment: a base model writes its own training answers under written rules, and is trained on them.
//!
//! The prompt contains a description of the assistant, numbered rules and a few exemplars. The model first
//! writes thoughts about which rules apply, then the answer. Answers that pass the filters become rows for
//! supervised fine-tuning. The rows do not contain rules or exemplars, so the tuned model needs no such
//! prompt (Self-Align, arXiv 2305.03047, and stage 0 of SALMON, arXiv 2310.05910).
//!
//! | part | holds |
//! |---|---|
//! | [`InContext`] | the prompt, with the rules and exemplars that fit |
//! | [`Filter`], [`Reason`] | the selection of answers |
//! | [`SelfAlign`], [`SelfAlignConfig`] | the run, and its settings |
//! | [`SelfAlignSample`], [`SelfAlignReport`] | the record of each prompt, and the counts of a run |

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
