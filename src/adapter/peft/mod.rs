//! PEFT directories: `adapter_config.json`, `adapter_model.safetensors` and Parr's additional files.

mod config;
mod write;

use std::path::{Path, PathBuf};

pub(super) use config::PeftConfig;
pub(super) use write::{write, write_card};

use super::stored::{Half, Origin, Pairing, Stored, module, place};
use super::{AdapterFileError, Card, head};
use crate::format::{Checkpoint, LoadError};
use crate::model::lora::ModuleNames;

pub(super) const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// The file that PEFT wrote until 2023.
const PICKLED: &str = "adapter_model.bin";
const CARD: &str = "parr.json";

/// Prefix of names: PEFT wraps the model twice.
const PREFIX: &str = "base_model.model.";

/// `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` for factor `A`.
fn tensor_name(module: &str, factor: &str) -> String {
    format!("{PREFIX}{module}.lora_{factor}.weight")
}

/// The existing files of the adapter in `folder`.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    write::OURS.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// Reads the headers of the adapter in `folder`.
pub(super) fn read(folder: &Path) -> Result<Stored, AdapterFileError> {
    let no_adapter = |rule: String| AdapterFileError::NotAnAdapter { path: folder.to_owned(), rule };
    let config_path = folder.join(CONFIG);
    if !config_path.is_file() {
        let rule = format!("the directory holds no {CONFIG}; name a PEFT directory or a gguf adapter");
        return Err(no_adapter(rule));
    }
    let path = folder.join(WEIGHTS);
    if !path.is_file() {
        let pickled = folder.join(PICKLED);
        if pickled.is_file() {
            let what = "a pickle can run any code when it is read, so it is never read";
            return Err(LoadError::unsupported(&pickled, what, format!("save it as {WEIGHTS}")).into());
        }
        return Err(no_adapter(format!("the directory holds no {WEIGHTS}")));
    }
    let file = Checkpoint::open_tensors(&path)?;
    file.need_all_tensors()?;
    let json = file.json_beside(CONFIG)?.unwrap_or_default();
    let config = PeftConfig::read(&config_path, &json)?;
    let names = names(&file);
    let mut factors = pairs(&path, &file, names)?.finish(&path, |layer, projection, half| {
        let factor = if half == Half::A { "A" } else { "B" };
        tensor_name(&module(names, layer, projection), factor)
    })?;
    for (&(layer, projection), pair) in &mut factors {
        pair.alpha = config.alpha(&module(names, layer, projection), pair.rank)?;
    }
    let mut card = match file.json_beside(CARD)? {
        Some(json) => Card::read(&folder.join(CARD), json)?,
        None => Card::default(),
    };
    card.base = card.base.or_else(|| config.base.clone());
    let head = file.file_beside(head::FILE).map(|path| head::read(&path)).transpose()?;
    Ok(Stored { rs_lora: config.rs_lora, origin: Origin::Peft(Box::new(config)), file, factors, head, card })
}

/// The module of a factor, and which factor of its pair it is.
fn factor(name: &str) -> Option<(&str, Half)> {
    let rest = name.strip_prefix(PREFIX)?;
    match rest.strip_suffix(".lora_A.weight") {
        Some(module) => Some((module, Half::A)),
        None => Some((rest.strip_suffix(".lora_B.weight")?, Half::B)),
    }
}

/// The names of modules in `file`: those that fit most of its tensors.
fn names(file: &Checkpoint) -> ModuleNames {
    let fitting = |names: &ModuleNames| {
        let modules = file.tensors().filter_map(|tensor| factor(&tensor.name));
        modules.filter(|(module, _)| place(*names, module).is_some()).count()
    };
    // Of equal ones the last, which is Llama's.
    ModuleNames::ALL.into_iter().rev().max_by_key(fitting).unwrap_or_default()
}

/// Assigns every tensor of `file` to a projection; a tensor of no projection is an error that names it.
fn pairs(path: &Path, file: &Checkpoint, names: ModuleNames) -> Result<Pairing, AdapterFileError> {
    let mut pairs = Pairing::default();
    for tensor in file.tensors() {
        let name = tensor.name.as_str();
        let factor = factor(name).and_then(|(module, half)| Some((place(names, module)?, half)));
        let Some((place, half)) = factor else {
            let what = if name.contains("lora_magnitude_vector") {
                "belongs to DoRA, which is not supported"
            } else if name.contains("lora_embedding") || name.contains("embed_tokens") {
                "changes the embedding, which cannot have factors"
            } else if name.contains("lm_head") {
                "changes the output matrix, which cannot have factors"
            } else if name.contains("lora_") {
                "is not a factor of a supported decoder projection"
            } else {
                "is not a factor"
            };
            let what = format!("tensor `{}` {what}", crate::format::printable(name));
            let hint = "train factors of the layers' linear modules only, or merge the adapter with PEFT";
            return Err(LoadError::unsupported(path, what, hint).into());
        };
        pairs.add(place, half, tensor);
    }
    Ok(pairs)
}
