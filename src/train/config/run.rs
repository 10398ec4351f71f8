//! What the settings of every run have in common, whatever it learns.

use super::{
    BatchConfig, CheckpointConfig, EvaluationConfig, LoraSettings, MemoryConfig, OptimizerConfig,
    ScheduleConfig,
};
use crate::settings::{Auto, Faults};

/// The settings of a run that do not depend on what it learns: a copy of those in its own settings.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSettings {
    /// Everything random in the run follows from it.
    pub seed: u64,
    /// How often everything is seen; parts are possible.
    pub epochs: f64,
    /// Optimizer steps; a number overrules the epochs.
    pub steps: Auto,
    /// The adapter.
    pub lora: LoraSettings,
    /// How gradients become changes.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// What one step works on.
    pub batch: BatchConfig,
    /// Measuring on what is not trained on.
    pub evaluation: EvaluationConfig,
    /// Saving what a run can resume from.
    pub checkpoint: CheckpointConfig,
    /// What is traded for memory.
    pub memory: MemoryConfig,
}

impl RunSettings {
    /// Optimizer steps of a run over `units` rows, or pairs: as set, or as many as the epochs make, the
    /// last one over the end if they do not divide.
    pub fn total_steps(&self, units: usize) -> u64 {
        match self.steps {
            Auto::Fixed(steps) => steps as u64,
            Auto::Auto => ((self.epochs * units as f64 / self.batch.sequences as f64).ceil() as u64).max(1),
        }
    }

    /// Adds every setting that is outside its range to `faults`.
    pub fn check(&self, faults: &mut Faults) {
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
