//! A file of prompts, read once.

use std::fs;
use std::path::{Path, PathBuf};

use super::jsonl::parse_numbered;
use super::{PreferencesError, Prompt};
use crate::file::{AtFile, sha256};

/// The prompts of a file, with the line of each, and the hash of the bytes that they were read from.
///
/// ```
/// use parr::preferences::{Prompt, Prompts};
///
/// let tea = Prompt { id: "tea".into(), kind: Default::default(), language: None, text: "Tea?".into() };
/// let prompts = Prompts::of(vec![tea]);
/// assert_eq!(prompts.iter().next().map(|prompt| prompt.text.as_str()), Some("Tea?"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts {
    path: PathBuf,
    /// The prompts with their lines, counted from 1.
    rows: Vec<(usize, Prompt)>,
    sha256: String,
}

impl Prompts {
    /// Reads all JSON Lines of [`Prompt`], so that a mistake in the last line is reported before anything
    /// runs.
    ///
    /// # Errors
    ///
    /// [`PreferencesError::Io`] if the file cannot be read, [`PreferencesError::Row`] if a line is no prompt.
    pub fn read(path: &Path) -> Result<Prompts, PreferencesError> {
        let bytes = fs::read(path).map_err(PreferencesError::io("read", path))?;
        let rows = parse_numbered(path, &bytes)?;
        Ok(Prompts { path: path.to_owned(), rows, sha256: sha256(&bytes) })
    }

    /// Takes prompts from memory. In messages the first is on line 1. Their ids must differ.
    pub fn of(prompts: Vec<Prompt>) -> Prompts {
        let line = |prompt: &Prompt| serde_json::to_string(prompt).expect("a prompt is plain values") + "\n";
        let sha256 = sha256(prompts.iter().map(line).collect::<String>());
        let rows = prompts.into_iter().enumerate().map(|(at, prompt)| (at + 1, prompt)).collect();
        Prompts { path: PathBuf::from("prompts"), rows, sha256 }
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the file, in hexadecimal. For prompts from memory, the SHA-256 of their JSON Lines.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Number of prompts.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The prompts, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Prompt> {
        self.rows.iter().map(|(_, prompt)| prompt)
    }

    /// The prompts with the line of each, counted from 1.
    pub fn rows(&self) -> &[(usize, Prompt)] {
        &self.rows
    }

    /// Returns `limit` prompts at even distances, or all prompts if `limit` is 0 or there are no more.
    pub fn spread(&self, limit: usize) -> Vec<&Prompt> {
        let all = self.rows.len();
        let count = if limit == 0 { all } else { limit.min(all) };
        (0..count).map(|place| &self.rows[place * all / count].1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principles::PromptType;

    fn prompt(id: u32) -> Prompt {
        Prompt { id: id.to_string(), kind: PromptType::default(), language: None, text: "Why?".to_owned() }
    }

    #[test]
    fn some_are_taken_from_all_over_the_file() {
        let prompts = Prompts::of((0..10).map(prompt).collect());
        let ids = |limit| prompts.spread(limit).iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(4), ["0", "2", "5", "7"]);
        assert_eq!((ids(0).len(), ids(10).len(), ids(99).len()), (10, 10, 10));
        assert!(Prompts::of(Vec::new()).spread(3).is_empty());
    }

    #[test]
    fn the_hash_is_that_of_the_bytes_that_were_read() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let path = folder.path().join("prompts.jsonl");
        let text = "\n{\"id\": \"a\", \"prompt\": \"Tea?\"}\n{\"id\": \"b\", \"prompt\": \"Why?\"}\n";
        fs::write(&path, text).expect("writable");
        let prompts = Prompts::read(&path).expect("sound lines");
        fs::write(&path, "{\"id\": \"c\", \"prompt\": \"Who?\"}\n").expect("writable");
        assert_eq!(prompts.sha256(), sha256(text));
        let rows: Vec<_> = prompts.rows().iter().map(|(line, one)| (*line, one.text.as_str())).collect();
        assert_eq!((rows, prompts.len()), (vec![(2, "Tea?"), (3, "Why?")], 2));
        assert_eq!(prompts.path(), path);
        fs::write(&path, "{\"id\": \"c\"}\n").expect("writable");
        let error = Prompts::read(&path).expect_err("no text").to_string();
        assert!(error.contains("line 1: missing field `prompt`"), "{error}");
    }
}
