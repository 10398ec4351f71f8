//! Errors of reward models.

use std::path::PathBuf;

use crate::adapter::AdapterFileError;
use crate::error::ErrorKind;
use crate::file::FileError;
use crate::format::LoadError;
use crate::generate::GenerateError;
use crate::model::lora::AdapterError;
use crate::preferences::PreferencesError;
use crate::principles::PrinciplesError;
use crate::settings::SettingsError;
use crate::tokenizer::TextError;
use crate::train::TrainError;

/// Why a reward model could not be trained, opened or used, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewardError {
    /// A file could not be read or written: check path, permissions and space; a retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// A line of a data file is wrong: correct it.
    #[error("{} line {line}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it, and what would be right.
        reason: String,
    },

    /// The adapter has no scalar head, so its scores would be random: name one that was trained as a reward
    /// model.
    #[error("{} is not a reward model: it has no {}", path.display(), crate::adapter::HEAD_FILE)]
    NoHead {
        /// The adapter.
        path: PathBuf,
    },

    /// The adapter's card does not describe a valid input: use an unchanged copy.
    #[error("{}: the card's `reward` {reason}", path.display())]
    Card {
        /// The adapter.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// The model has no tokenizer: use one that has.
    #[error(
        "the model has no tokenizer, so it cannot read principles; put tokenizer.json next to its weights"
    )]
    NoTokenizer,

    /// Inputs may be longer than the model's context: lower the limit.
    #[error("inputs may have {tokens} tokens, but the model's context has {context}; lower the limit")]
    Context {
        /// The requested limit, in tokens.
        tokens: usize,
        /// The model's context, in tokens.
        context: usize,
    },

    /// A reward model reads the first layers of its base, and the base has not that many: use the right base, or correct
    /// the setting `layers`.
    #[error("the reward model reads {layers} layers of its base, but the model has {found}")]
    Layers {
        /// The number of layers that it reads.
        layers: usize,
        /// The number of layers of the model.
        found: usize,
    },

    /// One of the replies cannot be scored: correct it or leave it out.
    #[error("item {item}: {source}")]
    Item {
        /// Its index in the call.
        item: usize,
        /// What is wrong with it.
        source: PreferencesError,
    },

    /// There is no data to evaluate or to train on.
    #[error("{reason}")]
    Nothing {
        /// What is missing.
        reason: String,
    },

    /// A label is reserved for evaluation, so training on it would make the figures worthless: leave it out.
    #[error("{}: reply `{reply}`: the principle \"{principle}\" {}; leave it out", path.display(), reserved_for(attribute.as_deref()))]
    Reserved {
        /// The file.
        path: PathBuf,
        /// The id of the reply.
        reply: String,
        /// The principle of the label.
        principle: String,
        /// The attribute, if that is what is reserved. Otherwise it is the sentence.
        attribute: Option<String>,
    },

    /// Settings cannot be parsed, or a value is outside its range.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// Preferences or principles cannot be used.
    #[error(transparent)]
    Preferences(#[from] PreferencesError),

    /// Principles cannot be read, or there is no such principle.
    #[error(transparent)]
    Principles(#[from] PrinciplesError),

    /// The training run failed.
    #[error(transparent)]
    Train(#[from] TrainError),

    /// The adapter could not be read or written, or belongs to another base.
    #[error(transparent)]
    AdapterFile(#[from] AdapterFileError),

    /// The adapter does not fit the model or its bank.
    #[error(transparent)]
    Adapter(#[from] AdapterError),

    /// The base could not be read again.
    #[error(transparent)]
    Load(#[from] LoadError),

    /// The forward pass failed, or was cancelled.
    #[error(transparent)]
    Generate(#[from] GenerateError),

    /// A text could not be encoded.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl RewardError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            RewardError::Io(file) => file.kind(),
            RewardError::Row { .. } | RewardError::Nothing { .. } | RewardError::Reserved { .. } => {
                ErrorKind::Data
            }
            RewardError::NoHead { .. } | RewardError::NoTokenizer | RewardError::Layers { .. } => {
                ErrorKind::Mismatch
            }
            RewardError::Card { .. } => ErrorKind::Format,
            RewardError::Context { .. } => ErrorKind::Context,
            RewardError::Item { source, .. } => source.kind(),
            RewardError::Settings(inner) => inner.kind(),
            RewardError::Preferences(inner) => inner.kind(),
            RewardError::Principles(inner) => inner.kind(),
            RewardError::Train(inner) => inner.kind(),
            RewardError::AdapterFile(inner) => inner.kind(),
            RewardError::Adapter(inner) => inner.kind(),
            RewardError::Load(inner) => inner.kind(),
            RewardError::Generate(inner) => inner.kind(),
            RewardError::Text(inner) => inner.kind(),
        }
    }
}

/// The predicate of a [`RewardError::Reserved`].
fn reserved_for(attribute: Option<&str>) -> String {
    match attribute {
        Some(id) => format!("is about `{id}`, an attribute that is held out for evaluation"),
        None => "is a sentence that is held out for evaluation".to_owned(),
    }
}
