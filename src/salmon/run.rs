//! Runs the stages that are not done, one after the other.

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
///
/// ```no_run
/// use parr::Model;
/// use parr::salmon::{Event, Pipeline, PipelineConfig};
/// use parr::settings::Settings;
/// use parr::train::Control;
///
/// let config = PipelineConfig::read("runs/first/salmon.toml".as_ref())?;
/// let model = Model::open("smollm2")?;
/// let made = Pipeline::new(&model, "runs/first", &config).run(&Control::default(), &mut |event| {
///     if let Event::Stage { stage, number, of, .. } = event {
///         println!("stage {number} of {of}: {stage}");
///     }
/// })?;
/// println!("{} stages are done", made.len());
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pipeline<'a> {
    model: &'a Model,
    folder: PathBuf,
    config: &'a PipelineConfig,
}

/// A stage that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The stage.
    pub stage: Stage,
    /// Its folder, with its output files.
    pub folder: PathBuf,
    /// Its status before the run. [`StageStatus::Done`] if it was skipped.
    pub status: StageStatus,
}

impl<'a> Pipeline<'a> {
    /// The stages of `config` in `folder`. The folder holds prompts and principles. A run writes the manifest
    /// and one folder per stage to it.
    pub fn new(model: &'a Model, folder: impl Into<PathBuf>, config: &'a PipelineConfig) -> Pipeline<'a> {
        Pipeline { model, folder: folder.into(), config }
    }

    /// Runs every stage that is not done, and reports to `on_event`. A stage that was stopped resumes.
    ///
    /// # Errors
    ///
    /// * [`PipelineError::Cancelled`] after a cancel: another call resumes the stage;
    /// * [`PipelineError::Settings`] if settings are out of range, before anything is written;
    /// * [`PipelineError::Io`] if the folder, the prompts or the manifest cannot be read or written;
    /// * [`PipelineError::Manifest`] if the manifest is damaged;
    /// * [`PipelineError::Busy`] if another run uses the folder, on systems with file locks;
    /// * [`PipelineError::Stage`] if a stage fails. The stages before it stay done.
    pub fn run(
        &self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<Made>, PipelineError> {
        let Pipeline { model, folder, config } = self;
        config.validate()?;
        let lock = FolderLock::take(folder).map_err(PipelineError::io("lock", folder))?;
        let _lock = lock.ok_or_else(|| PipelineError::Busy { folder: folder.to_owned() })?;
        let base = base_sha256(model).map_err(PipelineError::at(Stage::ALL[0]))?;
        // Sources are read once, so that a stage that starts hours later uses the data that is hashed here.
        let sources = Sources::find(folder, config, &base)?;
        let mut manifest = Manifest::read(folder)?;
        let (mut done, mut made) = (BTreeMap::new(), Vec::new());
        let stages = config.stages();
        for (place, &stage) in stages.iter().enumerate() {
            let inputs = sources.inputs(stage, &done).expect("the stages before it have been run");
            let name = inputs.folder(stage);
            let path = folder.join(&name);
            let status = status_of(folder, &manifest, stage, &inputs)?;
            let (number, of) = (place + 1, stages.len());
            on_event(Event::Stage { stage, number, of, status: &status, folder: &path });
            if status != StageStatus::Done {
                fs::create_dir_all(&path).map_err(PipelineError::io("create", &path))?;
                let work =
                    Work { model, sources: &sources, root: folder, done: &manifest.current, out: &path };
                work.run(stage, control, on_event)?;
                let outputs = outputs(stage, &path)?;
                manifest.runs.insert(name.clone(), StageRun { stage, inputs, outputs });
            }
            done.insert(stage, manifest.runs[&name].clone());
            if status != StageStatus::Done || manifest.current.get(&stage) != Some(&name) {
                manifest.current.insert(stage, name);
                manifest.write(folder)?;
            }
            made.push(Made { stage, folder: path, status });
        }
        Ok(made)
    }
}

/// Returns the status and the folder of each stage in `folder`. Nothing is run. `base_sha256` is the base's
/// [`Checkpoint::content_hash`](crate::format::Checkpoint::content_hash). A stage that waits for an earlier
/// one has no folder.
///
/// # Errors
///
/// * [`PipelineError::Settings`] if settings are out of range;
/// * [`PipelineError::Io`] if the folder, the prompts or the manifest cannot be read;
/// * [`PipelineError::Manifest`] if the manifest is damaged;
/// * [`PipelineError::Stage`] if the inputs of a stage cannot be used.
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
        let status = status_of(folder, &manifest, stage, &inputs)?;
        let name = inputs.folder(stage);
        if status == StageStatus::Done {
            done.insert(stage, manifest.runs[&name].clone());
        }
        all.push((stage, status, Some(folder.join(name))));
    }
    Ok(all)
}

/// The status of a stage with `inputs`.
fn status_of(
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

/// Hashes of the output files of a stage.
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
