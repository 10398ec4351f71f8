//! The one error of the bindings, and which of the core's errors becomes which.

use parr::adapter::AdapterFileError;
use parr::align::AlignError;
use parr::format::LoadError;
use parr::generate::GenerateError;
use parr::gpu::DeviceError;
use parr::hub::HubError;
use parr::model::lora::AdapterError;
use parr::principles::PrinciplesError;
use parr::reward::RewardError;
use parr::preferences::PreferencesError;
use parr::steer::SteerError;
use parr::tokenizer::TextError;
use parr::train::TrainError;

/// Whatever goes wrong, grouped by what the app can do next. The variant is the code, and stays what it is;
/// the message is for people and names the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi(flat_error)]
#[non_exhaustive]
pub enum ParrError {
    /// The app cancelled, and there is no partial result.
    #[error("{0}")]
    Cancelled(String),
    /// No model, file, principle or set of that name: correct it, or pull the model.
    #[error("{0}")]
    NotFound(String),
    /// A server could not be reached, or refused: try again later; what was loaded is kept.
    #[error("{0}")]
    Network(String),
    /// A file could not be read or written: look at path, permissions and space.
    #[error("{0}")]
    Storage(String),
    /// A model, adapter or state is damaged, or of a kind that is not supported: get another copy.
    #[error("{0}")]
    Format(String),
    /// Principles have mistakes, told by line and column: correct them.
    #[error("{0}")]
    Principles(String),
    /// An argument or a setting is out of its range: correct the call.
    #[error("{0}")]
    Argument(String),
    /// A text is longer than the context: shorten it, or take a longer context.
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
    /// An adapter or a reward model was made for another model: take it to that one.
    #[error("{0}")]
    Mismatch(String),
    /// Data to learn from or to judge cannot be used, with its line: correct it.
    #[error("{0}")]
    Data(String),
    /// The folder holds another run, or one that stands already: resume it as it was, or name another folder.
    #[error("{0}")]
    Run(String),
    /// Training diverged: lower the learning rate. The last saved state is sound.
    #[error("{0}")]
    Diverged(String),
    /// A callback of the app threw; what called it was ended.
    #[error("{0}")]
    Callback(String),
    /// A bug in Parr or in a driver: please report it.
    #[error("{0}")]
    Internal(String),
}

