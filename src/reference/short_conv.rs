//! The gated short convolution of LFM2 (arXiv 2511.23404).

/// `B x`, element by element: what the filter reads. `bcx` has B, C and x of each row one after another.
///
/// # Shapes
///
/// `bcx` `(m, 3 width)`, result `(m, width)`.
pub fn short_conv_input(width: usize, bcx: &[f32]) -> Vec<f32> {
    let rows = bcx.chunks_exact(3 * width);
    rows.flat_map(|row| row[..width].iter().zip(&row[2 * width..]).map(|(&b, &x)| b * x)).collect()
}

/// The filter of one column at `position`: `bias + sum over taps of tap u`, over `u` at this position and before it.
fn filtered(taps: &[f32], bias: f32, u: impl Fn(usize) -> f32, position: usize) -> f64 {
    let last = taps.len() - 1;
    let reached = (0..taps.len()).filter(|tap| last - tap <= position);
    reached.fold(f64::from(bias), |sum, tap| sum + f64::from(taps[tap]) * f64::from(u(position + tap - last)))
}

/// `C (bias + sum over taps of tap u)` for the rows of one sequence at `positions`. The last tap is that of the row's own
/// position, and positions before 0 count as 0. `u` is the history of the sequence, which may be longer than needed.
///
/// # Shapes
///
/// `bcx` `(positions.len(), 3 width)`; `u` `(history, width)`; `taps` `(width, number of taps)`; `bias` `(width)`; result
/// `(positions.len(), width)`.
pub fn short_conv(bcx: &[f32], positions: &[u32], u: &[f32], taps: &[f32], bias: &[f32]) -> Vec<f32> {
    let width = bias.len();
    assert_eq!(bcx.len(), positions.len() * 3 * width, "bcx is not one row per position");
    let n_taps = taps.len() / width;
    let mut y = Vec::with_capacity(positions.len() * width);
    for (row, &position) in bcx.chunks_exact(3 * width).zip(positions) {
        for column in 0..width {
            let taps = &taps[column * n_taps..][..n_taps];
            let sum = filtered(taps, bias[column], |at| u[at * width + column], position as usize);
            y.push((f64::from(row[width + column]) * sum) as f32);
        }
    }
    y
}

/// Gradients of a short convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct ShortConvGradients {
    /// Of C, `(positions.len(), width)`.
    pub d_c: Vec<f32>,
    /// Of the history's inputs, `(history, width)`.
    pub d_u: Vec<f32>,
}

/// The gradient of `sum(d_y * short_conv(..))` with respect to C and u:
/// `d_C = d_y (bias + sum of tap u)`, and each u gets `tap d_y C` of every row that it reaches. Those of B and x follow
/// from `u = B x`.
///
/// # Shapes
///
/// As of [`short_conv`]; `d_y` `(positions.len(), width)`.
pub fn short_conv_backward(
    bcx: &[f32],
    positions: &[u32],
    u: &[f32],
    taps: &[f32],
    bias: &[f32],
    d_y: &[f32],
) -> ShortConvGradients {
    let width = bias.len();
    let n_taps = taps.len() / width;
    let mut d_c = Vec::with_capacity(d_y.len());
    let mut d_u = vec![0f64; u.len()];
    let rows = bcx.chunks_exact(3 * width).zip(d_y.chunks_exact(width)).zip(positions);
    for ((row, d_y), &position) in rows {
        let position = position as usize;
        for column in 0..width {
            let taps = &taps[column * n_taps..][..n_taps];
            let sum = filtered(taps, bias[column], |at| u[at * width + column], position);
            d_c.push((f64::from(d_y[column]) * sum) as f32);
            for (tap, &value) in taps.iter().enumerate() {
                let back = n_taps - 1 - tap;
                if back <= position {
                    d_u[(position - back) * width + column] +=
                        f64::from(value) * f64::from(d_y[column]) * f64::from(row[width + column]);
                }
            }
        }
    }
    ShortConvGradients { d_c, d_u: d_u.into_iter().map(|sum| sum as f32).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::differences::{assert_gradient, values, weighted_sum};

    const WIDTH: usize = 3;

    #[test]
    fn the_filter_reads_its_own_position_last() {
        // One column: taps 100, 10 and 1 of the inputs 1, 2, 3, 4; C is 1.
        let bcx: Vec<f32> = (1..=4).flat_map(|x| [1.0, 1.0, x as f32]).collect();
        let u = short_conv_input(1, &bcx);
        assert_eq!(u, [1.0, 2.0, 3.0, 4.0]);
        let y = short_conv(&bcx, &[0, 1, 2, 3], &u, &[100.0, 10.0, 1.0], &[0.5]);
        assert_eq!(y, [1.5, 12.5, 123.5, 234.5]);
    }

    /// Gradients of B, C and x, by u = B x.
    fn gradient(bcx: &[f32], positions: &[u32], taps: &[f32], bias: &[f32], d_y: &[f32]) -> Vec<f32> {
        let u = short_conv_input(WIDTH, bcx);
        let found = short_conv_backward(bcx, positions, &u, taps, bias, d_y);
        let rows = bcx.chunks_exact(3 * WIDTH).enumerate();
        rows.flat_map(|(at, row)| {
            let (d_u, d_c) = (&found.d_u[at * WIDTH..][..WIDTH], &found.d_c[at * WIDTH..][..WIDTH]);
            let product = |a: &[f32]| -> Vec<f32> { a.iter().zip(d_u).map(|(a, d)| a * d).collect() };
            [product(&row[2 * WIDTH..]), d_c.to_vec(), product(&row[..WIDTH])].concat()
        })
        .collect()
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        for n_taps in [1, 3, 4] {
            let positions: Vec<u32> = (0..6).collect();
            let bcx = values(1, positions.len() * 3 * WIDTH);
            let (taps, bias) = (values(2, WIDTH * n_taps), values(3, WIDTH));
            let w = values(4, positions.len() * WIDTH);
            let found = gradient(&bcx, &positions, &taps, &bias, &w);
            assert_gradient(&bcx, &found, |bcx| {
                let u = short_conv_input(WIDTH, bcx);
                weighted_sum(&w, &short_conv(bcx, &positions, &u, &taps, &bias))
            });
        }
    }
}
