//! The card of an adapter: facts about its origin.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::AdapterFileError;
use crate::format::{Checkpoint, LoadError};

/// Optional facts about an adapter's origin, in `parr.json` beside a PEFT adapter or under the key
/// `parr.card` of a GGUF adapter. Unknown keys are preserved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Name or path of the model that the adapter was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// [`Checkpoint::content_hash`] of that model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_sha256: Option<String>,
    /// Seed of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Optimizer steps of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// SHA-256 of the training data, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_sha256: Option<String>,
    /// Figures of the run, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Value>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Card {
    /// Reads the card from `json`, the contents of file `path`.
    pub(super) fn read(path: &Path, json: Value) -> Result<Card, LoadError> {
        serde_json::from_value(json)
            .map_err(|error| LoadError::malformed(path, 0, format!("its card of the adapter: {error}")))
    }
}

/// `Ok` if the adapter of `card` was trained on exactly the bytes of `checkpoint`, or if the card does not
/// name its base.
///
/// This reads the whole checkpoint, unless its hash is known ([`Checkpoint::content_hash`]). An adapter also
/// works on other copies of the same weights, such as the unquantized copy of a quantized base. Leave this
/// check out if you know that they agree.
///
/// # Errors
///
/// * [`AdapterFileError::OtherBase`] if it was trained on other weights.
/// * [`AdapterFileError::Load`] if the checkpoint cannot be read.
pub fn check_base(card: &Card, checkpoint: &Checkpoint) -> Result<(), AdapterFileError> {
    if card.base_sha256.is_none() {
        return Ok(());
    }
    check_hash(card, checkpoint.path(), &checkpoint.content_hash()?)
}

/// [`check_base`] where the hash of the files at `path` is known.
pub(super) fn check_hash(card: &Card, path: &Path, found: &str) -> Result<(), AdapterFileError> {
    let Some(expected) = &card.base_sha256 else {
        return Ok(());
    };
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let base = card.base.clone().unwrap_or_else(|| "a model".to_owned());
    let (path, expected, found) = (path.to_owned(), expected.clone(), found.to_owned());
    Err(AdapterFileError::OtherBase { path, base, expected, found })
}
