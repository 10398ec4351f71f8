//! The cache directory, for files that can be rebuilt or downloaded again: models, hashes of models,
//! compiled pipelines.

use std::path::PathBuf;

/// `$PARR_CACHE`, or `parr` in the user's cache directory (`$XDG_CACHE_HOME`, `~/.cache`,
/// `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows). `None` where there is no home.
pub fn directory() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = from("PARR_CACHE") {
        return Some(path);
    }
    let base = if cfg!(windows) {
        from("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        from("HOME").map(|home| home.join("Library/Caches"))
    } else {
        from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")))
    };
    base.map(|base| base.join("parr"))
}
