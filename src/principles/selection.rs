//! A selection of a set's principles, by name.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::joined::twice;
use super::{Overrides, Principle, PrincipleSet, PrinciplesError};
use crate::file::hex;

/// A set, or a selection of its principles, each negated or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The whole set.
    pub set: PrincipleSet,
    /// Indices into the set in the order in which they were named, and whether each is negated; `None` for
    /// the principles that the set's own use gives.
    pub picked: Option<Vec<(usize, bool)>>,
}

impl Selection {
    /// Opens the selection named by `SET` or `FILE`, optionally followed by `:ID,!ID`; an exclamation mark
    /// negates.
    ///
    /// ```
    /// use parr::principles::Selection;
    ///
    /// let calm = Selection::open("style:style-concise,!style-exclamation")?;
    /// assert_eq!(calm.picked.as_ref().map(|picked| picked[1].1), Some(true));
    /// assert_eq!(calm.into_set().principles[1].definition, "Stay calm, and use no exclamation marks.");
    /// # Ok::<(), parr::principles::PrinciplesError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// * As [`PrincipleSet::open`], and [`PrinciplesError::Unknown`] for an id that the set does not have.
    /// * [`PrinciplesError::NoNegative`] for a principle that cannot be negated.
    /// * [`PrinciplesError::Twice`] for a principle that is named twice.
    pub fn open(spec: &str) -> Result<Selection, PrinciplesError> {
        let is_id = |letter: char| letter.is_ascii_alphanumeric() || "-_,!".contains(letter);
        // A path after the colon means a drive letter, not a list of ids.
        let picks = spec.rsplit_once(':').filter(|(_, ids)| !ids.is_empty() && ids.chars().all(is_id));
        let Some((name, ids)) = picks else {
            return Ok(Selection { set: PrincipleSet::open(spec)?, picked: None });
        };
        let set = PrincipleSet::open(name)?;
        let pick = |text: &str| -> Result<(usize, bool), PrinciplesError> {
            let (id, negated) = match text.strip_prefix('!') {
                Some(id) => (id, true),
                None => (text, false),
            };
            let found = set.principle(id)?;
            if negated && found.negative.is_none() {
                return Err(PrinciplesError::NoNegative { id: id.to_owned() });
            }
            let place = set.principles.iter().position(|one| std::ptr::eq(one, found));
            Ok((place.unwrap_or_default(), negated))
        };
        let picked: Vec<(usize, bool)> = ids.split(',').map(pick).collect::<Result<_, _>>()?;
        let mut places = HashSet::new();
        match picked.iter().find(|(place, _)| !places.insert(*place)) {
            Some((place, _)) => Err(twice(&set.principles[*place], &set.id, &set.id)),
            None => Ok(Selection { set, picked: Some(picked) }),
        }
    }

    /// The selection as a separate set, with the overrides that one of its principles explains. A negated
    /// principle has its texts exchanged, `!` before its id, and no check.
    pub fn into_set(self) -> PrincipleSet {
        let Selection { mut set, picked } = self;
        let Some(picked) = picked else { return set };
        let one = |(place, negated): (usize, bool)| {
            let mut one = set.principles[place].clone();
            if let Some(negative) = one.negative.take_if(|_| negated) {
                one.negative = Some(std::mem::replace(&mut one.definition, negative));
                one.id.insert(0, '!');
                one.check = None;
            }
            one
        };
        let principles: Vec<Principle> = picked.into_iter().map(one).collect();
        let there = |id: &str| principles.iter().any(|one| one.id == id);
        let Overrides { boilerplate, language } = set.overrides;
        set.overrides = Overrides {
            boilerplate: boilerplate.filter(|boilerplate| there(&boilerplate.rule.explained_by)),
            language: language.filter(|rule| there(&rule.explained_by)),
        };
        let ids: Vec<&str> = principles.iter().map(|one| one.id.as_str()).collect();
        set.sha256 = hex(Sha256::digest([&set.sha256, ":", &ids.join(",")].concat()));
        set.principles = principles;
        set
    }
}
