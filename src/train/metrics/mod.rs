//! What a training step reports, and the logs it is written to.
//!
//! Names are those that TRL and `transformers` write, `train/` and `eval/` before the slash, so that curves
//! of both lie in one plot.

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

/// What is known at one point of a run.
///
/// Every kind of training has a type of its own; a log needs no more than this of it.
pub trait Metrics {
    /// Optimizer steps done.
    fn step(&self) -> u64;

    /// Each metric's name and value, in the order of a log. Values may be NaN or infinite.
    fn tags(&self) -> Vec<(&str, f64)>;

    /// The metric with this name, if it was measured.
    fn get(&self, name: &str) -> Option<f64> {
        self.tags().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Where metrics are kept.
pub trait MetricsLog: Send {
    /// Appends one record. The system has it when this returns, so a kill loses nothing.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if it cannot be written.
    fn write(&mut self, metrics: &dyn Metrics) -> Result<(), TrainError>;

    /// Waits until the disk has all records, so that a power failure loses none of them. Called before
    /// a state is saved, it makes sure that no log is behind the state that a run resumes from.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if the disk fails.
    fn sync(&mut self) -> Result<(), TrainError>;
}

/// One optimizer step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepMetrics {
    /// Optimizer steps done, this one included.
    pub step: u64,
    /// `train/epoch`: how often the rows were seen, with the part of the current pass.
    pub epoch: f64,
    /// `train/loss`: the objective's loss, the mean over the step's targets, before the step changed anything.
    pub loss: f64,
    /// `train/learning_rate` of the step.
    pub learning_rate: f64,
    /// `train/grad_norm`: the norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// `train/num_tokens`: tokens of the run up to here.
    pub num_tokens: u64,
    /// `train/num_targets`: tokens of the step that were predicted.
    pub num_targets: u64,
    /// `train/tokens_per_second`: tokens of the step by its seconds.
    pub tokens_per_second: f64,
    /// `train/step_seconds`: from the step's first row to its last weight.
    pub step_seconds: f64,
    /// `train/logprob_distance`: the largest difference between a token's log-probability in generation and
    /// in training, where it was measured.
    pub logprob_distance: Option<f64>,
    /// `eval/loss` on the held-out rows, where it was measured.
    pub eval_loss: Option<f64>,
    /// What the objective reports besides, under the names that it gives.
    pub objective: Vec<(&'static str, f64)>,
    /// The same on the held-out rows, where it was measured, under `eval/`.
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

/// A measurement on held-out rows that belongs to no step, such as the one before the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvalMetrics {
    /// Optimizer steps done.
    pub step: u64,
    /// `eval/loss`: the mean over the targets.
    pub loss: f64,
    /// `eval/num_targets`: tokens that were predicted.
    pub num_targets: u64,
    /// `eval/runtime`, in seconds.
    pub seconds: f64,
    /// What the objective reports besides, under `eval/`.
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
