//! Atomic writes of files and directories: readers see the old one or the new one, never half of each.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `path` through a temporary sibling that is synced to disk and then renamed over it.
///
/// Readers see the whole old file or the whole new one, even if this process is killed. On any
/// error the temporary file is removed and `path` is unchanged. A process that is killed leaves it; the next
/// write to `path` removes it then.
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
        let mut start = OsString::from(".");
        start.push(name);
        start.push(".");
        remove_abandoned(path, &start);
        start.push(format!("{}-{number}.tmp", std::process::id()));
        Ok(Temporary { path: path.with_file_name(start) })
    }
}

/// Removes the temporary files and directories of `path` whose process was killed. Their names begin with
/// `start`.
fn remove_abandoned(path: &Path, start: &OsString) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.as_encoded_bytes().strip_prefix(start.as_encoded_bytes()).and_then(process_of);
        if process.is_some_and(is_gone) {
            // One that stays is harmless, and the output matters more.
            drop(Temporary { path: entry.path() });
        }
    }
}

/// The process in the rest of a temporary name, such as `4711-0.tmp`.
fn process_of(rest: &[u8]) -> Option<u32> {
    let (process, number) = std::str::from_utf8(rest).ok()?.strip_suffix(".tmp")?.split_once('-')?;
    number.parse::<u64>().ok()?;
    process.parse().ok()
}

/// Whether there is no such process on this machine; false where that cannot be known.
fn is_gone(process: u32) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        use rustix::process::{Pid, test_kill_process};
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        process.is_some_and(|process| test_kill_process(process) == Err(Errno::SRCH))
    }
    #[cfg(not(unix))]
    {
        let _ = process;
        false
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_with_the_next_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut child = std::process::Command::new("true").spawn().expect("it starts");
        let gone = child.id();
        child.wait().expect("it ends");
        let (mine, theirs) = (format!(".a.{gone}-0.tmp"), format!(".a.{}-7.tmp", std::process::id()));
        let kept = [theirs, format!(".b.{gone}-0.tmp"), format!(".a.{gone}.tmp"), ".a.tmp".to_owned()];
        for name in kept.iter().chain([&mine]) {
            fs::write(at(name), "half").expect("written");
        }
        let folder_of = format!(".a.{gone}-1.tmp");
        fs::create_dir(at(&folder_of)).expect("made");
        fs::write(at(&folder_of).join("half"), "").expect("written");
        write(&at("a"), |file| file.write_all(b"whole")).expect("written");
        assert!(!at(&mine).exists() && !at(&folder_of).exists());
        assert!(kept.iter().all(|name| at(name).exists()), "only those of dead processes for the same file");
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
