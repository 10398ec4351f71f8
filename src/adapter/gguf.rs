//! llama.cpp's LoRA files: GGUF with `general.type` = `adapter` and the factors under the names of the
//! matrices that they change, `blk.0.attn_q.weight.lora_a`.
//!
//! llama.cpp adds `alpha / rank` times the product, with the rank of each pair. A scale of
//! `alpha / sqrt(rank)` is written as the alpha that gives the same scale.

use std::io;
use std::path::{Path, PathBuf};

use super::stored::{Factors, Half, Origin, Pairing, Stored, encoded, module, place};
use super::{Adapter, AdapterFileError, Card};
use crate::format::gguf::{Gguf, GgufWriter, Value, gguf_name, half_split_row, rope_permuted};
use crate::format::{Checkpoint, LoadError};
use crate::model::ModelConfig;
use crate::model::lora::{ModuleNames, Projection};
use crate::output::{self, Mark};
use crate::quant::Quant;

const ALPHA: &str = "adapter.lora.alpha";
const CARD: &str = "parr.card";
const ARCHITECTURE: &str = "general.architecture";

/// The file's description of its model.
#[derive(Debug)]
pub(super) struct GgufOrigin {
    path: PathBuf,
    architecture: String,
}

impl GgufOrigin {
    pub fn check(&self, model: &ModelConfig) -> Result<(), LoadError> {
        let wanted = model.architecture.name();
        if self.architecture == wanted {
            return Ok(());
        }
        let found = crate::format::printable(&self.architecture);
        let rule = format!("is {found:?}, but the model's is {wanted:?}: it was made for another model");
        Err(LoadError::metadata(&self.path, ARCHITECTURE, None, rule))
    }
}

/// `model.layers.0.self_attn.q_proj.weight`: the matrix that a pair of factors changes.
fn matrix(layer: usize, projection: Projection) -> String {
    format!("{}.weight", module(ModuleNames::Llama, layer, projection))
}

/// GGUF's name of the factors of a matrix, without the suffix for A or B.
fn factor_name(layer: usize, projection: Projection) -> String {
    gguf_name(None, &matrix(layer, projection)).expect("every projection has a GGUF name")
}

/// Reads the headers of the adapter in file `path`.
pub(super) fn read(path: &Path) -> Result<Stored, AdapterFileError> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let rule = "a safetensors file has no configuration; name the directory that holds it".to_owned();
        return Err(AdapterFileError::NotAnAdapter { path: path.to_owned(), rule });
    }
    let file = Checkpoint::open(path)?;
    let Some(gguf) = file.gguf() else {
        let rule = "it is a directory, not a gguf file".to_owned();
        return Err(AdapterFileError::NotAnAdapter { path: path.to_owned(), rule });
    };
    for (key, wanted) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let found = gguf.string(key)?.unwrap_or("missing");
        if found != wanted {
            let found = crate::format::printable(found);
            let rule = format!("its `{key}` is {found}, not {wanted}");
            return Err(AdapterFileError::NotAnAdapter { path: path.to_owned(), rule });
        }
    }
    let architecture = gguf.need_string(ARCHITECTURE)?.to_owned();
    let alpha = gguf.float(ALPHA)?.unwrap_or(0.0);
    if let Some(value) = gguf.value("adapter.alora.invocation_tokens") {
        let what = format!("it is an activated LoRA ({value:.0?})");
        let what: String = what.chars().take(80).collect();
        return Err(LoadError::unsupported(path, what, "use a plain LoRA adapter").into());
    }
    let card = match gguf.string(CARD)? {
        Some(text) => {
            let json = serde_json::from_str(text)
                .map_err(|error| gguf.bad(CARD, format!("is not JSON: {error}")))?;
            Card::read(path, json)?
        }
        None => Card::default(),
    };
    file.need_all_tensors()?;
    let mut factors = pairs(path, gguf)?.finish(path, |layer, projection, half| {
        format!("{}{}", factor_name(layer, projection), suffix(half))
    })?;
    for Factors { rank, alpha: own, .. } in factors.values_mut() {
        // Without an alpha, llama.cpp's scale is 1.
        *own = if alpha == 0.0 { *rank as f32 } else { alpha };
    }
    let origin = Origin::Gguf(GgufOrigin { path: path.to_owned(), architecture });
    Ok(Stored { origin, file, factors, rs_lora: false, head: None, card })
}

