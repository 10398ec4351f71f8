//! Models by name.

#[cfg(feature = "pull")]
use std::sync::Arc;

use crate::ParrError;
#[cfg(feature = "pull")]
use crate::callback::{Callbacks, ProgressListener};

/// Returns the path of a pulled model, or of an existing file or directory. Does not use the network.
///
/// # Errors
///
/// * [`ParrError::NotFound`] if it is neither;
/// * [`ParrError::Storage`] if there is no cache directory.
#[uniffi::export]
pub fn resolve_model(name: &str) -> Result<String, ParrError> {
    Ok(parr::hub::resolve(name)?.to_string_lossy().into_owned())
}

/// Source and destination of a download. Options that are left out come from the environment (`PARR_CACHE`,
/// `HF_ENDPOINT`, `HF_TOKEN`).
#[cfg(feature = "pull")]
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct PullOptions {
    /// The directory in which models are stored.
    #[uniffi(default = None)]
    pub cache: Option<String>,
    /// The hub's address.
    #[uniffi(default = None)]
    pub endpoint: Option<String>,
    /// A token for private and gated repositories.
    #[uniffi(default = None)]
    pub token: Option<String>,
}

/// Downloads a model to the cache if it is not there, and returns its path. `name` is a known name such as
/// `smollm2`, or `ORG/REPO[:FILE]` on the Hugging Face hub. The next call resumes an interrupted download.
///
/// # Errors
///
/// * [`ParrError::NotFound`] if there is no such name, repository or file;
/// * [`ParrError::Network`] if no source can be reached, or a source sends other data;
/// * [`ParrError::Storage`] if the cache cannot be written.
#[cfg(feature = "pull")]
#[uniffi::export(default(options = None, listener = None))]
pub async fn pull_model(
    name: String,
    options: Option<PullOptions>,
    listener: Option<Arc<dyn ProgressListener>>,
) -> Result<String, ParrError> {
    use parr::hub::{ModelSpec, PullEvent, pull};

    crate::call::start(None, move |token| {
        let spec = ModelSpec::parse(&name).ok_or_else(|| {
            ParrError::NotFound(format!("`{name}` is no known name and no ORG/REPO[:FILE] of the hub"))
        })?;
        let asked = options.unwrap_or_default();
        let mut options = match asked.cache {
            // With a given cache, the directories of the machine are not needed.
            Some(cache) => parr::hub::PullOptions {
                cache: cache.into(),
                endpoint: "https://huggingface.co".to_owned(),
                token: None,
            },
            None => parr::hub::PullOptions::from_env()?,
        };
        if let Some(endpoint) = asked.endpoint {
            options.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        options.token = asked.token.or(options.token);
        let callbacks = Callbacks::default();
        let pulled = pull(&spec, &options, &mut |event| {
            if let (PullEvent::Bytes { done_bytes, total_bytes, .. }, Some(listener)) = (event, &listener) {
                callbacks.call(token, || listener.on_progress(done_bytes, total_bytes));
            }
        })?;
        callbacks.check()?;
        Ok(pulled.path.to_string_lossy().into_owned())
    })
    .await
}
