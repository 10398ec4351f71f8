//! Rows of a matrix by index.

/// Row `index[i]` of `x`, for every `i`.
///
/// # Shapes
///
/// `x` `(m, width)`; result `(index.len(), width)`.
pub fn gather_rows(x: &[f32], width: usize, index: &[u32]) -> Vec<f32> {
    index.iter().flat_map(|&row| &x[row as usize * width..][..width]).copied().collect()
}

/// Puts row `i` of `d_y` into row `index[i]` of `d_x`: the gradient of [`gather_rows`] for indices that
/// differ from each other, once `d_x` is zero.
///
/// # Shapes
///
/// `d_y` `(index.len(), width)`, `d_x` `(m, width)`.
pub fn scatter_rows(d_y: &[f32], width: usize, index: &[u32], d_x: &mut [f32]) {
    for (row, &place) in d_y.chunks_exact(width).zip(index) {
        d_x[place as usize * width..][..width].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use super::super::differences::{assert_gradient, values, weighted_sum};
    use super::*;

    #[test]
    fn scattering_is_the_gradient_of_gathering() {
        let (width, index) = (3, [4, 0, 2]);
        let (x, d_y) = (values(1, 5 * width), values(2, index.len() * width));
        let mut d_x = vec![0.0; x.len()];
        scatter_rows(&d_y, width, &index, &mut d_x);
        assert_gradient(&x, &d_x, |x| weighted_sum(&d_y, &gather_rows(x, width, &index)));
    }
}
