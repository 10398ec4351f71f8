//! Adapter gradients of whole models against finite differences of the oracle, whose loss knows nothing
//! of adapters: they are merged into its weights.

use std::path::Path;

use parr::gpu::KernelFamily;
use parr::model::lora::{AdapterBank, LoraWeights, Projection, Projections};
use parr::reference::model::Model as Oracle;
use parr::train::{Learner, Sequence};

use super::{golden_path, load, lora, mean_loss, random_adapter, shape};
use crate::support::gpu;
use crate::support::synthetic::{LFM2, ODD, Shape, weights, write_directory};

/// The oracle's weights with `W + scale B A` in every target's place.
fn merged(oracle: &Oracle, adapter: &LoraWeights) -> Oracle {
    let mut merged = oracle.clone();
    let (rank, scale) = (adapter.config.rank, f64::from(adapter.config.scale()));
    for (layer, pairs) in merged.layers.iter_mut().zip(&adapter.layers) {
        for (projection, pair) in pairs {
            let matrix = match projection {
                Projection::Q => &mut layer.q,
                Projection::K => &mut layer.k,
                Projection::V => &mut layer.v,
                Projection::O => &mut layer.o,
                Projection::Gate => &mut layer.gate,
                Projection::Up => &mut layer.up,
                Projection::Down => &mut layer.down,
                Projection::In => &mut layer.conv.as_mut().expect("a layer with a convolution").input,
                Projection::Out => &mut layer.conv.as_mut().expect("a layer with a convolution").output,
            };
            let inputs = pair.a.len() / rank;
            for (n, row) in matrix.chunks_exact_mut(inputs).enumerate() {
                for (k, weight) in row.iter_mut().enumerate() {
                    let product: f64 = (0..rank)
                        .map(|r| f64::from(pair.b[n * rank + r]) * f64::from(pair.a[r * inputs + k]))
                        .sum();
                    *weight = (f64::from(*weight) + scale * product) as f32;
                }
            }
        }
    }
    merged
}

/// Mean cross-entropy of all readings.
fn oracle_loss(oracle: &Oracle, sequences: &[Sequence]) -> f64 {
    let (mut total, mut count) = (0.0, 0);
    for sequence in sequences {
        let logits = oracle.logits(&sequence.ids);
        let vocab = logits.len() / sequence.ids.len();
        for reading in &sequence.readings {
            let row: Vec<f64> =
                logits[reading.position * vocab..][..vocab].iter().map(|&z| f64::from(z)).collect();
            let top = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let sum: f64 = row.iter().map(|z| (z - top).exp()).sum();
            let target = reading.target.expect("readings of this test have targets") as usize;
            total += top + sum.ln() - row[target];
            count += 1;
        }
    }
    total / count as f64
}

/// `adapter + step * direction`.
fn moved(adapter: &LoraWeights, direction: &LoraWeights, step: f64) -> LoraWeights {
    let mut moved = adapter.clone();
    for (pairs, directions) in moved.layers.iter_mut().zip(&direction.layers) {
        for (projection, pair) in pairs {
            let along = &directions[projection];
            for (value, d) in pair.a.iter_mut().zip(&along.a).chain(pair.b.iter_mut().zip(&along.b)) {
                *value = (f64::from(*value) + step * f64::from(*d)) as f32;
            }
        }
    }
    moved
}

fn only(weights: &LoraWeights, keep: impl Fn(usize, Projection, bool) -> bool) -> LoraWeights {
    let mut part = weights.clone();
    for (layer, pairs) in part.layers.iter_mut().enumerate() {
        for (projection, pair) in pairs {
            if !keep(layer, *projection, true) {
                pair.a.fill(0.0);
            }
            if !keep(layer, *projection, false) {
                pair.b.fill(0.0);
            }
        }
    }
    part
}

