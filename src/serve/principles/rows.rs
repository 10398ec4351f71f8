//! Principles as rows of a form, and as sentences, made into a set.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::UNNAMED;
use crate::principles::{Boost, Overrides, Principle, PrincipleSet, Use};
use crate::serve::openai::errors::ApiError;

/// Number of principles of a set for random draws that are drawn for each score.
const DRAWS: usize = 3;

/// A principle as clients send it.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::serve) struct Row {
    id: Option<String>,
    name: Option<String>,
    definition: String,
    negative: Option<String>,
    weight: Option<f64>,
    on: Option<bool>,
}

/// A principle with the fields that every one has.
fn principle(id: String, dimension: String, definition: String) -> Principle {
    Principle {
        id,
        dimension,
        definition,
        negative: None,
        weight: 1.0,
        tags: Vec::new(),
        boost: Boost::default(),
        decides: true,
        check: None,
    }
}

fn set(id: &str, principles: Vec<Principle>) -> PrincipleSet {
    PrincipleSet {
        id: id.to_owned(),
        title: "My principles".to_owned(),
        description: "What a good reply is to me.".to_owned(),
        uses: Use::Always,
        principles,
        ..PrincipleSet::default()
    }
}

/// A set of sentences, one a line, with the line of each. Bullets and numbers before a sentence are left out, and so
/// are lines that begin with `#`.
pub(super) fn of_sentences(text: &str) -> (PrincipleSet, Vec<usize>) {
    let (mut principles, mut lines) = (Vec::new(), Vec::new());
    for (line, text) in text.lines().enumerate() {
        let text = text.trim();
        let number = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let counted = number.len() < text.len() && number.starts_with(['.', ')']);
        let text = if counted { number[1..].trim_start() } else { text };
        let text =
            ["- ", "* ", "• "].iter().find_map(|bullet| text.strip_prefix(bullet)).unwrap_or(text).trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let number = principles.len() + 1;
        principles.push(principle(
            format!("{UNNAMED}-{number}"),
            format!("Principle {number}"),
            text.to_owned(),
        ));
        lines.push(line + 1);
    }
    (set(UNNAMED, principles), lines)
}

/// The set `name` with these principles, and the ids of those that are switched off. What a form does not show is
/// kept from `base`, the set before.
pub(super) fn from_rows(
    name: &str,
    base: Option<PrincipleSet>,
    rows: Vec<Row>,
    title: Option<String>,
    description: Option<String>,
) -> (PrincipleSet, HashSet<String>) {
    let known = base.as_ref().map(|base| base.principles.clone()).unwrap_or_default();
    let mut made = base.unwrap_or_else(|| set(name, Vec::new()));
    let mut off = HashSet::new();
    made.principles.clear();
    for (place, row) in rows.into_iter().enumerate() {
        let number = place + 1;
        let id = row.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("{name}-{number}"));
        let before = known.iter().find(|one| one.id == id).cloned();
        let dimension = row.name.filter(|name| !name.trim().is_empty());
        let dimension = dimension.unwrap_or_else(|| match &before {
            Some(before) => before.dimension.clone(),
            None => format!("Principle {number}"),
        });
        if row.on == Some(false) {
            off.insert(id.clone());
        }
        made.principles.push(Principle {
            id: id.clone(),
            dimension: dimension.trim().to_owned(),
            definition: row.definition.trim().to_owned(),
            negative: row.negative.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
            weight: row.weight.unwrap_or(1.0),
            ..before.unwrap_or_else(|| principle(id, String::new(), String::new()))
        });
    }
    name.clone_into(&mut made.id);
    made.title = title.filter(|title| !title.trim().is_empty()).unwrap_or(made.title);
    made.description = description.filter(|text| !text.trim().is_empty()).unwrap_or(made.description);
    fit_use(&mut made, &off);
    (made, off)
}

