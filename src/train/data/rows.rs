//! Sources of rows: a file, or memory.

use std::path::{Path, PathBuf};

use super::{DataOptions, Dataset, Row};
use crate::model::text::Text;
use crate::train::TrainError;

/// Rows for training or evaluation: a JSON Lines file, or rows in memory.
///
/// Paths and vectors of rows convert into it, so [`Sft::new`](crate::train::Sft::new) takes both.
///
/// ```
/// use parr::train::{Row, Rows};
///
/// let file: Rows = Rows::file("examples/harbour.jsonl");
/// let memory = Rows::of([Row::pair("Name a river.", "The Loire.")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows(Source);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Memory(Vec<Row>),
}

impl Rows {
    /// The rows of a JSON Lines file, which is read when the run begins.
    pub fn file(path: impl Into<PathBuf>) -> Rows {
        Rows(Source::File(path.into()))
    }

    /// Rows in memory.
    pub fn of(rows: impl IntoIterator<Item = Row>) -> Rows {
        Rows(Source::Memory(rows.into_iter().collect()))
    }

    /// Encodes the rows for a model with this tokenizer and chat template and an embedding of `vocab` rows.
    ///
    /// # Errors
    ///
    /// As [`Dataset::read`] and [`Dataset::from_rows`].
    pub fn read(&self, text: &Text, vocab: usize, options: &DataOptions) -> Result<Dataset, TrainError> {
        match &self.0 {
            Source::File(path) => Dataset::read(path, text, vocab, options),
            Source::Memory(rows) => Dataset::from_rows(rows, text, vocab, options),
        }
    }
}

impl From<&Path> for Rows {
    fn from(path: &Path) -> Rows {
        Rows::file(path)
    }
}

impl From<&PathBuf> for Rows {
    fn from(path: &PathBuf) -> Rows {
        Rows::file(path)
    }
}

impl From<PathBuf> for Rows {
    fn from(path: PathBuf) -> Rows {
        Rows::file(path)
    }
}

impl From<&str> for Rows {
    fn from(path: &str) -> Rows {
        Rows::file(path)
    }
}

impl From<Vec<Row>> for Rows {
    fn from(rows: Vec<Row>) -> Rows {
        Rows::of(rows)
    }
}
