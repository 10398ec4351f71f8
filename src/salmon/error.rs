//! What can go wrong between the stages.

use std::path::PathBuf;

use super::Stage;
use crate::align::estimate::Collapse;
use crate::error::ErrorKind;
use crate::file::FileError;
use crate::settings::SettingsError;

/// Why a pipeline could not be set up or go on, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A file could not be read or written: check path, permissions and space; a retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// Settings are outside their range: correct them.
    #[error(transparent)]
    Settings(#[from] SettingsError),

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

    /// The given reward model was changed during the run: run again, and the stages that depend on it are redone.
    #[error("the reward model in {} was changed during the run; run again to use it as it is now", path.display())]
    SourceChanged {
        /// The folder of the reward model.
        path: PathBuf,
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

    /// The caller cancelled. Finished stages stay done, and the state of this one is saved: another run resumes it.
    #[error("stage {stage} was cancelled; another run resumes it")]
    Cancelled {
        /// The stage.
        stage: Stage,
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
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PipelineError::Io(file) => file.kind(),
            PipelineError::Settings(source) => source.kind(),
            PipelineError::Manifest { .. } => ErrorKind::Format,
            PipelineError::Busy { .. }
            | PipelineError::Occupied { .. }
            | PipelineError::SourceChanged { .. } => ErrorKind::Run,
            PipelineError::Collapsed { .. } => ErrorKind::Diverged,
            PipelineError::Cancelled { .. } => ErrorKind::Cancelled,
            PipelineError::Stage { source, .. } => source.kind(),
        }
    }

    /// A closure for `map_err`: names the stage of a failure, or of a cancel.
    pub(super) fn at<E: Into<crate::Error>>(stage: Stage) -> impl FnOnce(E) -> PipelineError {
        move |error| {
            let source: crate::Error = error.into();
            if source.is_cancelled() {
                PipelineError::Cancelled { stage }
            } else {
                PipelineError::Stage { stage, source: Box::new(source) }
            }
        }
    }
}
