//! Central differences, which check every backward oracle.

/// Asserts that `gradient` is the gradient of `loss` at `x`, element by element, to 1e-4 of the
/// largest slope.
///
/// The differences are of fourth order, so that the step can be large compared with the f32 rounding of
/// `loss`: `(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h`.
pub(super) fn assert_gradient(x: &[f32], gradient: &[f32], loss: impl Fn(&[f32]) -> f64) {
    const STEP: f32 = 1.0 / 32.0;
    assert_eq!(x.len(), gradient.len(), "one slope for each element");
    let moved = |index: usize, by: f32| {
        let mut at = x.to_vec();
        at[index] += by;
        loss(&at)
    };
    let slopes: Vec<f64> = (0..x.len())
        .map(|index| {
            let near = moved(index, STEP) - moved(index, -STEP);
            let far = moved(index, 2.0 * STEP) - moved(index, -2.0 * STEP);
            (8.0 * near - far) / (12.0 * f64::from(STEP))
        })
        .collect();
    let largest = slopes.iter().fold(0.0, |a: f64, slope| a.max(slope.abs()));
    assert!(largest > 1e-2, "a loss this flat proves nothing: largest slope {largest:e}");
    for (index, (&found, slope)) in gradient.iter().zip(slopes).enumerate() {
        let apart = (f64::from(found) - slope).abs();
        assert!(apart <= 1e-4 * largest, "element {index}: gradient {found}, differences {slope}");
    }
}

/// `sum(weights * y)`: a loss whose gradient with respect to `y` is `weights`.
pub(super) fn weighted_sum(weights: &[f32], y: &[f32]) -> f64 {
    assert_eq!(weights.len(), y.len(), "one weight for each element");
    weights.iter().zip(y).map(|(&w, &y)| f64::from(w) * f64::from(y)).sum()
}

/// `len` values, uniform in (-1, 1); each `stream` gives another sequence.
pub(super) fn values(stream: u32, len: usize) -> Vec<f32> {
    use crate::random::{Philox, Purpose, uniform01};
    let random = Philox::new(0);
    let word = |i: usize| random.block(Purpose::Conformance, stream, i as u32 / 4, 0)[i % 4];
    (0..len).map(|i| uniform01(word(i)) * 2.0 - 1.0).collect()
}
