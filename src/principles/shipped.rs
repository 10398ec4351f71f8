//! The sets that ship with Parr, embedded in the program: scoring needs no other file.

use std::path::Path;

use super::{Exemplars, PrincipleSet, PrinciplesError, collection};

/// Name and text of every set in `principles/` for scoring or judging replies.
pub const SHIPPED: &[(&str, &str)] = &[
    ("reward", include_str!("../../principles/reward.toml")),
    ("policy", include_str!("../../principles/policy.toml")),
    ("harmless", include_str!("../../principles/harmless.toml")),
    ("honest", include_str!("../../principles/honest.toml")),
    ("non-evasive", include_str!("../../principles/non-evasive.toml")),
    ("interventions", include_str!("../../principles/interventions.toml")),
    ("style", include_str!("../../principles/style.toml")),
    ("style-plainer", include_str!("../../principles/style-plainer.toml")),
    ("style-further", include_str!("../../principles/style-further.toml")),
    ("style-unseen", include_str!("../../principles/style-unseen.toml")),
    ("small", include_str!("../../principles/small.toml")),
    ("self-align", include_str!("../../principles/self-align.toml")),
];

/// The exemplars that ship with Parr, by name.
const EXEMPLARS: &[(&str, &str)] =
    &[("self-align", include_str!("../../principles/exemplars/self-align.toml"))];

pub(super) fn open_exemplars(name: &str, rules: &PrincipleSet) -> Result<Exemplars, PrinciplesError> {
    if let Some((_, text)) = EXEMPLARS.iter().find(|(shipped, _)| *shipped == name)
        && !Path::new(name).is_file()
    {
        return collection::parse_exemplars(Path::new(&format!("{name}.toml")), text, rules);
    }
    if Path::new(name).exists() || name.contains(['/', '\\', '.']) {
        return collection::read_exemplars(Path::new(name), rules);
    }
    Err(PrinciplesError::unknown("file of exemplars", name, EXEMPLARS.iter().map(|(name, _)| *name)))
}

pub(super) fn open(name: &str) -> Result<PrincipleSet, PrinciplesError> {
    if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)
        && !Path::new(name).is_file()
    {
        return collection::parse_set(Path::new(&format!("{name}.toml")), text);
    }
    if Path::new(name).exists() || name.contains(['/', '\\', '.']) {
        return PrincipleSet::read(Path::new(name));
    }
    Err(PrinciplesError::unknown("set of principles", name, SHIPPED.iter().map(|(name, _)| *name)))
}
