//! The models in the cache: their list, and removal.

use std::fs;
use std::path::{Path, PathBuf};

use super::{CATALOG, HubError, ModelSpec, ollama};
use crate::file::AtFile;

/// A model on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalModel {
    /// The name that commands accept.
    pub name: String,
    /// The GGUF file, or the directory of safetensors.
    pub path: PathBuf,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// Whether it belongs to Ollama, which removes it.
    pub from_ollama: bool,
}

/// All models in the cache at `cache`, then those of Ollama, each sorted by name. Unfinished downloads are left out.
///
/// ```
/// let cache = tempfile::tempdir()?;
/// let models = parr::hub::local_models(cache.path());
/// assert!(models.iter().all(|model| model.from_ollama));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn local_models(cache: &Path) -> Vec<LocalModel> {
    let models = cache.join("models");
    let mut found: Vec<LocalModel> = Vec::new();
    for first in folders(&models) {
        let name =
            |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if let Some(entry) = CATALOG.iter().find(|entry| entry.pinned.is_some() && entry.name == name(&first))
        {
            found.extend(files_of(&first).into_iter().filter_map(|path| model(entry.name.to_owned(), path)));
            continue;
        }
        for second in folders(&first) {
            let repository = format!("{}/{}", name(&first), name(&second));
            if second.join("config.json").is_file() {
                found.extend(model(repository.clone(), second.clone()));
            }
            for file in files_of(&second) {
                let below = file.strip_prefix(&second).unwrap_or(&file).to_string_lossy().into_owned();
                found.extend(model(format!("{repository}:{below}"), file));
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let Some(folder) = ollama::folder() else { return found };
    for (name, tag) in ollama::list(&folder) {
        if let Ok(path) = ollama::find(Some(&folder), &name, &tag) {
            let bytes = fs::metadata(&path).map_or(0, |found| found.len());
            found.push(LocalModel {
                name: format!("{}{name}:{tag}", ollama::PREFIX),
                path,
                bytes,
                from_ollama: true,
            });
        }
    }
    found
}

/// Removes a model from the cache at `cache`. Returns the number of bytes that this freed.
///
/// # Errors
///
/// * [`HubError::NotPulled`] if it is not there;
/// * [`HubError::NoSuchModel`] if `name` is not the name of a pulled model;
/// * [`HubError::Ambiguous`] if several files match;
/// * [`HubError::Io`] if a file cannot be removed.
pub fn remove(cache: &Path, name: &str) -> Result<u64, HubError> {
    let spec = ModelSpec::parse(name).filter(|spec| !matches!(spec, ModelSpec::Ollama { .. }));
    let spec = spec.ok_or_else(|| HubError::NoSuchModel { model: name.to_owned() })?;
    let path = spec.find(cache)?;
    let mut files = files_of_model(&path);
    // `config.json` shows that a directory is complete, so it goes first.
    files.sort_by_key(|file| !file.ends_with("config.json"));
    let mut freed = 0;
    for file in &files {
        freed += fs::metadata(file).map_or(0, |found| found.len());
        fs::remove_file(file).map_err(HubError::io("remove", file))?;
    }
    // Folders that are empty now. One that is not stays.
    let models = cache.join("models");
    let start = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
    for folder in start.into_iter().flat_map(Path::ancestors).take_while(|folder| **folder != *models) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(freed)
}

fn model(name: String, path: PathBuf) -> Option<LocalModel> {
    let files = files_of_model(&path);
    let bytes = files.iter().map(|file| fs::metadata(file).map_or(0, |found| found.len())).sum();
    // Of a split file, all parts are there.
    files.iter().all(|file| file.is_file()).then_some(LocalModel { name, path, bytes, from_ollama: false })
}

/// All files of a model at `path`, its GGUF file or its directory.
fn files_of_model(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() { whole(path) } else { parts(path) }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    entries(dir).filter(|path| path.is_dir()).collect()
}

/// The GGUF files in a folder and one level below; of a split file, the first part.
fn files_of(dir: &Path) -> Vec<PathBuf> {
    let below = folders(dir).into_iter().flat_map(|folder| entries(&folder).collect::<Vec<_>>());
    let mut files: Vec<PathBuf> = entries(dir).chain(below).collect();
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".gguf") && crate::file::first_part(name).is_none_or(|first| first == name)
    });
    files
}

/// A GGUF file, or all its parts.
fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    super::spec::parts_of(name).iter().map(|part| path.with_file_name(part)).collect()
}

/// The files of a directory of safetensors.
fn whole(dir: &Path) -> Vec<PathBuf> {
    entries(dir)
        .filter(|path| path.is_file() && path.extension().is_none_or(|extension| extension != "gguf"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_listed_and_removed() {
        let cache = tempfile::tempdir().expect("a scratch directory");
        let models = cache.path().join("models");
        let write = |name: &str| {
            let path = models.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a scratch directory");
            fs::write(path, b"12345").expect("writable");
        };
        for name in [
            "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "o/r/a-Q4_0.gguf",
            "o/r/b-00001-of-00002.gguf",
            "o/r/b-00002-of-00002.gguf",
            "o/r/c.gguf.part",
            "p/whole/config.json",
            "p/whole/model.safetensors",
            "p/unfinished/model.safetensors",
        ] {
            write(name);
        }
        let listed = || -> Vec<(String, u64)> {
            let all = local_models(cache.path()).into_iter().filter(|model| !model.from_ollama);
            all.map(|model| (model.name, model.bytes)).collect()
        };
        let expected =
            [("o/r:a-Q4_0.gguf", 5), ("o/r:b-00001-of-00002.gguf", 10), ("p/whole", 10), ("smollm2", 5)];
        assert_eq!(listed(), expected.map(|(name, bytes)| (name.to_owned(), bytes)));
        assert_eq!(remove(cache.path(), "o/r:b").expect("removed"), 10);
        assert_eq!(remove(cache.path(), "p/whole").expect("removed"), 10);
        assert_eq!(remove(cache.path(), "smollm2").expect("removed"), 5);
        assert!(!models.join("smollm2").exists() && !models.join("p/whole").exists());
        assert!(
            models.join("p/unfinished/model.safetensors").exists() && models.join("o/r/c.gguf.part").exists()
        );
        assert_eq!(listed(), [("o/r:a-Q4_0.gguf".to_owned(), 5)]);
        assert!(matches!(remove(cache.path(), "smollm2"), Err(HubError::NotPulled { .. })));
        assert!(matches!(remove(cache.path(), "../x"), Err(HubError::NoSuchModel { .. })));
        assert!(matches!(remove(cache.path(), "ollama:x"), Err(HubError::NoSuchModel { .. })));
    }
}
