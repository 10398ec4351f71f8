//! Compiled pipelines on disk, where the driver allows.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{atomic, cache};

/// The driver's compiled pipelines in a file of the cache directory, one per adapter and driver.
///
/// A driver trusts these bytes as much as its own code. So they are used only if no other user can have
/// written them.
#[derive(Debug)]
pub(super) struct PipelineStore {
    cache: wgpu::PipelineCache,
    /// The file, or the reason why it is not used.
    path: Result<PathBuf, String>,
    filled: AtomicBool,
}

impl PipelineStore {
    pub(super) fn open(device: &wgpu::Device, adapter: &wgpu::Adapter) -> Option<Self> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let key = wgpu::util::pipeline_cache_key(&adapter.get_info())?;
        let directory = cache::directory()?.join("pipelines");
        let (data, path) = match read_trusted(&directory, &key) {
            Ok(data) => (data, Ok(directory.join(key))),
            Err(reason) => (None, Err(reason)),
        };
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: Some("parr"), data: data.as_deref(), fallback: true };
        // SAFETY: the data came from `PipelineCache::get_data` under the same adapter key. It was read from a
        // file that only this user can write, in a directory that only this user can write; `read_trusted`
        // checks both. `fallback` drops the data if the driver finds it damaged.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(PipelineStore { cache, path, filled: AtomicBool::new(false) })
    }

    /// The reason why pipelines are neither read from disk nor stored there, if other users could write them.
    pub(super) fn fault(&self) -> Option<&str> {
        self.path.as_ref().err().map(String::as_str)
    }

    /// The cache for a pipeline that is about to be compiled.
    pub(super) fn cache_to_fill(&self) -> &wgpu::PipelineCache {
        self.filled.store(true, Ordering::Relaxed);
        &self.cache
    }

    /// Writes the compiled pipelines to disk for the next start. If that fails, the next start is only
    /// slower.
    pub(super) fn save(&self) {
        let Ok(path) = &self.path else { return };
        if !self.filled.load(Ordering::Relaxed) {
            return;
        }
        let Some(data) = self.cache.get_data() else { return };
        // A failure leaves the old file, or no file.
        let _ = write_private(path, &data);
    }
}

/// The bytes of file `name` in `directory`, or `None` if there is no such file; the reason if they cannot be
/// trusted.
fn read_trusted(directory: &Path, name: &str) -> Result<Option<Vec<u8>>, String> {
    let read = || -> io::Result<Result<Vec<u8>, String>> {
        let place = fs::metadata(directory)?;
        if let Err(reason) = trust(directory, &place) {
            return Ok(Err(reason));
        }
        // Checks the open file and not the path, because the path may lead elsewhere a moment later.
        let path = directory.join(name);
        let mut file = File::open(&path)?;
        if let Err(reason) = trust(&path, &file.metadata()?) {
            return Ok(Err(reason));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Ok(bytes))
    };
    match read() {
        Ok(read) => read.map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("compiled pipelines in {} cannot be read: {error}", directory.display())),
    }
}

/// `Ok` if the file or directory belongs to this user, and no other may write to it.
#[cfg(unix)]
fn trust(path: &Path, metadata: &fs::Metadata) -> Result<(), String> {
    trust_as(rustix::process::geteuid().as_raw(), path, metadata)
}

#[cfg(unix)]
fn trust_as(user: u32, path: &Path, metadata: &fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;

    let path = path.display();
    if metadata.uid() != user {
        return Err(format!(
            "compiled pipelines are not used: {path} belongs to another user; delete it, or set PARR_CACHE"
        ));
    }
    // Write permission of the group and of others.
    if metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "compiled pipelines are not used: other users can write to {path}; delete it, or run chmod go-w {path}"
        ));
    }
    Ok(())
}

/// On other systems the user's cache directory is private by default.
#[cfg(not(unix))]
fn trust(_: &Path, _: &fs::Metadata) -> Result<(), String> {
    Ok(())
}

/// Writes a file that only this user can write, in a directory that only this user can write.
fn write_private(path: &Path, data: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent)?;
        }
        #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    atomic::write(path, |file| {
        #[cfg(unix)]
        file.get_ref().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.write_all(data)
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn what_others_can_write_is_not_read() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let directory = folder.path().join("cache/pipelines");
        let file = directory.join("key");
        assert_eq!(read_trusted(&directory, "key"), Ok(None), "there is no directory");
        write_private(&file, b"compiled").expect("writable");
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        assert_eq!(read_trusted(&directory, "key"), Ok(Some(b"compiled".to_vec())));
        assert_eq!(read_trusted(&directory, "other"), Ok(None), "there is no file");

        for (place, sound, open) in [(&directory, 0o755, [0o777, 0o775]), (&file, 0o644, [0o666, 0o664])] {
            for open in open {
                set_mode(place, open);
                let reason = read_trusted(&directory, "key").expect_err("others can write");
                assert!(reason.contains(&format!("chmod go-w {}", place.display())), "{reason}");
            }
            set_mode(place, sound);
            assert_eq!(read_trusted(&directory, "key"), Ok(Some(b"compiled".to_vec())));
        }
        // Overwriting makes the file private again.
        write_private(&file, b"compiled again").expect("writable");
        assert_eq!((mode(&directory), mode(&file)), (0o755, 0o600));
    }

    #[test]
    fn what_belongs_to_another_user_is_not_read() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let metadata = fs::metadata(folder.path()).expect("it is there");
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(trust_as(user, folder.path(), &metadata), Ok(()));
        let reason = trust_as(user + 1, folder.path(), &metadata).expect_err("it is not theirs");
        assert!(reason.contains("belongs to another user"), "{reason}");
    }
}
