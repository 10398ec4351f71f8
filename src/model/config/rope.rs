//! Rotary position embedding: which dimensions turn how fast.

use std::f64::consts::PI;
use std::path::Path;

use crate::format::LoadError;

/// How rotary frequencies are scaled for contexts longer than that of training.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Frequencies as trained.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// Factor by which the context is extended.
        factor: f32,
    },
    /// A larger base for contexts beyond the original one (dynamic NTK scaling).
    Dynamic {
        /// Factor by which the context is extended.
        factor: f32,
        /// Context the model was first trained on, in tokens.
        original_context: usize,
    },
    /// YaRN (arXiv 2309.00071): slow frequencies are divided by `factor`, fast ones are unchanged, with a ramp in
    /// between.
    Yarn {
        /// Divisor of the slow frequencies.
        factor: f32,
        /// Pairs with more turns than this over the original context are unchanged.
        beta_fast: f32,
        /// Pairs with fewer turns than this over the original context are divided.
        beta_slow: f32,
        /// Context the model was first trained on, in tokens.
        original_context: usize,
        /// Factor of cosines and sines.
        attention_factor: f32,
        /// Whether the ends of the ramp are rounded to whole pairs.
        truncate: bool,
    },
    /// LongRoPE (arXiv 2402.13753): one divisor for each frequency, others for contexts beyond the original one.
    LongRope {
        /// Divisors up to the original context.
        short: Vec<f32>,
        /// Divisors beyond it.
        long: Vec<f32>,
        /// Context the model was first trained on, in tokens.
        original_context: usize,
        /// Factor of cosines and sines.
        attention_factor: f32,
    },
    /// Llama 3.1's: low frequencies are divided by `factor`, high ones are unchanged, with a ramp in between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low_freq_factor` tokens are divided.
        low_freq_factor: f32,
        /// Wavelengths below `original_context / high_freq_factor` tokens are unchanged.
        high_freq_factor: f32,
        /// Context the model was first trained on, in tokens.
        original_context: usize,
    },
    /// One divisor for each frequency: GGUF's tensor `rope_freqs.weight`.
    Explicit(Vec<f32>),
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of frequencies.
    pub theta: f32,
    /// Number of dimensions of a head that are rotated, from the first on; even.
    pub rotary: usize,
    /// Changes to that series.
    pub scaling: RopeScaling,
}

impl RopeConfig {
    /// Radians per token of each of the `rotary / 2` pairs, for sequences of up to `context` tokens.
    pub fn inverse_frequencies(&self, context: usize) -> Vec<f32> {
        let n = self.rotary as f64;
        let theta = match &self.scaling {
            RopeScaling::Dynamic { factor, original_context } if context > *original_context => {
                let (factor, longer) = (f64::from(*factor), context as f64 / *original_context as f64);
                f64::from(self.theta) * (factor * longer - (factor - 1.0)).powf(n / (n - 2.0))
            }
            _ => f64::from(self.theta),
        };
        // In f64, because the series spans many magnitudes; each value is rounded only once.
        let plain = |i: usize| theta.powf(-((2 * i) as f64) / n);
        (0..self.rotary / 2).map(|i| self.scaled(i, plain(i), context) as f32).collect()
    }

    /// The frequency of pair `i`, which is `frequency` in the plain series.
    fn scaled(&self, i: usize, frequency: f64, context: usize) -> f64 {
        match &self.scaling {
            RopeScaling::None | RopeScaling::Dynamic { .. } => frequency,
            RopeScaling::Linear { factor } => frequency / f64::from(*factor),
            RopeScaling::Explicit(divisors) => frequency / f64::from(divisors[i]),
            RopeScaling::LongRope { short, long, original_context, .. } => {
                let divisors = if context > *original_context { long } else { short };
                frequency / f64::from(divisors[i])
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original_context, truncate, .. } => {
                let n = self.rotary as f64;
                // The pair that turns `turns` times over the original context.
                let pair = |turns: f32| {
                    let length = *original_context as f64 / (f64::from(turns) * 2.0 * PI);
                    n * length.ln() / (2.0 * f64::from(self.theta).ln())
                };
                let (mut low, mut high) = (pair(*beta_fast), pair(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(n - 1.0));
                if low == high {
                    high += 0.001;
                }
                let divided = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                frequency * (1.0 - divided + divided / f64::from(*factor))
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let (low, high) = (f64::from(*low_freq_factor), f64::from(*high_freq_factor));
                // Turns of this pair over the original context: few for low frequencies.
                let turns = *original_context as f64 * frequency / (2.0 * PI);
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / f64::from(*factor))
            }
        }
    }

