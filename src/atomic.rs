//! Atomic writes of files and directories: readers see the old one or the new one, never half of each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `path` through a temporary sibling that is synced to disk and then renamed over it.
///
/// Readers see the whole old file or the whole new one, even if this process is killed. On any
/// error the temporary file is removed and `path` is unchanged.
///
/// # Errors
///
/// Any error of `fill`, and every failure to create, sync or rename.
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
    sync_parent(path);
    Ok(())
}

/// Makes directory `path` through a temporary sibling: `fill` receives the empty sibling and puts files
/// into it. All files are synced to disk, and then the sibling replaces `path`.
///
/// `path` may be absent or an empty directory. A directory that holds files is replaced, with all its
/// contents, only if `replace` is true; the caller decides whether it may be deleted. Where the
/// system can swap two directories in one step (Linux, macOS), readers see the old one or the new one,
/// even if this process is killed. Elsewhere `path` is missing for a moment; the complete old directory
/// is then beside it under a temporary name.
///
/// # Errors
///
/// Any error of `fill`, every failure to create, sync or rename, and
/// [`ErrorKind::DirectoryNotEmpty`] for a directory that may not be replaced. After an error `path` is
/// unchanged.
///
/// # Examples
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("notes");
/// parr::atomic::write_directory(&path, false, |folder| std::fs::write(folder.join("one.txt"), b"1"))?;
/// assert_eq!(std::fs::read(path.join("one.txt"))?, b"1");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_directory(
    path: &Path,
    replace: bool,
    fill: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    // A link is followed: its target is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let occupied = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if occupied && !replace {
        return Err(ErrorKind::DirectoryNotEmpty.into());
    }
    let temporary = Temporary::beside(path)?;
    fs::create_dir(&temporary.path)?;
    fill(&temporary.path)?;
    sync_tree(&temporary.path)?;
    if occupied {
        swap(&temporary.path, path)?;
    } else {
        // An empty directory; only some systems let a rename replace it.
        let _ = fs::remove_dir(path);
        fs::rename(&temporary.path, path)?;
    }
    sync_parent(path);
    Ok(())
}

/// Moves directory `new` to the path of directory `old`, and `old` to the path of `new` or elsewhere.
fn swap(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        // Some file systems cannot swap.
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    let aside = Temporary::beside(old)?;
    fs::rename(old, &aside.path)?;
    fs::rename(new, old).inspect_err(|_| {
        // If the old directory cannot be moved back, it stays beside its place.
        if fs::rename(&aside.path, old).is_err() {
            std::mem::forget(aside);
        }
    })
}

/// Syncs every file below `folder`, and `folder` itself where the system lets it.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            // Windows syncs only files that are open for writing.
            OpenOptions::new().write(true).open(entry.path())?.sync_all()?;
        }
    }
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Syncs the directory that holds `path`, because it records the rename. Not every system can sync a
/// directory; the contents are safe either way.
fn sync_parent(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// A temporary file or directory, gone when dropped unless it was renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn beside(path: &Path) -> io::Result<Temporary> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidInput, format!("{} names no file", path.display()))
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
        // After a rename nothing is left here; after a swap the old directory is.
        if fs::remove_file(&self.path).is_err() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
