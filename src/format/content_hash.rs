//! The SHA-256 of a checkpoint's files, stored in the cache directory for the next process.

use std::fs::{self, File, Metadata};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::LoadError;
use crate::file::{AtFile, hex, sha256};
use crate::{atomic, cache};

/// Version of the entries.
const VERSION: u32 = 1;
/// Largest entry in bytes; a checkpoint of hundreds of files has a tenth.
const MAX_ENTRY: u64 = 1 << 20;

/// Hashes by file: where they are kept, and which ones are.
///
/// An entry for a list of files is valid while path, size, times and inode of each are unchanged. Otherwise,
/// or if an entry is damaged, the files are hashed again.
pub(super) struct HashCache {
    /// The directory of entries; without it nothing is stored.
    directory: Option<PathBuf>,
    /// Minimum total size in bytes; hashing smaller files is fast enough without an entry.
    least_bytes: u64,
    /// Minimum age of the last change. A file that changed just now can change again within the same tick of
    /// the file system's clock and then look unchanged.
    settled: Duration,
}

/// How the system identifies the contents of a file without reading them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    /// Canonical path.
    path: String,
    size_bytes: u64,
    /// Nanoseconds since 1970.
    modified_ns: u64,
    /// Seconds since 1970, and nanoseconds: the last change of the contents, which no program can set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<(i64, i64)>,
    /// Device and inode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<(u64, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: u32,
    files: Vec<Stamp>,
    /// Hash of the contents of all files, one after the other.
    sha256: String,
}

impl Default for HashCache {
    fn default() -> Self {
        HashCache {
            directory: cache::directory().map(|directory| directory.join("hashes")),
            least_bytes: 8 << 20,
            settled: Duration::from_secs(2),
        }
    }
}

impl HashCache {
    /// SHA-256 in hexadecimal of the contents of `files`, one after the other.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] if a file cannot be read.
    pub fn hash(&self, files: &[PathBuf]) -> Result<String, LoadError> {
        let before = self.stamps(files);
        if let Some(known) = before.as_ref().and_then(|stamps| self.read(stamps)) {
            return Ok(known);
        }
        let hash = read_and_hash(files)?;
        if let Some(stamps) = before.filter(|before| self.is_settled(before, SystemTime::now()))
            && self.stamps(files).as_ref() == Some(&stamps)
        {
            self.write(stamps, &hash);
        }
        Ok(hash)
    }

    /// The stamps of `files`; `None` if the system gives too little to rely on, or the files are too small.
    fn stamps(&self, files: &[PathBuf]) -> Option<Vec<Stamp>> {
        self.directory.as_ref()?;
        let stamps = files.iter().map(|path| Stamp::of(path)).collect::<Option<Vec<_>>>()?;
        let bytes: u64 = stamps.iter().map(|stamp| stamp.size_bytes).fold(0, u64::saturating_add);
        (bytes >= self.least_bytes).then_some(stamps)
    }

    fn is_settled(&self, stamps: &[Stamp], now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        stamps.iter().all(|stamp| {
            let modified = Duration::from_nanos(stamp.modified_ns);
            let changed = stamp.changed.and_then(|(seconds, _)| u64::try_from(seconds).ok());
            let last = modified.max(Duration::from_secs(changed.unwrap_or_default()));
            last + self.settled <= now
        })
    }

    /// The path of the entry for these files.
    fn place(&self, stamps: &[Stamp]) -> Option<PathBuf> {
        let paths: Vec<&str> = stamps.iter().map(|stamp| stamp.path.as_str()).collect();
        let name = sha256(paths.join("\n"));
        Some(self.directory.as_ref()?.join(format!("{}.json", &name[..32])))
    }

    fn read(&self, stamps: &[Stamp]) -> Option<String> {
        let mut text = Vec::new();
        File::open(self.place(stamps)?).ok()?.take(MAX_ENTRY).read_to_end(&mut text).ok()?;
        let Entry { version, files, sha256 } = serde_json::from_slice(&text).ok()?;
        let is_hash =
            sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (version == VERSION && files == stamps && is_hash).then_some(sha256)
    }

    /// Stores a hash. If that fails, the next process hashes the files again.
    fn write(&self, files: Vec<Stamp>, hash: &str) {
        let Some(place) = self.place(&files) else { return };
        let entry = Entry { version: VERSION, files, sha256: hash.to_owned() };
        let text = serde_json::to_vec_pretty(&entry).expect("an entry is plain values");
        let _ = place
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| atomic::write(&place, |file| file.write_all(&text)));
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let path = fs::canonicalize(path).ok()?;
        let metadata = fs::metadata(&path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Stamp {
            path: path.to_str()?.to_owned(),
            size_bytes: metadata.len(),
            modified_ns: u64::try_from(modified.as_nanos()).ok()?,
            changed: changed(&metadata),
            inode: inode(&metadata),
        })
    }
}

