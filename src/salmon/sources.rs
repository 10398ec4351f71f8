//! The files that the stages read, and the inputs of each stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::manifest::file_hash;
use super::{Inputs, PipelineConfig, PipelineError, Stage, StageRun};
use crate::adapter::Adapter;
use crate::align::Guidelines;
use crate::file::AtFile;
use crate::preferences::{PreferencesError, Prompts};
use crate::principles::{Exemplars, PrincipleSet, PrinciplesError, Selection, Use};
use crate::settings::Settings;
use crate::settings::settings_hash;

/// Contents of all files outside the stages' folders that the stages use, read once.
///
/// Stages get these values, not paths. So an edit during a run does not change that run, and the manifest
/// records the hashes of the texts that were used. The files of a given reward model are an exception: stages
/// open them. If they changed, the error is [`PipelineError::SourceChanged`].
#[derive(Clone, Debug)]
pub struct Sources {
    /// The settings. Names of files in the pipeline's folder are replaced by paths.
    pub config: PipelineConfig,
    base: String,
    /// The prompts of all stages.
    pub(super) prompts: Prompts,
    /// The prompts of the comparison, if it has its own.
    pub(super) held_out: Option<Prompts>,
    /// Rules and exemplars of self-alignment.
    pub(super) rules: Option<(PrincipleSet, Exemplars)>,
    /// Principles of the judge and of the reward model's training. `None` with a given reward model.
    pub(super) principles: Option<PrincipleSet>,
    /// Principles that score the policy. Empty if neither `align` nor `comparison` runs.
    pub(super) guidelines: Vec<PrincipleSet>,
    /// Hash of the files of a given reward model.
    reward_model: Option<String>,
}

impl Sources {
    /// Finds and reads all files. `base_sha256` is the base's [`Checkpoint::content_hash`].
    ///
    /// # Errors
    ///
    /// * [`PipelineError::Settings`] if settings are out of range;
    /// * [`PipelineError::Io`] if the prompts or a file of a given reward model cannot be read;
    /// * [`PipelineError::Stage`] if prompts, rules, exemplars or principles have mistakes, or the path of
    ///   the reward model does not exist.
    ///
    /// [`Checkpoint::content_hash`]: crate::format::Checkpoint::content_hash
    pub fn find(folder: &Path, config: &PipelineConfig, base_sha256: &str) -> Result<Sources, PipelineError> {
        config.validate()?;
        let mut config = config.clone();
        config.prompts = folder.join(&config.prompts);
        for name in config.preferences.principles.iter_mut().chain(&mut config.guidelines) {
            *name = resolve(folder, name);
        }
        let rules = &mut config.self_align.rules;
        *rules = resolve(folder, rules);
        let exemplars = &mut config.self_align.exemplars;
        *exemplars = resolve(folder, exemplars);

        let stages = config.stages();
        let prompts = read_prompts(&config.prompts, stages.first().copied().unwrap_or(Stage::ALL[0]))?;
        let mut held_out = None;
        if let Some(path) = config.comparison.prompts.as_mut().filter(|_| config.stages.comparison) {
            *path = found(folder, path);
            held_out = Some(read_prompts(path, Stage::Comparison)?);
        }
        let (mut principles, mut reward_model) = (None, None);
        match &mut config.stages.reward_model {
            Some(path) => {
                let name = crate::reward::resolve(path).map_err(PipelineError::at(Stage::Align))?;
                *path = found(folder, &name);
                reward_model = Some(adapter_hash(path)?);
            }
            None => {
                let set = PrincipleSet::open_all(&config.preferences.principles);
                principles = Some(set.map_err(PipelineError::at(Stage::Preferences))?);
            }
        }
        let mut guidelines = Vec::new();
        if config.stages.align || config.stages.comparison {
            guidelines = guideline_sets(&config.guidelines).map_err(PipelineError::at(Stage::Align))?;
        }
        if config.stages.comparison {
            steering_sets(guidelines.clone()).map_err(PipelineError::at(Stage::Comparison))?;
        }
        let mut rules = None;
        if config.stages.self_align {
            rules = Some(config.self_align.open_rules().map_err(PipelineError::at(Stage::SelfAlign))?);
        }
        let base = base_sha256.to_owned();
        Ok(Sources { config, base, prompts, held_out, rules, principles, guidelines, reward_model })
    }

    /// The prompts of the comparison.
    pub(super) fn compared(&self) -> &Prompts {
        self.held_out.as_ref().unwrap_or(&self.prompts)
    }

