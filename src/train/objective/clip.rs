//! Clipping: limits how much one rollout changes the policy and the values (arXiv 1707.06347).

/// Bounds of the probability ratio `r = pi(token) / pi_old(token)`.
///
/// There are two bounds, because raising only the upper one explores unlikely tokens more ("clip-higher",
/// arXiv 2503.14476, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// The ratio is clipped below at `1 - low`.
    pub low: f64,
    /// The ratio is clipped above at `1 + high`.
    pub high: f64,
}

/// The policy's loss at one ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surrogate {
    /// `max(-A r, -A clip(r))`.
    pub loss: f64,
    /// Its derivative by the log-probability: `-A r`, or 0 if the ratio is clipped.
    pub d_logprob: f64,
    /// The ratio `r`.
    pub ratio: f64,
    /// Whether the ratio is clipped.
    pub clipped: bool,
}

/// The critic's loss at one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueError {
    /// `max((V - G)^2, (held - G)^2) / 2`.
    pub loss: f64,
    /// Its derivative by the value: `V - G`, or 0 if the value is clipped.
    pub d_value: f64,
    /// Whether the value is clipped.
    pub clipped: bool,
}

impl Clip {
    /// No bounds: plain importance sampling.
    pub const OFF: Clip = Clip { low: f64::INFINITY, high: f64::INFINITY };

    /// The same range on both sides, as in the paper.
    pub const fn symmetric(range: f64) -> Clip {
        Clip { low: range, high: range }
    }

    /// Returns `-L^CLIP` (equation 7 of the paper) for advantage `A` and `log_ratio = log r`.
    ///
    /// At a `log_ratio` of 0 the ratio is exactly 1.
    pub fn surrogate(self, advantage: f64, log_ratio: f64) -> Surrogate {
        let ratio = log_ratio.exp();
        // With advantage 0, an infinite ratio would give NaN. A NaN ratio stays NaN.
        if advantage == 0.0 && !ratio.is_nan() {
            return Surrogate { loss: 0.0, d_logprob: 0.0, ratio, clipped: false };
        }
        let free = -advantage * ratio;
        let held = -advantage * ratio.max(1.0 - self.low).min(1.0 + self.high);
        let clipped = held > free;
        let (loss, d_logprob) = if clipped { (held, 0.0) } else { (free, free) };
        Surrogate { loss, d_logprob, ratio, clipped }
    }
}

/// Returns the squared error of value `V` to return `G`, with `V` clipped to within `radius` of its value
/// `old` at the rollout. The paper has no equation for it. It comes from OpenAI's `baselines`.
///
/// `radius` is in the units of the returns. Infinite turns the clipping off.
pub fn value_error(value: f64, old: f64, target: f64, radius: f64) -> ValueError {
    let held = value.max(old - radius).min(old + radius);
    let (free, bounded) = ((value - target).powi(2), (held - target).powi(2));
    let clipped = bounded > free;
    if clipped {
        ValueError { loss: 0.5 * bounded, d_value: 0.0, clipped }
    } else {
        ValueError { loss: 0.5 * free, d_value: value - target, clipped }
    }
}

/// Figures that every objective with a ratio reports, under TRL's names. Each is a mean over the ratios of a
/// step, with one ratio per token or per reply.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RatioFigures {
    approxkl: f64,
    clipfrac: f64,
    ratio: f64,
}

impl RatioFigures {
    /// Adds one ratio with weight `share`.
    pub(super) fn add(&mut self, share: f64, log_ratio: f64, surrogate: &Surrogate) {
        self.approxkl += share * 0.5 * log_ratio * log_ratio;
        self.clipfrac += share * f64::from(u8::from(surrogate.clipped));
        self.ratio += share * surrogate.ratio;
    }

    /// `policy/approxkl_avg`, half the mean square of the log-ratio; `policy/clipfrac_avg`, the fraction of
    /// clipped ratios; `val/ratio`, the mean ratio.
    pub(super) fn named(&self) -> [(&'static str, f64); 3] {
        [
            ("policy/approxkl_avg", self.approxkl),
            ("policy/clipfrac_avg", self.clipfrac),
            ("val/ratio", self.ratio),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_decides_only_where_it_makes_the_loss_larger() {
        let clip = Clip::symmetric(0.2);
        let at = |advantage: f64, ratio: f64| clip.surrogate(advantage, ratio.ln());
        // A good token: no more gain above 1.2, no protection below 0.8.
        assert!(at(2.0, 1.5).clipped && (at(2.0, 1.5).loss + 2.4).abs() < 1e-12);
        assert_eq!(at(2.0, 1.5).d_logprob, 0.0);
        assert!(!at(2.0, 0.5).clipped && (at(2.0, 0.5).d_logprob + 1.0).abs() < 1e-12);
        // A bad token: the reverse.
        assert!(at(-2.0, 0.5).clipped && (at(-2.0, 0.5).loss - 1.6).abs() < 1e-12);
        assert!(!at(-2.0, 1.5).clipped && (at(-2.0, 1.5).d_logprob - 3.0).abs() < 1e-12);
        // Different bounds.
        let higher = Clip { low: 0.2, high: 0.28 };
        assert!(!higher.surrogate(1.0, 1.25f64.ln()).clipped && higher.surrogate(1.0, 1.3f64.ln()).clipped);
        assert!(
            !higher.surrogate(-1.0, 0.85f64.ln()).clipped && higher.surrogate(-1.0, 0.75f64.ln()).clipped
        );
        assert!((higher.surrogate(-1.0, 0.75f64.ln()).loss - 0.8).abs() < 1e-12);
        assert!(!Clip::OFF.surrogate(1.0, 9.0).clipped && !Clip::OFF.surrogate(-1.0, -9.0).clipped);
    }

    #[test]
    fn a_ratio_of_one_is_exactly_one() {
        let found = Clip::symmetric(0.2).surrogate(0.75, 0.0);
        assert_eq!(found, Surrogate { loss: -0.75, d_logprob: -0.75, ratio: 1.0, clipped: false });
    }

    #[test]
    fn infinite_ratios_hurt_where_they_matter_and_nan_is_not_hidden() {
        let clip = Clip::symmetric(0.2);
        assert_eq!(clip.surrogate(-1.0, 1e4).loss, f64::INFINITY);
        assert_eq!(
            clip.surrogate(1.0, 1e4),
            Surrogate { loss: -1.2, d_logprob: 0.0, ratio: f64::INFINITY, clipped: true }
        );
        assert_eq!(clip.surrogate(0.0, 1e4).loss, 0.0);
        for advantage in [0.0, 1.0, -1.0] {
            assert!(clip.surrogate(advantage, f64::NAN).loss.is_nan(), "advantage {advantage}");
        }
        assert!(value_error(f64::NAN, 0.0, 1.0, 0.2).loss.is_nan());
    }

    #[test]
    fn values_are_held_near_those_of_the_rollout() {
        // Within the radius, and beyond it on the side away from the target, the error is not clipped.
        let plain = ValueError { loss: 0.5 * 9.0, d_value: -3.0, clipped: false };
        assert_eq!(value_error(0.0, 0.125, 3.0, 0.25), plain);
        assert_eq!(value_error(0.0, 1.0, 3.0, 0.25), plain);
        // Beyond it on the side of the target, the gradient is 0.
        let held = value_error(2.0, 0.0, 3.0, 0.25);
        assert_eq!(held, ValueError { loss: 0.5 * 2.75 * 2.75, d_value: 0.0, clipped: true });
        assert_eq!(value_error(2.0, 0.0, 3.0, f64::INFINITY).d_value, -1.0);
    }
}
