//! Whether settings make sense, all faults at once.

use super::{Auto, SftConfig, Share};
use crate::train::TrainError;

/// Faults that were found so far.
struct Faults(Vec<String>);

impl Faults {
    /// Adds a fault unless `sound`.
    fn need(&mut self, sound: bool, setting: &str, value: impl std::fmt::Display, expected: &str) {
        if !sound {
            self.0.push(format!("{setting} is {value}, expected {expected}"));
        }
    }
}

impl SftConfig {
    /// `Ok` if every setting is within its range.
    ///
    /// # Errors
    ///
    /// [`TrainError::Settings`] with every fault there is.
    pub fn validate(&self) -> Result<(), TrainError> {
        let SftConfig { seed: _, epochs, steps, lora, optimizer, schedule, batch, data, .. } = self;
        let mut faults = Faults(Vec::new());
        let mut need = |sound, setting: &str, value: &dyn std::fmt::Display, expected: &str| {
            faults.need(sound, setting, value, expected);
        };
        let positive = |value: f64| value > 0.0 && value.is_finite();

        need(positive(*epochs), "epochs", epochs, "a number above 0");
        need(*steps != Auto::Fixed(0), "steps", steps, "\"auto\" or a number above 0");

        need((1..=1024).contains(&lora.rank), "lora.rank", &lora.rank, "a number from 1 to 1024");
        need(positive(lora.alpha.into()), "lora.alpha", &lora.alpha, "a number above 0");
        let no_target = lora.targets.is_empty();
        need(!no_target, "lora.targets", &"empty", "\"all\", or some of q,k,v,o,gate,up,down");

        let rate = optimizer.learning_rate;
        need(positive(rate), "optimizer.learning_rate", &rate, "a number above 0");
        for beta in optimizer.betas {
            need((0.0..1.0).contains(&beta), "optimizer.betas", &beta, "numbers from 0 to below 1");
        }
        need(positive(optimizer.eps), "optimizer.eps", &optimizer.eps, "a number above 0");
        let decay = optimizer.weight_decay;
        need((0.0..1e6).contains(&decay), "optimizer.weight_decay", &decay, "0 or a number above it");
        let norm = optimizer.max_grad_norm;
        need(norm > 0.0, "optimizer.max_grad_norm", &norm, "a number above 0, or inf");

        let sound = |share: &Share| !matches!(share, Share::Fraction(part) if !(0.0..=1.0).contains(part));
        need(
            sound(&schedule.warmup),
            "schedule.warmup",
            &schedule.warmup,
            "a count, or a fraction from 0.0 to 1.0",
        );
        let floor = schedule.floor;
        need((0.0..=1.0).contains(&floor), "schedule.floor", &floor, "a fraction from 0 to 1");

        need(batch.sequences > 0, "batch.sequences", &batch.sequences, "a number above 0");
        let fits = match batch.micro_batch {
            Auto::Auto => true,
            Auto::Fixed(count) => (1..=batch.sequences.max(1)).contains(&count),
        };
        need(fits, "batch.micro_batch", &batch.micro_batch, "\"auto\", or from 1 to batch.sequences");

        need(data.max_tokens > 1, "data.max_tokens", &data.max_tokens, "a number above 1");

        let held_out = &self.evaluation.held_out;
        need(
            sound(held_out) && *held_out != Share::Fraction(1.0),
            "evaluation.held_out",
            held_out,
            "a count, or a fraction from 0.0 to below 1.0",
        );
        need(self.checkpoint.keep > 0, "checkpoint.keep", &self.checkpoint.keep, "a number above 0");
        let budget = self.memory.budget_mib;
        need(budget != Auto::Fixed(0), "memory.budget_mib", &budget, "\"auto\" or a number above 0");

        match faults.0 {
            faults if faults.is_empty() => Ok(()),
            faults => Err(TrainError::Settings { faults }),
        }
    }
}
