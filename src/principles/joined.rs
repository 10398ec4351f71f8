//! Several sets, or some principles of them, as one.

use sha2::{Digest, Sha256};

use super::{Overrides, Principle, PrincipleSet, PrinciplesError, Use, hex};

impl PrincipleSet {
    /// The sets that `specs` name, taken together: principles of all, rules of the first that has any. A
    /// spec is what [`PrincipleSet::open`] takes, with `:ID,ID` behind it for some principles alone.
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::NoSet`] if nothing is named;
    /// * [`PrinciplesError::Twice`] if two of them have the same principle;
    /// * [`PrinciplesError::Unknown`] if a set has no such principle;
    /// * otherwise as [`PrincipleSet::open`].
    pub fn open_all(specs: &[String]) -> Result<PrincipleSet, PrinciplesError> {
        let mut sets = specs.iter().map(|spec| {
            let (name, ids) = split(spec);
            let set = PrincipleSet::open(name)?;
            if ids.is_empty() { Ok(set) } else { set.picked(&ids) }
        });
        let mut all = sets.next().ok_or(PrinciplesError::NoSet)??;
        for set in sets {
            all.join(set?)?;
        }
        all.uses = Use::Judge;
        Ok(all)
    }

    /// The principles with these ids alone, in their order, and the rules that one of them explains.
    fn picked(mut self, ids: &[&str]) -> Result<PrincipleSet, PrinciplesError> {
        let pick = |id: &&str| self.principle(id).cloned();
        let principles: Vec<Principle> = ids.iter().map(pick).collect::<Result<_, _>>()?;
        for (at, one) in principles.iter().enumerate() {
            if principles[..at].iter().any(|earlier| earlier.id == one.id) {
                return Err(twice(one, &self.id, &self.id));
            }
        }
        let there = |id: &str| principles.iter().any(|one| one.id == id);
        let Overrides { boilerplate, language } = self.overrides;
        self.overrides = Overrides {
            boilerplate: boilerplate.filter(|boilerplate| there(&boilerplate.rule.explained_by)),
            language: language.filter(|rule| there(&rule.explained_by)),
        };
        self.sha256 = hex(&Sha256::digest([&self.sha256, ":", &ids.join(",")].concat()));
        self.principles = principles;
        Ok(self)
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
        self.sha256 = hex(&Sha256::digest([self.sha256.as_str(), &set.sha256].concat()));
        self.principles.extend(set.principles);
        Ok(())
    }
}

fn twice(principle: &Principle, first: &str, second: &str) -> PrinciplesError {
    let [principle, first, second] = [&principle.id, first, second].map(str::to_owned);
    PrinciplesError::Twice { principle, first, second }
}

/// Name and ids of `SET`, `FILE`, or either with `:ID,ID` behind it.
fn split(spec: &str) -> (&str, Vec<&str>) {
    let is_id = |letter: char| letter.is_ascii_alphanumeric() || "-_,".contains(letter);
    // A drive's letter is followed by a path, which no list of ids is.
    match spec.rsplit_once(':') {
        Some((name, ids)) if !ids.is_empty() && ids.chars().all(is_id) => (name, ids.split(',').collect()),
        _ => (spec, Vec::new()),
    }
}
