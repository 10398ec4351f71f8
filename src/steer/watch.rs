//! Principles that are edited while they are used.

use crate::principles::{PrincipleSet, PrinciplesError, Selection};

/// A set of principles and the file that it comes from. [`WatchedSet::poll`] reads the file again.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("mine.toml");
/// # let name = path.to_str().expect("UTF-8");
/// let text = |definition: &str| format!(
///     "id = \"mine\"\ntitle = \"Mine\"\ndescription = \"Mine.\"\nuse = \"sample\"\ndraws = 1\n\
///      [[principle]]\nid = \"brief\"\ndimension = \"Brief\"\ndefinition = \"{definition}\"\n");
/// std::fs::write(&path, text("Be brief."))?;
/// let mut watched = parr::steer::WatchedSet::open(name)?;
/// assert!(!watched.poll()?);
/// std::fs::write(&path, text("Be very brief."))?;
/// assert!(watched.poll()?);
/// assert_eq!(watched.set().principles[0].definition, "Be very brief.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WatchedSet {
    name: String,
    set: PrincipleSet,
    /// The last fault of the file, so that each fault is reported once.
    fault: Option<String>,
}

impl WatchedSet {
    /// Reads the set in the file `name`, the shipped set with that name, or some principles of either, in the
    /// form that [`Selection::open`] accepts.
    ///
    /// # Errors
    ///
    /// As [`Selection::open`].
    pub fn open(name: &str) -> Result<WatchedSet, PrinciplesError> {
        Ok(WatchedSet { name: name.to_owned(), set: Selection::open(name)?.into_set(), fault: None })
    }

    /// The set as it was last read without mistakes.
    pub fn set(&self) -> &PrincipleSet {
        &self.set
    }

    /// The name that it was opened with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the file again. Returns true if the set has changed. The contents are compared, not the file's
    /// time, so an edit within the same second is found too.
    ///
    /// # Errors
    ///
    /// As [`Selection::open`], once for each different mistake. The set stays what it was.
    pub fn poll(&mut self) -> Result<bool, PrinciplesError> {
        match Selection::open(&self.name) {
            Ok(selection) => {
                self.fault = None;
                let set = selection.into_set();
                let changed = set.sha256 != self.set.sha256;
                self.set = set;
                Ok(changed)
            }
            Err(error) => {
                let said = self.fault.replace(error.to_string());
                if said == self.fault { Ok(false) } else { Err(error) }
            }
        }
    }
}
