//! Locks that keep a second run out of a file or a folder: one writer at a time.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Locks `file` until it is closed, however this process ends; false if another process has locked it.
/// Always true where the system or the file system has no such locks.
pub(crate) fn claim(file: &File) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{FlockOperation, flock};
        use rustix::io::Errno;
        // Other errors come from file systems without locks.
        if flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return false;
        }
    }
    let _ = file;
    true
}

/// A locked folder: no other run can lock it while this value lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// The lock file.
    const NAME: &str = ".lock";

    /// Locks `folder`, which is made if it is missing; `None` if another run has locked it.
    ///
    /// # Errors
    ///
    /// The system's error if the folder or the lock file cannot be made.
    pub fn take(folder: &Path) -> io::Result<Option<FolderLock>> {
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(folder.join(Self::NAME))?;
        Ok(claim(&file).then_some(FolderLock { _file: file }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn a_folder_has_one_holder_and_is_free_again_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("runs/one");
        let held = FolderLock::take(&run).expect("it can be made").expect("nobody has it");
        assert!(FolderLock::take(&run).expect("it can be opened").is_none());
        assert!(FolderLock::take(folder.path()).expect("it can be made").is_some(), "only that one is held");
        drop(held);
        assert!(FolderLock::take(&run).expect("it can be opened").is_some());
    }
}
