//! Several sets, or some principles of them, as one.

use sha2::{Digest, Sha256};

use super::{Overrides, Principle, PrincipleSet, PrinciplesError, Selection, Use};
use crate::file::hex;

impl PrincipleSet {
    /// The sets that `specs` name, taken together: principles of all, rules of the first that has any. A
    /// spec is what [`Selection::open`] takes.
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::NoSet`] if nothing is named;
    /// * [`PrinciplesError::Twice`] if two of them have the same principle;
    /// * otherwise as [`Selection::open`].
    pub fn open_all(specs: &[String]) -> Result<PrincipleSet, PrinciplesError> {
        let open = |spec: &String| Selection::open(spec).map(Selection::into_set);
        PrincipleSet::joined(specs.iter().map(open).collect::<Result<_, _>>()?)
    }

    /// `sets` taken together, as [`PrincipleSet::open_all`] takes those that it opens.
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

/// A principle that two sets have, or that one was asked for twice.
pub(super) fn twice(principle: &Principle, first: &str, second: &str) -> PrinciplesError {
    let [principle, first, second] = [&principle.id, first, second].map(str::to_owned);
    PrinciplesError::Twice { principle, first, second }
}
