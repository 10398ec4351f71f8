//! Parsing the name of a model.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{CATALOG, CatalogEntry, HubError, ollama};
use crate::file::{first_part, part_names};

/// A parsed model name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSpec {
    /// A short name.
    Catalog(&'static CatalogEntry),
    /// A repository on the Hugging Face hub.
    Repository {
        /// `ORG/REPO`.
        repository: String,
        /// The file, or a part of one GGUF file's name such as `Q4_K_M`; `None` for all files that a
        /// model needs.
        file: Option<String>,
    },
    /// A model that Ollama has pulled.
    Ollama {
        /// Its name, such as `llama3.2`.
        name: String,
        /// Its tag, such as `1b` or `latest`.
        tag: String,
    },
}

impl ModelSpec {
    /// Reads a catalog name, `ORG/REPO[:FILE]`, `ollama:NAME[:TAG]`, or the URL of a repository or a file on the Hugging Face hub;
    /// `None` for any other text. A revision in a URL is ignored; the newest revision is used.
    ///
    /// # Examples
    ///
    /// ```
    /// use parr::hub::ModelSpec;
    /// assert!(matches!(ModelSpec::parse("smollm2"), Some(ModelSpec::Catalog(_))));
    /// assert!(matches!(ModelSpec::parse("org/repo:Q8_0"), Some(ModelSpec::Repository { .. })));
    /// let url = "https://huggingface.co/org/repo/resolve/main/model-Q8_0.gguf";
    /// assert_eq!(ModelSpec::parse(url), ModelSpec::parse("org/repo:model-Q8_0.gguf"));
    /// assert_eq!(ModelSpec::parse("../model.gguf"), None);
    /// ```
    pub fn parse(model: &str) -> Option<ModelSpec> {
        if let Some(entry) = CATALOG.iter().find(|entry| entry.name == model) {
            return Some(ModelSpec::Catalog(entry));
        }
        if let Some(name) = model.strip_prefix(ollama::PREFIX) {
            let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
            let spec = || ModelSpec::Ollama { name: name.to_owned(), tag: tag.to_owned() };
            return ollama::is_name(name, tag).then(spec);
        }
        if let Some(path) =
            ["https://huggingface.co/", "https://hf.co/"].iter().find_map(|hub| model.strip_prefix(hub))
        {
            return ModelSpec::parse_url_path(path);
        }
        let (repository, file) = match model.split_once(':') {
            Some((repository, file)) => (repository, Some(file)),
            None => (model, None),
        };
        let (org, name) = repository.split_once('/')?;
        // The hub's own rule for names; it also keeps `..` and drive letters out of cache paths.
        let word = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !part.starts_with('.')
        };
        if !word(org) || !word(name) || file.is_some_and(|file| !is_safe_path(file)) {
            return None;
        }
        Some(ModelSpec::Repository { repository: repository.to_owned(), file: file.map(str::to_owned) })
    }

    /// Parses `ORG/REPO`, or the hub's `ORG/REPO/resolve/REVISION/FILE` (or `blob` for `resolve`).
    fn parse_url_path(path: &str) -> Option<ModelSpec> {
        let path = path.split(['?', '#']).next().unwrap_or(path).trim_end_matches('/');
        let mut parts = path.splitn(5, '/');
        let repository = format!("{}/{}", parts.next()?, parts.next()?);
        match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => ModelSpec::parse(&repository),
            (Some("resolve" | "blob"), Some(_revision), Some(file)) => {
                ModelSpec::parse(&format!("{repository}:{file}"))
            }
            _ => None,
        }
    }

    /// The name in the form that a user types.
    pub fn name(&self) -> String {
        match self {
            ModelSpec::Catalog(entry) => entry.name.to_owned(),
            ModelSpec::Repository { repository, file: None } => repository.clone(),
            ModelSpec::Repository { repository, file: Some(file) } => format!("{repository}:{file}"),
            ModelSpec::Ollama { name, tag } => format!("{}{name}:{tag}", ollama::PREFIX),
        }
    }

    /// The repository and the file of a catalog entry whose file is not pinned.
    pub(super) fn unpinned(entry: &CatalogEntry) -> ModelSpec {
        ModelSpec::Repository { repository: entry.repository.to_owned(), file: Some(entry.file.to_owned()) }
    }

    /// The directory of this model's files below `cache`.
    pub(super) fn dir(&self, cache: &Path) -> PathBuf {
        let below = match self {
            ModelSpec::Catalog(entry) if entry.pinned.is_some() => entry.name,
            ModelSpec::Catalog(entry) => entry.repository,
            ModelSpec::Repository { repository, .. } => repository,
            // Nothing of Ollama's is in the cache.
            ModelSpec::Ollama { name, .. } => name,
        };
        cache.join("models").join(below)
    }

    /// The model's path below `cache`.
    ///
    /// # Errors
    ///
    /// * [`HubError::NotPulled`] if the model is missing or incomplete.
    /// * [`HubError::Ambiguous`] if several files match.
    pub(super) fn find(&self, cache: &Path) -> Result<PathBuf, HubError> {
        let dir = self.dir(cache);
        let not_pulled = || HubError::NotPulled { model: self.name() };
        match self {
            ModelSpec::Ollama { name, tag } => ollama::find(ollama::folder().as_deref(), name, tag),
            ModelSpec::Catalog(entry) if entry.pinned.is_none() => {
                let not_pulled = |error| match error {
                    HubError::NotPulled { .. } => not_pulled(),
                    other => other,
                };
                ModelSpec::unpinned(entry).find(cache).map_err(not_pulled)
            }
            ModelSpec::Catalog(entry) => {
                Some(dir.join(entry.file)).filter(|path| path.is_file()).ok_or_else(not_pulled)
            }
            // `pull` writes config.json last, so its presence shows that the directory is complete.
            ModelSpec::Repository { file: None, .. } if dir.join("config.json").is_file() => Ok(dir),
            ModelSpec::Repository { repository, file } => {
                let here = gguf_files(&dir);
                match choose_gguf(repository, &here, file.as_deref()) {
                    Ok(chosen) if parts_of(chosen).iter().all(|part| here.contains(part)) => {
                        Ok(dir.join(chosen))
                    }
                    Ok(_) => Err(not_pulled()),
                    Err(HubError::NoSuchFile { .. }) => Err(not_pulled()),
                    Err(other) => Err(other),
                }
            }
        }
    }
}