fn norm(weights: &LoraWeights) -> f64 {
    let pairs = weights.layers.iter().flat_map(|pairs| pairs.values());
    pairs.flat_map(|pair| pair.a.iter().chain(&pair.b)).map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// For each factor of each projection in each layer: along the gradient that the device found, the
/// oracle's loss must rise by its norm.
fn holds(path: &Path, targets: Projections, recomputed: usize, family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let oracle = crate::reference::load(path);
    let model = load(&device, path);
    let vocab = model.config().vocab;
    let adapter = random_adapter(lora(5, targets), model.config(), 3);
    let bank = AdapterBank::new(&model, 5, targets, 2).expect("a small bank fits");
    let id = bank.attach(&adapter, None).expect("the adapter fits");
    let sequences: Vec<Sequence> = [(37, 5), (1, 2), (20, 9)]
        .map(|(n, seed): (usize, usize)| {
            let ids: Vec<u32> = (0..n).map(|at| ((at * at * 31 + at * 7 + seed) % vocab) as u32).collect();
            let mask: Vec<bool> = (0..n).map(|at| at % 3 != 1).collect();
            Sequence::with_targets(&ids, &mask, Some(id))
        })
        .into();
    let mut learner = Learner::new(&model, &bank, &[id], &shape(&model, 64, recomputed), super::ADAMW)
        .expect("a small pass fits");
    let readings = super::targets(&sequences);
    learner.clear().expect("gradients can be cleared");
    let learned = learner
        .accumulate(std::slice::from_ref(&sequences), &mut |_, stats| mean_loss(readings, stats))
        .expect("a sound pass");
    let loss = oracle_loss(&merged(&oracle, &adapter), &sequences);
    assert!((learned.loss - loss).abs() <= 1e-4, "loss {} of {loss}", learned.loss);
    let (gradients, _) = learner.read_gradients(0).expect("gradients can be read");
    let whole = norm(&gradients);
    for layer in 0..gradients.layers.len() {
        for &projection in gradients.layers[layer].keys() {
            for factor_a in [true, false] {
                let part = only(&gradients, |l, p, a| (l, p, a) == (layer, projection, factor_a));
                let slope = norm(&part);
                // A step that moves the loss by about a hundredth, far above the oracle's rounding, and
                // the factor by a tenth at most: far below where the curvature shows.
                let step = (0.01 / (slope * slope)).min(0.1 / slope);
                let at = |step: f64| oracle_loss(&merged(&oracle, &moved(&adapter, &part, step)), &sequences);
                let found = (at(step) - at(-step)) / (2.0 * step);
                let name = format!("{} layer {layer} {} A={factor_a}", family.name(), projection.name());
                let allowed = 0.01 * slope * slope + 1e-4 * whole * slope;
                let (expected, apart) = (slope * slope, (found - slope * slope).abs());
                assert!(
                    apart <= allowed,
                    "{name}: slope {expected:.4e}, oracle {found:.4e}, loss step {step:.1e}"
                );
            }
        }
    }
}

fn synthetic(family: KernelFamily, shape: Shape, targets: Projections) {
    let directory = tempfile::tempdir().expect("a scratch directory");
    write_directory(&shape, &weights(&shape), directory.path());
    holds(directory.path(), targets, 1, family);
}

#[test]
fn llama_with_as_many_kv_heads_and_its_own_head(family: KernelFamily) {
    holds(&golden_path("tiny/llama-mha-untied"), Projections::ALL, 0, family);
}

#[test]
fn llama3_with_scaled_rope_and_grouped_queries_recomputed(family: KernelFamily) {
    holds(&golden_path("tiny/llama3-rope-gqa"), Projections::ALL, 3, family);
}

#[test]
fn qwen2_with_biases_and_three_targets(family: KernelFamily) {
    let targets = [Projection::Q, Projection::V, Projection::Down].into_iter().collect();
    holds(&golden_path("tiny/qwen2-bias"), targets, 1, family);
}

#[test]
fn llama_of_odd_widths(family: KernelFamily) {
    synthetic(family, ODD, Projections::ALL);
}

#[test]
fn qwen3_with_normalised_heads(family: KernelFamily) {
    let shape = Shape { model_type: "qwen3", heads: 4, kv_heads: 4, head_dim: 32, tied: true, ..ODD };
    synthetic(family, shape, Projections::ALL);
}

#[test]
fn lfm2_with_a_convolution_below_attention(family: KernelFamily) {
    synthetic(family, LFM2, Projections::ALL);
}

#[test]
fn mistral_with_a_window_shorter_than_the_text(family: KernelFamily) {
    synthetic(
        family,
        Shape { model_type: "mistral", window: Some(7), ..ODD },
        [Projection::K, Projection::Up].into_iter().collect(),
    );
}