#[cfg(unix)]
fn changed(metadata: &Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> Option<(i64, i64)> {
    None
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Option<(u64, u64)> {
    None
}

fn read_and_hash(files: &[PathBuf]) -> Result<String, LoadError> {
    let mut hash = Sha256::new();
    // Reads through a buffer and not through the map: hashing should not evict the weights on a phone.
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let mut file = File::open(path).map_err(LoadError::io("read", path))?;
        loop {
            match file.read(&mut buffer).map_err(LoadError::io("read", path))? {
                0 => break,
                read => hash.update(&buffer[..read]),
            }
        }
    }
    Ok(hex(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files in a folder, and a cache that stores every hash at once.
    struct Bench {
        folder: tempfile::TempDir,
        files: Vec<PathBuf>,
        cache: HashCache,
    }

    impl Bench {
        fn new() -> Bench {
            let folder = tempfile::tempdir().expect("a scratch directory");
            let files: Vec<PathBuf> = ["config.json", "model"].map(|name| folder.path().join(name)).into();
            files.iter().for_each(|path| fs::write(path, path.to_str().expect("UTF-8")).expect("writable"));
            let directory = Some(folder.path().join("cache/hashes"));
            let cache = HashCache { directory, least_bytes: 1, settled: Duration::ZERO };
            Bench { folder, files, cache }
        }

        fn hash(&self) -> String {
            self.cache.hash(&self.files).expect("readable files")
        }

        fn true_hash(&self) -> String {
            sha256(
                self.files.iter().map(|path| fs::read(path).expect("readable")).collect::<Vec<_>>().concat(),
            )
        }

        fn entries(&self) -> Vec<PathBuf> {
            let Ok(entries) = fs::read_dir(self.folder.path().join("cache/hashes")) else {
                return Vec::new();
            };
            entries.map(|entry| entry.expect("readable").path()).collect()
        }

        /// Puts a wrong hash into the entry: if it comes back, the files were not read.
        fn mark(&self) -> String {
            let [entry] = &self.entries()[..] else { panic!("{:?}", self.entries()) };
            let text = fs::read_to_string(entry).expect("readable");
            let marked = "0".repeat(64);
            fs::write(entry, text.replace(&self.true_hash(), &marked)).expect("writable");
            marked
        }
    }

    #[test]
    fn the_hash_is_the_same_with_a_cache_and_the_second_time() {
        let bench = Bench::new();
        let without = HashCache { directory: None, ..HashCache::default() };
        assert_eq!(without.hash(&bench.files).expect("readable files"), bench.true_hash());
        assert_eq!(bench.hash(), bench.true_hash());
        assert_eq!(bench.hash(), bench.true_hash());
        let marked = bench.mark();
        assert_eq!(bench.hash(), marked, "the second time no file is read");
        let other = &bench.files[..1];
        assert_eq!(
            bench.cache.hash(other).expect("readable files"),
            sha256(fs::read(&other[0]).expect("readable"))
        );
        assert_eq!(bench.entries().len(), 2, "other files have an entry of their own");
    }

    #[test]
    fn a_file_that_changed_is_hashed_anew() {
        let bench = Bench::new();
        let path = &bench.files[1];
        bench.hash();
        let marked = bench.mark();
        let before = fs::metadata(path).and_then(|metadata| metadata.modified()).expect("it has a time");
        let mut bytes = fs::read(path).expect("readable");
        let set_modified =
            |time| File::options().write(true).open(path).and_then(|file| file.set_modified(time));
        bytes.reverse();
        fs::write(path, &bytes).expect("writable");
        set_modified(before + Duration::from_nanos(1_000)).expect("it is ours");
        assert_eq!(bench.hash(), bench.true_hash(), "same size, another time");
        assert_ne!(bench.hash(), marked);

        // Size and modification time can be restored; the time of the last change cannot.
        if cfg!(unix) {
            bench.mark();
            std::thread::sleep(Duration::from_millis(20));
            bytes.reverse();
            fs::write(path, &bytes).expect("writable");
            set_modified(before + Duration::from_nanos(1_000)).expect("it is ours");
            assert_eq!(bench.hash(), bench.true_hash());
        }
        bytes.push(b'!');
        fs::write(path, &bytes).expect("writable");
        assert_eq!(bench.hash(), bench.true_hash(), "another size");
        fs::remove_file(path).expect("it is ours");
        assert!(
            bench.cache.hash(&bench.files).expect_err("a file is gone").to_string().contains("cannot read")
        );
    }

    #[test]
    fn a_damaged_entry_is_ignored_and_replaced() {
        let bench = Bench::new();
        bench.hash();
        let entry = bench.entries().remove(0);
        let sound = fs::read_to_string(&entry).expect("readable");
        let hash = bench.true_hash();
        let damaged = [
            String::new(),
            sound[..sound.len() / 2].to_owned(),
            sound.replace("\"version\": 1", "\"version\": 2"),
            sound.replace(&hash, &hash[1..]),
            sound.replace(&hash, &hash.to_uppercase().replace(|letter: char| letter.is_ascii_digit(), "G")),
            sound.replace("\"sha256\"", "\"md5\""),
            sound.replacen("\"size_bytes\": ", "\"size_bytes\": 1", 1),
        ];
        for text in damaged {
            assert_ne!(text, sound);
            fs::write(&entry, &text).expect("writable");
            assert_eq!(bench.hash(), hash, "{text}");
            assert_eq!(fs::read_to_string(&entry).expect("readable"), sound, "the entry is sound again");
        }
    }

    #[test]
    fn only_large_files_that_have_settled_have_an_entry() {
        let mut bench = Bench::new();
        bench.cache.least_bytes = 1 << 20;
        bench.hash();
        assert!(bench.entries().is_empty(), "too small");
        bench.cache.least_bytes = 1;
        bench.cache.settled = Duration::from_secs(3600);
        bench.hash();
        assert!(bench.entries().is_empty(), "too new");
        bench.cache.settled = Duration::ZERO;
        bench.hash();
        assert_eq!(bench.entries().len(), 1);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_error() {
        let bench = Bench::new();
        fs::write(bench.folder.path().join("cache"), "a file").expect("writable");
        assert_eq!(bench.hash(), bench.true_hash());
        assert!(bench.entries().is_empty());
    }
}
