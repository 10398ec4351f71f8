//! GGUF files that are split into parts: `model-00001-of-00003.gguf` and so on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::Gguf;
use crate::file::part_names;
use crate::format::mapped::MappedFile;
use crate::format::{LoadError, TensorInfo, Unread, printable};

/// Keys of the number of a part, from 0 on, of the number of parts, and of the number of tensors in all parts.
const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// A model in one file or in several.
pub(in crate::format) struct Parts {
    /// The header of the first part, which has all metadata of the model.
    pub header: Gguf,
    pub files: Vec<MappedFile>,
    pub tensors: Vec<TensorInfo>,
    pub unread: Vec<Unread>,
}

/// Opens the model of which `path` is the only file or any part. The other parts are in the same folder.
pub(in crate::format) fn open(path: &Path) -> Result<Parts, LoadError> {
    let file = MappedFile::open(path)?;
    let gguf = Gguf::parse(path, file.bytes())?;
    let count = gguf.count(COUNT)?.unwrap_or(1);
    if count <= 1 {
        return parts(vec![(file, gguf)]);
    }
    let paths = paths(path, count).ok_or_else(|| {
        let what = format!(
            "it is one of {count} parts of a model, but its name does not end with -00001-of-{count:05}.gguf"
        );
        LoadError::unsupported(path, what, "give the parts the names that they had")
    })?;
    let mut opened: Vec<(MappedFile, Gguf)> = Vec::new();
    for path in paths {
        let file = MappedFile::open(&path)?;
        let gguf = match opened.first() {
            None => Gguf::parse(&path, file.bytes())?,
            // The order of a tensor's rows depends on the architecture, which only the first part names.
            Some((_, first)) => super::read::parse_part(&path, file.bytes(), first.architecture()?)?,
        };
        let number = opened.len();
        if gguf.count(NUMBER)? != Some(number) || gguf.count(COUNT)? != Some(count) {
            let rule = format!("this file must be part {number} (from 0 on) of {count}");
            return Err(gguf.bad(NUMBER, rule));
        }
        opened.push((file, gguf));
    }
    parts(opened)
}

/// The paths of all parts, by the path of one.
fn paths(path: &Path, count: usize) -> Option<Vec<PathBuf>> {
    let names = part_names(path.file_name()?.to_str()?).filter(|names| names.len() == count)?;
    Some(names.into_iter().map(|name| path.with_file_name(name)).collect())
}

fn parts(opened: Vec<(MappedFile, Gguf)>) -> Result<Parts, LoadError> {
    let (mut tensors, mut unread) = (Vec::new(), Vec::new());
    let (mut names, mut files) = (HashSet::new(), Vec::new());
    let mut header = None;
    for (number, (file, gguf)) in opened.into_iter().enumerate() {
        let own = gguf.tensors.iter().map(|tensor| &tensor.name);
        for name in own.chain(gguf.unread.iter().map(|tensor| &tensor.name)) {
            if !names.insert(name.clone()) {
                let rule = format!("another part has tensor `{}` too", printable(name));
                return Err(gguf.bad(COUNT, rule));
            }
        }
        tensors.extend(gguf.tensors.iter().cloned().map(|tensor| TensorInfo { file: number, ..tensor }));
        unread.extend(gguf.unread.iter().cloned().map(|tensor| Unread { tensor, file: number }));
        files.push(file);
        header.get_or_insert(gguf);
    }
    let header = header.expect("a model has a file");
    match header.count(TENSORS)? {
        Some(count) if files.len() > 1 && count != names.len() => {
            let rule = format!("all parts together have {} tensors, not {count}", names.len());
            Err(header.bad(TENSORS, rule))
        }
        _ => Ok(Parts { header, files, tensors, unread }),
    }
}

/// Whether a key of the metadata is about the parts, so that a file with the whole model has no use for it.
pub(crate) fn is_about_parts(key: &str) -> bool {
    [NUMBER, COUNT, TENSORS].contains(&key)
}
