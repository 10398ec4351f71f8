//! Files of principles: sound ones, faulty ones, collections; and the draws for scoring prompts.

mod collection;
mod draw;
mod exemplars;
mod faults;
mod salmon_json;

use std::path::PathBuf;

use parr::principles::{PrincipleSet, PrinciplesError};

/// The folder of the sets that come with Parr.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("principles")
}

/// Reads `text` as a file of this name.
fn read(name: &str, text: &str) -> Result<PrincipleSet, PrinciplesError> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    PrincipleSet::read(&path)
}

/// Every mistake as `line:column reason`.
fn faults<T: std::fmt::Debug>(result: Result<T, PrinciplesError>) -> Vec<String> {
    match result {
        Err(PrinciplesError::Faults(faults)) => {
            faults.iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.reason)).collect()
        }
        other => panic!("expected faults, found {other:?}"),
    }
}