    /// Factor of cosines and sines, so that attention stays as sharp over longer contexts.
    pub fn magnitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => {
                attention_factor
            }
            _ => 1.0,
        }
    }

    /// YaRN's attention factor for a context extended by `factor`: `0.1 mscale ln(factor) + 1`.
    pub(crate) fn yarn_magnitude(factor: f32, mscale: f32) -> f32 {
        if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
    }

    /// LongRoPE's attention factor for a context extended by `factor`: `sqrt(1 + ln(factor) / ln(original))`.
    pub(super) fn long_magnitude(factor: f32, original_context: usize) -> f32 {
        let original = original_context.max(2) as f32;
        if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() }
    }

    /// Checks that the numbers are valid for heads of `head_dim`. `path` is for messages.
    pub(super) fn validate(&self, path: &Path, head_dim: usize) -> Result<(), LoadError> {
        let bad = |key: &str, rule: String| Err(LoadError::metadata(path, key, None, rule));
        let positive = |value: f32| value.is_finite() && value > 0.0;
        if !(positive(self.theta) && self.theta >= 1.0) {
            return bad("rope theta", format!("is {}, must be at least 1", self.theta));
        }
        let rotary = self.rotary;
        if rotary == 0 || rotary > head_dim || !rotary.is_multiple_of(2) {
            let rule = format!("is {rotary}, must be even and at most the width {head_dim} of a head");
            return bad("rope dimensions", rule);
        }
        let divisors = |key: &str, divisors: &[f32]| {
            if divisors.len() != rotary / 2 {
                return bad(key, format!("has {} values, expected {}", divisors.len(), rotary / 2));
            }
            match divisors.iter().find(|divisor| !positive(**divisor)) {
                Some(divisor) => bad(key, format!("holds {divisor}, must be above 0")),
                None => Ok(()),
            }
        };
        let factor = |factor: f32| {
            if positive(factor) {
                return Ok(());
            }
            bad("rope scaling factor", format!("is {factor}, must be above 0"))
        };
        let context = |original: usize| match original {
            0 => bad("rope scaling", "needs an original context above 0".to_owned()),
            _ => Ok(()),
        };
        match &self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor: by } => factor(*by),
            RopeScaling::Dynamic { factor: by, original_context } => {
                factor(*by)?;
                if rotary == 2 {
                    return bad(
                        "rope scaling",
                        "is \"dynamic\", which needs more than 2 dimensions".to_owned(),
                    );
                }
                context(*original_context)
            }
            RopeScaling::Yarn {
                factor: by,
                beta_fast,
                beta_slow,
                original_context,
                attention_factor,
                ..
            } => {
                factor(*by)?;
                context(*original_context)?;
                if !(positive(*beta_slow) && beta_fast.is_finite() && beta_fast >= beta_slow) {
                    let rule = format!("needs 0 < beta_slow <= beta_fast, found {beta_slow} and {beta_fast}");
                    return bad("rope scaling", rule);
                }
                factor(*attention_factor)
            }
            RopeScaling::LongRope { short, long, original_context, attention_factor } => {
                divisors("short_factor", short)?;
                divisors("long_factor", long)?;
                context(*original_context)?;
                factor(*attention_factor)
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let ordered = positive(*low_freq_factor)
                    && high_freq_factor.is_finite()
                    && high_freq_factor > low_freq_factor;
                if positive(*factor) && ordered && *original_context > 0 {
                    return Ok(());
                }
                bad(
                    "rope scaling",
                    format!(
                        "needs factor > 0, 0 < low_freq_factor < high_freq_factor and an original \
                         context, found {factor}, {low_freq_factor}, {high_freq_factor}, \
                         {original_context}"
                    ),
                )
            }
            RopeScaling::Explicit(found) => divisors("rope_freqs.weight", found),
        }
    }
}
