//! Files that are either the old one or the new one, never half of each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `path` through a temporary sibling that is synced to disk and then renamed over it.
///
/// Readers see the whole old file or the whole new one, whenever they look and wherever this
/// process stops. On any error the temporary file is removed and `path` is as it was.
///
/// # Errors
///
/// Whatever `fill` returns, and every failure to create, sync or rename.
///
/// # Examples
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("notes.txt");
/// parr::atomic::write(&path, |file| std::io::Write::write_all(file, b"kept"))?;
/// assert_eq!(std::fs::read(&path)?, b"kept");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let temporary = Temporary::beside(path)?;
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary.path)?;
    let mut file = BufWriter::new(file);
    fill(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    drop(file);
    fs::rename(&temporary.path, path)?;
    // The rename itself lives in the directory; not every system lets a directory be synced, and
    // the contents are safe either way.
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// The temporary file, gone when dropped unless it was renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn beside(path: &Path) -> io::Result<Temporary> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", path.display()))
        })?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{number}.tmp", std::process::id()));
        Ok(Temporary { path: path.with_file_name(temporary) })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing left here to remove.
        let _ = fs::remove_file(&self.path);
    }
}
