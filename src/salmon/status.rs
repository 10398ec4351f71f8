//! The status of a stage, which decides what a run does with it.

use std::fmt;

use super::{Inputs, Manifest, Stage};

/// Status of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageStatus {
    /// The manifest lists a run with these inputs, and its output files are unchanged. A run skips the stage.
    Done,
    /// The folder for these inputs exists, but the stage did not finish. A run resumes it.
    Unfinished,
    /// The manifest lists a run with these inputs, but these output files changed or are missing. A run
    /// rebuilds them in the same folder.
    Damaged(Vec<String>),
    /// The stage last ran with other inputs. These differ. A run starts it again in a new folder.
    Changed(Vec<String>),
    /// The stage never ran. A run starts it.
    Pending,
    /// An earlier stage is not done, so the inputs are not known.
    Waiting,
}

impl StageStatus {
    /// Status of `stage` for `inputs`. `damaged` lists the changed or missing output files of the run with
    /// these inputs. `begun` is true if the folder of that run exists.
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
            None => StageStatus::Pending,
        }
    }
}

impl fmt::Display for StageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageStatus::Done => f.write_str("done"),
            StageStatus::Unfinished => f.write_str("unfinished"),
            StageStatus::Damaged(files) => write!(f, "damaged: {}", files.join(", ")),
            StageStatus::Changed(inputs) => write!(f, "changed: {}", inputs.join(", ")),
            StageStatus::Pending => f.write_str("pending"),
            StageStatus::Waiting => f.write_str("waiting for an earlier stage"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_prints_the_word_in_the_guide() {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let all = [
            (StageStatus::Done, "done"),
            (StageStatus::Unfinished, "unfinished"),
            (StageStatus::Changed(names(["principles", "settings"])), "changed: principles, settings"),
            (
                StageStatus::Damaged(names(["report.json", "report.html"])),
                "damaged: report.json, report.html",
            ),
            (StageStatus::Pending, "pending"),
            (StageStatus::Waiting, "waiting for an earlier stage"),
        ];
        let guide = include_str!("../guide/salmon.md");
        for (status, printed) in all {
            assert_eq!(status.to_string(), printed);
            let word = printed.split(':').next().unwrap_or_default();
            assert!(guide.contains(&format!("\n| {word} |")), "the guide has no row for `{word}`");
        }
    }
}
