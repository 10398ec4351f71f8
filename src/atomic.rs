//! Atomic writes of files and directories: readers see the old one or the new one, never half of each.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::lock;

/// Age from which a temporary directory counts as abandoned. No process fills one for that long.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of names that are tried for a temporary file or directory.
const MAX_NAMES: usize = 1000;

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
    remove_abandoned(path);
    let (path_of_file, file) = beside(path, "tmp", create_claimed)?;
    let temporary = Temporary { path: path_of_file };
    let mut file = BufWriter::new(file);
    fill(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    // Elsewhere the file is claimed until it has its name. Windows would have to share it for that.
    #[cfg(windows)]
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
/// is then beside it, under a name that ends with `.old`. If the process is killed in that moment, the next
/// call moves it back first, and then replaces it, as the killed call was allowed to.
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
    let replace = restore(path)? || replace;
    let occupied = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if occupied && !replace {
        return Err(ErrorKind::DirectoryNotEmpty.into());
    }
    remove_abandoned(path);
    let (path_of_new, ()) = beside(path, "tmp", |path| fs::create_dir(path))?;
    let temporary = Temporary { path: path_of_new };
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

/// Moves directory `new` to the path of directory `old`. Afterwards the old one is at the path of `new`, or is
/// gone.
fn swap(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        // Some file systems cannot swap.
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    let aside = move_aside(old)?;
    // If the old directory cannot be moved back, it stays beside its place, and the next call moves it.
    fs::rename(new, old).inspect_err(|_| drop(fs::rename(&aside, old)))?;
    // One that stays is harmless: the new one is in place.
    let _ = fs::remove_dir_all(&aside);
    Ok(())
}

/// Gives directory `path` a name beside it that no later call removes, and returns the new path.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let (aside, ()) = beside(path, "old", |aside| match fs::symlink_metadata(aside) {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(path, aside),
    })?;
    Ok(aside)
}

/// If `path` is missing because a process was killed while it replaced the directory, moves the old directory
/// back to it. Returns whether it did.
fn restore(path: &Path) -> io::Result<bool> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(false);
    }
    let moment = |path: &PathBuf| fs::metadata(path).and_then(|found| found.modified()).ok();
    let Some(aside) = siblings(path, "old").into_iter().filter(|aside| aside.is_dir()).max_by_key(moment)
    else {
        return Ok(false);
    };
    fs::rename(aside, path).map(|()| true)
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

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename nothing is left here; after a swap the old directory is.
        if fs::remove_file(&self.path).is_err() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Calls `make` with the path of a sibling of `path`, `.NAME.PID-NUMBER.ENDING`, and returns both. If it exists
