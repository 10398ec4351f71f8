//! Locks that allow one run at a time to write to a file or a folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Claims `file` until it is closed, however this process ends. Returns false if another process has claimed
/// it, and always true where the system or the file system has no such locks.
///
/// On Windows no other process can read a claimed file either. So a claimed file should hold no data that
/// others read meanwhile.
pub(crate) fn claim(file: &File) -> bool {
    // Other errors come from systems and file systems without locks.
    !matches!(lock(file), Err(fs::TryLockError::WouldBlock))
}

/// Claims `file` as [`claim`] does, but returns false where there are no locks: then a process that uses the file
/// cannot be noticed.
pub(crate) fn is_unclaimed(file: &File) -> bool {
    lock(file).is_ok()
}

fn lock(file: &File) -> Result<(), fs::TryLockError> {
    // The standard library has no locks for Android before Rust 1.98.
    #[cfg(target_os = "android")]
    {
        use rustix::fs::{FlockOperation, flock};
        flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => fs::TryLockError::WouldBlock,
            other => fs::TryLockError::Error(other.into()),
        })
    }
    #[cfg(not(target_os = "android"))]
    file.try_lock()
}

/// Opens the file at `path` with `options` as its only writer until it is closed. Other processes can read
/// it. Returns `None` if another process has it open for writing.
///
/// # Errors
///
/// The errors of [`OpenOptions::open`].
pub(crate) fn open_for_one(options: &mut OpenOptions, path: &Path) -> io::Result<Option<File>> {
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;
        // FILE_SHARE_READ, and ERROR_SHARING_VIOLATION for the second writer.
        const SHARE_READ: u32 = 1;
        const SHARING_VIOLATION: i32 = 32;
        match options.share_mode(SHARE_READ).open(path) {
            Err(error) if error.raw_os_error() == Some(SHARING_VIOLATION) => Ok(None),
            file => file.map(Some),
        }
    }
    #[cfg(not(windows))]
    {
        let file = options.open(path)?;
        Ok(claim(&file).then_some(file))
    }
}

/// A claimed folder: no other run can claim it while this value lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// The claimed file.
    const NAME: &str = ".lock";

    /// Claims `folder`, and creates it if it is missing; `None` if another run has it.
    ///
    /// # Errors
    ///
    /// The system's error if folder or file cannot be created.
    pub fn take(folder: &Path) -> io::Result<Option<FolderLock>> {
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(folder.join(Self::NAME))?;
        Ok(claim(&file).then_some(FolderLock { _file: file }))
    }
}

// The systems on which the tests run have locks.
#[cfg(all(test, any(target_os = "linux", target_os = "android", target_vendor = "apple", windows)))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_and_is_free_again_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("runs/one");
        let held = FolderLock::take(&run).expect("it can be made").expect("nobody has it");
        assert!(FolderLock::take(&run).expect("it can be opened").is_none());
        assert!(FolderLock::take(folder.path()).expect("it can be made").is_some(), "only that one is held");
        drop(held);
        assert!(FolderLock::take(&run).expect("it can be opened").is_some());
    }

    #[test]
    fn a_file_has_one_writer_and_can_be_read_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("records.jsonl");
        let open = || open_for_one(OpenOptions::new().write(true).create(true).truncate(false), &path);
        let mut held = open().expect("it can be made").expect("nobody has it");
        io::Write::write_all(&mut held, b"one\n").expect("it can be written");
        assert!(open().expect("no error").is_none());
        assert_eq!(fs::read(&path).expect("readers are let in"), b"one\n");
        drop(held);
        assert!(open().expect("it can be opened").is_some());
    }
}
