//! One file of principles: the rules of `principles/schema.json`, and those that a schema cannot express.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::check::Check;
use super::document::Node;
use super::error::{Faults, shown};
use super::table::{Table, check_id};
use super::{Boilerplate, Boost, Override, Overrides, Principle, PrincipleSet, PromptType, Use};

/// Maximum characters of a definition: reward models read up to eight definitions for each reply.
const LONGEST_TEXT: usize = 300;
const LONGEST_DIMENSION: usize = 40;
/// Maximum characters of titles and descriptions, which are for people.
pub(super) const LONGEST_PROSE: usize = 1000;

const SET_KEYS: &[&str] = &["id", "title", "description", "use", "draws", "overrides", "principle"];
const PRINCIPLE_KEYS: &[&str] =
    &["id", "dimension", "definition", "negative", "weight", "tags", "boost", "decides", "check"];
const USES: &str = "\"judge\", \"sample\", \"always\" or \"rules\"";

/// `use` as written in the file, before `draws` is checked.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Judge,
    Sample,
    Always,
    Rules,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Judge => "judge",
            Kind::Sample => "sample",
            Kind::Always => "always",
            Kind::Rules => "rules",
        }
    }
}

/// The set in the file. It must not be used if anything was added to `faults`.
pub(super) fn read(document: &Node, faults: &mut Faults) -> PrincipleSet {
    let mut set = PrincipleSet::default();
    let Some(table) = Table::new(document, "the set", SET_KEYS, faults) else {
        return set;
    };
    set.id = table.need_id("id", faults).unwrap_or_default();
    set.title = table.need_line("title", LONGEST_PROSE, faults).unwrap_or_default();
    set.description = table.need_line("description", LONGEST_PROSE, faults).unwrap_or_default();
    let kind = read_kind(&table, faults);
    table.need("principle", faults);
    let items = table.list("principle", faults).unwrap_or_default();
    if table.is_empty_list("principle") {
        faults.add(table.place("principle"), "the set has no principles");
    }
    let mut seen = Seen::default();
    for item in items {
        set.principles.extend(read_principle(item, kind, &mut seen, faults));
    }
    set.uses = match kind {
        Some(Kind::Sample) => {
            Use::Sample { draws: read_draws(&table, items.len(), faults).unwrap_or_default() }
        }
        Some(Kind::Always) => Use::Always,
        Some(Kind::Rules) => Use::Rules,
        Some(Kind::Judge) | None => Use::Judge,
    };
    if let Some(kind) = kind {
        if kind != Kind::Sample {
            table.forbid("draws", &only("sample", kind), faults);
        }
        if kind != Kind::Judge {
            table.forbid("overrides", &only("judge", kind), faults);
        }
    }
    set.overrides = read_overrides(&table, &set.principles, faults);
    set
}

/// The uses of sets under which replies are scored, for [`only`].
const SCORED: &str = "judge\", \"sample\" or \"always";

fn only(wanted: &str, kind: Kind) -> String {
    format!("is for sets with use = \"{wanted}\"; this one has use = \"{}\"", kind.name())
}

fn read_kind(table: &Table, faults: &mut Faults) -> Option<Kind> {
    if table.get("use").is_none() {
        faults.add(table.place("use"), format!("the set has no `use`; write {USES}"));
    }
    let name = table.raw_text("use", faults)?;
    let kinds = [Kind::Judge, Kind::Sample, Kind::Always, Kind::Rules];
    let kind = kinds.into_iter().find(|kind| kind.name() == name);
    if kind.is_none() {
        faults.add(table.place("use"), format!("`use` is \"{}\", not {USES}", shown(name)));
    }
    kind
}

fn read_draws(table: &Table, principles: usize, faults: &mut Faults) -> Option<usize> {
    table.need("draws", faults);
    let draws = table.count("draws", faults)?;
    if draws == 0 || draws > principles {
        let reason = format!("`draws` is {draws}, not from 1 to the number of principles, {principles}");
        faults.add(table.place("draws"), reason);
    }
    Some(draws)
}