/// The GGUF file of `files` that `wanted` selects: the exact name, or the only name that contains
/// `wanted` in any case. If `wanted` is `None`, the only GGUF file. The parts of a split file count as one file: its
/// first part.
///
/// # Errors
///
/// [`HubError::NoSuchFile`] if there is none, [`HubError::Ambiguous`] if there are several.
pub(super) fn choose_gguf<'a>(
    repository: &str,
    files: &'a [String],
    wanted: Option<&str>,
) -> Result<&'a str, HubError> {
    let first = |file: &'a str| {
        let first = first_part(file);
        files.iter().find(|other| Some(*other) == first.as_ref()).map_or(file, String::as_str)
    };
    if let Some(exact) = files.iter().find(|file| Some(file.as_str()) == wanted) {
        return Ok(first(exact));
    }
    let part = wanted.unwrap_or_default().to_lowercase();
    let fits = |file: &&String| file.ends_with(".gguf") && file.to_lowercase().contains(&part);
    let mut fitting: Vec<&str> = files.iter().filter(fits).map(|file| first(file)).collect();
    fitting.dedup();
    match fitting[..] {
        [one] => Ok(one),
        [] => Err(HubError::NoSuchFile {
            repository: repository.to_owned(),
            wanted: wanted.unwrap_or("safetensors with config.json, and no GGUF").to_owned(),
            files: files.to_vec(),
        }),
        _ => Err(HubError::Ambiguous {
            repository: repository.to_owned(),
            files: fitting.into_iter().map(str::to_owned).collect(),
        }),
    }
}

/// The file, or all parts of a split file.
pub(super) fn parts_of(file: &str) -> Vec<String> {
    part_names(file).unwrap_or_else(|| vec![file.to_owned()])
}

