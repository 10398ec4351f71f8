//! What can go wrong between the stages.

use std::io;
use std::path::{Path, PathBuf};

use super::Stage;
use crate::train::rollout::Collapse;

/// Why a pipeline could not be set up or go on, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A file could not be read or written: check path, permissions and space; a retry may help.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// Settings are outside their range: correct them.
    #[error("the settings are not usable")]
    Settings {
        /// Which, and what they may be.
        source: Box<crate::Error>,
    },

    /// The manifest is damaged, or of another version of the program: take it away, and finished stages are
    /// made anew, which takes little time where their folders are still there.
    #[error("{} cannot be used: {reason}; without it, stages are looked through again", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Another run works in the folder: wait for it, or name another folder.
    #[error("another run works in {}", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },

    /// The folder has a settings file already: edit that, or name another folder.
    #[error("{} is there already: edit it, or name another folder", path.display())]
    Occupied {
        /// The settings file.
        path: PathBuf,
    },

    /// The policy collapsed, and its training was given up: raise what a step away from the start costs
    /// (`align.kl.coefficient`), lower `align.optimizer.learning_rate`, or see the rollouts for what the reward
    /// model likes.
    #[error(
        "stage {} was given up in step {step}: {sign}; raise align.kl.coefficient, lower \
         align.optimizer.learning_rate, or see {} for what the reward model likes",
        Stage::Align,
        rollouts.display()
    )]
    Collapsed {
        /// The sign.
        sign: Collapse,
        /// The step whose rollout showed it.
        step: u64,
        /// The folder of the rollouts.
        rollouts: PathBuf,
    },

    /// A stage failed: its error says why.
    #[error("stage {stage} failed")]
    Stage {
        /// The stage.
        stage: Stage,
        /// Why.
        source: Box<crate::Error>,
    },
}

impl PipelineError {
    /// A closure for `map_err`: names the action and the path of an I/O failure.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PipelineError {
        move |source| PipelineError::Io { action, path: path.to_owned(), source }
    }

    /// A closure for `map_err`: names the stage of a failure.
    pub(super) fn at<E: Into<crate::Error>>(stage: Stage) -> impl FnOnce(E) -> PipelineError {
        move |error| PipelineError::Stage { stage, source: Box::new(error.into()) }
    }
}
