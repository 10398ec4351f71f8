//! Learning rate of each step.

use serde::{Deserialize, Serialize};

use crate::settings::Share;

/// How the rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Not at all.
    Constant,
    /// In a straight line.
    Linear,
    /// Along half a cosine wave (arXiv 1608.03983).
    #[default]
    Cosine,
}

/// The settings of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// How the rate falls: `constant`, `linear` or `cosine`. Cosine as in Stanford Alpaca's recipe, from
    /// which most fine-tuning recipes derive.
    pub decay: Decay,
    /// Number of steps in which the rate rises from 0: a count, or a fraction of all steps, rounded up. 0.03
    /// as in QLoRA (arXiv 2305.14314, appendix B) and Alpaca.
    pub warmup: Share,
    /// Final rate, as a fraction of the peak. Not used for `constant`.
    pub floor: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig { decay: Decay::Cosine, warmup: Share::Fraction(0.03), floor: 0.0 }
    }
}

/// A learning rate for every step of a run.
///
/// The formulas are those of `transformers` (`get_constant_schedule_with_warmup`, `get_linear_...`,
/// `get_cosine_...`, with a floor `get_cosine_with_min_lr_...`). Steps are counted from 0, so with a warm-up
/// the first step's rate is 0. After the last step the rate stays at its floor.
///
/// ```
/// use parr::settings::Share;
/// use parr::train::schedule::{Decay, Schedule, ScheduleConfig};
///
/// let config = ScheduleConfig { decay: Decay::Linear, warmup: Share::Count(2), floor: 0.0 };
/// let schedule = Schedule::new(&config, 1e-3, 4);
/// let rates: Vec<f64> = (0..5).map(|step| schedule.rate(step)).collect();
/// assert_eq!(rates, [0.0, 5e-4, 1e-3, 5e-4, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    decay: Decay,
    peak: f64,
    floor: f64,
    warmup_steps: u64,
    steps: u64,
}

impl Schedule {
    /// The schedule of a run of `steps` optimizer steps whose rate rises to `peak`.
    pub fn new(config: &ScheduleConfig, peak: f64, steps: u64) -> Schedule {
        let warmup_steps = match config.warmup {
            Share::Count(count) => count as u64,
            Share::Fraction(part) => (steps as f64 * part).ceil() as u64,
        };
        Schedule { decay: config.decay, peak, floor: config.floor, warmup_steps, steps }
    }

    /// The learning rate of the step that follows `step` completed steps.
    pub fn rate(&self, step: u64) -> f64 {
        self.peak * self.factor(step)
    }

    fn factor(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps as f64;
        }
        let falling = self.steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / falling as f64).min(1.0);
        let height = match self.decay {
            Decay::Constant => return 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        height * (1.0 - self.floor) + self.floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(decay: Decay, warmup: Share, floor: f64, steps: u64, expected: &[f64]) {
        let schedule = Schedule::new(&ScheduleConfig { decay, warmup, floor }, 1.0, steps);
        for (step, expected) in expected.iter().enumerate() {
            let found = schedule.rate(step as u64);
            assert!((found - expected).abs() < 1e-15, "{decay:?} step {step}: {found}, expected {expected}");
        }
    }

    /// The factors that transformers 5.23 gives (`optimization.py`, the functions named here).
    #[test]
    fn factors_are_those_of_transformers() {
        use Decay::{Constant, Cosine, Linear};
        // _get_constant_schedule_with_warmup_lr_lambda
        check(Constant, Share::Count(4), 0.0, 9, &[0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        // _get_linear_schedule_with_warmup_lr_lambda
        let linear = &[
            0.0,
            0.3333333333333333,
            0.6666666666666666,
            1.0,
            0.8571428571428571,
            0.7142857142857143,
            0.5714285714285714,
            0.42857142857142855,
            0.2857142857142857,
            0.14285714285714285,
            0.0,
            0.0,
        ];
        check(Linear, Share::Count(3), 0.0, 10, linear);
        // _get_polynomial_decay_schedule_with_warmup_lr_lambda, power 1
        let floored = &[
            0.0,
            0.5,
            1.0,
            0.8928571428571429,
            0.7857142857142857,
            0.6785714285714286,
            0.5714285714285714,
            0.4642857142857143,
            0.3571428571428572,
            0.25,
            0.25,
        ];
        check(Linear, Share::Count(2), 0.25, 9, floored);
        // _get_cosine_schedule_with_warmup_lr_lambda, without and with min_lr_rate, up to the last step
        let cosine = &[
            0.0,
            0.5,
            1.0,
            0.9504844339512095,
            0.8117449009293668,
            0.6112604669781572,
            0.38873953302184283,
            0.18825509907063326,
            0.04951556604879048,
            0.0,
        ];
        check(Cosine, Share::Count(2), 0.0, 9, cosine);
        let floored = &[
            0.0,
            0.5,
            1.0,
            0.9554359905560885,
            0.8305704108364301,
            0.6501344202803414,
            0.44986557971965857,
            0.26942958916356996,
            0.14456400944391146,
            0.1,
        ];
        check(Cosine, Share::Count(2), 0.1, 9, floored);
    }

    #[test]
    fn a_warm_up_in_parts_is_rounded_up() {
        let config = ScheduleConfig { warmup: Share::Fraction(0.03), ..ScheduleConfig::default() };
        for (steps, warmup) in [(1, 1), (33, 1), (34, 2), (100, 3), (101, 4)] {
            assert_eq!(Schedule::new(&config, 1.0, steps).warmup_steps, warmup, "{steps} steps");
        }
    }

    #[test]
    fn odd_lengths_make_no_odd_rates() {
        for decay in [Decay::Constant, Decay::Linear, Decay::Cosine] {
            for (warmup, steps) in [(0, 0), (0, 1), (5, 5), (9, 5), (1, 1)] {
                let config = ScheduleConfig { decay, warmup: Share::Count(warmup), floor: 0.1 };
                let schedule = Schedule::new(&config, 2e-4, steps);
                for step in (0..20).chain([u64::MAX]) {
                    let rate = schedule.rate(step);
                    assert!((0.0..=2e-4).contains(&rate), "{decay:?} {warmup}/{steps} step {step}: {rate}");
                }
            }
        }
    }
}
