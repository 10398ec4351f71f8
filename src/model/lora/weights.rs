//! Adapters on the host.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{ModuleNames, Projection, Projections};
use crate::error::ErrorKind;
use crate::file::hex;
use crate::gpu::DeviceError;
use crate::model::ModelConfig;
use crate::random::{Philox, Purpose, uniform01};

/// The shape of an adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rows of every A, columns of every B (R).
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f32,
    /// Whether the scale is `alpha / sqrt(rank)` (arXiv 2312.03732) instead of `alpha / rank`.
    pub rs_lora: bool,
    /// The projections that have a pair.
    pub targets: Projections,
}

impl LoraConfig {
    /// Factor of `B (A x)`.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f32;
        self.alpha / if self.rs_lora { rank.sqrt() } else { rank }
    }
}

/// Most pairs of one layer.
const PAIRS_OF_LAYER: usize = 7;

/// The two factors at one projection.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraPair {
    /// `(rank, inputs)`, row-major.
    pub a: Vec<f32>,
    /// `(outputs, rank)`, row-major.
    pub b: Vec<f32>,
}

/// An adapter on the host: a pair for each projection that has one, by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraWeights {
    /// The adapter's shape; `targets` are the projections that have a pair in any layer.
    pub config: LoraConfig,
    /// One map per decoder layer. A projection without a pair adds nothing.
    pub layers: Vec<BTreeMap<Projection, LoraPair>>,
    /// The names of the model's modules, for PEFT.
    pub names: ModuleNames,
}

/// A linear map from the final hidden state to one number: a reward, or a value.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarHead {
    /// `(hidden)`.
    pub weight: Vec<f32>,
    /// Added to the product.
    pub bias: f32,
}

/// Why an adapter does not fit a model.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The device failed, or a request exceeded its limits.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Rank 0, no target, or a scale that is not a number: use other settings.
    #[error("adapter setting {setting} is {value}, expected {expected}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        expected: &'static str,
    },
    /// The adapter was made for another model: use it with that model.
    #[error("the adapter has {found} layers, the model {expected}: it was made for another model")]
    Layers {
        /// Layers of the adapter.
        found: usize,
        /// Layers of the model.
        expected: usize,
    },
    /// A factor does not fit: the adapter was made for another model, or its file is damaged.
    #[error("{factor} of {projection} in layer {layer} holds {found} values, the model needs {expected}")]
    Shape {
        /// Decoder layer.
        layer: usize,
        /// Hugging Face's name of the projection.
        projection: &'static str,
        /// `lora_A` or `lora_B`.
        factor: &'static str,
        /// Number of values in the factor.
        found: usize,
        /// Number of values that the model needs.
        expected: usize,
    },
    /// A pair for a matrix that a layer does not have: the adapter was made for another model.
    #[error("the adapter changes {projection} in layer {layer}, which the model does not have there")]
    NoProjection {
        /// Decoder layer.
        layer: usize,
        /// Name of the projection.
        projection: &'static str,
    },
    /// A head of another width: it belongs to another model.
    #[error("the scalar head has {found} weights, the model's hidden states {expected}")]
    Head {
        /// Number of weights of the head.
        found: usize,
        /// Width of the model.
        expected: usize,
    },
    /// The adapter has no scalar head: use one that was trained as a reward model.
    #[error("the adapter has no scalar head, so it is not a reward model")]
    NoHead,
    /// The adapter is a reward model, which gives scores: use one that was trained to reply.
    #[error(
        "the adapter is a reward model: it gives scores, not replies; name it as the reward model instead, or use \
         another adapter"
    )]
    Scores,
    /// The bank was made for smaller adapters: make it for this rank.
    #[error("the adapter has rank {found}, the bank allows {allowed} at most")]
    Rank {
        /// Rank of the adapter.
        found: usize,
        /// Rank that the bank was made for.
        allowed: usize,
    },
    /// The bank was made for other projections: include this one when the bank is made.
    #[error("the adapter changes {projection}, the bank was made for {allowed}")]
    Target {
        /// Hugging Face's name of the projection.
        projection: &'static str,
        /// The projections that the bank was made for.
        allowed: Projections,
    },
    /// The adapter was detached, or belongs to another bank.
    #[error("no such adapter in this bank: it was detached, or belongs to another bank")]
    Detached,
    /// No free slot: detach an adapter first, or make a bank with more slots.
    #[error("all {capacity} adapter slots are in use")]
    Full {
        /// Number of slots.
        capacity: usize,
    },
}

impl AdapterError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            AdapterError::Device(device) => device.kind(),
            AdapterError::Setting { .. } => ErrorKind::Argument,
            AdapterError::Detached | AdapterError::Full { .. } => ErrorKind::Internal,
            _ => ErrorKind::Mismatch,
        }
    }
}

