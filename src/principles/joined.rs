//! Several sets, or a selection of their principles, joined into one set.

use sha2::{Digest, Sha256};

use super::{Overrides, Principle, PrincipleSet, PrinciplesError, Selection, Use};
use crate::file::hex;

impl PrincipleSet {
    /// Joins the sets that `specs` name: the principles of all, and the overrides of the first set that has
    /// any. A spec is an argument of [`Selection::open`].
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::NoSet`] if nothing is named;
    /// * [`PrinciplesError::Twice`] if two sets have the same principle;
    /// * otherwise as [`Selection::open`].
    pub fn open_all(specs: &[String]) -> Result<PrincipleSet, PrinciplesError> {
        let open = |spec: &String| Selection::open(spec).map(Selection::into_set);
        PrincipleSet::joined(specs.iter().map(open).collect::<Result<_, _>>()?)
    }

    /// Joins `sets` in the same way as [`PrincipleSet::open_all`].
    pub(crate) fn joined(sets: Vec<PrincipleSet>) -> Result<PrincipleSet, PrinciplesError> {
        let mut sets = sets.into_iter();
        let mut all = sets.next().ok_or(PrinciplesError::NoSet)?;
        for set in sets {
            all.join(set)?;
        }
        all.uses = Use::Judge;
        Ok(all)
    }

    fn join(&mut self, set: PrincipleSet) -> Result<(), PrinciplesError> {
        let known = |one: &&Principle| self.principles.iter().any(|known| known.id == one.id);
        if let Some(one) = set.principles.iter().find(known) {
            return Err(twice(one, &self.id, &set.id));
        }
        if self.overrides == Overrides::default() {
            self.overrides = set.overrides;
        }
        self.id = format!("{}+{}", self.id, set.id);
        self.sha256 = hex(Sha256::digest([self.sha256.as_str(), &set.sha256].concat()));
        self.principles.extend(set.principles);
        Ok(())
    }
}

/// A principle that two sets have, or that was selected twice.
pub(super) fn twice(principle: &Principle, first: &str, second: &str) -> PrinciplesError {
    let [principle, first, second] = [&principle.id, first, second].map(str::to_owned);
    PrinciplesError::Twice { principle, first, second }
}