    /// `Ok` if the files of a given reward model still have the same hash. Call this after the files are
    /// opened.
    pub(super) fn check_reward_model(&self) -> Result<(), PipelineError> {
        match (&self.config.stages.reward_model, &self.reward_model) {
            (Some(path), Some(hash)) if adapter_hash(path)? != *hash => {
                Err(PipelineError::SourceChanged { path: path.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The inputs of `stage`. `done` holds the finished runs of earlier stages. `None` if it lacks a stage
    /// that `stage` depends on.
    pub fn inputs(&self, stage: Stage, done: &BTreeMap<Stage, StageRun>) -> Option<Inputs> {
        let PipelineConfig { self_align, preferences, reward, evaluation, align, comparison, .. } =
            &self.config;
        let principles = self.principles.as_ref().map_or("", |set| &set.sha256);
        let guidelines = || Guidelines::new(self.guidelines.clone()).sha256();
        let mut inputs = Inputs::default();
        inputs.add("base", &self.base);
        let made = |inputs: &mut Inputs, earlier: Stage| {
            if self.config.stages().contains(&earlier) {
                inputs.add(&format!("what {earlier} left"), done.get(&earlier)?.outputs_hash());
            }
            Some(())
        };
        match stage {
            Stage::SelfAlign => {
                let settings = (self_align.answers_hash(), self_align.distill.hash());
                inputs.add("settings", settings_hash(&settings));
                inputs.add("prompts", self.prompts.sha256());
                if let Some((rules, exemplars)) = &self.rules {
                    inputs.add("rules", rules.sha256.as_str());
                    inputs.add("exemplars", exemplars.sha256.as_str());
                }
            }
            Stage::Preferences => {
                let mut settings = preferences.clone();
                // The contents of the principles are hashed below, not their paths.
                settings.principles.clear();
                inputs.add("settings", settings_hash(&settings));
                inputs.add("prompts", self.prompts.sha256());
                inputs.add("principles", principles);
                made(&mut inputs, Stage::SelfAlign)?;
            }
            Stage::Reward => {
                // The number format of the adapter's file changes the output, but not the training.
                inputs.add("settings", settings_hash(&(reward.hash(), reward.factors)));
                inputs.add("principles", principles);
                made(&mut inputs, Stage::SelfAlign)?;
                made(&mut inputs, Stage::Preferences)?;
            }
            Stage::Evaluation => {
                inputs.add("settings", settings_hash(&evaluation.limit));
                inputs.add("principles", principles);
                made(&mut inputs, Stage::Preferences)?;
                made(&mut inputs, Stage::Reward)?;
            }
            Stage::Align => {
                inputs.add("settings", align.hash());
                inputs.add("prompts", self.prompts.sha256());
                inputs.add("guidelines", guidelines());
                made(&mut inputs, Stage::SelfAlign)?;
                made(&mut inputs, Stage::Reward)?;
                self.given_reward_model(&mut inputs);
            }
            Stage::Comparison => {
                inputs.add("settings", comparison.hash());
                inputs.add("prompts", self.compared().sha256());
                inputs.add("guidelines", guidelines());
                made(&mut inputs, Stage::Reward)?;
                made(&mut inputs, Stage::Align)?;
                self.given_reward_model(&mut inputs);
            }
        }
        Some(inputs)
    }

    fn given_reward_model(&self, inputs: &mut Inputs) {
        if let Some(hash) = &self.reward_model {
            inputs.add("reward model", hash);
        }
    }
}

/// Reads the prompts of a file. `stage` is the first that uses them.
fn read_prompts(path: &Path, stage: Stage) -> Result<Prompts, PipelineError> {
    Prompts::read(path).map_err(|error| match error {
        PreferencesError::Io(file) => PipelineError::Io(file),
        error => PipelineError::at(stage)(error),
    })
}

/// Opens the sets of principles that score the policy.
pub(super) fn guideline_sets(names: &[String]) -> Result<Vec<PrincipleSet>, PrinciplesError> {
    names.iter().map(|name| Selection::open(name).map(Selection::into_set)).collect()
}

/// Splits the sets for steering: the principles that replies should follow, and the interventions, which come
/// before the principles.
pub(super) fn steering_sets(
    sets: Vec<PrincipleSet>,
) -> Result<(PrincipleSet, Option<PrincipleSet>), PrinciplesError> {
    let (fixed, principles): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| set.uses == Use::Always);
    if principles.is_empty() || fixed.is_empty() {
        return Ok((PrincipleSet::joined([principles, fixed].concat())?, None));
    }
    Ok((PrincipleSet::joined(principles)?, Some(PrincipleSet::joined(fixed)?)))
}

/// A path in the settings: relative to the pipeline's folder if it exists there, otherwise unchanged.
fn found(folder: &Path, path: &Path) -> PathBuf {
    Some(folder.join(path)).filter(|path| path.exists()).unwrap_or_else(|| path.to_owned())
}

/// Hash of the files of the adapter at `path`. [`Adapter::sha256`] does not fit here for two reasons. It
/// needs a loaded model, which `parr salmon status` does not have. It leaves out the card, which holds the
/// format of inputs.
fn adapter_hash(path: &Path) -> Result<String, PipelineError> {
    let files = Adapter::files(path).map_err(PipelineError::at(Stage::Align))?;
    let hash = |path: &PathBuf| file_hash(path).map_err(PipelineError::io("read", path));
    Ok(settings_hash(&files.iter().map(hash).collect::<Result<Vec<_>, _>>()?))
}

/// Resolves a name in the settings: `SET` or `FILE`, optionally followed by `:ID,ID`. A file in the
/// pipeline's folder takes precedence over a shipped set.
pub(super) fn resolve(folder: &Path, name: &str) -> String {
    let in_folder = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    let shown = |path: PathBuf| path.to_string_lossy().into_owned();
    if let Some(path) = in_folder(name) {
        return shown(path);
    }
    match name.rsplit_once(':') {
        Some((file, ids)) => in_folder(file).map_or(name.to_owned(), |path| format!("{}:{ids}", shown(path))),
        None => name.to_owned(),
    }
}
