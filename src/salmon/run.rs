//! The run: one stage after the other, each only where it is needed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::manifest::file_hash;
use super::work::{Event, Work};
use super::{Manifest, PipelineConfig, PipelineError, Sources, Stage, StageRun, StageStatus};
use crate::file::AtFile;
use crate::lock::FolderLock;
use crate::model::Model;
use crate::settings::Settings;
use crate::train::{Control, base_sha256};

/// The stages in one folder.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline<'a> {
    /// The base, which stays as it is.
    pub model: &'a Model,
    /// Where everything is: settings, prompts, principles, the manifest, and a folder for each stage.
    pub folder: &'a Path,
    /// The settings.
    pub config: &'a PipelineConfig,
}

/// A stage that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The stage.
    pub stage: Stage,
    /// Where it left what it made.
    pub folder: PathBuf,
    /// How it stood before: whether anything had to be done.
    pub stood: StageStatus,
}

impl Pipeline<'_> {
    /// Runs every stage that is not done. `hear` is told what goes on. After a cancel nothing is returned,
    /// and another call goes on.
    ///
    /// # Errors
    ///
    /// * [`PipelineError::Settings`] if settings are out of range, before anything is written;
    /// * [`PipelineError::Io`] if the folder, the prompts or the manifest cannot be read or written;
    /// * [`PipelineError::Manifest`] if the manifest is damaged;
    /// * [`PipelineError::Busy`] if another run works in the folder, where the system can tell;
    /// * [`PipelineError::SourceChanged`] if a given reward model was changed during the run;
    /// * [`PipelineError::Stage`] if a stage fails; those before it stay done.
    pub fn run(
        &self,
        control: &Control,
        hear: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Vec<Made>>, PipelineError> {
        let Pipeline { model, folder, config } = *self;
        config.validate()?;
        let lock = FolderLock::take(folder).map_err(PipelineError::io("lock", folder))?;
        let _lock = lock.ok_or_else(|| PipelineError::Busy { folder: folder.to_owned() })?;
        let base = base_sha256(model).map_err(PipelineError::at(Stage::ALL[0]))?;
        // Read once: what a stage uses hours later is what is hashed here.
        let sources = Sources::find(folder, config, &base)?;
        let mut manifest = Manifest::read(folder)?;
        let (mut done, mut made) = (BTreeMap::new(), Vec::new());
        let stages = config.stages();
        for (place, &stage) in stages.iter().enumerate() {
            let inputs = sources.inputs(stage, &done).expect("the stages before it have been run");
            let name = inputs.folder(stage);
            let path = folder.join(&name);
            let stood = stand(folder, &manifest, stage, &inputs)?;
            hear(Event::Stage { stage, number: place + 1, of: stages.len(), stands: &stood, folder: &path });
            if stood != StageStatus::Done {
                fs::create_dir_all(&path).map_err(PipelineError::io("create", &path))?;
                let work =
                    Work { model, sources: &sources, root: folder, done: &manifest.current, out: &path };
                if work.run(stage, control, hear)?.is_none() {
                    return Ok(None);
                }
                let outputs = outputs(stage, &path)?;
                manifest.runs.insert(name.clone(), StageRun { stage, inputs, outputs });
            }
            done.insert(stage, manifest.runs[&name].clone());
            if stood != StageStatus::Done || manifest.current.get(&stage) != Some(&name) {
                manifest.current.insert(stage, name);
                manifest.write(folder)?;
            }
            made.push(Made { stage, folder: path, stood });
        }
        Ok(Some(made))
    }
}

/// How each stage in `folder` stands, without running anything; `base_sha256` is what
/// [`Checkpoint::content_hash`](crate::format::Checkpoint::content_hash) says of the base. The folder of a stage
/// that waits for another is not known yet.
///
/// # Errors
///
/// As [`Pipeline::run`], but for what running takes.
pub fn status(
    folder: &Path,
    config: &PipelineConfig,
    base_sha256: &str,
) -> Result<Vec<(Stage, StageStatus, Option<PathBuf>)>, PipelineError> {
    let sources = Sources::find(folder, config, base_sha256)?;
    let manifest = Manifest::read(folder)?;
    let mut done = BTreeMap::new();
    let mut all = Vec::new();
    for stage in config.stages() {
        let Some(inputs) = sources.inputs(stage, &done) else {
            all.push((stage, StageStatus::Waiting, None));
            continue;
        };
        let stands = stand(folder, &manifest, stage, &inputs)?;
        let name = inputs.folder(stage);
        if stands == StageStatus::Done {
            done.insert(stage, manifest.runs[&name].clone());
        }
        all.push((stage, stands, Some(folder.join(name))));
    }
    Ok(all)
}

/// How a stage stands that is to be made from `inputs`.
fn stand(
    folder: &Path,
    manifest: &Manifest,
    stage: Stage,
    inputs: &super::Inputs,
) -> Result<StageStatus, PipelineError> {
    let name = inputs.folder(stage);
    let path = folder.join(&name);
    let damaged = match manifest.runs.get(&name) {
        Some(run) => run.damaged(&path).map_err(PipelineError::io("read", &path))?,
        None => Vec::new(),
    };
    Ok(StageStatus::of(manifest, stage, inputs, damaged, path.is_dir()))
}

/// Hashes of what a stage left.
fn outputs(stage: Stage, folder: &Path) -> Result<BTreeMap<String, String>, PipelineError> {
    let mut outputs = BTreeMap::new();
    for name in stage.outputs() {
        let path = folder.join(name);
        if let Some(hash) = file_hash(&path).map_err(PipelineError::io("read", &path))? {
            outputs.insert((*name).to_owned(), hash);
        }
    }
    Ok(outputs)
}
