//! Scales for the k-quants' encoders: a few candidate grids, the best in least squares.

/// Relative widenings and narrowings of the plain grid that are tried, in tenths of a level.
const STEPS: std::ops::RangeInclusive<i32> = -9..=9;

/// The `(scale, min)` with `min >= 0` for which `scale * q - min`, `q` in `0..=top`, is close to
/// `weights`.
pub(super) fn affine(weights: &[f32], top: u8) -> (f32, f32) {
    let (lo, hi) = weights.iter().fold((0.0f32, 0.0f32), |(lo, hi), &w| (lo.min(w), hi.max(w)));
    let span = hi - lo;
    if !(span > 0.0 && span.is_finite()) {
        return (0.0, 0.0);
    }
    let mut best = (span / f32::from(top), -lo);
    let mut best_error = f32::MAX;
    for step in STEPS {
        let levels = f32::from(top) + 0.1 * step as f32;
        // Sums for the least-squares line through the points (q, w).
        let (mut sq, mut sqq, mut sw, mut sqw) = (0.0, 0.0, 0.0, 0.0);
        for &w in weights {
            let q = nearest((w - lo) * levels / span, 0.0, f32::from(top));
            (sq, sqq, sw, sqw) = (sq + q, sqq + q * q, sw + w, sqw + q * w);
        }
        let n = weights.len() as f32;
        let det = n * sqq - sq * sq;
        if det <= 0.0 {
            continue;
        }
        let mut scale = (n * sqw - sq * sw) / det;
        let mut min = -(sqq * sw - sq * sqw) / det;
        if min < 0.0 {
            (scale, min) = (sqw / sqq, 0.0);
        }
        let error = weights
            .iter()
            .map(|&w| {
                let q = nearest((w + min) / scale, 0.0, f32::from(top));
                (scale * q - min - w).powi(2)
            })
            .sum::<f32>();
        if scale > 0.0 && error < best_error {
            (best, best_error) = ((scale, min), error);
        }
    }
    best
}

/// The signed `scale` for which `scale * q`, `q` in `-half..half`, is close to `weights`.
pub(super) fn symmetric(weights: &[f32], half: u8) -> f32 {
    let extreme = super::quads::extreme(weights);
    if extreme == 0.0 || !extreme.is_finite() {
        return 0.0;
    }
    let half = f32::from(half);
    let (mut best, mut best_gain) = (-extreme / half, f32::MIN);
    for step in STEPS {
        let inverse = -(half + 0.1 * step as f32) / extreme;
        let (mut sqq, mut sqw) = (0.0, 0.0);
        for &w in weights {
            let q = nearest(w * inverse, -half, half - 1.0);
            (sqq, sqw) = (sqq + q * q, sqw + q * w);
        }
        // The squared error is sum w^2 minus this gain.
        if sqq > 0.0 && sqw * sqw / sqq > best_gain {
            (best, best_gain) = (sqw / sqq, sqw * sqw / sqq);
        }
    }
    best
}

/// The signed `scale` for which `scale * level`, for one of `levels` each, is close to `weights`.
pub(super) fn levels(weights: &[f32], levels: &[i8; 16]) -> f32 {
    let extreme = super::quads::extreme(weights);
    if extreme == 0.0 || !extreme.is_finite() {
        return 0.0;
    }
    let (mut best, mut best_gain) = (extreme / f32::from(levels[0]), f32::MIN);
    for end in [levels[0], levels[15]] {
        for step in STEPS {
            let inverse = f32::from(end) * (1.0 + 0.01 * step as f32) / extreme;
            let (mut sqq, mut sqw) = (0.0, 0.0);
            for &w in weights {
                let q = f32::from(levels[usize::from(nearest_level(w * inverse, levels))]);
                (sqq, sqw) = (sqq + q * q, sqw + q * w);
            }
            // The squared error is sum w^2 minus this gain.
            if sqq > 0.0 && sqw * sqw / sqq > best_gain {
                (best, best_gain) = (sqw / sqq, sqw * sqw / sqq);
            }
        }
    }
    best
}

/// Index of the level nearest to `value`; that of the lowest for NaN.
pub(super) fn nearest_level(value: f32, levels: &[i8; 16]) -> u8 {
    let above = levels.windows(2).take_while(|pair| value > 0.5 * (f32::from(pair[0]) + f32::from(pair[1])));
    above.count() as u8
}

/// `value` rounded to the nearest integer and clamped to `lo..=hi`; NaN becomes `lo`.
pub(super) fn nearest(value: f32, lo: f32, hi: f32) -> f32 {
    value.round().max(lo).min(hi)
}
