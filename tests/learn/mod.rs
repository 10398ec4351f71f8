//! Learning on whole models: passes, gradients, steps.

/// Every architecture, against transformers.
mod architectures;
/// Pausing, cancelling, resuming.
mod control;
/// PyTorch's losses, gradients and weights.
mod golden;
/// Adapter gradients against finite differences of the oracle's loss.
mod gradients;
/// What must not matter: packing, accumulation, neighbours.
mod invariants;
/// Adapters within their base's weights.
mod merged;
/// Device memory, counted beforehand.
mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parr::gpu::Device;
use parr::model::lora::{LoraConfig, LoraPair, LoraWeights, ModuleNames, Projection, Projections};
use parr::model::{LoadOptions, Model, ModelConfig};
use parr::random::{Philox, Purpose};
use parr::train::objective::{Objective, Supervised, SupervisedBatch};
use parr::train::{AdamW, Evaluated, PassShape, Sequence, TokenStats};
use safetensors::SafeTensors;

pub(crate) fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn load(device: &Device, path: &Path) -> Model {
    Model::load(device, path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint loads")
}

/// A pass for up to `rows` tokens that keeps the activations of all layers but `recomputed`.
pub(crate) fn shape(model: &Model, rows: usize, recomputed: usize) -> PassShape {
    let layers = model.config().layers.len();
    let kept_layers = layers - recomputed;
    PassShape { rows, longest: rows, learning_layers: layers, kept_layers, logit_rows: 24 }
}

/// PyTorch's defaults, clipped at 1.
pub(crate) const ADAMW: AdamW =
    AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, max_grad_norm: Some(1.0) };

/// An adapter whose both factors are away from zero.
fn random_adapter(config: LoraConfig, model: &ModelConfig, seed: u64) -> LoraWeights {
    let mut weights = LoraWeights::fresh(config, model, seed).expect("sound settings");
    let random = Philox::new(seed);
    for (layer, pairs) in weights.layers.iter_mut().enumerate() {
        for (projection, pair) in pairs {
            let step = (layer * 7 + *projection as usize) as u32;
            for (index, value) in pair.b.iter_mut().enumerate() {
                *value = 0.2 * (random.uniform(Purpose::Conformance, step, index as u32, 0) - 0.5);
            }
        }
    }
    weights
}

fn lora(rank: usize, targets: Projections) -> LoraConfig {
    LoraConfig { rank, alpha: 2.0 * rank as f32, rs_lora: false, targets }
}

/// Number of readings of a step.
fn targets(sequences: &[Sequence]) -> usize {
    sequences.iter().map(|sequence| sequence.readings.len()).sum()
}

/// A pass's share of the mean cross-entropy over `targets` readings.
fn mean_loss(targets: usize, stats: &TokenStats) -> Evaluated {
    Supervised.evaluate(stats, &SupervisedBatch::uniform(stats.logprob.len(), targets))
}

/// An adapter in PEFT's names, each with `prefix` before it; missing pairs are left out.
pub(crate) fn peft(
    file: &SafeTensors<'_>,
    prefix: &str,
    config: LoraConfig,
    model: &ModelConfig,
) -> LoraWeights {
    let floats = |name: &str| -> Option<Vec<f32>> {
        let tensor = file.tensor(name).ok()?;
        Some(tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    let names = ModuleNames::of(model.architecture);
    let layers = (0..model.layers.len())
        .map(|layer| {
            let pair = |projection: Projection| {
                let module = names.module(projection);
                let stem = format!("{prefix}base_model.model.model.layers.{layer}.{module}");
                let a = floats(&format!("{stem}.lora_A.weight"))?;
                Some((projection, LoraPair { a, b: floats(&format!("{stem}.lora_B.weight"))? }))
            };
            Projection::ALL.into_iter().filter_map(pair).collect::<BTreeMap<_, _>>()
        })
        .collect();
    LoraWeights { config, layers, names }
}

/// The largest relative distance, by factor, over all pairs that `expected` has.
fn relative_distance(found: &LoraWeights, expected: &LoraWeights) -> f64 {
    let mut worst: f64 = 0.0;
    for (found, expected) in found.layers.iter().zip(&expected.layers) {
        for (projection, pair) in expected {
            let ours = &found[projection];
            for (ours, theirs) in [(&ours.a, &pair.a), (&ours.b, &pair.b)] {
                worst = worst.max(distance(ours, theirs));
            }
        }
    }
    worst
}

/// `|a - b| / |b|` in the Euclidean norm; an expected zero must be found exactly.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let apart: f64 = found.iter().zip(expected).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    let norm: f64 = expected.iter().map(|&b| f64::from(b).powi(2)).sum();
    if apart == 0.0 { 0.0 } else { (apart / norm).sqrt() }
}
