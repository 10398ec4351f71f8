//! SALMON's own collections: a JSON list of `{"dimension", "definition", "negative_definition"}` for the
//! reward model, or of `{"dimension", "definition", "weight"}` for the policy.
//!
//! The lists do not record how they are used. SALMON's programs decide that by the names of dimensions.
//! The tables here use the same names, so that the files have the same meaning in Parr.

use super::document::{Node, Value};
use super::error::Faults;
use super::table::Table;
use super::{Boilerplate, Boost, Override, Overrides, Principle, PrincipleSet, Use};

const KEYS: &[&str] = &["dimension", "definition", "negative_definition", "weight"];

/// `max_principles` of the script that trains the policy.
const DRAWS: usize = 3;

/// Dimensions that the judge scores but that the aggregation leaves out of training pairs.
const UNDECIDING: &[&str] = &["overall helpful", "natural and fluent", "multilingual"];

/// Amount added to the weight of the dimensions below for prompts of one type.
const BOOST: f64 = 128.0;
const REASONING: &[&str] = &["reason", "numerical"];
const RED_TEAM: &[&str] = &["ethical", "harmless"];

/// The phrase of the boilerplate rule: if exactly one reply has it, the other wins half of the time.
const BOILERPLATE: &str = "as an ai language model";
/// The dimensions that explain labels of the boilerplate rule and of the language rule to the reward model.
const FLUENT: &str = "natural and fluent";
const MULTILINGUAL: &str = "multilingual";

/// Reads the list as a set named after its file. The set must not be used if anything was added to `faults`.
pub(super) fn read(document: &Node, stem: &str, faults: &mut Faults) -> PrincipleSet {
    let Value::List(items) = &document.value else {
        return PrincipleSet::default();
    };
    if items.is_empty() {
        faults.add(document.at, "the list has no principles");
    }
    let id = words(stem);
    let mut principles: Vec<Principle> = Vec::new();
    // As in SALMON, the first principle decides: either all have a negative, or a weight, or none.
    let has = |key| {
        matches!(items.first().map(|item| &item.value), Some(Value::Table(entries))
        if entries.iter().any(|(found, _)| found.name == key))
    };
    let (judged, weighted) = (has("negative_definition"), has("weight"));
    for item in items {
        let Some(table) = Table::new(item, "the principle", KEYS, faults) else { continue };
        for (key, needed) in [("negative_definition", judged), ("weight", weighted)] {
            if needed && table.get(key).is_none() {
                faults.add(table.at, format!("the principle has no `{key}`, but the first one has"));
            }
        }
        let mut text = |key: &str| {
            let text = one_line(table.raw_text(key, faults)?);
            if text.is_empty() {
                faults.add(table.place(key), format!("`{key}` is empty"));
            }
            Some(text)
        };
        let (dimension, definition) = (text("dimension"), text("definition"));
        let negative = text("negative_definition");
        let weight = table.number("weight", "a number above 0", |weight| weight > 0.0, faults);
        table.need("dimension", faults);
        table.need("definition", faults);
        let (Some(dimension), Some(definition)) = (dimension, definition) else { continue };
        let principle = principle(&id, dimension, definition, negative, weight);
        for earlier in &principles {
            let twice = if earlier.id == principle.id {
                "dimension"
            } else if earlier.definition.eq_ignore_ascii_case(&principle.definition) {
                "definition"
            } else {
                continue;
            };
            let reason = format!("`{twice}` is the same as that of \"{}\"", earlier.dimension);
            faults.add(table.place(twice), reason);
        }
        principles.push(principle);
    }
    let uses = if judged { Use::Judge } else { Use::Sample { draws: DRAWS.min(principles.len()).max(1) } };
    PrincipleSet {
        title: format!("Principles of {stem}.json"),
        description: "A collection in the format of SALMON.".to_owned(),
        uses,
        overrides: if judged { overrides(&principles) } else { Overrides::default() },
        principles,
        id,
        sha256: String::new(),
    }
}

fn principle(
    set: &str,
    dimension: String,
    definition: String,
    negative: Option<String>,
    weight: Option<f64>,
) -> Principle {
    let name = dimension.to_lowercase();
    let boosted = |parts: &[&str]| if parts.iter().any(|part| name.contains(part)) { BOOST } else { 0.0 };
    Principle {
        // Collections share dimensions, but ids must differ.
        id: format!("{set}-{}", words(&dimension)),
        decides: !UNDECIDING.contains(&name.as_str()),
        boost: Boost { general: 0.0, reasoning: boosted(REASONING), red_team: boosted(RED_TEAM) },
        dimension,
        definition,
        negative,
        weight: weight.unwrap_or(1.0),
        tags: Vec::new(),
        check: None,
    }
}

fn overrides(principles: &[Principle]) -> Overrides {
    let rule = |dimension: &str, probability| {
        let found = principles.iter().find(|principle| principle.dimension.to_lowercase() == dimension)?;
        Some(Override { probability, noise: Override::NOISE, explained_by: found.id.clone() })
    };
    Overrides {
        boilerplate: rule(FLUENT, 0.5)
            .map(|rule| Boilerplate { rule, phrases: vec![BOILERPLATE.to_owned()] }),
        language: rule(MULTILINGUAL, 1.0),
    }
}

/// Replaces runs of white space, including line breaks, with one blank.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Makes an identifier from a name.
fn words(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}
