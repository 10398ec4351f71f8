//! How a stage stands, and so what is to be done.

use std::fmt;

use super::{Inputs, Manifest, Stage};

/// How a stage stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageStatus {
    /// It was made from just these inputs, and what it left is as it was left: nothing is to be done.
    Done,
    /// It was begun from these inputs: it goes on.
    Unfinished,
    /// It was made from these inputs, but these files are not as it left them: it is made again as far as
    /// needed.
    Damaged(Vec<String>),
    /// It was made from others, which differ in these: it is made anew.
    Changed(Vec<String>),
    /// It was never made.
    Fresh,
    /// An earlier stage is not done, so what this one is made from is not known yet.
    Waiting,
}

impl StageStatus {
    /// How `stage` stands if it is to be made from `inputs`: `damaged` are the files of a run with these inputs
    /// that are not as it left them, `begun` says that the folder of such a run is there.
    pub fn of(
        manifest: &Manifest,
        stage: Stage,
        inputs: &Inputs,
        damaged: Vec<String>,
        begun: bool,
    ) -> StageStatus {
        let run = manifest.runs.get(&inputs.folder(stage)).filter(|run| run.inputs == *inputs);
        if run.is_some() {
            return if damaged.is_empty() { StageStatus::Done } else { StageStatus::Damaged(damaged) };
        }
        if begun {
            return StageStatus::Unfinished;
        }
        match manifest.current.get(&stage).and_then(|folder| manifest.runs.get(folder)) {
            Some(other) => StageStatus::Changed(inputs.differences(&other.inputs)),
            None => StageStatus::Fresh,
        }
    }
}

impl fmt::Display for StageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageStatus::Done => f.write_str("done"),
            StageStatus::Unfinished => f.write_str("begun"),
            StageStatus::Damaged(files) => write!(f, "to be mended: {} changed", files.join(", ")),
            StageStatus::Changed(inputs) => write!(f, "to be redone: {} changed", inputs.join(", ")),
            StageStatus::Fresh => f.write_str("to be done"),
            StageStatus::Waiting => f.write_str("waits for the stage before it"),
        }
    }
}