/// already, `make` is called again with the next number: a killed process of the same number may have left it,
/// since the first process in a container is always number 1.
fn beside<T>(path: &Path, ending: &str, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start = start_of(path)?;
    let mut tries = 0;
    loop {
        let mut name = start.clone();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        name.push(format!("{}-{number}.{ending}", std::process::id()));
        let sibling = path.with_file_name(name);
        match make(&sibling) {
            Ok(made) => return Ok((sibling, made)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < MAX_NAMES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// How the names of the temporary siblings of `path` begin.
fn start_of(path: &Path) -> io::Result<OsString> {
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(ErrorKind::InvalidInput, format!("{} names no file", path.display()))
    })?;
    let mut start = OsString::from(".");
    start.push(name);
    start.push(".");
    Ok(start)
}

/// Creates a file and claims it, so that another process does not take it for abandoned.
fn create_claimed(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    // Between the two calls another process may have claimed the file to remove it.
    if lock::claim(&file) && path.exists() { Ok(file) } else { Err(ErrorKind::AlreadyExists.into()) }
}

/// The temporary siblings of `path` with this ending, of all processes.
fn siblings(path: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(start) = start_of(path) else { return Vec::new() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_ours = |name: OsString| {
        let rest = name.as_encoded_bytes().strip_prefix(start.as_encoded_bytes());
        rest.is_some_and(|rest| has_numbers(rest, ending))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| is_ours(entry.file_name())).map(|entry| entry.path()).collect()
}

/// Whether the rest of a temporary name has the form `4711-0.tmp`.
fn has_numbers(rest: &[u8], ending: &str) -> bool {
    let numbers = || {
        let rest = std::str::from_utf8(rest).ok()?.strip_suffix(ending)?.strip_suffix('.')?;
        let (process, number) = rest.split_once('-')?;
        Some(process.parse::<u32>().is_ok() && number.parse::<u64>().is_ok())
    };
    numbers().unwrap_or(false)
}

/// Removes the temporary files and directories of `path` whose process was killed, on whatever machine: a file
/// that nobody has claimed, and a directory in which nothing has changed for a day.
fn remove_abandoned(path: &Path) {
    for sibling in siblings(path, "tmp") {
        let Ok(found) = fs::symlink_metadata(&sibling) else { continue };
        // What stays is harmless, and the output matters more.
        if found.is_dir() {
            if is_old(&sibling, &found) {
                let _ = fs::remove_dir_all(&sibling);
            }
        } else if found.is_file()
            && let Ok(file) = OpenOptions::new().write(true).open(&sibling)
            && lock::is_unclaimed(&file)
        {
            // Windows removes no file that is claimed here.
            #[cfg(windows)]
            drop(file);
            let _ = fs::remove_file(&sibling);
        }
    }
}

/// Whether `path` and everything in it is older than a day. False where that cannot be known.
fn is_old(path: &Path, found: &fs::Metadata) -> bool {
    let age = found.modified().ok().and_then(|moment| SystemTime::now().duration_since(moment).ok());
    if age.is_none_or(|age| age < ABANDONED) {
        return false;
    }
    if !found.is_dir() {
        return true;
    }
    let Ok(mut entries) = fs::read_dir(path) else { return false };
    entries
        .all(|entry| entry.and_then(|entry| Ok(is_old(&entry.path(), &entry.metadata()?))).unwrap_or(false))
}

// The systems on which the tests run have locks.
#[cfg(all(test, any(target_os = "linux", target_os = "android", target_vendor = "apple", windows)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_with_the_next_write_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        // Process numbers say nothing: the live one may be of another machine, and the dead one of this number.
        let dead = format!(".a.{}-7000000.tmp", std::process::id());
        let live = ".a.4000000001-0.tmp";
        fs::write(at(&dead), "half").expect("written");
        let claimed = create_claimed(&at(live)).expect("created");
        let kept = [".b.4711-0.tmp", ".a.4711.tmp", ".a.tmp", ".a.4711-0.old"];
        for name in kept {
            fs::write(at(name), "half").expect("written");
        }
        let (young, old) = (".a.4711-1.tmp", ".a.4711-2.tmp");
        for name in [young, old] {
            fs::create_dir(at(name)).expect("made");
            fs::write(at(name).join("half"), "").expect("written");
        }
        let whole = || write(&at("a"), |file| file.write_all(b"whole")).expect("written");
        whole();
        assert!(!at(&dead).exists() && at(live).exists());
        assert!(kept.iter().chain([&young, &old]).all(|name| at(name).exists()));
        drop(claimed);
        #[cfg(unix)]
        {
            let moment = SystemTime::now() - 2 * ABANDONED;
            let age = |path: PathBuf| File::open(path).and_then(|file| file.set_modified(moment));
            age(at(old)).expect("a time can be set");
            whole();
            assert!(at(old).exists(), "a file in it is young");
            age(at(old).join("half")).expect("a time can be set");
        }
        whole();
        assert!(!at(live).exists() && at(young).exists());
        assert!(cfg!(windows) || !at(old).exists());
    }

    #[test]
    fn a_name_that_is_taken_is_not_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let (taken, ()) = beside(&path, "tmp", |_| Ok(())).expect("a name");
        let name = taken.file_name().expect("a name").to_str().expect("UTF-8");
        let number = name.trim_end_matches(".tmp").rsplit('-').next().expect("a number");
        let next: u64 = number.parse().expect("a number");
        // As from an earlier process of the same number. Other tests take numbers meanwhile.
        for number in next..next + 40 {
            let name = format!(".a.{}-{number}.tmp", std::process::id());
            fs::create_dir_all(path.with_file_name(name)).expect("made");
        }
        write(&path, |file| file.write_all(b"whole")).expect("written");
        write_directory(&path.with_file_name("b"), false, |_| Ok(())).expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"whole");
    }

    #[test]
    fn a_kill_between_two_renames_loses_no_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("adapter");
        let put = |text: &'static str| move |folder: &Path| fs::write(folder.join("weights"), text);
        let weights = || fs::read_to_string(path.join("weights")).expect("there");
        write_directory(&path, false, put("first")).expect("written");
        let aside = move_aside(&path).expect("moved");
        // Killed here. A write that fails leaves what the killed one began with.
        write_directory(&path, false, |_| Err(ErrorKind::StorageFull.into())).expect_err("a full disk");
        assert_eq!(weights(), "first");
        assert!(!aside.exists());
        move_aside(&path).expect("moved");
        write_directory(&path, false, put("second")).expect("replaced, as the killed one would have");
        assert_eq!(weights(), "second");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing else is left");
    }
}
