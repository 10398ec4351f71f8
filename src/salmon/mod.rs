//! The stages of SALMON (arXiv 2310.05910) between written principles and a reward model that reads them.
//!
//! | part | holds |
//! |---|---|
//! | [`Prompt`], [`Comparison`], [`Verdict`] | what is recorded while replies are sampled and judged |
//! | [`RecordLog`], [`read_records`] | records in JSON Lines, resumable at any byte |
//!
//! Everything here runs on the CPU and is a pure function of its inputs, files aside.

mod error;
mod jsonl;
mod record;

pub use error::SalmonError;
pub use jsonl::{Record, RecordLog, read_records};
pub use record::{Comparison, Prompt, Reply, Scores, Under, Verdict};