/// An error with its causes in one line. Messages that end in their cause already are not said twice.
fn told(error: &dyn std::error::Error) -> String {
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

/// A missing file is not found, everything else the disk says is about storage.
fn io(error: &std::io::Error, text: String) -> ParrError {
    match error.kind() {
        std::io::ErrorKind::NotFound => ParrError::NotFound(text),
        _ => ParrError::Storage(text),
    }
}

macro_rules! by_kind {
    ($($error:ty, |$found:ident, $text:ident| $kind:expr;)*) => {$(
        impl From<$error> for ParrError {
            fn from($found: $error) -> Self {
                let $text = told(&$found);
                $kind
            }
        }
    )*};
}

by_kind! {
    LoadError, |error, text| match error {
        LoadError::Io { source, .. } => io(&source, text),
        _ => ParrError::Format(text),
    };
    TextError, |error, text| match error {
        TextError::Io { source, .. } => io(&source, text),
        TextError::Encode { .. } | TextError::TemplateRefused { .. } => ParrError::Argument(text),
        _ => ParrError::Format(text),
    };
    PrinciplesError, |error, text| match error {
        PrinciplesError::Io { source, .. } => io(&source, text),
        PrinciplesError::Unknown { .. } => ParrError::NotFound(text),
        _ => ParrError::Principles(text),
    };
    DeviceError, |error, text| match error {
        DeviceError::NoAdapter { .. } | DeviceError::AdapterNotFound { .. } | DeviceError::Refused { .. }
            | DeviceError::Family { .. } => ParrError::Gpu(text),
        DeviceError::Limit { .. } => ParrError::Memory(text),
        DeviceError::Lost { .. } => ParrError::DeviceLost(text),
        _ => ParrError::Internal(text),
    };
    AdapterError, |error, text| match error {
        AdapterError::Device(device) => device.into(),
        AdapterError::Setting { .. } => ParrError::Argument(text),
        AdapterError::Detached | AdapterError::Full { .. } => ParrError::Internal(text),
        _ => ParrError::Mismatch(text),
    };
    AdapterFileError, |error, text| match error {
        AdapterFileError::Load(load) => load.into(),
        AdapterFileError::Fit { .. } | AdapterFileError::Shape { .. } | AdapterFileError::OtherBase { .. } => {
            ParrError::Mismatch(text)
        }
        AdapterFileError::Unwritable { .. } => ParrError::Argument(text),
        AdapterFileError::Occupied { .. } | AdapterFileError::Write { .. } => ParrError::Storage(text),
        _ => ParrError::Format(text),
    };
    GenerateError, |error, text| match error {
        GenerateError::ContextOverflow { .. } => ParrError::Context(text),
        GenerateError::Adapter { source, .. } => source.into(),
        GenerateError::Cancelled => ParrError::Cancelled(text),
        GenerateError::Device(device) => device.into(),
        GenerateError::Shape(_) => ParrError::Internal(text),
        _ => ParrError::Argument(text),
    };
    PreferencesError, |error, text| match error {
        PreferencesError::Io { source, .. } => io(&source, text),
        PreferencesError::Principles(inner) => inner.into(),
        PreferencesError::Text(inner) => inner.into(),
        PreferencesError::Options { .. } | PreferencesError::Empty { .. } => ParrError::Argument(text),
        PreferencesError::NoRoom { .. } => ParrError::Context(text),
        PreferencesError::Busy { .. } => ParrError::Run(text),
        _ => ParrError::Data(text),
    };
    TrainError, |error, text| match error {
        TrainError::Io { source, .. } => io(&source, text),
        TrainError::Row { .. } | TrainError::Data { .. } | TrainError::Sequence { .. } => ParrError::Data(text),
        SettingsError::Syntax { .. } | TrainError::Settings { .. } | TrainError::Reward { .. } => {
            ParrError::Argument(text)
        }
        TrainError::State { .. } => ParrError::Format(text),
        TrainError::OtherRun { .. }
        | TrainError::Resume { .. }
        | TrainError::Occupied { .. }
        | TrainError::Busy { .. } => ParrError::Run(text),
        TrainError::NotFinite { .. } => ParrError::Diverged(text),
        TrainError::Memory { .. } => ParrError::Memory(text),
        TrainError::Adapter(inner) => inner.into(),
        TrainError::AdapterFile(inner) => inner.into(),
        TrainError::Load(inner) => inner.into(),
        TrainError::Generate(inner) => inner.into(),
        TrainError::Device(inner) => inner.into(),
        _ => ParrError::Internal(text),
    };
    RewardError, |error, text| match error {
        RewardError::Io { source, .. } => io(&source, text),
        RewardError::Row { .. } | RewardError::Nothing { .. } => ParrError::Data(text),
        RewardError::NoHead { .. } | RewardError::NoTokenizer => ParrError::Mismatch(text),
        RewardError::Context { .. } => ParrError::Context(text),
        RewardError::Item { source: PreferencesError::NoRoom { .. }, .. } => ParrError::Context(text),
        RewardError::Item { .. } => ParrError::Argument(text),
        RewardError::Preferences(inner) => inner.into(),
        RewardError::Principles(inner) => inner.into(),
        RewardError::Train(inner) => inner.into(),
        RewardError::AdapterFile(inner) => inner.into(),
        RewardError::Adapter(inner) => inner.into(),
        RewardError::Load(inner) => inner.into(),
        RewardError::Generate(inner) => inner.into(),
        RewardError::Text(inner) => inner.into(),
        _ => ParrError::Format(text),
    };
    SteerError, |error, text| match error {
        SteerError::Ask { source: PreferencesError::NoRoom { .. }, .. } => ParrError::Context(text),
        SteerError::Adapter(inner) => inner.into(),
        SteerError::Reward(inner) => inner.into(),
        SteerError::Generate(inner) => inner.into(),
        SteerError::Text(inner) => inner.into(),
        _ => ParrError::Argument(text),
    };
    AlignError, |error, text| match error {
        AlignError::NoPrompts { .. } => ParrError::Data(text),
        AlignError::NoReward => ParrError::Argument(text),
        AlignError::Context { .. } => ParrError::Context(text),
        AlignError::Train(inner) => inner.into(),
        AlignError::Reward(inner) => inner.into(),
        AlignError::Preferences(inner) => inner.into(),
        AlignError::Text(inner) => inner.into(),
        AlignError::Adapter(inner) => inner.into(),
        AlignError::AdapterFile(inner) => inner.into(),
        AlignError::Generate(inner) => inner.into(),
        _ => ParrError::Internal(text),
    };
    HubError, |error, text| match error {
        HubError::Unreachable { .. } | HubError::Refused { .. } | HubError::Malformed { .. }
            | HubError::WrongHash { .. } | HubError::Pip { .. } | HubError::NoSource { .. } => {
            ParrError::Network(text)
        }
        HubError::NoCacheDir | HubError::Io { .. } => ParrError::Storage(text),
        _ => ParrError::NotFound(text),
    };
    parr::Error, |error, text| match error {
        parr::Error::Load(inner) => inner.into(),
        parr::Error::Text(inner) => inner.into(),
        parr::Error::Principles(inner) => inner.into(),
        parr::Error::Device(inner) => inner.into(),
        parr::Error::AdapterFile(inner) => inner.into(),
        parr::Error::Adapter(inner) => inner.into(),
        parr::Error::Generate(inner) => inner.into(),
        parr::Error::Preferences(inner) => inner.into(),
        parr::Error::Train(inner) => inner.into(),
        parr::Error::Reward(inner) => inner.into(),
        parr::Error::Steer(inner) => inner.into(),
        parr::Error::Align(inner) => inner.into(),
        _ => ParrError::Internal(text),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_place_and_its_cause() {
        let missing = PrinciplesError::Io {
            path: "rules.toml".into(),
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "gone"),
        };
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
