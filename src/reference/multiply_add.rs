//! Multiplications and additions without loads.

/// `steps` steps `v * 0.75 + 0.5` on each value of `x`, which tend to 2.
pub fn multiply_add(x: &[f32], steps: usize) -> Vec<f32> {
    x.iter().map(|&x| (0..steps).fold(x, |v, _| v * 0.75 + 0.5)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_one_another_and_tend_to_two() {
        assert_eq!(multiply_add(&[0.0, 2.0, 4.0], 2), [0.875, 2.0, 3.125]);
        let far = multiply_add(&[-1.0, 5.0], 80);
        assert!(far.iter().all(|v| (v - 2.0).abs() < 1e-6), "{far:?}");
    }
}