fn read_principle(
    item: &Node,
    kind: Option<Kind>,
    seen: &mut Seen,
    faults: &mut Faults,
) -> Option<Principle> {
    let table = Table::new(item, "the principle", PRINCIPLE_KEYS, faults)?;
    let id = table.need_id("id", faults);
    let dimension = table.need_line("dimension", LONGEST_DIMENSION, faults);
    let definition = table.need_line("definition", LONGEST_TEXT, faults);
    let negative = table.line("negative", LONGEST_TEXT, faults);
    for (key, text) in
        [("id", &id), ("dimension", &dimension), ("definition", &definition), ("negative", &negative)]
    {
        if let Some(text) = text {
            seen.check(key, text, id.as_deref(), table.place(key), faults);
        }
    }
    let weight = table.number("weight", "a number above 0", |weight| weight > 0.0, faults);
    let boost = read_boost(&table, faults).unwrap_or_default();
    let decides = table.flag("decides", faults);
    let check = table.raw_text("check", faults).and_then(|name| {
        let check = Check::from_name(name);
        if check.is_none() {
            let known: Vec<String> = Check::all().map(|check| check.name()).collect();
            let known = known.join(", ");
            let reason = format!("unknown check \"{}\"; choose one of {known}", shown(name));
            faults.add(table.place("check"), reason);
        }
        check
    });
    match kind {
        Some(Kind::Judge) if table.get("negative").is_none() => {
            let reason = "the principle has no `negative`, which sets with use = \"judge\" require";
            faults.add(table.at, reason);
        }
        Some(kind @ Kind::Rules) => {
            table.forbid("negative", &only(SCORED, kind), faults);
            table.forbid("check", &only(SCORED, kind), faults);
        }
        _ => {}
    }
    if let Some(kind) = kind {
        if kind != Kind::Judge {
            table.forbid("decides", &only("judge", kind), faults);
        }
        if kind != Kind::Sample {
            table.forbid("boost", &only("sample", kind), faults);
        }
    }
    let tags = table.strings("tags", faults, check_id);
    Some(Principle {
        id: id?,
        dimension: dimension.unwrap_or_default(),
        definition: definition.unwrap_or_default(),
        negative,
        weight: weight.unwrap_or(1.0),
        tags: tags.unwrap_or_default(),
        boost,
        decides: decides.unwrap_or(true),
        check,
    })
}

fn read_boost(table: &Table, faults: &mut Faults) -> Option<Boost> {
    let types: Vec<&str> = PromptType::ALL.map(PromptType::name).to_vec();
    let boosts = Table::new(table.get("boost")?, "`boost`", &types, faults)?;
    let mut boost = Boost::default();
    for kind in PromptType::ALL {
        let added = boosts.number(kind.name(), "0 or a number above it", |added| added >= 0.0, faults);
        *boost.of_mut(kind) = added.unwrap_or(0.0);
    }
    if boosts.is_empty() {
        faults.add(boosts.at, format!("`boost` is empty; give one of {}", types.join(", ")));
    }
    Some(boost)
}

fn read_overrides(table: &Table, principles: &[Principle], faults: &mut Faults) -> Overrides {
    let mut overrides = Overrides::default();
    let Some(node) = table.get("overrides") else {
        return overrides;
    };
    let Some(rules) = Table::new(node, "`overrides`", &["boilerplate", "language"], faults) else {
        return overrides;
    };
    if rules.is_empty() {
        faults.add(rules.at, "`overrides` is empty; give boilerplate, language or both");
    }
    const KEYS: &[&str] = &["probability", "noise", "explained_by", "phrases"];
    if let Some(node) = rules.get("boilerplate")
        && let Some(rule) = Table::new(node, "the override", KEYS, faults)
    {
        rule.need("phrases", faults);
        let phrases = rule.strings("phrases", faults, |key, text, at, faults| {
            let sound = !text.trim().is_empty();
            if !sound {
                faults.add(at, format!("`{key}` holds an empty phrase"));
            }
            sound
        });
        if rule.is_empty_list("phrases") {
            faults.add(rule.place("phrases"), "`phrases` is empty");
        }
        let phrases = phrases.unwrap_or_default();
        overrides.boilerplate = Some(Boilerplate { rule: read_override(&rule, principles, faults), phrases });
    }
    if let Some(node) = rules.get("language")
        && let Some(rule) = Table::new(node, "the override", &KEYS[..3], faults)
    {
        overrides.language = Some(read_override(&rule, principles, faults));
    }
    overrides
}

fn read_override(rule: &Table, principles: &[Principle], faults: &mut Faults) -> Override {
    let explained_by = rule.need_id("explained_by", faults).unwrap_or_default();
    if !explained_by.is_empty() && !principles.iter().any(|principle| principle.id == explained_by) {
        let reason = format!("`explained_by` names `{explained_by}`, which is not a principle of this set");
        faults.add(rule.place("explained_by"), reason);
    }
    let within = |top: f64| move |value: f64| (0.0..=top).contains(&value);
    Override {
        probability: rule.number("probability", "from 0 to 1", within(1.0), faults).unwrap_or(1.0),
        noise: rule.number("noise", "from 0 to 0.5", within(0.5), faults).unwrap_or(Override::NOISE),
        explained_by,
    }
}

/// Texts of earlier principles of the set, each with the name of the first principle that has it.
#[derive(Default)]
struct Seen(HashMap<(&'static str, String), String>);

impl Seen {
    /// Adds a fault if an earlier principle has the same id, dimension or text.
    fn check(&mut self, key: &'static str, text: &str, id: Option<&str>, at: usize, faults: &mut Faults) {
        // A negative that equals another principle's definition is a duplicate too.
        let kind = if key == "negative" { "definition" } else { key };
        let owner = format!("`{}`", id.unwrap_or("?"));
        match self.0.entry((kind, text.to_lowercase())) {
            Entry::Occupied(first) => {
                let other = if key == "negative" && *first.get() == owner {
                    "`definition`".to_owned()
                } else {
                    format!("that of {}", first.get())
                };
                faults.add(at, format!("`{key}` is the same as {other}"));
            }
            Entry::Vacant(place) => {
                place.insert(owner);
            }
        }
    }
}
