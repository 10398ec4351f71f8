//! Lines of a file, limited in length and hashed as they are read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::file::{self, AtFile, hex};
use crate::train::TrainError;

/// Maximum number of bytes of a line. A row of 100 000 token ids has a tenth of that.
const MAX_LINE: usize = 16 << 20;

/// Reader of the lines that are not blank, one at a time.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    hash: Sha256,
    line: usize,
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines, TrainError> {
        let file = File::open(path).map_err(TrainError::io("read", path))?;
        let (reader, hash) = (BufReader::with_capacity(1 << 18, file), Sha256::new());
        Ok(Lines { path: path.to_owned(), reader, hash, line: 0, buffer: Vec::new() })
    }

    /// Returns the number and the text of the next line that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &str)>, TrainError> {
        loop {
            self.buffer.clear();
            let mut bounded = (&mut self.reader).take(file::most_bytes(MAX_LINE));
            let read = bounded.read_until(b'\n', &mut self.buffer);
            if read.map_err(TrainError::io("read", &self.path))? == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.hash.update(&self.buffer);
            if file::without_line_end(&self.buffer).len() > MAX_LINE {
                let reason =
                    format!("the line is longer than {} MiB; cut the row into several", MAX_LINE >> 20);
                return Err(TrainError::row(&self.path, self.line, reason));
            }
            if self.line == 1 && self.buffer.starts_with(b"\xEF\xBB\xBF") {
                // Some editors put a byte order mark first.
                self.buffer.drain(..3);
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok(Some((self.line, text))),
            Err(error) => {
                let reason = format!("byte {} is not UTF-8; save the file as UTF-8", error.valid_up_to() + 1);
                Err(TrainError::row(&self.path, self.line, reason))
            }
        }
    }

    /// SHA-256 in hexadecimal of the bytes that were read.
    pub(super) fn sha256(self) -> String {
        hex(self.hash.finalize())
    }
}
