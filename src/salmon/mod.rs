//! SALMON from one settings file: runs the stages in order, and skips those that are done.
//!
//! Each stage has its own folder, named after a hash of its inputs: settings, prompts, principles, base, and
//! the outputs of earlier stages. A stage is skipped if its folder holds the files that the manifest lists.
//! After an edit of a principle, only the stages that read it run again, in new folders. If the edit is
//! undone, the earlier folders are used again. A run that was killed resumes in its folder and gives
//! bit-identical results to an uninterrupted run.
//!
//! | part | holds |
//! |---|---|
//! | [`init`], [`NewRun`] | a new folder, with settings, prompts and principles |
//! | [`Pipeline`], [`PipelineConfig`] | the run, and the settings of all stages |
//! | [`Stage`], [`StageStatus`] | the stages, and the status of each |
//! | [`Manifest`], [`Inputs`] | the inputs and output files of each stage |
//! | [`PipelineReport`] | the results of all stages, as one page |

mod config;
mod error;
mod init;
mod manifest;
mod presets;
mod report;
mod run;
mod sources;
mod stage;
mod status;
mod work;

pub use config::{ComparisonConfig, MeasureConfig, PipelineConfig, StageSwitches};
pub use error::PipelineError;
pub use init::{NewRun, init};
pub use manifest::{Inputs, Manifest, StageRun};
pub use presets::Budget;
pub use report::{Change, Measure, PipelineReport, ReplyPair};
pub use run::{Made, Pipeline, status};
pub use sources::Sources;
pub use stage::Stage;
pub use status::StageStatus;
pub use work::Event;
