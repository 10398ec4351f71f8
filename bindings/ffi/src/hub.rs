//! Models by name.

#[cfg(feature = "pull")]
use std::sync::Arc;

use crate::ParrError;
#[cfg(feature = "pull")]
use crate::callback::{ProgressListener, Told};

/// The path of a model that was pulled, or of a file or directory that is there. The network is not used.
///
/// # Errors
///
/// * [`ParrError::NotFound`] if it is neither;
/// * [`ParrError::Storage`] where there is no cache directory.
#[uniffi::export]
pub fn resolve_model(name: &str) -> Result<String, ParrError> {
    Ok(parr::hub::resolve(name)?.to_string_lossy().into_owned())
}

/// Where to fetch from and where to; what is left out comes from the environment (`PARR_CACHE`,
/// `HF_ENDPOINT`, `HF_TOKEN`).
#[cfg(feature = "pull")]
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct PullOptions {
    /// The directory below which models are kept.
    #[uniffi(default = None)]
    pub cache: Option<String>,
    /// The hub's address.
    #[uniffi(default = None)]
    pub endpoint: Option<String>,
    /// A token for private and gated repositories.
    #[uniffi(default = None)]
    pub token: Option<String>,
}

/// Makes sure that a model is in the cache and returns its path: `smollm2`, or `ORG/REPO[:FILE]` on the
/// Hugging Face hub. Interrupted downloads are resumed by the next call.
///
/// # Errors
///
/// * [`ParrError::NotFound`] if there is no such name, repository or file;
/// * [`ParrError::Network`] if no source of it can be reached, or sends something else;
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
            // Where the cache is named nothing else has to be known of the machine.
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
        let told = Told::default();
        let pulled = pull(&spec, &options, &mut |event| {
            if let (PullEvent::Bytes { done_bytes, total_bytes, .. }, Some(listener)) = (event, &listener) {
                told.tell(token, || listener.on_progress(done_bytes, total_bytes));
            }
        })?;
        told.check()?;
        Ok(pulled.path.to_string_lossy().into_owned())
    })
    .await
}
