//! A file mapped for reading.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::LoadError;
use crate::file::AtFile;

/// One file of a checkpoint, in the page cache rather than on the heap.
#[derive(Debug)]
pub(super) struct MappedFile {
    pub(super) path: PathBuf,
    map: Mmap,
}

impl MappedFile {
    pub(super) fn open(path: &Path) -> Result<MappedFile, LoadError> {
        let file = File::open(path).map_err(LoadError::io("read", path))?;
        let kind = file.metadata().map_err(LoadError::io("read", path))?;
        if !kind.is_file() {
            let rule = "it is neither a regular file nor a directory".to_owned();
            return Err(LoadError::NotACheckpoint { path: path.to_owned(), rule });
        }
        // SAFETY: the map is only read. If another program truncates the file while it is mapped,
        // this process ends with a bus error, as does every program that maps its models. No check
        // can prevent that, and copying gigabytes to the heap would be worse. `parr` ends with a message.
        let map = unsafe { Mmap::map(&file) }.map_err(LoadError::io("read", path))?;
        Ok(MappedFile { path: path.to_owned(), map })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }
}
