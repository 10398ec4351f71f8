//! What comes from outside the stages, and what each of them is made from.

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

/// Everything that the stages take from files outside their folders, read once.
///
/// Stages get these values and no paths. So a file that is edited during a run changes nothing in that run, and
/// the hash that the manifest records is that of the text that was used. Only the files of a given reward model
/// are opened by the stages: [`PipelineError::SourceChanged`] if they are not as they were.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The settings; names of files in the pipeline's folder have become paths.
    pub config: PipelineConfig,
    base: String,
    /// The prompts of all stages.
    pub(super) prompts: Prompts,
    /// Those of the comparison, if it has its own.
    pub(super) held_out: Option<Prompts>,
    /// For self-alignment.
    pub(super) rules: Option<(PrincipleSet, Exemplars)>,
    /// Replies are judged, and the reward model is trained, under these; none where it is given.
    pub(super) principles: Option<PrincipleSet>,
    /// The policy is judged by these; empty without a policy and a comparison.
    pub(super) guidelines: Vec<PrincipleSet>,
    /// Hash of the files of a given reward model.
    reward_model: Option<String>,
}

impl Sources {
    /// Finds and reads everything; `base_sha256` is the base's [`Checkpoint::content_hash`].
    ///
    /// # Errors
    ///
    /// * [`PipelineError::Settings`] if settings are out of range;
    /// * [`PipelineError::Io`] if the prompts cannot be read, or a file of the reward model that is given;
    /// * [`PipelineError::Stage`] if prompts, rules, exemplars or principles have mistakes, or the reward model
    ///   is not at its path.
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
                *path = found(folder, path);
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

    /// `Ok` if the files of a given reward model are as they were when they were hashed: to be called after they
    /// were opened.
    pub(super) fn check_reward_model(&self) -> Result<(), PipelineError> {
        match (&self.config.stages.reward_model, &self.reward_model) {
            (Some(path), Some(hash)) if adapter_hash(path)? != *hash => {
                Err(PipelineError::SourceChanged { path: path.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What `stage` is made from, where the stages before it have left what `done` says; none if one of
    /// those that it builds on is missing there.
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
                // What they lead to is hashed, where it lies makes no difference.
                settings.principles.clear();
                inputs.add("settings", settings_hash(&settings));
                inputs.add("prompts", self.prompts.sha256());
                inputs.add("principles", principles);
                made(&mut inputs, Stage::SelfAlign)?;
            }
            Stage::Reward => {
                // How the factors are written is no matter of training, but of what is left.
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

/// The prompts of a file, which `stage` is the first to use.
fn read_prompts(path: &Path, stage: Stage) -> Result<Prompts, PipelineError> {
    Prompts::read(path).map_err(|error| match error {
        PreferencesError::Io(file) => PipelineError::Io(file),
        error => PipelineError::at(stage)(error),
    })
}

/// The sets that a policy is judged by.
pub(super) fn guideline_sets(names: &[String]) -> Result<Vec<PrincipleSet>, PrinciplesError> {
    names.iter().map(|name| Selection::open(name).map(Selection::into_set)).collect()
}

/// The same for replies that are steered: the principles that they are to keep to, and the interventions that
/// stand before them.
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

/// Hash of the files of the adapter at `path`, and not [`Adapter::sha256`]: that takes a model to open the adapter
/// for, which `parr salmon status` does not load, and leaves out the card, which holds how inputs are made.
fn adapter_hash(path: &Path) -> Result<String, PipelineError> {
    let files = Adapter::files(path).map_err(PipelineError::at(Stage::Align))?;
    let hash = |path: &PathBuf| file_hash(path).map_err(PipelineError::io("read", path));
    Ok(settings_hash(&files.iter().map(hash).collect::<Result<Vec<_>, _>>()?))
}

/// A name in the settings, `SET`, `FILE`, or either with `:ID,ID` behind it: a file in the pipeline's folder
/// goes before a set that comes with Parr.
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
