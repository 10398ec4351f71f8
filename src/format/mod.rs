//! Checkpoints on disk: GGUF files and Hugging Face directories, mapped and checked.
