//! The figures of training steps, and the logs that they are written to.
//!
//! Names are those of TRL and `transformers`, with `train/` and `eval/` before the slash, so that the curves
//! of both can be drawn in one plot.

mod crc32c;
mod event;
mod jsonl;
mod rollout;
mod tensorboard;

pub use jsonl::JsonlLog;
pub(super) use jsonl::last_record;
pub use rollout::{AlignMetrics, RolloutFigures, RolloutSample};
pub use tensorboard::TensorBoardLog;

use super::TrainError;

/// The metrics at one point of a run.
///
/// Every kind of training has its own type. A log needs only this trait.
pub trait Metrics {
    /// Number of finished optimizer steps.
    fn step(&self) -> u64;

    /// Name and value of each metric, in the order of a log. Values may be NaN or infinite.
    fn tags(&self) -> Vec<(&str, f64)>;

    /// The metric with this name, if it was measured.
    fn get(&self, name: &str) -> Option<f64> {
        self.tags().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// A log of metrics.
pub trait MetricsLog: Send {
    /// Appends one record. Once this returns, the operating system has it, so killing the process loses
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if it cannot be written.
    fn write(&mut self, metrics: &dyn Metrics) -> Result<(), TrainError>;

    /// Waits until all records are on disk, so that a power failure loses none. A run calls it before it
    /// saves a state, so that no log is behind the state that the run resumes from.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if the disk fails.
    fn sync(&mut self) -> Result<(), TrainError>;
}

/// One optimizer step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepMetrics {
    /// Number of finished optimizer steps, including this one.
    pub step: u64,
    /// `train/epoch`: passes over the rows so far, with the fraction of the current one.
    pub epoch: f64,
    /// `train/loss`: the objective's loss, as the mean over the step's targets, before the update.
    pub loss: f64,
    /// `train/learning_rate`: learning rate of the step.
    pub learning_rate: f64,
    /// `train/grad_norm`: global norm of the gradients, before clipping.
    pub grad_norm: f64,
    /// `train/num_tokens`: number of tokens of the run so far.
    pub num_tokens: u64,
    /// `train/num_targets`: number of predicted tokens of the step.
    pub num_targets: u64,
    /// `train/tokens_per_second`: tokens of the step divided by its seconds.
    pub tokens_per_second: f64,
    /// `train/step_seconds`: duration of the step, from its first row to its last weight.
    pub step_seconds: f64,
    /// `train/logprob_distance`: the largest difference between a token's log-probability in generation and
    /// in training, if it was measured.
    pub logprob_distance: Option<f64>,
    /// `eval/loss`: loss on the held-out rows, if it was measured.
    pub eval_loss: Option<f64>,
    /// Other metrics of the objective, under its own names.
    pub objective: Vec<(&'static str, f64)>,
    /// The same metrics on the held-out rows, under `eval/`, if they were measured.
    pub held_out: Vec<(String, f64)>,
}

impl Metrics for StepMetrics {
    fn step(&self) -> u64 {
        self.step
    }

    fn tags(&self) -> Vec<(&str, f64)> {
        let mut tags = vec![
            ("train/loss", self.loss),
            ("train/grad_norm", self.grad_norm),
            ("train/learning_rate", self.learning_rate),
            ("train/num_tokens", self.num_tokens as f64),
            ("train/num_targets", self.num_targets as f64),
            ("train/epoch", self.epoch),
            ("train/tokens_per_second", self.tokens_per_second),
            ("train/step_seconds", self.step_seconds),
        ];
        tags.extend(&self.objective);
        tags.extend(self.logprob_distance.map(|distance| ("train/logprob_distance", distance)));
        tags.extend(self.eval_loss.map(|loss| ("eval/loss", loss)));
        tags.extend(self.held_out.iter().map(|(name, value)| (name.as_str(), *value)));
        tags
    }
}

/// An evaluation on held-out rows that belongs to no step, such as the one before the first step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvalMetrics {
    /// Number of finished optimizer steps.
    pub step: u64,
    /// `eval/loss`: mean loss over the targets.
    pub loss: f64,
    /// `eval/num_targets`: number of predicted tokens.
    pub num_targets: u64,
    /// `eval/runtime`: duration in seconds.
    pub seconds: f64,
    /// Other metrics of the objective, under `eval/`.
    pub objective: Vec<(String, f64)>,
}

impl Metrics for EvalMetrics {
    fn step(&self) -> u64 {
        self.step
    }

    fn tags(&self) -> Vec<(&str, f64)> {
        let mut tags = vec![
            ("eval/loss", self.loss),
            ("eval/num_targets", self.num_targets as f64),
            ("eval/runtime", self.seconds),
        ];
        tags.extend(self.objective.iter().map(|(name, value)| (name.as_str(), *value)));
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_other_trainers() {
        let metrics = StepMetrics {
            step: 3,
            loss: 2.5,
            num_tokens: 700,
            eval_loss: Some(2.25),
            objective: vec![("train/entropy", 1.5)],
            ..StepMetrics::default()
        };
        let tags = metrics.tags();
        for expected in
            [("train/loss", 2.5), ("train/num_tokens", 700.0), ("train/entropy", 1.5), ("eval/loss", 2.25)]
        {
            assert!(tags.contains(&expected), "{expected:?} in {tags:?}");
        }
        assert!(tags.iter().all(|(name, _)| *name != "train/logprob_distance"), "not measured, not shown");
    }
}
