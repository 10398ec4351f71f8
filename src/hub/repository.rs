//! The files of a Hugging Face repository, and those that a model needs.

use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;

use super::spec::{choose_gguf, is_safe_path, parts_of};
use super::transfer::{Hash, refused};
use super::{HubError, PullOptions};

/// Maximum size of a listing; a larger one is an attack or a mistake.
const MAX_LISTING_BYTES: u64 = 16 << 20;

/// Time for a listing to arrive, which has some kilobytes.
const LISTING_TIMEOUT: Duration = Duration::from_secs(30);

/// A repository at one commit.
pub(super) struct Repository {
    pub name: String,
    pub revision: String,
    pub files: Vec<RepositoryFile>,
}

/// One file of a repository.
#[derive(Clone, Debug)]
pub(super) struct RepositoryFile {
    pub name: String,
    pub bytes: Option<u64>,
    /// SHA-256 for all files that are stored as blobs, as weights are; git's hash for the others.
    pub hash: Option<Hash>,
}

#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Blob>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
}

impl Sibling {
    fn hash(&self) -> Option<Hash> {
        let (hash, digits) = match &self.lfs {
            Some(blob) => (&blob.sha256, 64),
            None => (self.blob_id.as_ref()?, 40),
        };
        let hash = hash.to_ascii_lowercase();
        let is_hash = hash.len() == digits && hash.chars().all(|c| c.is_ascii_hexdigit());
        match (is_hash, digits) {
            (true, 64) => Some(Hash::Sha256(hash)),
            (true, _) => Some(Hash::GitBlob(hash)),
            // A malformed sha256 matches no file, so nothing is accepted. Small files may be without a known hash.
            (false, 64) => Some(Hash::Sha256(hash)),
            (false, _) => None,
        }
    }
}

#[derive(Deserialize)]
struct Blob {
    sha256: String,
    size: u64,
}

/// Requests the current files of `name` (`ORG/REPO`) from the hub.
///
/// # Errors
///
/// * [`HubError::Unreachable`] or [`HubError::Refused`] for errors of the network or the server.
/// * [`HubError::Malformed`] if the answer is not a listing.
pub(super) fn list(agent: &Agent, options: &PullOptions, name: &str) -> Result<Repository, HubError> {
    let url = format!("{}/api/models/{name}?blobs=true", options.endpoint);
    let mut request = agent.get(&url).config().timeout_recv_body(Some(LISTING_TIMEOUT)).build();
    if let Some(token) = &options.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let unreachable =
        |error: ureq::Error| HubError::Unreachable { url: url.clone(), reason: error.to_string() };
    let response = request.call().map_err(unreachable)?;
    if !response.status().is_success() {
        return Err(refused(&url, response.status()));
    }
    let text = response.into_body().into_with_config().limit(MAX_LISTING_BYTES).read_to_string();
    let malformed = |rule: String| HubError::Malformed { url: url.clone(), rule };
    let listing: Listing =
        serde_json::from_str(&text.map_err(unreachable)?).map_err(|error| malformed(error.to_string()))?;
    if listing.sha.is_empty() || !listing.sha.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(malformed("the commit is not a hexadecimal number".to_owned()));
    }
    let files = listing.siblings.into_iter().map(|sibling| RepositoryFile {
        bytes: sibling.lfs.as_ref().map(|blob| blob.size).or(sibling.size),
        hash: sibling.hash(),
        name: sibling.rfilename,
    });
    // A name that leaves its directory cannot come from the hub; such a file is left out.
    let files = files.filter(|file| is_safe_path(&file.name)).collect();
    Ok(Repository { name: name.to_owned(), revision: listing.sha, files })
}

impl Repository {
    /// The files to fetch: the file that `wanted` names; otherwise a whole safetensors model with
    /// `config.json` last; otherwise the only GGUF. Of a split GGUF, all parts in their order.
    ///
    /// # Errors
    ///
    /// [`HubError::NoSuchFile`] if there is no such file, [`HubError::Ambiguous`] if several match.
    pub fn choose(&self, wanted: Option<&str>) -> Result<Vec<&RepositoryFile>, HubError> {
        let has = |name: &str| self.files.iter().any(|file| file.name == name);
        let whole = has("config.json") && (has("model.safetensors") || has("model.safetensors.index.json"));
        if wanted.is_none() && whole {
            let mut chosen: Vec<_> = self.files.iter().filter(|file| belongs_to_model(&file.name)).collect();
            chosen.sort_by_key(|file| (file.name == "config.json", &file.name));
            return Ok(chosen);
        }
        let names: Vec<String> = self.files.iter().map(|file| file.name.clone()).collect();
        let parts = parts_of(choose_gguf(&self.name, &names, wanted)?);
        let found = |part: &String| self.files.iter().find(|file| file.name == *part);
        let missing = |part: &String| HubError::NoSuchFile {
            repository: self.name.clone(),
            wanted: part.clone(),
            files: names.clone(),
        };
        parts.iter().map(|part| found(part).ok_or_else(|| missing(part))).collect()
    }
}

/// Whether a safetensors model needs this file. Repositories often hold the same weights twice, as
/// `consolidated.*`, `original/` or `onnx/`; those files are not fetched.
fn belongs_to_model(name: &str) -> bool {
    let weights = name.starts_with("model") && name.ends_with(".safetensors");
    let text = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];
    let config = ["config.json", "generation_config.json", "model.safetensors.index.json"];
    !name.contains('/') && (weights || text.contains(&name) || config.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(names: &[&str]) -> Repository {
        let file = |name: &&str| RepositoryFile { name: (*name).to_owned(), bytes: None, hash: None };
        Repository {
            name: "o/r".to_owned(),
            revision: "0".to_owned(),
            files: names.iter().map(file).collect(),
        }
    }

    #[test]
    fn a_safetensors_model_is_taken_whole_and_its_config_last() {
        let all =
            ["config.json", "README.md", "model-00002-of-00002.safetensors", "consolidated.safetensors"];
        let more = [
            "model-00001-of-00002.safetensors",
            "tokenizer.json",
            "onnx/model.onnx",
            "model.safetensors.index.json",
        ];
        let repository = repository(&[&all[..], &more[..]].concat());
        let chosen: Vec<&str> =
            repository.choose(None).expect("chosen").into_iter().map(|file| file.name.as_str()).collect();
        let expected = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "config.json",
        ];
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_split_file_is_taken_whole() {
        let repository = repository(&["m-00002-of-00002.gguf", "README.md", "m-00001-of-00002.gguf"]);
        let chosen = repository.choose(None).expect("chosen");
        let names: Vec<&str> = chosen.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
        let damaged = Repository { files: repository.files[1..].to_vec(), ..repository };
        let error = damaged.choose(None).map(|_| ()).expect_err("a part is missing");
        assert!(error.to_string().contains("m-00002-of-00002.gguf"), "{error}");
    }

    #[test]
    fn a_repository_without_weights_says_what_it_holds() {
        let error = repository(&["README.md"]).choose(None).map(|_| ()).expect_err("nothing to load");
        assert!(error.to_string().contains("it holds README.md"), "{error}");
    }
}