/// Changes the use of a set if its principles no longer allow the present one.
fn fit_use(set: &mut PrincipleSet, off: &HashSet<String>) {
    let on = set.principles.iter().filter(|one| !off.contains(&one.id)).count().max(1);
    let negatives = set.principles.iter().filter(|one| one.negative.is_some()).count();
    set.uses = match set.uses {
        Use::Rules if negatives > 0 => Use::Sample { draws: DRAWS.min(on) },
        Use::Judge if negatives < set.principles.len() => Use::Sample { draws: DRAWS.min(on) },
        Use::Sample { draws } => Use::Sample { draws: draws.clamp(1, on) },
        uses => uses,
    };
    if set.uses != Use::Judge {
        set.overrides = Overrides::default();
        set.principles.iter_mut().for_each(|one| one.decides = true);
    }
    if !matches!(set.uses, Use::Sample { .. }) {
        set.principles.iter_mut().for_each(|one| one.boost = Boost::default());
    }
}

/// The set of rows that a request sends in place of a name.
pub(in crate::serve) fn set_of_rows(rows: Value) -> Result<PrincipleSet, ApiError> {
    let rows: Vec<Row> = serde_json::from_value(rows).map_err(|error| {
        ApiError::field("principles", format!("`principles` is a name, a text or a list of objects: {error}"))
    })?;
    let rows: Vec<Row> = rows.into_iter().filter(|row| row.on != Some(false)).collect();
    if rows.is_empty() {
        return Ok(PrincipleSet::default());
    }
    let (set, _) = from_rows(UNNAMED, None, rows, None, None);
    PrincipleSet::parse(&set.to_toml()).map_err(|error| ApiError::from(error).param("principles"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sentences_are_principles_in_their_order() {
        let (set, lines) =
            of_sentences("# mine\nBe brief.\n\n- Be kind.\n2. Give an example.\n3 rivers are enough.");
        let texts: Vec<&str> = set.principles.iter().map(|one| one.definition.as_str()).collect();
        assert_eq!(texts, ["Be brief.", "Be kind.", "Give an example.", "3 rivers are enough."]);
        assert_eq!(lines, [2, 4, 5, 6]);
        let read = PrincipleSet::parse(&set.to_toml()).expect("a sound set");
        assert_eq!((read.uses, read.principles[1].id.as_str()), (Use::Always, "mine-2"));
    }

    #[test]
    fn what_a_form_does_not_show_is_kept() {
        let base = PrincipleSet::open("style").expect("it comes with parr");
        let first = base.principles[0].clone();
        let rows = json!([
            { "id": first.id, "name": first.dimension, "definition": "New text.", "negative": first.negative },
            { "definition": "Another one.", "negative": "Not that." },
        ]);
        let rows: Vec<Row> = serde_json::from_value(rows).unwrap();
        let (set, off) = from_rows("mine", Some(base), rows, Some("Title".to_owned()), None);
        assert_eq!((set.principles[0].check, set.principles[0].tags.clone()), (first.check, first.tags));
        assert_eq!((set.principles[1].id.as_str(), set.title.as_str()), ("mine-2", "Title"));
        assert!(off.is_empty());
        PrincipleSet::parse(&set.to_toml()).expect("a sound set");
    }

    #[test]
    fn a_set_for_judging_without_a_negative_becomes_one_for_sampling() {
        let rows = |negative: Option<&str>| -> Vec<Row> {
            serde_json::from_value(
                json!([{ "definition": "A.", "negative": negative }, { "definition": "B." }]),
            )
            .unwrap()
        };
        assert_eq!(from_rows("x", None, rows(None), None, None).0.uses, Use::Always);
        let (always, _) = from_rows("x", None, rows(Some("Not A.")), None, None);
        assert_eq!(always.uses, Use::Always);
        PrincipleSet::parse(&always.to_toml()).expect("a sound set");
        let base = PrincipleSet { uses: Use::Judge, ..always };
        let (set, _) = from_rows("x", Some(base), rows(Some("Not A.")), None, None);
        assert_eq!(set.uses, Use::Sample { draws: 2 });
        PrincipleSet::parse(&set.to_toml()).expect("a sound set");
    }
}
