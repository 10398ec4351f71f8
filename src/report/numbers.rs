//! Plain statistics.

use serde::{Deserialize, Serialize};

/// How often a property holds, with Wilson's 95% interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Number of cases in which it holds.
    pub hits: usize,
    /// Number of cases.
    pub of: usize,
    /// `hits / of`; 0 without cases.
    pub rate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Rate {
    /// The rate of `hits` among `of`.
    pub fn new(hits: usize, of: usize) -> Rate {
        if of == 0 {
            return Rate { high: 1.0, ..Rate::default() };
        }
        /// The normal distribution's 97.5% quantile.
        const Z: f64 = 1.959_963_984_540_054;
        let (n, rate) = (of as f64, hits as f64 / of as f64);
        let center = rate + Z * Z / (2.0 * n);
        let spread = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        let [low, high] = [center - spread, center + spread].map(|end| (end / scale).clamp(0.0, 1.0));
        Rate { hits, of, rate, low, high }
    }

    /// The rate of `true` among `all`.
    pub fn of(all: impl IntoIterator<Item = bool>) -> Rate {
        let (mut hits, mut of) = (0, 0);
        for hit in all {
            hits += usize::from(hit);
            of += 1;
        }
        Rate::new(hits, of)
    }
}

/// Mean and standard deviation; 0 and 0 without values.
pub(crate) fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, square.sqrt())
}

/// Pearson's correlation; none for fewer than three pairs or if one side is constant.
pub(crate) fn correlation(pairs: &[[f64; 2]]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let side = |side: usize| -> Vec<f64> { pairs.iter().map(|pair| pair[side]).collect() };
    let ((mean_x, dev_x), (mean_y, dev_y)) = (moments(&side(0)), moments(&side(1)));
    let shared = pairs.iter().map(|[x, y]| (x - mean_x) * (y - mean_y)).sum::<f64>() / pairs.len() as f64;
    (dev_x > 0.0 && dev_y > 0.0).then(|| shared / (dev_x * dev_y))
}

/// The probability that the first of two replies is preferred if its score is larger by `margin`.
fn sigmoid(margin: f64) -> f64 {
    let small = (-margin.abs()).exp();
    if margin >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

/// Predictions of similar size, and how often they were right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Mean predicted probability that the first reply is preferred.
    pub predicted: f64,
    /// How often it is preferred.
    pub observed: Rate,
}

/// Calibration: whether score differences match the observed frequencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Calibration {
    /// The tenths of the predicted probability that have pairs.
    pub bins: Vec<Bin>,
    /// Mean distance of prediction and observation, bins weighted by their pairs.
    pub expected_error: f64,
    /// Mean square of prediction minus outcome.
    pub brier: f64,
    /// Mean negative log-likelihood: the training loss, on these pairs.
    pub loss: f64,
}

impl Calibration {
    /// Computed from margins (first reply minus second) and whether the first reply is preferred.
    pub(crate) fn of(outcomes: &[(f64, bool)]) -> Calibration {
        const BINS: usize = 10;
        let mut bins = vec![Vec::new(); BINS];
        for &(margin, first) in outcomes {
            let chance = sigmoid(margin);
            bins[((chance * BINS as f64) as usize).min(BINS - 1)].push((chance, first));
        }
        let bin = |bin: &Vec<(f64, bool)>| Bin {
            predicted: moments(&bin.iter().map(|(chance, _)| *chance).collect::<Vec<_>>()).0,
            observed: Rate::of(bin.iter().map(|(_, first)| *first)),
        };
        let bins: Vec<Bin> = bins.iter().filter(|bin| !bin.is_empty()).map(bin).collect();
        let n = outcomes.len().max(1) as f64;
        let mean = |of: &dyn Fn(f64, bool) -> f64| {
            outcomes.iter().map(|&(margin, first)| of(margin, first)).sum::<f64>() / n
        };
        let apart = |bin: &Bin| bin.observed.of as f64 / n * (bin.predicted - bin.observed.rate).abs();
        Calibration {
            expected_error: bins.iter().map(apart).sum(),
            brier: mean(&|margin, first| (sigmoid(margin) - f64::from(u8::from(first))).powi(2)),
            loss: mean(&|margin, first| {
                let margin = if first { margin } else { -margin };
                (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
            }),
            bins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // statsmodels 0.14, proportion_confint(8, 10, method="wilson").
        let rate = Rate::new(8, 10);
        assert!((rate.low - 0.490_162_47).abs() < 1e-7 && (rate.high - 0.943_317_8).abs() < 1e-6, "{rate:?}");
        let all = Rate::of([true; 5]);
        assert!(all.rate == 1.0 && all.high == 1.0 && all.low > 0.5 && all.low < 0.6, "{all:?}");
        assert_eq!((Rate::new(0, 0).low, Rate::new(0, 0).high), (0.0, 1.0), "nothing is known of nothing");
    }

    #[test]
    fn correlations_are_pearsons() {
        let line: Vec<[f64; 2]> = (0..9).map(|x| [f64::from(x), 3.0 - 2.0 * f64::from(x)]).collect();
        assert!((correlation(&line).expect("not constant") + 1.0).abs() < 1e-12);
        // numpy.corrcoef([1, 2, 3, 4], [1, 3, 2, 5])[0, 1]
        let some = [[1.0, 1.0], [2.0, 3.0], [3.0, 2.0], [4.0, 5.0]];
        assert!((correlation(&some).expect("not constant") - 0.831_521_84).abs() < 1e-6);
        assert_eq!(correlation(&[[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]]), None);
        assert_eq!(correlation(&some[..2]), None);
    }

    #[test]
    fn a_model_that_says_what_happens_is_calibrated() {
        // Of four pairs with odds of 3 to 1, three come true.
        let odds = 3f64.ln();
        let told = Calibration::of(&[(odds, true), (odds, true), (-odds, false), (odds, false)]);
        assert_eq!(told.bins.len(), 2);
        assert!((told.bins[1].predicted - 0.75).abs() < 1e-12);
        assert_eq!((told.bins[1].observed.hits, told.bins[1].observed.of), (2, 3));
        let brier = (3.0 * 0.0625 + 0.5625) / 4.0;
        assert!((told.brier - brier).abs() < 1e-12, "{told:?}");
        let loss = (3.0 * -(0.75f64.ln()) - 0.25f64.ln()) / 4.0;
        assert!((told.loss - loss).abs() < 1e-12, "{told:?}");
        let apart = 0.25 * 0.25 + 0.75 * (0.75 - 2.0 / 3.0);
        assert!((told.expected_error - apart).abs() < 1e-12, "{told:?}");
        let sure = Calibration::of(&[(1e3, true), (-1e3, false)]);
        assert!(sure.loss == 0.0 && sure.brier == 0.0 && sure.expected_error == 0.0, "{sure:?}");
    }
}
