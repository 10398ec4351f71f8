//! Small JSON files in the cache directory with one entry for each device of the machine.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::adapter;
use crate::atomic;

/// The key of an adapter: its back end, its name, and its driver with the version.
pub(super) fn key(info: &wgpu::AdapterInfo) -> String {
    format!("{}, {}, {}", info.backend, info.name, adapter::driver(info))
}

/// The entries of `file`; none if there is no such file, or if it cannot be read.
pub(super) fn read<T: DeserializeOwned>(file: &Path) -> BTreeMap<String, T> {
    std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Writes `entries` in place of those of `file`.
pub(super) fn write<T: Serialize>(file: &Path, entries: &BTreeMap<String, T>) -> io::Result<()> {
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    atomic::write(file, |out| {
        serde_json::to_writer_pretty(&mut *out, entries)?;
        out.write_all(b"\n")
    })
}