impl LoraWeights {
    /// A new adapter with PEFT's initial values: `A` uniform within `1 / sqrt(inputs)` (He's bound for a
    /// slope of sqrt 5), `B` zero, so that the model's outputs do not change.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Setting`] if `config` is invalid.
    pub fn fresh(config: LoraConfig, model: &ModelConfig, seed: u64) -> Result<Self, AdapterError> {
        let config = LoraConfig { targets: config.targets.of(model), ..config };
        check_config(&config)?;
        let random = Philox::new(seed);
        let pair = |layer: usize, projection: Projection| {
            let (outputs, inputs) = projection.shape(model);
            let bound = 1.0 / (inputs as f32).sqrt();
            let matrix = (layer * PAIRS_OF_LAYER + projection.number()) as u32;
            let blocks = (0..(config.rank * inputs).div_ceil(4) as u32)
                .flat_map(|index| random.block(Purpose::LoraInit, matrix, index, 0));
            let a = blocks.map(|word| bound * (2.0 * uniform01(word) - 1.0)).take(config.rank * inputs);
            LoraPair { a: a.collect(), b: vec![0.0; outputs * config.rank] }
        };
        let layers = model.layers.iter().enumerate().map(|(layer, described)| {
            let targets = config.targets.iter().filter(|target| target.is_of(described));
            targets.map(|target| (target, pair(layer, target))).collect()
        });
        let names = ModuleNames::of(model.architecture);
        Ok(LoraWeights { config, layers: layers.collect(), names })
    }

    /// `Ok` if every factor fits a model of this shape.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] with the first factor that does not fit.
    pub fn check(&self, model: &ModelConfig) -> Result<(), AdapterError> {
        check_config(&self.config)?;
        if self.layers.len() != model.layers.len() {
            return Err(AdapterError::Layers { found: self.layers.len(), expected: model.layers.len() });
        }
        let rank = self.config.rank;
        for (layer, pairs) in self.layers.iter().enumerate() {
            for (&projection, pair) in pairs {
                if !projection.is_of(&model.layers[layer]) {
                    return Err(AdapterError::NoProjection { layer, projection: projection.name() });
                }
                let (outputs, inputs) = projection.shape(model);
                let factors = [("lora_A", &pair.a, rank * inputs), ("lora_B", &pair.b, outputs * rank)];
                for (factor, values, expected) in factors {
                    if values.len() != expected {
                        return Err(AdapterError::Shape {
                            layer,
                            projection: projection.name(),
                            factor,
                            found: values.len(),
                            expected,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// The same without pairs below the last `count` layers. A reward model learns mostly in its last layers,
    /// and training only those ends the backward pass there.
    #[must_use]
    pub fn of_last_layers(mut self, count: usize) -> Self {
        let below = self.layers.len().saturating_sub(count);
        self.layers[..below].iter_mut().for_each(BTreeMap::clear);
        self
    }

    /// The lowest layer that has a pair; the number of layers if none has.
    pub fn first_layer(&self) -> usize {
        self.layers.iter().position(|pairs| !pairs.is_empty()).unwrap_or(self.layers.len())
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        self.layers.iter().flat_map(BTreeMap::values).map(|pair| pair.a.len() + pair.b.len()).sum()
    }

    /// SHA-256 of the adapter in hexadecimal, together with its scalar head if it has one: the little-endian
    /// f32 values of A and B of each pair, by layer and projection, then the head's weights and bias, then
    /// the scale. Every part of the library that names an adapter by its values uses this hash.
    pub fn sha256(&self, head: Option<&ScalarHead>) -> String {
        let mut hash = Sha256::new();
        let mut add = |values: &[f32]| values.iter().for_each(|value| hash.update(value.to_le_bytes()));
        for pair in self.layers.iter().flat_map(BTreeMap::values) {
            add(&pair.a);
            add(&pair.b);
        }
        if let Some(head) = head {
            add(&head.weight);
            add(&[head.bias]);
        }
        add(&[self.config.scale()]);
        hex(hash.finalize())
    }
}

pub(super) fn check_config(config: &LoraConfig) -> Result<(), AdapterError> {
    let fault = |setting, value: String, expected| Err(AdapterError::Setting { setting, value, expected });
    if config.rank == 0 || config.rank > 1024 {
        return fault("rank", config.rank.to_string(), "a number from 1 to 1024");
    }
    if !config.alpha.is_finite() {
        return fault("alpha", config.alpha.to_string(), "a finite number");
    }
    if config.targets.is_empty() {
        return fault("targets", "empty".to_owned(), "at least one projection");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_covers_factors_head_and_scale() {
        let config =
            LoraConfig { rank: 1, alpha: 2.0, rs_lora: false, targets: "q,v".parse().expect("known") };
        let pair = |first: f32| LoraPair { a: vec![first, first + 1.0], b: vec![first + 2.0] };
        // Projections in the order of the forward pass, independent of the order in which they are added.
        let layer = |first| [(Projection::V, pair(first + 3.0)), (Projection::Q, pair(first))].into();
        let layers = vec![layer(1.0), layer(7.0)];
        let weights = LoraWeights { config, layers, names: ModuleNames::Llama };
        let head = ScalarHead { weight: vec![0.5, -0.5], bias: 0.25 };

        let hash = |values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            crate::file::sha256(bytes)
        };
        let factors: Vec<f32> = (1..=12_u8).map(f32::from).collect();
        assert_eq!(weights.sha256(None), hash(&[&factors[..], &[2.0]].concat()));
        assert_eq!(weights.sha256(Some(&head)), hash(&[&factors[..], &[0.5, -0.5, 0.25, 2.0]].concat()));
    }
}
