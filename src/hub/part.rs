//! The unfinished file of a download: claimed by one process, counted, hashed, and renamed when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::HubError;
use super::transfer::{Hash, Remote};
use crate::file::AtFile;
use crate::file::hex;
use crate::lock;

/// Time between two looks at a file that another process fetches.
const PATIENCE: Duration = Duration::from_millis(500);
const CHUNK_BYTES: usize = 256 * 1024;

/// The received bytes, on disk and in the hash. No other process writes to the file while this value lives.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
    pub len: u64,
}

impl Part {
    /// Opens the file when no other process has it, and returns whether that took a wait. `on_wait` is called
    /// once before it.
    pub fn claim(path: PathBuf, on_wait: &mut dyn FnMut()) -> Result<(Part, bool), HubError> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(HubError::io("create", dir))?;
        }
        let mut waited = false;
        loop {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let file = lock::open_for_one(options, &path).map_err(HubError::io("write", &path))?;
            // A process that has just finished may have renamed or removed what was opened here.
            if let Some(file) = file.filter(|file| is_at(file, &path)) {
                return Ok((Part { path, file, hash: Sha256::new(), len: 0 }, waited));
            }
            if !waited {
                on_wait();
                waited = true;
            }
            thread::sleep(PATIENCE);
        }
    }

    /// Continues with the bytes of an earlier attempt, or removes them if `resume` is false.
    pub fn begin(&mut self, resume: bool) -> Result<(), HubError> {
        if !resume {
            return self.clear();
        }
        self.len = copy(&mut self.file, &mut |bytes| self.hash.update(bytes))
            .map_err(HubError::io("read", &self.path))?;
        Ok(())
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(HubError::io("write", &self.path))?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    pub fn clear(&mut self) -> Result<(), HubError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(HubError::io("write", &self.path))?;
        self.hash = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// `Ok` if the disk has room for the missing bytes of a file of `total` bytes.
    pub fn check_space(&self, total: Option<u64>) -> Result<(), HubError> {
        let missing = total.map_or(0, |total| total.saturating_sub(self.len));
        check_space(&self.path, missing)
    }

    /// Removes the bytes after an error that makes them useless for the next attempt, and returns the error.
    pub fn give_up(&mut self, error: HubError) -> HubError {
        if matches!(error, HubError::Malformed { .. } | HubError::WrongHash { .. }) {
            // Bytes that remain are harmless, because their hash is checked, and `error` matters more.
            let _ = self.clear();
        }
        error
    }

    /// `Ok` if the bytes are the published ones. Otherwise they are removed.
    pub fn check(&mut self, remote: &Remote) -> Result<(), HubError> {
        let from = || remote.url.to_owned();
        if let Some(bytes) = remote.bytes.filter(|bytes| *bytes != self.len) {
            let rule = format!("the file has {bytes} bytes on the hub, and {} were received", self.len);
            return Err(self.give_up(HubError::Malformed { url: from(), rule }));
        }
        let (kind, expected, found) = match remote.hash {
            None => return Ok(()),
            Some(Hash::Sha256(expected)) => ("sha256", expected, hex(self.hash.clone().finalize())),
            Some(Hash::GitBlob(expected)) => {
                let start = self.file.seek(SeekFrom::Start(0)).map(drop);
                let found = start.and_then(|()| git_blob(&mut self.file, self.len));
                ("git hash", expected, found.map_err(HubError::io("read", &self.path))?)
            }
        };
        if *expected == found {
            return Ok(());
        }
        Err(self.give_up(HubError::WrongHash { from: from(), kind, expected: expected.clone(), found }))
    }

    /// Whether the finished file, which another process has just written, is the published one.
    pub fn is_target_sound(&self, remote: &Remote, target: &Path) -> Result<bool, HubError> {
        let length = fs::metadata(target).map_err(HubError::io("read", target))?.len();
        if remote.bytes.is_some_and(|bytes| bytes != length) {
            return Ok(false);
        }
        Ok(match remote.hash {
            None => true,
            Some(Hash::Sha256(expected)) => sha256_of(target)? == *expected,
            Some(Hash::GitBlob(expected)) => {
                let found = File::open(target).and_then(|mut file| git_blob(&mut file, length));
                found.map_err(HubError::io("read", target))? == *expected
            }
        })
    }

    /// Makes the bytes durable and gives them their name.
    pub fn finish(self, target: &Path) -> Result<(), HubError> {
        self.file.sync_all().map_err(HubError::io("write", &self.path))?;
        // Renamed while it is claimed: a process that opened it meanwhile sees that it is gone from its path.
        #[cfg(windows)]
        drop(self.file);
        fs::rename(&self.path, target).map_err(HubError::io("write", target))
    }

    /// Removes the file, which is not needed any more. One that stays is harmless: the next download of the same
    /// file checks its bytes.
    pub fn remove(self) {
        // Elsewhere the file is claimed until it is gone. Windows removes no file that is open without sharing.
        #[cfg(windows)]
        drop(self.file);
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether `file` is still the file at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        match (file.metadata(), fs::metadata(path)) {
            (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
    // Elsewhere an open file can be neither renamed nor removed.
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        true
    }
}

/// `Ok` if the disk of `path` has room for `needed` bytes, or if that cannot be known.
pub(super) fn check_space(path: &Path, needed: u64) -> Result<(), HubError> {
    #[cfg(unix)]
    {
        let folder = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
        if let Ok(disk) = rustix::fs::statvfs(folder) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if needed > free {
                return Err(HubError::NoSpace { path: folder.to_owned(), needed, free });
            }
        }
    }
    #[cfg(not(unix))]
    let _ = (path, needed);
    Ok(())
}

/// The sha256 of a file, in lower-case hex.
pub(super) fn sha256_of(path: &Path) -> Result<String, HubError> {
    let mut file = File::open(path).map_err(HubError::io("read", path))?;
    let mut hash = Sha256::new();
    copy(&mut file, &mut |bytes| hash.update(bytes)).map_err(HubError::io("read", path))?;
    Ok(hex(hash.finalize()))
}

/// Git's name of the contents of a file of `length` bytes, in lower-case hex.
fn git_blob(file: &mut File, length: u64) -> io::Result<String> {
    let mut hash = Sha1::new();
    hash.update(format!("blob {length}\0"));
    copy(file, &mut |bytes| hash.update(bytes))?;
    Ok(hex(hash.finalize()))
}

/// Passes the rest of `file` to `take` and returns its length.
fn copy(file: &mut File, take: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut len = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(len),
            read => {
                take(&chunk[..read]);
                len += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_small_file_is_that_of_git() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hello");
        fs::write(&path, "hello\n").expect("written");
        let mut file = File::open(&path).expect("open");
        // `printf 'hello\n' | git hash-object --stdin`
        assert_eq!(git_blob(&mut file, 6).expect("readable"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_larger_than_the_disk_is_refused_with_both_sizes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("not/yet/there/model.gguf.part");
        check_space(&path, 1).expect("a byte fits");
        let error = check_space(&path, u64::MAX).expect_err("that does not").to_string();
        assert!(error.contains("18446744073709551615 bytes") && error.contains(" free"), "{error}");
    }
}