/// Whether an untrusted name stays inside the directory to which it is joined.
pub(super) fn is_safe_path(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', ':', '\0'])
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The GGUF files in `dir` and one level below (repositories may have a folder for each format).
fn gguf_files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let list = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in list(dir) {
        if path.is_dir() {
            found.extend(list(&path));
        } else {
            found.push(path);
        }
    }
    let mut names: Vec<String> = found
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .filter_map(|path| path.strip_prefix(dir).ok()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<String> {
        files.iter().map(|file| (*file).to_owned()).collect()
    }

    #[test]
    fn the_parts_of_a_file_are_one_choice() {
        let files = names(&[
            "big-q4-00001-of-00002.gguf",
            "big-q4-00002-of-00002.gguf",
            "q8/big-q8-00001-of-00003.gguf",
            "q8/big-q8-00002-of-00003.gguf",
        ]);
        for wanted in ["q4", "big-q4-00002-of-00002.gguf"] {
            let chosen = choose_gguf("o/r", &files, Some(wanted)).expect("one file");
            assert_eq!(chosen, "big-q4-00001-of-00002.gguf");
        }
        assert_eq!(
            choose_gguf("o/r", &files, Some("q8")).expect("one file"),
            "q8/big-q8-00001-of-00003.gguf"
        );
        let Err(HubError::Ambiguous { files, .. }) = choose_gguf("o/r", &files, None) else {
            panic!("two files")
        };
        assert_eq!(files, ["big-q4-00001-of-00002.gguf", "q8/big-q8-00001-of-00003.gguf"]);

        // A file of which a part is missing is not pulled yet.
        let cache = tempfile::tempdir().expect("a scratch directory");
        let spec = ModelSpec::parse("o/r").expect("a name");
        let dir = spec.dir(cache.path());
        std::fs::create_dir_all(&dir).expect("writable");
        let write = |name: &str| std::fs::write(dir.join(name), "").expect("writable");
        write("a-00001-of-00002.gguf");
        assert!(matches!(spec.find(cache.path()), Err(HubError::NotPulled { .. })));
        write("a-00002-of-00002.gguf");
        assert_eq!(spec.find(cache.path()).expect("complete"), dir.join("a-00001-of-00002.gguf"));
    }

    #[test]
    fn names_that_leave_the_cache_are_no_names() {
        for hostile in [
            "../x",
            "a/..",
            "a/b:../c",
            "a/b:/etc/passwd",
            "a/b/c",
            "/a",
            "a/",
            "a/b:",
            "C:/x",
            "a/b:c\\d",
            "~/x",
        ] {
            assert_eq!(ModelSpec::parse(hostile), None, "{hostile}");
        }
    }

    #[test]
    fn a_part_of_the_name_chooses_when_only_one_file_has_it() {
        let files = names(&["m-Q4_0.gguf", "m-Q4_K_M.gguf", "README.md"]);
        assert_eq!(choose_gguf("o/r", &files, Some("q4_k_m")).expect("one fits"), "m-Q4_K_M.gguf");
        assert!(
            matches!(choose_gguf("o/r", &files, Some("q4")), Err(HubError::Ambiguous { files, .. }) if files.len() == 2)
        );
        assert!(matches!(choose_gguf("o/r", &files, Some("q8")), Err(HubError::NoSuchFile { .. })));
        assert_eq!(
            choose_gguf("o/r", &files, Some("README.md")).expect("exact names always fit"),
            "README.md"
        );
    }

    #[test]
    fn a_directory_counts_only_with_its_config() {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let spec = ModelSpec::parse("org/repo").expect("a repository");
        let dir = spec.dir(cache.path());
        fs::create_dir_all(&dir).expect("made");
        fs::write(dir.join("model.safetensors"), b"x").expect("written");
        assert!(matches!(spec.find(cache.path()), Err(HubError::NotPulled { model }) if model == "org/repo"));
        fs::write(dir.join("config.json"), b"{}").expect("written");
        assert_eq!(spec.find(cache.path()).expect("found"), dir);
    }
}
