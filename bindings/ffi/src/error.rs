//! The one error of the bindings: the core's error kinds as variants.

use parr::ErrorKind;

/// Any error of the library, grouped by what the app can do next. The variant is stable. The message is for
/// people and names the place of the error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi(flat_error)]
#[non_exhaustive]
pub enum ParrError {
    /// The app cancelled, and there is no partial result. A training run has saved its state.
    #[error("{0}")]
    Cancelled(String),
    /// No model, file, principle or set has that name: correct it, or pull the model.
    #[error("{0}")]
    NotFound(String),
    /// A server could not be reached, or refused: try again later. Downloaded bytes are kept.
    #[error("{0}")]
    Network(String),
    /// A file could not be read or written: check path, permissions and space.
    #[error("{0}")]
    Storage(String),
    /// A model, adapter or state is damaged, or of a kind that is not supported: get another copy.
    #[error("{0}")]
    Format(String),
    /// Principles have mistakes, reported by line and column: correct them.
    #[error("{0}")]
    Principles(String),
    /// An argument or a setting is out of its range: correct the call.
    #[error("{0}")]
    Argument(String),
    /// A text is longer than the context: shorten it, or use a longer context.
    #[error("{0}")]
    Context(String),
    /// The budget or the GPU does not hold it: free something, or ask for less.
    #[error("{0}")]
    Memory(String),
    /// There is no such GPU, or it gives no device: choose another.
    #[error("{0}")]
    Gpu(String),
    /// The GPU was lost while it worked. The next call opens it and loads the model again.
    #[error("{0}")]
    DeviceLost(String),
    /// An adapter or a reward model was made for another model: use it with that one.
    #[error("{0}")]
    Mismatch(String),
    /// Data to train on or to judge cannot be used, reported by line: correct it.
    #[error("{0}")]
    Data(String),
    /// The folder holds another run, or is in use: resume that run, or name another folder.
    #[error("{0}")]
    Run(String),
    /// Training diverged: lower the learning rate. The last saved state is sound.
    #[error("{0}")]
    Diverged(String),
    /// A callback of the app failed, which ended the call.
    #[error("{0}")]
    Callback(String),
    /// A bug in Parr or in a driver: please report it.
    #[error("{0}")]
    Internal(String),
}

/// The message of an error with its causes, in one line. A cause that the message ends in already is left out.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

impl From<parr::Error> for ParrError {
    fn from(error: parr::Error) -> Self {
        let text = with_causes(&error);
        match error.kind() {
            ErrorKind::Cancelled => ParrError::Cancelled(text),
            ErrorKind::NotFound => ParrError::NotFound(text),
            ErrorKind::Network => ParrError::Network(text),
            ErrorKind::Storage => ParrError::Storage(text),
            ErrorKind::Format => ParrError::Format(text),
            ErrorKind::Principles => ParrError::Principles(text),
            ErrorKind::Argument => ParrError::Argument(text),
            ErrorKind::Context => ParrError::Context(text),
            ErrorKind::Memory => ParrError::Memory(text),
            ErrorKind::Gpu => ParrError::Gpu(text),
            ErrorKind::DeviceLost => ParrError::DeviceLost(text),
            ErrorKind::Mismatch => ParrError::Mismatch(text),
            ErrorKind::Data => ParrError::Data(text),
            ErrorKind::Run => ParrError::Run(text),
            ErrorKind::Diverged => ParrError::Diverged(text),
            _ => ParrError::Internal(text),
        }
    }
}

macro_rules! through_the_core {
    ($($error:ty)*) => {$(
        impl From<$error> for ParrError {
            fn from(error: $error) -> Self {
                parr::Error::from(error).into()
            }
        }
    )*};
}

through_the_core! {
    parr::adapter::AdapterFileError
    parr::align::AlignError
    parr::chat::ChatError
    parr::format::LoadError
    parr::generate::GenerateError
    parr::gpu::DeviceError
    parr::hub::HubError
    parr::model::lora::AdapterError
    parr::preferences::PreferencesError
    parr::principles::PrinciplesError
    parr::reward::RewardError
    parr::settings::SettingsError
    parr::steer::SteerError
    parr::tokenizer::TextError
    parr::train::TrainError
}

#[cfg(test)]
mod tests {
    use parr::file::FileError;
    use parr::generate::GenerateError;
    use parr::gpu::DeviceError;
    use parr::principles::PrinciplesError;
    use parr::reward::RewardError;
    use parr::train::TrainError;

    use super::*;

    #[test]
    fn an_error_keeps_its_place_and_its_cause() {
        let missing = PrinciplesError::Io(FileError {
            action: "read",
            path: "rules.toml".into(),
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "gone"),
        });
        assert_eq!(
            ParrError::from(RewardError::Principles(missing)),
            ParrError::NotFound("cannot read rules.toml: gone".to_owned())
        );
        let lost = DeviceError::Lost { reason: "reset".to_owned() };
        assert!(matches!(
            ParrError::from(TrainError::Generate(GenerateError::Device(lost))),
            ParrError::DeviceLost(_)
        ));
    }
}
