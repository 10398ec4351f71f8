//! What comes from outside the stages, and what each of them is made from.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::manifest::file_hash;
use super::{Inputs, PipelineConfig, PipelineError, Stage, StageRun};
use crate::adapter::Adapter;
use crate::align::Guidelines;
use crate::file::AtFile;
use crate::principles::{Exemplars, PrincipleSet, PrinciplesError, Selection, Use};
use crate::settings::Settings;
use crate::settings::settings_hash;

/// The settings as stages take them, with paths that lead somewhere, and hashes of what they lead to.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The settings; names of files in the pipeline's folder have become paths.
    pub config: PipelineConfig,
    base: String,
    prompts: String,
    rules: String,
    exemplars: String,
    principles: String,
    guidelines: String,
    reward_model: String,
    asked: String,
}

impl Sources {
    /// Finds and reads everything; `base_sha256` is what [`Checkpoint::content_hash`] says of the base.
    ///
    /// # Errors
    ///
    /// * [`PipelineError::Io`] if the prompts cannot be read, or a file of the reward model that is given.
    /// * [`PipelineError::Stage`] if rules, exemplars or principles have mistakes, settings are out of range, or
    ///   no reward model is where one is said to be.
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

        let prompts = prompts_hash(&config.prompts)?;
        let mut asked = prompts.clone();
        if let Some(path) = config.comparison.prompts.as_mut().filter(|_| config.stages.comparison) {
            *path = found(folder, path);
            asked = prompts_hash(path)?;
        }
        let (mut principles, mut reward_model) = (String::new(), String::new());
        match &mut config.stages.reward_model {
            Some(path) => {
                *path = found(folder, path);
                reward_model = adapter_hash(path)?;
            }
            None => {
                let set = PrincipleSet::open_all(&config.preferences.principles);
                principles = set.map_err(PipelineError::at(Stage::Preferences))?.sha256;
            }
        }
        let mut guidelines = String::new();
        if config.stages.align || config.stages.comparison {
            let sets = guideline_sets(&config.guidelines).map_err(PipelineError::at(Stage::Align))?;
            if config.stages.comparison {
                steering_sets(sets.clone()).map_err(PipelineError::at(Stage::Comparison))?;
            }
            guidelines = Guidelines::new(sets).sha256();
        }
        let (mut rules, mut exemplars) = (String::new(), String::new());
        if config.stages.self_align {
            let at = PipelineError::at(Stage::SelfAlign);
            let set = PrincipleSet::open(&config.self_align.rules).map_err(at)?;
            let shown = Exemplars::open(&config.self_align.exemplars, &set);
            exemplars = shown.map_err(PipelineError::at(Stage::SelfAlign))?.sha256;
            rules = set.sha256;
        }
        let base = base_sha256.to_owned();
        Ok(Sources { config, base, prompts, rules, exemplars, principles, guidelines, reward_model, asked })
    }

    /// What `stage` is made from, where the stages before it have left what `done` says; none if one of
    /// those that it builds on is missing there.
    pub fn inputs(&self, stage: Stage, done: &BTreeMap<Stage, StageRun>) -> Option<Inputs> {
        let PipelineConfig { self_align, preferences, reward, evaluation, align, comparison, .. } =
            &self.config;
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
                inputs.add("prompts", &self.prompts);
                inputs.add("rules", &self.rules);
                inputs.add("exemplars", &self.exemplars);
            }
            Stage::Preferences => {
                let mut settings = preferences.clone();
                // What they lead to is hashed, where it lies makes no difference.
                settings.principles.clear();
                inputs.add("settings", settings_hash(&settings));
                inputs.add("prompts", &self.prompts);
                inputs.add("principles", &self.principles);
                made(&mut inputs, Stage::SelfAlign)?;
            }
            Stage::Reward => {
                // How the factors are written is no matter of training, but of what is left.
                inputs.add("settings", settings_hash(&(reward.hash(), reward.factors)));
                inputs.add("principles", &self.principles);
                made(&mut inputs, Stage::SelfAlign)?;
                made(&mut inputs, Stage::Preferences)?;
            }
            Stage::Evaluation => {
                inputs.add("settings", settings_hash(&evaluation.limit));
                inputs.add("principles", &self.principles);
                made(&mut inputs, Stage::Preferences)?;
                made(&mut inputs, Stage::Reward)?;
            }
            Stage::Align => {
                inputs.add("settings", align.hash());
                inputs.add("prompts", &self.prompts);
                inputs.add("guidelines", &self.guidelines);
                made(&mut inputs, Stage::SelfAlign)?;
                made(&mut inputs, Stage::Reward)?;
                self.given_reward_model(&mut inputs);
            }
            Stage::Comparison => {
                inputs.add("settings", comparison.hash());
                inputs.add("prompts", &self.asked);
                inputs.add("guidelines", &self.guidelines);
                made(&mut inputs, Stage::Reward)?;
                made(&mut inputs, Stage::Align)?;
                self.given_reward_model(&mut inputs);
            }
        }
        Some(inputs)
    }

    fn given_reward_model(&self, inputs: &mut Inputs) {
        if self.config.stages.reward_model.is_some() {
            inputs.add("reward model", &self.reward_model);
        }
    }
}

/// Hash of a file of prompts, which has to be there.
fn prompts_hash(path: &Path) -> Result<String, PipelineError> {
    let hash = file_hash(path).and_then(|hash| hash.ok_or(ErrorKind::NotFound.into()));
    hash.map_err(PipelineError::io("read", path))
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

/// A path in the settings: from the pipeline's folder, if something is there, or as it stands.
fn found(folder: &Path, path: &Path) -> PathBuf {
    Some(folder.join(path)).filter(|path| path.exists()).unwrap_or_else(|| path.to_owned())
}

/// Hash of the files of the adapter at `path`.
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
