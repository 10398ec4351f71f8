//! Errors of a pipeline.

use std::path::PathBuf;

use super::Stage;
use crate::align::estimate::Collapse;
use crate::error::ErrorKind;
use crate::file::FileError;
use crate::settings::SettingsError;

/// Why a pipeline could not start or continue. Variants are grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A file could not be read or written: check path, permissions and disk space. A retry may help.
    #[error(transparent)]
    Io(#[from] FileError),

    /// Settings are out of range: correct them.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// The manifest is damaged, or another version of the program wrote it: delete it. The next run then
    /// rebuilds it. That takes little time for finished stages whose folders still exist.
    #[error("{} cannot be used: {reason}; delete it, and the next run rebuilds it", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Another run uses the folder: wait for it, or name another folder.
    #[error("another run uses {}: wait for it, or name another folder", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },

    /// The given reward model changed during the run: run again. The new run repeats the stages that depend
    /// on it.
    #[error("the reward model in {} changed during the run; run again to use the new files", path.display())]
    SourceChanged {
        /// The folder of the reward model.
        path: PathBuf,
    },

    /// The folder already has a settings file: edit it, or name another folder.
    #[error("{} already exists: edit it, or name another folder", path.display())]
    Occupied {
        /// The settings file.
        path: PathBuf,
    },

    /// The principles of a new folder cannot be used: correct them.
    #[error("{reason}")]
    Principles {
        /// What is wrong with them, and what to do.
        reason: String,
    },

    /// The policy collapsed, and its training was stopped: raise the KL coefficient (`align.kl.coefficient`),
    /// lower `align.optimizer.learning_rate`, or check in the rollouts which replies get high rewards.
    #[error(
        "stage {} was stopped at step {step}: {sign}; raise align.kl.coefficient, lower \
         align.optimizer.learning_rate, or check in {} which replies get high rewards",
        Stage::Align,
        rollouts.display()
    )]
    Collapsed {
        /// The sign of the collapse.
        sign: Collapse,
        /// The step whose rollout showed the collapse.
        step: u64,
        /// The folder of the rollouts.
        rollouts: PathBuf,
    },

    /// The caller cancelled. Finished stages stay done. The state of this stage is saved, and the next run
    /// resumes it.
    #[error("stage {stage} was cancelled; the next run resumes it")]
    Cancelled {
        /// The stage.
        stage: Stage,
    },

    /// A stage failed: `source` is the reason.
    #[error("stage {stage} failed")]
    Stage {
        /// The stage.
        stage: Stage,
        /// The stage's error.
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
            PipelineError::Principles { .. } => ErrorKind::Principles,
            PipelineError::Busy { .. }
            | PipelineError::Occupied { .. }
            | PipelineError::SourceChanged { .. } => ErrorKind::Run,
            PipelineError::Collapsed { .. } => ErrorKind::Diverged,
            PipelineError::Cancelled { .. } => ErrorKind::Cancelled,
            PipelineError::Stage { source, .. } => source.kind(),
        }
    }

    /// A closure for `map_err` that adds the stage to an error or a cancel.
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
