//! Saved states of a run: weights, optimizer moments and position, in one file that is written atomically.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::TrainError;
use crate::atomic;
use crate::file::AtFile;
use crate::file::hex;
use crate::output;
use crate::tensor::HostTensor;

/// The version of the file's content that this code writes and reads.
const VERSION: u32 = 2;
/// Keys that only version 1 has; nothing ever read them.
const RETIRED: [&str; 2] = ["position", "best_loss"];
/// Keys of the file's `__metadata__`.
const META: &str = output::STATE_KEY;
const SHA256: &str = "sha256";

/// Position of a run when its state was saved, and what identifies the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateMeta {
    /// Kind of training, such as `sft`. Only a run of the same kind can resume the state.
    pub kind: String,
    /// Number of optimizer steps done.
    pub step: u64,
    /// Number of tokens trained on.
    pub tokens: u64,
    /// Random seed of the run. All random numbers and the order of the data depend only on the seed and the
    /// step.
    pub seed: u64,
    /// Hash of the settings ([`Settings::hash`](crate::settings::Settings::hash)).
    pub config_sha256: String,
    /// SHA-256 of the data file.
    pub data_sha256: String,
    /// SHA-256 of the base model.
    pub base_sha256: String,
    /// Further finite numbers that a trainer of this kind keeps.
    #[serde(default)]
    pub extra: BTreeMap<String, f64>,
}

/// State of a run: its tensors by name, and its position.
///
/// The file `step-00000040.safetensors` is an ordinary safetensors file of F32 tensors. Its metadata holds
/// [`StateMeta`] as JSON and a SHA-256 of everything. Values are restored bit for bit, NaN payloads included.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState {
    /// Position of the run, and what identifies it.
    pub meta: StateMeta,
    /// Weights and moments.
    pub tensors: BTreeMap<String, HostTensor>,
}

/// Result of [`TrainState::latest`].
#[derive(Debug)]
pub struct Latest {
    /// The newest valid state and its file, if there is one.
    pub found: Option<(PathBuf, TrainState)>,
    /// One error for each newer file, which is damaged.
    pub damaged: Vec<TrainError>,
}

impl TrainState {
    /// Writes the state into `folder`, which is created if it is missing, and returns the file. The file is
    /// complete on disk when this returns. An interrupted write leaves the other states in the folder
    /// unchanged.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, TrainError> {
        fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
        let path = folder.join(file_name(self.meta.step));
        let header = self.header();
        let write = |file: &mut io::BufWriter<fs::File>| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            // In the order of the header's offsets.
            self.tensors.values().try_for_each(|tensor| file.write_all(&le_bytes(&tensor.data)))
        };
        atomic::write(&path, write).map_err(TrainError::io("write", &path))?;
        Ok(path)
    }

    /// The JSON header of the file: metadata, and every tensor's offsets.
    fn header(&self) -> String {
        let meta = serde_json::to_string(&Versioned { version: VERSION, meta: self.meta.clone() })
            .expect("the metadata is plain values");
        let tensors = self.tensors.iter().map(|(name, tensor)| {
            debug_assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len(), "shape of {name}");
            (name.as_str(), tensor.shape.as_slice(), le_bytes(&tensor.data))
        });
        let sha256 = content_hash(&meta, tensors);
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), serde_json::json!({ META: meta, SHA256: sha256 }));
        let mut end = 0;
        for (name, tensor) in &self.tensors {
            let start = end;
            end += size_of_val(tensor.data.as_slice());
            let entry =
                serde_json::json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end] });
            header.insert(name.clone(), entry);
        }
        let mut text = serde_json::Value::Object(header).to_string();
        // The format requires that the data begins at a multiple of 8.
        let padding = text.len().next_multiple_of(8) - text.len();
        text.extend(std::iter::repeat_n(' ', padding));
        text
    }

    /// Reads a state and verifies all of it.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Io`] if the file cannot be read.
    /// * [`TrainError::State`] if it is damaged, has another version, or is not a training state.
    pub fn read(path: &Path) -> Result<TrainState, TrainError> {
        let bytes = fs::read(path).map_err(TrainError::io("read", path))?;
        let damaged = |error: safetensors::SafeTensorError| TrainError::state(path, error.to_string());
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let missing = |key| TrainError::state(path, format!("its metadata has no `{key}`"));
        let empty = HashMap::new();
        let texts = header.metadata().as_ref().unwrap_or(&empty);
        let meta = texts.get(META).ok_or_else(|| missing(META))?;
        let sha256 = texts.get(SHA256).ok_or_else(|| missing(SHA256))?;

        let mut views = file.tensors();
        views.sort_by(|(left, _), (right, _)| left.cmp(right));
        let parts = views.iter().map(|(name, view)| (name.as_str(), view.shape(), view.data()));
        let found = content_hash(meta, parts);
        if found != *sha256 {
            return Err(TrainError::state(
                path,
                format!("its content has sha256 {found}, expected {sha256}"),
            ));
        }
        let meta = StateMeta::parse(meta).map_err(|rule| TrainError::state(path, rule))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in views {
            if view.dtype() != Dtype::F32 {
                return Err(TrainError::state(
                    path,
                    format!("tensor `{name}` is {:?}, not F32", view.dtype()),
                ));
            }
            let values = view.data().chunks_exact(4);
            let data =
                values.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
            tensors.insert(name, HostTensor { shape: view.shape().to_vec(), data });
        }
        Ok(TrainState { meta, tensors })
    }

    /// Finds the newest valid state in `folder`. A missing folder has none.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if the folder cannot be listed. A file that cannot be read counts as damaged.
    pub fn latest(folder: &Path) -> Result<Latest, TrainError> {
        let mut damaged = Vec::new();
        for (step, path) in states(folder)?.into_iter().rev() {
            match TrainState::read(&path) {
                Ok(state) if state.meta.step == step => {
                    return Ok(Latest { found: Some((path, state)), damaged });
                }
                Ok(state) => {
                    let rule = format!("it is of step {}, but its name is of step {step}", state.meta.step);
                    damaged.push(TrainError::state(&path, rule));
                }
                Err(error) => damaged.push(error),
            }
        }
        Ok(Latest { found: None, damaged })
    }

    /// Removes all states in `folder` except the newest `count`, and temporary files of interrupted saves. No
    /// other run may save into the folder meanwhile.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if the folder cannot be listed or a file cannot be removed.
    pub fn keep_last(folder: &Path, count: usize) -> Result<(), TrainError> {
        let states = states(folder)?;
        let old = states.len().saturating_sub(count);
        for path in states.into_iter().take(old).map(|(_, path)| path).chain(unfinished(folder)?) {
            fs::remove_file(&path).map_err(TrainError::io("remove", &path))?;
        }
        Ok(())
    }
}

