//! The error of the public API, which holds the typed errors of each layer.

use std::fmt;

use crate::adapter::AdapterFileError;
use crate::align::AlignError;
use crate::attributes::AttributesError;
use crate::chat::ChatError;
use crate::convert::ConvertError;
use crate::format::LoadError;
use crate::generate::GenerateError;
use crate::gpu::DeviceError;
use crate::hub::HubError;
use crate::judge::JudgeError;
use crate::model::lora::AdapterError;
use crate::preferences::PreferencesError;
use crate::principles::PrinciplesError;
use crate::reward::RewardError;
use crate::salmon::PipelineError;
use crate::self_align::SelfAlignError;
use crate::settings::SettingsError;
use crate::steer::SteerError;
use crate::tokenizer::TextError;
use crate::train::TrainError;
use crate::tune::TuneError;

/// What the caller can do about an error. Every error of the library has a `kind()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller cancelled. A run has saved its state and can be resumed.
    Cancelled,
    /// No model, file, principle or set has that name: correct it, or pull the model.
    NotFound,
    /// A server could not be reached, or refused: try again later. Downloaded bytes are kept.
    Network,
    /// A file could not be read or written: check path, permissions and space.
    Storage,
    /// A file is damaged, or of a kind that is not supported: get another copy.
    Format,
    /// An adapter, a reward model or a tokenizer does not fit the model: use the model it was made for.
    Mismatch,
    /// Principles have mistakes: correct them.
    Principles,
    /// An argument or a setting is out of its range: correct the call.
    Argument,
    /// Data to train on or to judge cannot be used: correct it.
    Data,
    /// A text is longer than the context: shorten it, or use a longer context.
    Context,
    /// The device or its budget does not hold it: free something, or ask for less.
    Memory,
    /// There is no such GPU, or it gives no device: choose another.
    Gpu,
    /// The GPU was lost while it worked: open the device and load the model again.
    DeviceLost,
    /// The folder holds another run, or is in use: resume that run, or name another folder.
    Run,
    /// Numbers became NaN or infinite. In training, lower the learning rate; the last saved state can still be
    /// used. Otherwise the model or its adapter is damaged, or they do not fit together.
    Diverged,
    /// A bug in Parr or in a driver: please report it.
    Internal,
}

/// Any error of the library, by the layer that found it. Every message names its place.
///
/// ```
/// use parr::{Error, ErrorKind};
///
/// let missing = parr::format::Checkpoint::open("no-such-file.gguf".as_ref()).unwrap_err();
/// let error = Error::from(missing);
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "cannot read no-such-file.gguf");
/// assert!(format!("{error:?}").starts_with("cannot read no-such-file.gguf\n  caused by: "));
/// ```
///
/// `{:?}` prints the message and its causes, so that a `main` that returns this error shows what was wrong.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model could not be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A checkpoint could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A tokenizer or a chat template could not be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file of principles has mistakes, or there is no such set or principle.
    #[error(transparent)]
    Principles(#[from] PrinciplesError),
    /// Attributes of replies cannot be read or used.
    #[error(transparent)]
    Attributes(#[from] AttributesError),
    /// The device failed, or was asked for too much.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The kernels of a device could not be measured.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// An adapter could not be read, written or merged.
    #[error(transparent)]
    AdapterFile(#[from] AdapterFileError),
    /// A conversion.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// An adapter does not fit the model, or there is no such adapter.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A request could not be served.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Settings could not be read, or are out of their range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Preferences could not be recorded, aggregated or read.
    #[error(transparent)]
    Preferences(#[from] PreferencesError),
    /// A training run could not be set up or continued.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Replies could not be sampled or judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// A reward model could not be trained, opened or used.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// A reply could not be steered.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// There is no session or no reply.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// A policy could not be aligned.
    #[error(transparent)]
    Align(#[from] AlignError),
    /// Self-alignment could not be set up or continued.
    #[error(transparent)]
    SelfAlign(#[from] SelfAlignError),
    /// The stages of `parr salmon` could not be run.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl Error {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Hub(inner) => inner.kind(),
            Error::Load(inner) => inner.kind(),
            Error::Text(inner) => inner.kind(),
            Error::Principles(inner) => inner.kind(),
            Error::Attributes(inner) => inner.kind(),
            Error::Device(inner) => inner.kind(),
            Error::Tune(inner) => inner.kind(),
            Error::AdapterFile(inner) => inner.kind(),
            Error::Convert(inner) => inner.kind(),
            Error::Adapter(inner) => inner.kind(),
            Error::Generate(inner) => inner.kind(),
            Error::Settings(inner) => inner.kind(),
            Error::Preferences(inner) => inner.kind(),
            Error::Train(inner) => inner.kind(),
            Error::Judge(inner) => inner.kind(),
            Error::Reward(inner) => inner.kind(),
            Error::Steer(inner) => inner.kind(),
            Error::Chat(inner) => inner.kind(),
            Error::Align(inner) => inner.kind(),
            Error::SelfAlign(inner) => inner.kind(),
            Error::Pipeline(inner) => inner.kind(),
        }
    }

    /// Whether the caller cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
