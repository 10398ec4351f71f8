//! SALMON from one settings file: every stage in its order, each only where its inputs have changed.
//!
//! Each stage works in a folder of its own whose name follows from all that it is made from: settings, prompts,
//! principles, base, and what the stages before it left. A stage whose folder holds what the manifest says is
//! skipped; an edited principle leads to other folders for the stages that read it, and for no others; an edit
//! that is undone leads back. A run that was killed goes on in the folder that it was in, and ends with the
//! same bits as one that was left alone.
//!
//! | part | holds |
//! |---|---|
//! | [`Pipeline`], [`PipelineConfig`] | the run, and the settings of all stages |
//! | [`Stage`], [`StageStatus`] | the stages, and how each stands |
//! | [`Manifest`], [`Inputs`] | what was made from what |
//! | [`PipelineReport`] | what all stages came to, as one page |

mod config;
mod error;
mod init;
mod manifest;
mod report;
mod run;
mod sources;
mod stage;
mod status;
mod work;

pub use config::{Budget, ComparisonConfig, MeasureConfig, PipelineConfig, StageSwitches};
pub use error::PipelineError;
pub use init::init;
pub use manifest::{Inputs, Manifest, StageRun};
pub use report::PipelineReport;
pub use run::{Made, Pipeline, status};
pub use sources::Sources;
pub use stage::Stage;
pub use status::StageStatus;
pub use work::Event;
