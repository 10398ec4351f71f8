//! An adapter as described by its files in either format, and its conversion for a model.

use std::collections::BTreeMap;
use std::path::Path;

use super::gguf::GgufOrigin;
use super::peft::PeftConfig;
use super::{AdapterFileError, AdapterFormat, Card, Summary};
use crate::format::{Checkpoint, LoadError, TensorInfo};
use crate::model::ModelConfig;
use crate::model::lora::{
    AdapterError, LoraConfig, LoraPair, LoraWeights, ModuleNames, Projection, Projections, ScalarHead,
};
use crate::quant::Quant;

/// Maximum rows of a factor, the same bound as in [`LoraWeights::check`].
const MAX_RANK: usize = 1024;
/// Maximum number of decoder layers, the same bound as in [`ModelConfig`].
const MAX_LAYERS: usize = 1 << 12;

/// An adapter before the model is known: headers are read and checked, factors are still in their file.
#[derive(Debug)]
pub(super) struct Stored {
    pub origin: Origin,
    /// The file of the factors.
    pub file: Checkpoint,
    pub factors: BTreeMap<(usize, Projection), Factors>,
    pub rs_lora: bool,
    pub head: Option<ScalarHead>,
    pub card: Card,
}

/// The requirements of each format on the model.
#[derive(Debug)]
pub(super) enum Origin {
    Peft(Box<PeftConfig>),
    Gguf(GgufOrigin),
}

/// The factors of one projection.
#[derive(Debug)]
pub(super) struct Factors {
    /// `(rank, inputs)`.
    pub a: TensorInfo,
    /// `(outputs, rank)`.
    pub b: TensorInfo,
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f32,
}

/// Hugging Face's name of the module that is a projection: `model.layers.0.self_attn.q_proj`.
pub(super) fn module(names: ModuleNames, layer: usize, projection: Projection) -> String {
    format!("model.layers.{layer}.{}", names.module(projection))
}

/// The inverse of [`module`].
pub(super) fn place(names: ModuleNames, module: &str) -> Option<(usize, Projection)> {
    let (index, rest) = module.strip_prefix("model.layers.")?.split_once('.')?;
    let layer =
        index.parse().ok().filter(|layer: &usize| *layer < MAX_LAYERS && layer.to_string() == index)?;
    let projection = Projection::ALL.into_iter().find(|known| names.module(*known) == rest)?;
    Some((layer, projection))
}

/// The factor of a pair: A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    A,
    B,
}

/// Tensors that are collected into pairs.
#[derive(Default)]
pub(super) struct Pairing(BTreeMap<(usize, Projection), [Option<TensorInfo>; 2]>);

impl Pairing {
    /// Adds a tensor. Names are unique, so no earlier one is overwritten.
    pub fn add(&mut self, place: (usize, Projection), half: Half, tensor: &TensorInfo) {
        self.0.entry(place).or_default()[half as usize] = Some(tensor.clone());
    }

    /// The pairs, with `alpha` still 0. `name` gives the name of a tensor in file `path`.
    pub fn finish(
        self,
        path: &Path,
        name: impl Fn(usize, Projection, Half) -> String,
    ) -> Result<BTreeMap<(usize, Projection), Factors>, AdapterFileError> {
        let mut factors = BTreeMap::new();
        for ((layer, projection), pair) in self.0 {
            let missing = |half| LoadError::MissingTensor {
                path: path.to_owned(),
                tensor: name(layer, projection, half),
            };
            let [a, b] = pair;
            let (a, b) = (a.ok_or_else(|| missing(Half::A))?, b.ok_or_else(|| missing(Half::B))?);
            let (rank, outputs) = (a.shape.first().copied().unwrap_or(0), b.rows());
            for (tensor, expected) in [(&a, vec![rank, a.cols()]), (&b, vec![outputs, rank])] {
                if tensor.shape != expected {
                    return Err(shape(path, tensor, expected));
                }
            }
            if rank == 0 || rank > MAX_RANK {
                let (setting, value) = ("rank", rank.to_string());
                let reason = AdapterError::Setting { setting, value, expected: "a number from 1 to 1024" };
                return Err(AdapterFileError::Fit { path: path.to_owned(), reason });
            }
            factors.insert((layer, projection), Factors { a, b, rank, alpha: 0.0 });
        }
        if factors.is_empty() {
            let rule = "it holds no factor of any projection".to_owned();
            return Err(AdapterFileError::NotAnAdapter { path: path.to_owned(), rule });
        }
        Ok(factors)
    }
}

impl Stored {
    /// The rank and scale on the model. They may differ by projection in a file, but not on a model. The rank
    /// is the largest, and the scale is that of the first projection with this rank.
    fn config(&self) -> LoraConfig {
        let rank = self.factors.values().map(|pair| pair.rank).max().unwrap_or(0);
        let widest = self.factors.values().find(|pair| pair.rank == rank);
        let alpha = widest.map_or(0.0, |pair| pair.alpha);
        let targets: Projections = self.factors.keys().map(|&(_, projection)| projection).collect();
        let config = LoraConfig { rank, alpha, rs_lora: self.rs_lora, targets };
        if alpha == 0.0 && self.factors.values().any(|pair| pair.alpha != 0.0) {
            // A scale of 0 cannot represent other scales, so it becomes 1.
            let alpha = rank as f32 / LoraConfig { alpha: rank as f32, ..config }.scale();
            return LoraConfig { alpha, ..config };
        }
        config
    }

