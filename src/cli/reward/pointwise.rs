//! `parr reward train --labels`: trains a pointwise reward model.

use std::path::PathBuf;

use super::train::TrainArgs;
use crate::cli::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::screen::Screen;
use crate::cli::training::{Knobs, set};
use parr::adapter::Adapter;
use parr::reward::{Factors, LabelledData, PointwiseConfig, PointwiseTraining};
use parr::settings::Settings;

impl TrainArgs {
    /// Trains on the labelled replies in `files`.
    pub(super) fn run_pointwise(&self, files: &[PathBuf], global: &GlobalArgs) -> Result<(), CliError> {
        self.run.check_init(self.init.as_deref())?;
        let config = self.pointwise_settings()?;
        config.validate()?;
        let out = self.run.out()?;
        let data = LabelledData::read(files)?;
        let (_device, model) = self.model.open(global)?;
        let base = config.base(&model)?;
        let init = self.init.as_deref().map(|path| Adapter::open(path, base.config())).transpose()?;
        let mut training = PointwiseTraining::new(&model, &data, out).config(&config).resume(self.run.resume);
        if let (Some(adapter), Some(path)) = (&init, &self.init) {
            training = training.init(adapter, path.display().to_string());
        }
        let adapter =
            self.run.watched(Screen::new(global), |control, on_event| training.run(control, on_event))?;
        self.note_result(&adapter, out, global);
        Ok(())
    }

    /// The settings of the file, overridden by the flags.
    fn pointwise_settings(&self) -> Result<PointwiseConfig, CliError> {
        let mut config = match &self.run.config {
            Some(path) => PointwiseConfig::read(path)?,
            None => PointwiseConfig::default(),
        };
        self.run.apply(Knobs {
            seed: &mut config.seed,
            epochs: &mut config.epochs,
            steps: &mut config.steps,
            lora: &mut config.lora,
            optimizer: &mut config.optimizer,
            evaluate_every: Some(&mut config.evaluation.every),
            checkpoint: &mut config.checkpoint,
            memory: &mut config.memory,
        });
        set(&mut config.batch.replies, &self.batch);
        set(&mut config.limits.tokens, &self.max_tokens);
        set(&mut config.held_out, &self.held_out);
        if self.f16 {
            config.factors = Factors::F16;
        }
        Ok(config)
    }
}
