//! What was made from what: one file in the folder of a pipeline.

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

/// What a stage is made from: the name of each input, and a hash of it in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inputs(BTreeMap<String, String>);

impl Inputs {
    /// Adds one.
    pub fn add(&mut self, name: &str, hash: impl Into<String>) {
        self.0.insert(name.to_owned(), hash.into());
    }

    /// SHA-256 of all of them in hexadecimal.
    pub fn hash(&self) -> String {
        hash_of(&self.0)
    }

    /// The names of those that differ, in alphabetical order.
    pub fn differences(&self, other: &Inputs) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        let mut names: Vec<String> =
            names.filter(|name| self.0.get(*name) != other.0.get(*name)).cloned().collect();
        names.sort_unstable();
        names
    }

    /// The folder of the stage that is made from these: its name changes with any of them, so that what was
    /// made from others stays where it is.
    pub fn folder(&self, stage: Stage) -> String {
        format!("{stage}-{}", &self.hash()[..10])
    }
}

/// A stage that came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRun {
    /// The stage.
    pub stage: Stage,
    /// What it was made from.
    pub inputs: Inputs,
    /// SHA-256 in hexadecimal of each file that it left, by its path in the stage's folder.
    pub outputs: BTreeMap<String, String>,
}

impl StageRun {
    /// One hash of all outputs: what later stages are made from.
    pub fn outputs_hash(&self) -> String {
        hash_of(&self.outputs)
    }

    /// The outputs that are not in `folder` as they were left.
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

/// What was made from what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this file's form.
    pub format: u32,
    /// The folder of each stage, as the settings were when it last ran or was found to be done.
    pub current: BTreeMap<Stage, String>,
    /// Every stage that came to its end, by its folder; those that were made from other inputs too, so that
    /// an edit that is undone costs nothing.
    pub runs: BTreeMap<String, StageRun>,
}

impl Default for Manifest {
    fn default() -> Self {
        Manifest { format: Manifest::FORMAT, current: BTreeMap::new(), runs: BTreeMap::new() }
    }
}

impl Manifest {
    /// The version that this program writes.
    pub const FORMAT: u32 = 1;
    /// The file's name.
    pub const FILE: &'static str = "manifest.json";

    /// The manifest in `folder`; an empty one if there is none.
    ///
    /// # Errors
    ///
    /// * [`PipelineError::Io`] if it cannot be read.
    /// * [`PipelineError::Manifest`] if it is damaged, or of another version.
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
            other => Err(damaged(format!("its format is {other}, this program knows {}", Manifest::FORMAT))),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Io`] if it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), PipelineError> {
        let path = folder.join(Manifest::FILE);
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest is plain values");
        text.push(b'\n');
        atomic::write(&path, |file| file.write_all(&text)).map_err(PipelineError::io("write", &path))
    }
}

/// SHA-256 of a file in hexadecimal; none if there is no such file.
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
