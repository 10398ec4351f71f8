//! The manifest: a file in the pipeline's folder that records the inputs and outputs of each stage.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{PipelineError, Stage};
use crate::atomic;
use crate::file::AtFile;
use crate::file::hex;

/// Inputs of a stage: names, with a hash of each input in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inputs(BTreeMap<String, String>);

impl Inputs {
    /// Adds an input.
    pub fn add(&mut self, name: &str, hash: impl Into<String>) {
        self.0.insert(name.to_owned(), hash.into());
    }

    /// SHA-256 of all inputs, in hexadecimal.
    pub fn hash(&self) -> String {
        hash_of(&self.0)
    }

    /// Names of the inputs that differ, in alphabetical order.
    pub fn differences(&self, other: &Inputs) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        let mut names: Vec<String> =
            names.filter(|name| self.0.get(*name) != other.0.get(*name)).cloned().collect();
        names.sort_unstable();
        names
    }

    /// Name of the folder of `stage` for these inputs. Other inputs give another name, so the outputs for
    /// other inputs are kept.
    pub fn folder(&self, stage: Stage) -> String {
        format!("{stage}-{}", &self.hash()[..10])
    }
}

/// A finished run of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRun {
    /// The stage.
    pub stage: Stage,
    /// Inputs of the run.
    pub inputs: Inputs,
    /// SHA-256 of each output file in hexadecimal, by its path in the stage's folder.
    pub outputs: BTreeMap<String, String>,
}

impl StageRun {
    /// SHA-256 of all outputs, in hexadecimal. It is an input of later stages.
    pub fn outputs_hash(&self) -> String {
        hash_of(&self.outputs)
    }

    /// Names of the output files that changed or are missing in `folder`.
    pub fn damaged(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut damaged = Vec::new();
        for (name, hash) in &self.outputs {
            if file_hash(&folder.join(name))?.as_ref() != Some(hash) {
                damaged.push(name.clone());
            }
        }
        Ok(damaged)
    }
}

/// The inputs and outputs of each stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the file's format.
    pub format: u32,
    /// The folder of each stage when it last ran or was skipped.
    pub current: BTreeMap<Stage, String>,
    /// All finished runs of stages, by folder. Includes runs with earlier inputs, so that undoing an edit
    /// needs no new run.
    pub runs: BTreeMap<String, StageRun>,
}

impl Default for Manifest {
    fn default() -> Self {
        Manifest { format: Manifest::FORMAT, current: BTreeMap::new(), runs: BTreeMap::new() }
    }
}

impl Manifest {
    /// Version of the format that this program writes.
    pub const FORMAT: u32 = 1;
    /// Name of the file.
    pub const FILE: &'static str = "manifest.json";

    /// Reads the manifest in `folder`. Returns an empty one if there is no file.
    ///
    /// # Errors
    ///
    /// * [`PipelineError::Io`] if the file cannot be read.
    /// * [`PipelineError::Manifest`] if it is damaged or has another version.
    pub fn read(folder: &Path) -> Result<Manifest, PipelineError> {
        let path = folder.join(Manifest::FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Manifest::default()),
            Err(error) => return Err(PipelineError::io("read", &path)(error)),
        };
        let damaged = |reason: String| PipelineError::Manifest { path: path.clone(), reason };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        match manifest.format {
            Manifest::FORMAT => Ok(manifest),
            other => Err(damaged(format!("its format is {other}, this program reads {}", Manifest::FORMAT))),
        }
    }

    /// Writes the manifest, atomically.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Io`] if the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), PipelineError> {
        let path = folder.join(Manifest::FILE);
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest is plain values");
        text.push(b'\n');
        atomic::write(&path, |file| file.write_all(&text)).map_err(PipelineError::io("write", &path))
    }
}

/// SHA-256 of a file, in hexadecimal. `None` if there is no such file.
pub(super) fn file_hash(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(hex(Sha256::digest(bytes)))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn hash_of(entries: &BTreeMap<String, String>) -> String {
    hex(Sha256::digest(serde_json::to_vec(entries).expect("texts by name are plain values")))
}
