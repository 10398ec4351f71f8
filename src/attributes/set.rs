//! Attributes from files.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::document;
use super::shipped::{IFBENCH, SHIPPED};
use super::{Attribute, AttributesError};
use crate::file::{self, AtFile, hex};
use crate::random::{Philox, Purpose};

/// Attributes, each with an id of its own.
#[derive(Clone, Debug)]
pub struct AttributeSet {
    attributes: Vec<Attribute>,
    sha256: String,
}

impl AttributeSet {
    /// The attributes that ship with Parr.
    ///
    /// ```
    /// use parr::attributes::AttributeSet;
    ///
    /// let set = AttributeSet::shipped();
    /// assert!(set.trained().count() >= 150);
    /// assert!(set.get("emoji").is_some_and(|emoji| emoji.domain == "punctuation"));
    /// ```
    pub fn shipped() -> AttributeSet {
        static READ: OnceLock<AttributeSet> = OnceLock::new();
        READ.get_or_init(|| AttributeSet::embedded(SHIPPED)).clone()
    }

    /// The test constraints of IFBench (arXiv 2507.02833) that a program can decide on a short reply, as attributes with
    /// sentences of our own. All are held out: no training may use them.
    pub fn ifbench() -> AttributeSet {
        static READ: OnceLock<AttributeSet> = OnceLock::new();
        READ.get_or_init(|| AttributeSet::embedded(&[IFBENCH])).clone()
    }

    /// Files in the program, by name. Their hundreds of expressions take a moment, so the caller keeps the set.
    fn embedded(files: &[(&str, &str)]) -> AttributeSet {
        let files = files.iter().map(|(name, text)| (PathBuf::from(format!("{name}.toml")), *text));
        AttributeSet::of(files).expect("a test reads the shipped attributes")
    }

    /// The attributes of these files.
    ///
    /// # Errors
    ///
    /// * [`AttributesError::Io`] if a file cannot be read;
    /// * [`AttributesError::File`] for the first mistake in a file, or an id that another file has too.
    pub fn read(paths: &[PathBuf]) -> Result<AttributeSet, AttributesError> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.push((path.clone(), file::read_text(path).map_err(AttributesError::io("read", path))?));
        }
        AttributeSet::of(files)
    }

    fn of<T: AsRef<str>>(
        files: impl IntoIterator<Item = (PathBuf, T)>,
    ) -> Result<AttributeSet, AttributesError> {
        let mut attributes: Vec<Attribute> = Vec::new();
        let mut hash = Sha256::new();
        let mut ids = HashSet::new();
        for (path, text) in files {
            hash.update((text.as_ref().len() as u64).to_le_bytes());
            hash.update(text.as_ref());
            for attribute in document::parse(&path, text.as_ref())? {
                if !ids.insert(attribute.id.clone()) {
                    let reason = format!("the id `{}` is used in another file, too", attribute.id);
                    return Err(AttributesError::File { path, reason });
                }
                attributes.push(attribute);
            }
        }
        Ok(AttributeSet { attributes, sha256: hex(hash.finalize()) })
    }

    /// All attributes, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter()
    }

    /// The attribute with this id.
    pub fn get(&self, id: &str) -> Option<&Attribute> {
        self.iter().find(|attribute| attribute.id == id)
    }

    /// Attributes that training may use.
    pub fn trained(&self) -> impl Iterator<Item = &Attribute> {
        self.iter().filter(|attribute| !attribute.held_out)
    }

    /// Attributes that are for evaluation only.
    pub fn held_out(&self) -> impl Iterator<Item = &Attribute> {
        self.iter().filter(|attribute| attribute.held_out)
    }

    /// At most `n` of the attributes that training may use, drawn by `seed`: for measuring what their number is worth.
    pub fn some(&self, n: usize, seed: u64) -> Vec<&Attribute> {
        let random = Philox::new(seed);
        let key = |index: usize| random.bits64(Purpose::Attributes, u32::MAX, index as u32, 0);
        let mut all: Vec<(usize, &Attribute)> = self.trained().enumerate().collect();
        all.sort_by_key(|(index, _)| key(*index));
        all.truncate(n);
        all.sort_unstable_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, attribute)| attribute).collect()
    }

    /// Domains of which no attribute is trained.
    pub fn held_out_domains(&self) -> BTreeSet<&str> {
        let trained: HashSet<&str> = self.trained().map(|attribute| &attribute.domain[..]).collect();
        let domains = self.iter().map(|attribute| &attribute.domain[..]);
        domains.filter(|domain| !trained.contains(domain)).collect()
    }

    /// SHA-256 of all files, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn ids_are_unique_among_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "domain = \"a\"\n[[attribute]]\nid = \"x\"\nnames = [\"x\"]\nhas = 'x'\nwant = [\"x\"]\navoid = [\"y\"]\n";
        let paths: Vec<PathBuf> = ["one.toml", "two.toml"].map(|name| folder.path().join(name)).into();
        fs::write(&paths[0], text).expect("written");
        fs::write(&paths[1], format!("\u{FEFF}{text}")).expect("written");
        assert_eq!(AttributeSet::read(&paths[..1]).expect("sound").iter().count(), 1);
        let error = AttributeSet::read(&paths).expect_err("an id twice").to_string();
        assert!(error.contains("two.toml") && error.contains("`x` is used in another file"), "{error}");
        fs::write(&paths[1], b"domain = \"a\"\n\xFF").expect("written");
        let error = AttributeSet::read(&paths).expect_err("not UTF-8").to_string();
        assert!(error.contains("two.toml"), "{error}");
    }
}
