//! The one error of the public API, over the typed errors of each layer.

use crate::adapter::AdapterFileError;
use crate::align::AlignError;
use crate::format::LoadError;
use crate::generate::GenerateError;
use crate::gpu::DeviceError;
use crate::judge::JudgeError;
use crate::model::lora::AdapterError;
use crate::pipeline::PipelineError;
use crate::principles::PrinciplesError;
use crate::reward::RewardError;
use crate::salmon::SalmonError;
use crate::self_align::SelfAlignError;
use crate::steer::SteerError;
use crate::tokenizer::TextError;
use crate::train::TrainError;

/// Any failure of the library, by the layer that met it. Every message names its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A checkpoint could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A tokenizer or a chat template could not be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file of principles has mistakes, or a name leads to none.
    #[error(transparent)]
    Principles(#[from] PrinciplesError),
    /// The device failed, or was asked for too much.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An adapter could not be read, written or merged.
    #[error(transparent)]
    AdapterFile(#[from] AdapterFileError),
    /// An adapter does not fit the model, or there is no such adapter.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A request could not be served.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Preferences could not be recorded, aggregated or read.
    #[error(transparent)]
    Salmon(#[from] SalmonError),
    /// A training run could not be set up, or could not go on.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Replies could not be sampled or judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// A reward model could not be trained, opened or asked.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// A reply could not be steered.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// A policy could not be aligned.
    #[error(transparent)]
    Align(#[from] AlignError),
    /// A model could not be aligned by itself.
    #[error(transparent)]
    SelfAlign(#[from] SelfAlignError),
    /// The stages of a pipeline could not be run.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}
