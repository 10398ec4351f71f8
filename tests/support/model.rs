//! The real model that some tests want: SmolLM2-135M-Instruct in Q4_1.

use std::path::PathBuf;

use super::harness::ignore;

/// The model's GGUF file: the path in `PARR_TEST_MODEL`, or the cache of `parr pull smollm2`.
///
/// Without one the running test ends as ignored; with `PARR_TEST_MODEL=require` it fails.
pub fn smollm2() -> PathBuf {
    let asked = std::env::var("PARR_TEST_MODEL").ok().filter(|value| !value.is_empty());
    let required = asked.as_deref() == Some("require");
    if let Some(path) = asked.filter(|_| !required) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "PARR_TEST_MODEL names {}, which is no file", path.display());
        return path;
    }
    match parr::hub::resolve("smollm2") {
        Ok(path) => path,
        Err(error) if required => panic!("PARR_TEST_MODEL=require: {error}"),
        Err(error) => ignore(error),
    }
}
