//! Writes PEFT directories, which appear complete or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::{CARD, CONFIG, WEIGHTS, tensor_name};
use crate::adapter::stored::{encoded, module};
use crate::adapter::{Adapter, AdapterFileError, Card, head};
use crate::atomic;
use crate::format::safetensors::{Dtype, SafetensorsWriter};
use crate::model::lora::{LoraWeights, Projections};
use crate::output::{self, Mark};
use crate::quant::Quant;

/// Every file that an adapter written here can have.
pub(super) const OURS: [&str; 4] = [CONFIG, WEIGHTS, head::FILE, CARD];

/// Writes `adapter` as directory `folder` with factors in `quant`, replacing an older adapter.
pub(in crate::adapter) fn write(
    adapter: &Adapter,
    folder: &Path,
    quant: Quant,
) -> Result<(), AdapterFileError> {
    let dtype = match quant {
        Quant::F32 => Dtype::F32,
        Quant::F16 => Dtype::F16,
        other => {
            let what = format!("factors cannot be {other}");
            return Err(AdapterFileError::unwritable(folder, what, "choose f32 or f16"));
        }
    };
    adapter.check_values(folder)?;
    let replace = replaceable(folder)?;
    let fill = |folder: &Path| -> io::Result<()> {
        write_weights(&folder.join(WEIGHTS), &adapter.weights, dtype, quant)?;
        write_json(&folder.join(CONFIG), &config(adapter))?;
        if let Some(head) = &adapter.head {
            head::write(&folder.join(head::FILE), head)?;
        }
        if adapter.card != Card::default() {
            write_json(&folder.join(CARD), &serde_json::to_value(&adapter.card)?)?;
        }
        Ok(())
    };
    atomic::write_directory(folder, replace, fill).map_err(|error| AdapterFileError::write(folder, error))
}

/// Whether `folder` holds an adapter that was written here, which may be replaced. Anything else is an error,
/// except an empty or missing directory: files that were not written here may be the only copy.
fn replaceable(folder: &Path) -> Result<bool, AdapterFileError> {
    let occupied = |rule: String| AdapterFileError::Occupied { path: folder.to_owned(), rule };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(occupied("it is a file, but a PEFT adapter is a directory".to_owned()));
        }
        Err(source) => return Err(AdapterFileError::write(folder, source)),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(|error| AdapterFileError::write(folder, error))?;
        names.insert(entry.file_name().to_string_lossy().into_owned());
    }
    if let Some(other) = names.iter().find(|name| !OURS.contains(&name.as_str())) {
        return Err(occupied(format!("it holds `{other}`, which is not part of a Parr adapter")));
    }
    if !names.is_empty() && !names.contains(CONFIG) {
        return Err(occupied(format!("it has files but no {CONFIG}, so it is not an adapter")));
    }
    // Cards were written before weights had a mark.
    if !names.is_empty() && !names.contains(CARD) {
        output::check(&folder.join(WEIGHTS), Mark::Safetensors, &[])
            .map_err(|_| occupied("parr did not write the adapter in it".to_owned()))?;
    }
    Ok(!names.is_empty())
}

/// Writes `card` to the adapter in `folder`, in place of the card that is there.
pub(in crate::adapter) fn write_card(folder: &Path, card: &Card) -> Result<(), AdapterFileError> {
    let path = folder.join(CARD);
    if !path.is_file() {
        let rule = format!("the directory holds no {CARD}, so Parr did not write the adapter");
        return Err(AdapterFileError::NotAnAdapter { path: folder.to_owned(), rule });
    }
    let json = serde_json::to_value(card).map_err(|error| AdapterFileError::write(&path, error.into()))?;
    write_json(&path, &json).map_err(|error| AdapterFileError::write(&path, error))
}

fn write_weights(path: &Path, weights: &LoraWeights, dtype: Dtype, quant: Quant) -> io::Result<()> {
    let rank = weights.config.rank;
    let pairs = || {
        let layers = weights.layers.iter().enumerate();
        layers.flat_map(|(layer, pairs)| {
            pairs.iter().map(move |(&projection, pair)| (module(weights.names, layer, projection), pair))
        })
    };
    let mut writer = SafetensorsWriter::new();
    writer.set("format", "pt");
    writer.set(output::KEY, output::PARR);
    for (module, pair) in pairs() {
        writer.declare(&tensor_name(&module, "A"), dtype, &[rank, pair.a.len() / rank])?;
        writer.declare(&tensor_name(&module, "B"), dtype, &[pair.b.len() / rank, rank])?;
    }
    atomic::write(path, |file| {
        let mut body = writer.start(file)?;
        for (module, pair) in pairs() {
            body.data(&encoded(path, &tensor_name(&module, "A"), &pair.a, quant)?)?;
            body.data(&encoded(path, &tensor_name(&module, "B"), &pair.b, quant)?)?;
        }
        body.finish().map(drop)
    })
}

fn write_json(path: &Path, json: &Value) -> io::Result<()> {
    atomic::write(path, |file| {
        serde_json::to_writer_pretty(&mut *file, json)?;
        file.write_all(b"\n")
    })
}

fn config(adapter: &Adapter) -> Value {
    let config = &adapter.weights.config;
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.card.base,
        "inference_mode": true,
        "r": config.rank,
        "lora_alpha": whole(config.alpha),
        "use_rslora": config.rs_lora,
        "lora_dropout": 0.0,
        "target_modules": targets(&adapter.weights),
        "bias": "none",
        "modules_to_save": null,
        "fan_in_fan_out": false,
        "init_lora_weights": true,
    })
}

/// PEFT declares `lora_alpha` as an integer, but accepts other numbers.
fn whole(alpha: f32) -> Value {
    let integer = alpha as i64;
    if integer as f32 == alpha { json!(integer) } else { json!(alpha) }
}

/// Short names such as `q_proj` if every layer has the same modules, else the whole name of every module.
fn targets(weights: &LoraWeights) -> Value {
    let of_layer: Vec<Projections> =
        weights.layers.iter().map(|pairs| pairs.keys().copied().collect()).collect();
    let first = of_layer.first().copied().unwrap_or_default();
    if of_layer.iter().all(|targets| *targets == first) {
        let short = |module: &'static str| module.rsplit_once('.').map_or(module, |(_, name)| name);
        return first.iter().map(|projection| short(weights.names.module(projection))).collect();
    }
    let modules = of_layer.iter().enumerate();
    let whole = |layer, target| module(weights.names, layer, target);
    modules.flat_map(|(layer, targets)| targets.iter().map(move |target| whole(layer, target))).collect()
}
