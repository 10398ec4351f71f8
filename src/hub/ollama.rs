//! Models that Ollama has pulled, used in place.
//!
//! Ollama stores a manifest, `manifests/registry.ollama.ai/library/NAME/TAG`, whose layer of type
//! `application/vnd.ollama.image.model` is a GGUF file: `blobs/sha256-HASH`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::HubError;

/// What a name begins with.
pub(super) const PREFIX: &str = "ollama:";
/// Layer that holds the weights.
const MODEL_LAYER: &str = "application/vnd.ollama.image.model";
/// Bytes of a manifest, at most; real ones have a kilobyte.
const MAX_MANIFEST: u64 = 1 << 20;
/// Where manifests are, below Ollama's folder. Other registries are folders beside it.
const LIBRARY: &str = "manifests/registry.ollama.ai/library";

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
}

/// Ollama's folder: `OLLAMA_MODELS`, or `.ollama/models` in the home directory.
pub(super) fn folder() -> Option<PathBuf> {
    if let Some(folder) = env::var_os("OLLAMA_MODELS").filter(|folder| !folder.is_empty()) {
        return Some(folder.into());
    }
    let home = env::var_os("HOME").or_else(|| env::var_os("USERPROFILE"))?;
    Some(Path::new(&home).join(".ollama/models"))
}

/// Whether a name and a tag are single path components.
pub(super) fn is_name(name: &str, tag: &str) -> bool {
    [name, tag].iter().all(|part| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    })
}

/// The GGUF file of `name` with `tag` in Ollama's `folder`.
///
/// # Errors
///
/// [`HubError::NotInOllama`] if there is none.
pub(super) fn find(folder: Option<&Path>, name: &str, tag: &str) -> Result<PathBuf, HubError> {
    let missing = |reason: String| HubError::NotInOllama { name: format!("{name}:{tag}"), reason };
    let folder = folder.ok_or_else(|| missing("there is no home directory".to_owned()))?;
    let path = folder.join(LIBRARY).join(name).join(tag);
    let unread = |error: std::io::Error| missing(format!("{}: {error}", path.display()));
    let size = fs::metadata(&path).map_err(unread)?.len();
    if size > MAX_MANIFEST {
        return Err(missing(format!("{} has {size} bytes, which no manifest has", path.display())));
    }
    let text = fs::read(&path).map_err(unread)?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| missing(format!("{} is no manifest: {error}", path.display())))?;
    let weights = manifest.layers.iter().find(|layer| layer.media_type == MODEL_LAYER);
    let hash = weights.and_then(|layer| layer.digest.strip_prefix("sha256:"));
    let hash = hash.filter(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let Some(hash) = hash else {
        return Err(missing(format!("{} names no file of weights", path.display())));
    };
    let blob = folder.join("blobs").join(format!("sha256-{hash}"));
    if blob.is_file() { Ok(blob) } else { Err(missing(format!("{} is missing", blob.display()))) }
}

/// Names and tags of all models in Ollama's `folder`, sorted.
pub(super) fn list(folder: &Path) -> Vec<(String, String)> {
    let names = |dir: PathBuf| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let library = folder.join(LIBRARY);
    let tags = |name: String| {
        names(library.join(&name)).into_iter().map(move |tag| (name.clone(), tag)).collect::<Vec<_>>()
    };
    let mut found: Vec<(String, String)> = names(library.clone()).into_iter().flat_map(tags).collect();
    found.retain(|(name, tag)| is_name(name, tag));
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, manifest: &str) {
        let library = folder.join(LIBRARY).join("tiny");
        fs::create_dir_all(&library).expect("a scratch directory");
        fs::write(library.join("1b"), manifest).expect("writable");
    }

    #[test]
    fn the_weights_of_a_pulled_model_are_found_in_place() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let hash = "ab".repeat(32);
        let layers = format!(
            r#"{{"layers": [{{"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:00"}},
                {{"mediaType": "{MODEL_LAYER}", "digest": "sha256:{hash}"}}]}}"#
        );
        write(folder.path(), &layers);
        let error = find(Some(folder.path()), "tiny", "1b").expect_err("no blob yet").to_string();
        assert!(error.contains(&hash) && error.contains("is missing"), "{error}");
        let blob = folder.path().join("blobs").join(format!("sha256-{hash}"));
        fs::create_dir_all(folder.path().join("blobs")).expect("a scratch directory");
        fs::write(&blob, b"GGUF").expect("writable");
        assert_eq!(find(Some(folder.path()), "tiny", "1b").expect("found"), blob);
        assert_eq!(list(folder.path()), [("tiny".to_owned(), "1b".to_owned())]);
    }

    #[test]
    fn a_hostile_manifest_reaches_no_other_file() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        for digest in ["sha256:../../etc/passwd", "sha256:", "md5:00", ""] {
            write(
                folder.path(),
                &format!(r#"{{"layers": [{{"mediaType": "{MODEL_LAYER}", "digest": "{digest}"}}]}}"#),
            );
            let error = find(Some(folder.path()), "tiny", "1b").expect_err(digest).to_string();
            assert!(error.contains("names no file of weights"), "{error}");
        }
        write(folder.path(), "[");
        assert!(find(Some(folder.path()), "tiny", "1b").is_err());
        assert!(find(None, "tiny", "1b").is_err() && find(Some(folder.path()), "other", "latest").is_err());
        assert!(!is_name("..", "1b") && !is_name("a/b", "1b") && !is_name("a", ""));
    }
}
