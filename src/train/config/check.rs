//! Checks of settings, which report all faults at once.

use super::{
    BatchConfig, CheckpointConfig, EvaluationConfig, LoraSettings, MemoryConfig, OptimizerConfig,
    ScheduleConfig,
};
use crate::settings::{Auto, Faults, MOST_ITEMS, MOST_SEQUENCES, Share, positive};

fn sound(share: &Share) -> bool {
    !matches!(share, Share::Fraction(part) if !(0.0..=1.0).contains(part))
}

/// Checks of settings that several kinds of training share.
impl Faults {
    pub(crate) fn length(&mut self, epochs: f64, steps: Auto) {
        self.need(positive(epochs), "epochs", epochs, "a number above 0");
        self.need(epochs <= 1e6 || !positive(epochs), "epochs", epochs, "at most 1000000");
        self.need(steps != Auto::Fixed(0), "steps", steps, "\"auto\" or a number above 0");
        self.auto_at_most("steps", steps, MOST_ITEMS);
    }

    fn auto_at_most(&mut self, setting: &str, value: Auto, most: u64) {
        if let Auto::Fixed(count) = value {
            self.at_most(setting, count, most);
        }
    }

    fn share_at_most(&mut self, setting: &str, value: &Share, most: u64) {
        if let Share::Count(count) = value {
            self.at_most(setting, *count, most);
        }
    }

    pub(crate) fn lora(&mut self, lora: &LoraSettings) {
        self.need((1..=1024).contains(&lora.rank), "lora.rank", lora.rank, "a number from 1 to 1024");
        self.need(positive(lora.alpha.into()), "lora.alpha", lora.alpha, "a number above 0");
        let no_target = lora.targets.is_empty();
        let no_layer = lora.last_layers == Auto::Fixed(0);
        self.need(!no_layer, "lora.last_layers", lora.last_layers, "\"auto\", or a number above 0");
        self.auto_at_most("lora.last_layers", lora.last_layers, MOST_ITEMS);
        self.need(!no_target, "lora.targets", "empty", "\"all\", or some of q,k,v,o,gate,up,down,in,out");
    }

    pub(crate) fn optimizer(&mut self, optimizer: &OptimizerConfig) {
        let rate = optimizer.learning_rate;
        self.need(positive(rate), "optimizer.learning_rate", rate, "a number above 0");
        for beta in optimizer.betas {
            self.need((0.0..1.0).contains(&beta), "optimizer.betas", beta, "numbers from 0 to below 1");
        }
        self.need(positive(optimizer.eps), "optimizer.eps", optimizer.eps, "a number above 0");
        let decay = optimizer.weight_decay;
        self.need((0.0..1e6).contains(&decay), "optimizer.weight_decay", decay, "0 or a number above it");
        let norm = optimizer.max_grad_norm;
        self.need(norm > 0.0, "optimizer.max_grad_norm", norm, "a number above 0, or inf");
    }

    pub(crate) fn schedule(&mut self, schedule: &ScheduleConfig) {
        let expected = "a count, or a fraction from 0.0 to 1.0";
        self.need(sound(&schedule.warmup), "schedule.warmup", schedule.warmup, expected);
        self.share_at_most("schedule.warmup", &schedule.warmup, MOST_ITEMS);
        let floor = schedule.floor;
        self.need((0.0..=1.0).contains(&floor), "schedule.floor", floor, "a fraction from 0 to 1");
    }

    pub(crate) fn checkpoint(&mut self, checkpoint: &CheckpointConfig) {
        self.need(checkpoint.keep > 0, "checkpoint.keep", checkpoint.keep, "a number above 0");
        self.at_most("checkpoint.keep", checkpoint.keep, MOST_ITEMS);
        self.at_most("checkpoint.every", checkpoint.every, MOST_ITEMS);
    }

    pub(crate) fn memory(&mut self, memory: &MemoryConfig) {
        let budget = memory.budget_mib;
        self.need(budget != Auto::Fixed(0), "memory.budget_mib", budget, "\"auto\" or a number above 0");
        // 16 TiB.
        self.auto_at_most("memory.budget_mib", budget, 1 << 24);
    }

    pub(crate) fn batch(&mut self, batch: &BatchConfig) {
        self.need(batch.sequences > 0, "batch.sequences", batch.sequences, "a number above 0");
        self.at_most("batch.sequences", batch.sequences, MOST_SEQUENCES);
        let fits = match batch.micro_batch {
            Auto::Auto => true,
            Auto::Fixed(count) => (1..=batch.sequences.max(1)).contains(&count),
        };
        let expected = "\"auto\", or from 1 to batch.sequences";
        self.need(fits, "batch.micro_batch", batch.micro_batch, expected);
    }

    pub(crate) fn evaluation(&mut self, evaluation: &EvaluationConfig) {
        let held_out = &evaluation.held_out;
        let expected = "a count, or a fraction from 0.0 to below 1.0";
        let fits = sound(held_out) && *held_out != Share::Fraction(1.0);
        self.need(fits, "evaluation.held_out", held_out, expected);
        self.share_at_most("evaluation.held_out", held_out, MOST_ITEMS);
        self.at_most("evaluation.every", evaluation.every, MOST_ITEMS);
    }
}
