//! Settings that all kinds of training share.

use super::{
    BatchConfig, CheckpointConfig, EvaluationConfig, LoraSettings, MemoryConfig, OptimizerConfig,
    ScheduleConfig,
};
use crate::settings::{Auto, Faults, MOST_SEED, SettingsError};

/// Settings of a run that all kinds of training share, copied from the settings of its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSettings {
    /// Random seed of the run.
    pub seed: u64,
    /// Number of passes over the data; may be a fraction.
    pub epochs: f64,
    /// Number of optimizer steps. `auto` derives it from the epochs; a number overrides them.
    pub steps: Auto,
    /// The adapter.
    pub lora: LoraSettings,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// Batch of one step.
    pub batch: BatchConfig,
    /// Evaluation on held-out data.
    pub evaluation: EvaluationConfig,
    /// Saved states, from which a run can resume.
    pub checkpoint: CheckpointConfig,
    /// Trade-offs between memory and speed.
    pub memory: MemoryConfig,
}

impl RunSettings {
    /// Number of optimizer steps of a run over `units` rows or pairs. It is the set number, or it is derived
    /// from the epochs and rounded up. The last step may then reach past the end of the last epoch.
    pub fn total_steps(&self, units: usize) -> u64 {
        match self.steps {
            Auto::Fixed(steps) => steps as u64,
            Auto::Auto => ((self.epochs * units as f64 / self.batch.sequences as f64).ceil() as u64).max(1),
        }
    }

    /// `Ok` if a step does not take more units than the run has, or not many more. A step can take each several
    /// times, but with a large number that is a mistake.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Faults`] with both numbers.
    pub(crate) fn check_batch(&self, units: usize, what: &str) -> Result<(), SettingsError> {
        const FEW: usize = 256;
        let mut faults = Faults::default();
        let sequences = self.batch.sequences;
        let expected = format!("at most {}, as there are {units} {what} to train on", units.max(FEW));
        faults.need(sequences <= units.max(FEW), "batch.sequences", sequences, &expected);
        faults.finish()
    }

    /// Adds every setting that is outside its range to `faults`.
    pub fn check(&self, faults: &mut Faults) {
        faults.at_most("seed", self.seed, MOST_SEED);
        faults.length(self.epochs, self.steps);
        faults.lora(&self.lora);
        faults.optimizer(&self.optimizer);
        faults.schedule(&self.schedule);
        faults.batch(&self.batch);
        faults.evaluation(&self.evaluation);
        faults.checkpoint(&self.checkpoint);
        faults.memory(&self.memory);
    }
}
