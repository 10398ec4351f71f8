//! Scales values to mean 0 and variance 1, over the real tokens of a whole rollout.

/// Added to the variance, so that equal values stay finite. As in TRL.
const EPSILON: f64 = 1e-8;

/// `x <- (x - mean) / sqrt(variance + 1e-8)` over the values that `real` marks. Other values are neither read
/// nor changed. The variance is the population variance (divided by the number of values).
///
/// # Shapes
///
/// Replies of different lengths: each `(values, real)` is one reply, both (T).
///
/// ```
/// use parr::align::estimate::whiten;
///
/// let mut replies = [vec![1.0, 3.0], vec![5.0, f64::NAN]];
/// let real = [vec![true, true], vec![true, false]];
/// whiten(replies.iter_mut().map(Vec::as_mut_slice).zip(real.iter().map(Vec::as_slice)));
/// assert!((replies[0][0] + 1.224744869).abs() < 1e-8 && replies[0][1].abs() < 1e-12);
/// ```
pub fn whiten<'a>(replies: impl IntoIterator<Item = (&'a mut [f64], &'a [bool])>) {
    normalize(replies, true);
}

/// As [`whiten`], but keeps the mean. Used for rewards, because their sign has a meaning.
pub fn scale_to_unit<'a>(replies: impl IntoIterator<Item = (&'a mut [f64], &'a [bool])>) {
    normalize(replies, false);
}

fn normalize<'a>(replies: impl IntoIterator<Item = (&'a mut [f64], &'a [bool])>, shift: bool) {
    let mut values: Vec<&mut f64> = Vec::new();
    for (reply, real) in replies {
        assert_eq!(reply.len(), real.len(), "a mark for each value");
        values.extend(reply.iter_mut().zip(real).filter(|(_, real)| **real).map(|(value, _)| value));
    }
    let n = values.len() as f64;
    let mean = values.iter().map(|value| **value).sum::<f64>() / n;
    let variance = values.iter().map(|value| (**value - mean).powi(2)).sum::<f64>() / n;
    let scale = (variance + EPSILON).sqrt().recip();
    for value in values {
        *value = (*value - mean) * scale + if shift { 0.0 } else { mean };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(values: &mut [Vec<f64>], real: &[Vec<bool>], shift: bool) {
        normalize(values.iter_mut().map(Vec::as_mut_slice).zip(real.iter().map(Vec::as_slice)), shift);
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn the_mean_is_shifted_or_kept() {
        for (shift, expected) in [(true, 0.0), (false, 5.0)] {
            let mut values = [vec![1.0, 9.0, 2.0], vec![8.0]];
            over(&mut values, &[vec![true; 3], vec![true]], shift);
            let (mean, variance) = moments(&values.concat());
            assert!((mean - expected).abs() < 1e-12 && (variance - 1.0).abs() < 1e-8, "{mean} {variance}");
        }
    }

    /// In SALMON's code, the statistics include pads, so the scale of short replies depends on their padding.
    #[test]
    fn pads_have_no_part_in_the_statistics() {
        let real = vec![vec![true, true, false, false], vec![true, false, false, false]];
        let mut values = [vec![1.0, 3.0, f64::NAN, f64::INFINITY], vec![8.0, 1e30, 0.0, 0.0]];
        over(&mut values, &real, true);
        let mut dense = [vec![1.0, 3.0, 8.0]];
        over(&mut dense, &[vec![true; 3]], true);
        assert_eq!([values[0][0], values[0][1], values[1][0]], *dense[0], "bit for bit");
        assert_eq!((values[1][1], values[1][2]), (1e30, 0.0), "unchanged");
    }

    #[test]
    fn equal_values_stay_finite_and_nothing_is_no_trouble() {
        let mut values = [vec![3.0, 3.0]];
        over(&mut values, &[vec![true; 2]], true);
        assert_eq!(values[0], [0.0, 0.0]);
        over(&mut values, &[vec![false; 2]], true);
        over(&mut [], &[], true);
        assert_eq!(values[0], [0.0, 0.0]);
    }
}
