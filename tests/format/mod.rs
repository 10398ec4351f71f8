//! Checkpoints: what is read from sound files, and what is said about broken ones.

mod atomic;
mod config;
mod directory;
mod gguf;
mod gguf_malformed;
mod lfm2;
pub mod mutation;
mod odd_config;
mod rope;
mod safetensors;
mod safetensors_malformed;

use std::path::{Path, PathBuf};

use parr::format::LoadError;

/// A broken file: its name, its bytes, and what the message must say.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub says: &'static [&'static str],
}

/// Runs `open` on every case; each must fail with a message that names the file and says what the
/// case asks for.
pub fn check_cases(cases: Vec<Case>, open: impl Fn(&Path, &[u8]) -> Result<(), LoadError>) {
    let mut names = std::collections::HashSet::new();
    let mut faults = Vec::new();
    for case in &cases {
        assert!(names.insert(case.name), "two cases are called {:?}", case.name);
        let path = PathBuf::from(format!("{}.model", case.name.replace(' ', "-")));
        match open(&path, &case.bytes) {
            Ok(()) => faults.push(format!("{}: no error", case.name)),
            Err(error) => faults.extend(faults_of(case.name, &error, &path, case.says)),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{} malformed files", cases.len());
}

/// Asserts what holds for every message: it names the file, says `says`, and is one plain line.
pub fn check_message(name: &str, error: &LoadError, path: &Path, says: &[&str]) {
    let faults = faults_of(name, error, path, says);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn faults_of(name: &str, error: &LoadError, path: &Path, says: &[&str]) -> Vec<String> {
    let message = error.to_string();
    let file = path.display().to_string();
    let mut missing: Vec<&str> = says.iter().copied().filter(|part| !message.contains(part)).collect();
    if !message.contains(&file) || error.path() != path {
        missing.push("the file's name");
    }
    if message.ends_with('.') || message.contains('\n') || message.len() > 600 {
        missing.push("one short line without a full stop");
    }
    missing.into_iter().map(|part| format!("{name}: wants {part:?}: {message}")).collect()
}

/// `tests/golden/tiny/NAME`.
pub fn tiny(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden/tiny", name].iter().collect()
}
