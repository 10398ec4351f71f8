//! The real model that some tests want: SmolLM2-135M-Instruct in Q4_1.

use std::path::PathBuf;

/// The model's GGUF file: where `PARR_TEST_MODEL` says, or in the cache of `parr pull smollm2`.
///
/// Without one the test that asks is skipped, with a line that says so; with
/// `PARR_TEST_MODEL=require` it fails.
pub fn smollm2() -> Option<PathBuf> {
    let asked = std::env::var("PARR_TEST_MODEL").ok().filter(|value| !value.is_empty());
    let required = asked.as_deref() == Some("require");
    if let Some(path) = asked.filter(|_| !required) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "PARR_TEST_MODEL names {}, which is no file", path.display());
        return Some(path);
    }
    match parr::hub::resolve("smollm2") {
        Ok(path) => Some(path),
        Err(error) if required => panic!("PARR_TEST_MODEL=require: {error}"),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}