fn suffix(half: Half) -> &'static str {
    match half {
        Half::A => ".lora_a",
        Half::B => ".lora_b",
    }
}

/// Assigns every tensor to a projection; a tensor of no projection is an error that names it.
fn pairs(path: &Path, gguf: &Gguf) -> Result<Pairing, LoadError> {
    let mut pairs = Pairing::default();
    for tensor in gguf.tensors() {
        let found = [Half::A, Half::B].into_iter().find_map(|half| {
            let matrix = tensor.name.strip_suffix(suffix(half))?;
            Some((place(ModuleNames::Llama, matrix.strip_suffix(".weight")?)?, half))
        });
        let Some((place, half)) = found else {
            let name = crate::format::printable(&tensor.source_name);
            let what = format!("tensor `{name}` is not a factor of a supported decoder projection");
            return Err(LoadError::unsupported(
                path,
                what,
                "train factors of the layers' linear modules only",
            ));
        };
        pairs.add(place, half, tensor);
    }
    Ok(pairs)
}

/// Writes `adapter`, made for `model`, as file `path`, its factors in `quant`: f32 or f16.
pub(super) fn write(
    adapter: &Adapter,
    path: &Path,
    model: &ModelConfig,
    quant: Quant,
) -> Result<(), AdapterFileError> {
    adapter.check(path, model)?;
    let unwritable = |what: &str, hint: &str| Err(AdapterFileError::unwritable(path, what, hint));
    if !matches!(quant, Quant::F32 | Quant::F16) {
        return unwritable(&format!("factors cannot be {quant}"), "choose f32 or f16");
    }
    if adapter.head.is_some() {
        return unwritable("a gguf adapter has no place for a scalar head", "write a PEFT directory");
    }
    let config = &adapter.weights.config;
    let rank = config.rank;
    let alpha = if config.rs_lora { config.scale() * rank as f32 } else { config.alpha };
    if alpha == 0.0 || !alpha.is_finite() {
        return unwritable(
            &format!("its scale is {}, which llama.cpp reads as 1", config.scale()),
            "change alpha",
        );
    }
    output::check(path, Mark::Gguf, &[]).map_err(|error| AdapterFileError::write(path, error))?;
    let mut writer = GgufWriter::new();
    writer.set(output::GGUF_KEY, Value::String(output::PARR.to_owned()));
    let text = |text: &str| Value::String(text.to_owned());
    writer.set(ARCHITECTURE, text(model.architecture.name()));
    writer.set("general.type", text("adapter"));
    writer.set("adapter.type", text("lora"));
    writer.set(ALPHA, Value::F32(alpha));
    if adapter.card != Card::default() {
        let card = serde_json::to_string(&adapter.card).map_err(io::Error::from);
        writer.set(CARD, Value::String(card.map_err(|error| AdapterFileError::write(path, error))?));
    }
    let factors = || {
        let layers = adapter.weights.layers.iter().enumerate();
        layers
            .flat_map(|(layer, pairs)| pairs.iter().map(move |(&projection, pair)| (layer, projection, pair)))
    };
    let write = || -> io::Result<()> {
        for (layer, projection, _) in factors() {
            let (outputs, inputs) = projection.shape(model);
            let name = factor_name(layer, projection);
            writer.declare(&format!("{name}{}", suffix(Half::A)), &[rank, inputs], quant)?;
            writer.declare(&format!("{name}{}", suffix(Half::B)), &[outputs, rank], quant)?;
        }
        output::write(path, Mark::Gguf, &[], |file| {
            let mut body = writer.start(file)?;
            for (layer, projection, pair) in factors() {
                let name = factor_name(layer, projection);
                body.tensor(&encoded(path, &name, &pair.a, quant)?)?;
                let b = in_file_order(&pair.b, rank, &name, model);
                body.tensor(&encoded(path, &name, &b, quant)?)?;
            }
            body.finish().map(drop)
        })
    };
    write().map_err(|error| AdapterFileError::write(path, error))
}

/// The rows of the factor B that `name` belongs to, in the order of the matrix's rows in a GGUF file.
fn in_file_order(b: &[f32], rank: usize, name: &str, model: &ModelConfig) -> Vec<f32> {
    if !rope_permuted(Some(model.architecture.name()), name) {
        return b.to_vec();
    }
    let row = |row: usize| {
        let from = half_split_row(row, model.head_dim) * rank;
        &b[from..from + rank]
    };
    (0..b.len() / rank).flat_map(row).copied().collect()
}
