//! Hugging Face model directories: `config.json` and one or several safetensors files.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::mapped::MappedFile;
use super::{LoadError, TensorInfo, Unread, safetensors};
use crate::file::AtFile;

/// Bytes of `config.json` and of an index; the largest index has a few megabytes.
const MAX_JSON: u64 = 64 << 20;

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Prefixes of the text part's tensors in a larger model, and what a model of its own has instead.
const TEXT_PARTS: [(&str, &str); 3] = [
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
];

#[derive(Deserialize)]
struct Index {
    /// Which file holds each tensor.
    weight_map: HashMap<String, String>,
}

pub(super) struct Directory {
    pub(super) config: serde_json::Value,
    pub(super) files: Vec<MappedFile>,
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) unread: Vec<Unread>,
}

/// Opens the model in `folder`.
pub(super) fn open(folder: &Path) -> Result<Directory, LoadError> {
    let config_path = folder.join(CONFIG);
    if !config_path.exists() {
        let rule = "the directory holds no config.json; name a gguf file or a model directory";
        return Err(LoadError::NotACheckpoint { path: folder.to_owned(), rule: rule.into() });
    }
    let config: serde_json::Value = read_json(&config_path)?;
    if !config.is_object() {
        return Err(LoadError::malformed(&config_path, 0, "it must be a JSON object"));
    }
    let index_path = folder.join(INDEX);
    let (names, index) = if folder.join(SINGLE).exists() {
        (vec![SINGLE.to_owned()], None)
    } else if index_path.exists() {
        let index: Index = read_json(&index_path)?;
        (shards(&index_path, &index)?, Some(index))
    } else {
        let rule = format!("the directory holds neither {SINGLE} nor {INDEX}");
        return Err(LoadError::NotACheckpoint { path: folder.to_owned(), rule });
    };
    let mut files = Vec::new();
    let mut tensors: Vec<TensorInfo> = Vec::new();
    let mut unread: Vec<Unread> = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let file = MappedFile::open(&folder.join(name))?;
        let parsed = safetensors::parse(&file.path, file.bytes(), number)?;
        tensors.extend(parsed.tensors);
        unread.extend(parsed.unread.into_iter().map(|tensor| Unread { tensor, file: number }));
        files.push(file);
    }
    if let Some(index) = index {
        let readable = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.file));
        let others = unread.iter().map(|unread| (unread.tensor.name.as_str(), unread.file));
        agree(&index_path, &index, &names, readable.chain(others))?;
    }
    let own_names = crate::format::hf_names::of_model_type(config["model_type"].as_str());
    // The text part of a model that also reads pictures.
    for name in tensors
        .iter_mut()
        .map(|tensor| &mut tensor.name)
        .chain(unread.iter_mut().map(|one| &mut one.tensor.name))
    {
        for (prefix, plain) in TEXT_PARTS {
            if let Some(rest) = name.strip_prefix(prefix) {
                *name = format!("{plain}{rest}");
                break;
            }
        }
        if let Some(names) = own_names {
            *name = names.usual(name);
        }
    }
    Ok(Directory { config, files, tensors, unread })
}

/// The shards that `index` names, sorted.
fn shards(path: &Path, index: &Index) -> Result<Vec<String>, LoadError> {
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    if names.is_empty() {
        return Err(LoadError::metadata(path, "weight_map", None, "names no file"));
    }
    for name in &names {
        // A name with a separator could reach any file on the machine.
        if name.contains(['/', '\\', ':']) || !name.ends_with(".safetensors") {
            let name = super::error::printable(name);
            let rule = format!("names `{name}`, which is not a safetensors file in the same directory");
            return Err(LoadError::metadata(path, "weight_map", None, rule));
        }
    }
    Ok(names.into_iter().cloned().collect())
}

/// Checks that the shards hold exactly the tensors of the index.
fn agree<'a>(
    path: &Path,
    index: &Index,
    names: &[String],
    tensors: impl Iterator<Item = (&'a str, usize)>,
) -> Result<(), LoadError> {
    let mut found = HashMap::new();
    for (tensor, file) in tensors {
        let (shard, shown) = (&names[file], super::error::printable(tensor));
        if let Some(other) = found.insert(tensor, shard) {
            let rule = format!("both {other} and {shard} hold tensor `{shown}`");
            return Err(LoadError::metadata(path, "weight_map", None, rule));
        }
        match index.weight_map.get(tensor) {
            Some(named) if named == shard => {}
            _ => {
                let rule = format!("does not name {shard} for tensor `{shown}`");
                return Err(LoadError::metadata(path, "weight_map", None, rule));
            }
        }
    }
    // Sorted so that the same directory always gives the same message.
    let missing = index.weight_map.iter().filter(|(name, _)| !found.contains_key(name.as_str())).min();
    match missing {
        Some((name, shard)) => {
            let rule = format!("names tensor `{}`, which {shard} lacks", super::error::printable(name));
            Err(LoadError::metadata(path, "weight_map", None, rule))
        }
        None => Ok(()),
    }
}

/// Reads a JSON file of bounded size.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, LoadError> {
    let kind = fs::metadata(path).map_err(LoadError::io("read", path))?;
    if !kind.is_file() || kind.len() > MAX_JSON {
        let rule = format!("it must be a file of at most {MAX_JSON} bytes");
        return Err(LoadError::malformed(path, 0, rule));
    }
    let bytes = fs::read(path).map_err(LoadError::io("read", path))?;
    // Some editors begin a file with a byte order mark.
    let mark = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let json = &bytes[mark..];
    serde_json::from_slice(json).map_err(|error| LoadError::json(path, mark, json, &error))
}