/// The metadata with the version of the file's content.
#[derive(Serialize, Deserialize)]
struct Versioned {
    version: u32,
    meta: StateMeta,
}

impl StateMeta {
    fn parse(text: &str) -> Result<StateMeta, String> {
        /// The version alone, so that a file of a later version is recognized.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }

        let unreadable =
            |error: serde_json::Error| format!("its metadata is not that of a training state: {error}");
        let Version { version } = serde_json::from_str(text).map_err(unreadable)?;
        let versioned = match version {
            VERSION => serde_json::from_str(text),
            1 => serde_json::from_str(text).and_then(|mut value: serde_json::Value| {
                if let Some(meta) = value.get_mut("meta").and_then(serde_json::Value::as_object_mut) {
                    meta.retain(|key, _| !RETIRED.contains(&key.as_str()));
                }
                serde_json::from_value(value)
            }),
            _ => {
                return Err(format!(
                    "it has version {version}, but this program reads versions 1 to {VERSION}"
                ));
            }
        };
        versioned.map(|versioned: Versioned| versioned.meta).map_err(unreadable)
    }
}

fn file_name(step: u64) -> String {
    format!("step-{step:08}.safetensors")
}

/// Names of the files in `folder`; empty if the folder is missing.
fn names(folder: &Path) -> Result<Vec<String>, TrainError> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => {
            let listed = listed.map_err(TrainError::io("read", folder))?;
            // Names that are not valid Unicode are never states.
            Ok(listed.into_iter().filter_map(|name| name.into_string().ok()).collect())
        }
    }
}

/// The states in `folder` by step, ascending.
fn states(folder: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let step = |name: &str| {
        let number: u64 = name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()?;
        Some(number).filter(|&number| name == file_name(number))
    };
    let named = names(folder)?.into_iter().filter_map(|name| Some((step(&name)?, folder.join(name))));
    let mut states: Vec<(u64, PathBuf)> = named.collect();
    states.sort();
    Ok(states)
}

/// Temporary files of [`atomic::write`] that were not renamed, because the process ended before.
fn unfinished(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let is = |name: &String| {
        name.starts_with(".step-") && name.contains(".safetensors.") && name.ends_with(".tmp")
    };
    Ok(names(folder)?.into_iter().filter(is).map(|name| folder.join(name)).collect())
}

/// SHA-256 in hexadecimal of the metadata and of each tensor's name, shape and bytes. Each part follows its
/// length, so that different contents never give the same input.
fn content_hash<B: AsRef<[u8]>>(
    meta: &str,
    tensors: impl Iterator<Item = (impl AsRef<str>, impl AsRef<[usize]>, B)>,
) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(meta.as_bytes());
    for (name, shape, data) in tensors {
        part(name.as_ref().as_bytes());
        let shape: Vec<u8> = shape.as_ref().iter().flat_map(|axis| (*axis as u64).to_le_bytes()).collect();
        part(&shape);
        part(data.as_ref());
    }
    hex(hash.finalize())
}

/// The values as little-endian bytes, without a copy on little-endian machines.
fn le_bytes(values: &[f32]) -> std::borrow::Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        bytemuck::cast_slice(values).into()
    } else {
        values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }
}