    pub fn summary(&self) -> Summary {
        let config = self.config();
        let values = |pair: &Factors| pair.rank * (pair.a.cols() + pair.b.rows());
        Summary {
            format: match self.origin {
                Origin::Peft(_) => AdapterFormat::Peft,
                Origin::Gguf(_) => AdapterFormat::Gguf,
            },
            config,
            layers: self.factors.keys().map(|(layer, _)| layer + 1).max().unwrap_or(0),
            pairs: self.factors.len(),
            parameters: self.factors.values().map(values).sum(),
            head: self.head.is_some(),
            card: self.card.clone(),
        }
    }

    /// The factors, decoded and checked, for a model of shape `model`.
    pub fn fit(&self, model: &ModelConfig) -> Result<LoraWeights, AdapterFileError> {
        let path = self.file.path();
        let unfit = |reason| AdapterFileError::Fit { path: path.to_owned(), reason };
        match &self.origin {
            Origin::Peft(config) => config.check(&self.factors, model)?,
            Origin::Gguf(origin) => origin.check(model)?,
        }
        let config = self.config();
        let mut layers = vec![BTreeMap::new(); model.layers.len()];
        for (&(layer, projection), factors) in &self.factors {
            let Some(pairs) = layers.get_mut(layer) else {
                let found = self.summary().layers;
                return Err(unfit(AdapterError::Layers { found, expected: model.layers.len() }));
            };
            pairs.insert(projection, self.pair(factors, projection.shape(model), model.head_dim, &config)?);
        }
        let weights = LoraWeights { config, layers, names: ModuleNames::of(model.architecture) };
        weights.check(model).map_err(unfit)?;
        let head = self.head.as_ref().map_or(model.hidden, |head| head.weight.len());
        if head != model.hidden {
            return Err(unfit(AdapterError::Head { found: head, expected: model.hidden }));
        }
        Ok(weights)
    }

    /// One pair with the rank and the scale of `config`.
    fn pair(
        &self,
        factors: &Factors,
        (outputs, inputs): (usize, usize),
        head_dim: usize,
        config: &LoraConfig,
    ) -> Result<LoraPair, AdapterFileError> {
        let path = self.file.path();
        for (tensor, expected) in
            [(&factors.a, vec![factors.rank, inputs]), (&factors.b, vec![outputs, factors.rank])]
        {
            if tensor.shape != expected {
                return Err(shape(path, tensor, expected));
            }
        }
        let mut a = finite_values(&self.file, &factors.a)?;
        let stored = finite_values(&self.file, &factors.b)?;
        a.resize(config.rank * inputs, 0.0);
        let mut b = vec![0.0; outputs * config.rank];
        for (row, values) in stored.chunks_exact(factors.rank).enumerate() {
            let to = factors.b.row_in_halves(row, head_dim) * config.rank;
            b[to..to + factors.rank].copy_from_slice(values);
        }
        let own = LoraConfig { rank: factors.rank, alpha: factors.alpha, ..*config }.scale();
        if own != config.scale() {
            let ratio = f64::from(own) / f64::from(config.scale());
            for (index, value) in b.iter_mut().enumerate() {
                *value = (f64::from(*value) * ratio) as f32;
                check_finite(path, &factors.b.source_name, index, *value)?;
            }
        }
        Ok(LoraPair { a, b })
    }
}

fn shape(path: &Path, tensor: &TensorInfo, expected: Vec<usize>) -> AdapterFileError {
    let (path, found) = (path.to_owned(), tensor.shape.clone());
    AdapterFileError::Shape { path, tensor: tensor.source_name.clone(), found, expected }
}

/// The values of `tensor` in `file`, all finite.
pub(super) fn finite_values(file: &Checkpoint, tensor: &TensorInfo) -> Result<Vec<f32>, AdapterFileError> {
    let mut values = vec![0.0; tensor.rows() * tensor.cols()];
    tensor.quant.decode(file.bytes(tensor), &mut values);
    for (index, value) in values.iter().enumerate() {
        check_finite(file.path(), &tensor.source_name, index, *value)?;
    }
    Ok(values)
}

pub(super) fn check_finite(
    path: &Path,
    tensor: &str,
    index: usize,
    value: f32,
) -> Result<(), AdapterFileError> {
    if value.is_finite() {
        return Ok(());
    }
    let (path, tensor) = (path.to_owned(), tensor.to_owned());
    Err(AdapterFileError::Value { path, tensor, index, value })
}

/// The bytes of `values` in `quant`, f32 or f16; overflow in f16 is an error.
pub(super) fn encoded(
    path: &Path,
    name: &str,
    values: &[f32],
    quant: Quant,
) -> Result<Vec<u8>, AdapterFileError> {
    let mut bytes = Vec::new();
    quant.encode(values, &mut bytes);
    if quant == Quant::F16 {
        let mut rounded = vec![0.0; values.len()];
        quant.decode(&bytes, &mut rounded);
        for (index, value) in rounded.iter().enumerate() {
            check_finite(path, name, index, *value)?;
        }
    }
    Ok(bytes)
}
