//! Files of attributes.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::change::{Change, Letters, Place};
use super::pattern::{Pattern, Program, Test};
use super::{Attribute, AttributesError, Parameters};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    domain: String,
    attribute: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    id: String,
    held_out: bool,
    names: Vec<String>,
    want: Vec<String>,
    avoid: Vec<String>,
    has: Option<String>,
    count: Option<String>,
    values: Vec<usize>,
    most: bool,
    choices: Vec<String>,
    open: bool,
    insert: Vec<String>,
    at: Option<String>,
    sentence: Option<String>,
    join: Option<String>,
    word: Option<String>,
    whole: Vec<String>,
    replace: Vec<[String; 2]>,
    remove: Vec<[String; 2]>,
    program: Option<String>,
}

/// The attributes of a file with this text.
///
/// # Errors
///
/// [`AttributesError::File`] for the first mistake.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Attribute>, AttributesError> {
    let file = |reason: String| AttributesError::File { path: path.to_owned(), reason };
    let document: Document =
        toml::from_str(text).map_err(|error| file(error.to_string().trim_end().replace('\n', " ")))?;
    let Document { domain, attribute } = document;
    let mut ids = HashSet::new();
    let mut attributes = Vec::with_capacity(attribute.len());
    for (entry, number) in attribute.into_iter().zip(1..) {
        if entry.id.is_empty() {
            return Err(file(format!("attribute {number} has no id")));
        }
        let id = entry.id.clone();
        if !ids.insert(id.clone()) {
            return Err(file(format!("the id `{id}` is used twice")));
        }
        let built = attribute_of(entry, &domain);
        attributes.push(built.map_err(|reason| file(format!("attribute `{id}`: {reason}")))?);
    }
    Ok(attributes)
}

fn attribute_of(entry: Entry, domain: &str) -> Result<Attribute, String> {
    let parameters = parameters(&entry)?;
    for (key, texts) in [("names", &entry.names), ("want", &entry.want), ("avoid", &entry.avoid)] {
        if texts.is_empty() {
            return Err(format!("`{key}` has no text"));
        }
        if let Some(text) = texts.iter().find(|text| text.trim().is_empty()) {
            return Err(format!("`{key}` has an empty text: {text:?}"));
        }
    }
    let program = entry.program.as_deref();
    let test = match (&entry.has, &entry.count, program.and_then(Program::from_name)) {
        (Some(has), None, None) => Test::Found(Pattern::new(has)?),
        (None, Some(count), None) => {
            if entry.values.is_empty() {
                return Err("`count` needs `values`".to_owned());
            }
            Test::Counted { pattern: Pattern::new(count)?, most: entry.most }
        }
        (None, None, Some(program)) => Test::Program(program),
        _ => return Err("it needs one of `has`, `count` and a program that decides".to_owned()),
    };
    let take =
        if entry.remove.is_empty() { None } else { Some(Change::Replace { rules: rules(&entry.remove)? }) };
    Ok(Attribute {
        give: change(&entry)?,
        take,
        test,
        parameters,
        id: entry.id,
        domain: domain.to_owned(),
        held_out: entry.held_out,
        names: entry.names,
        want: entry.want,
        avoid: entry.avoid,
    })
}

fn parameters(entry: &Entry) -> Result<Parameters, String> {
    match (entry.choices.is_empty(), entry.values.is_empty(), entry.open) {
        (true, true, false) => Ok(Parameters::None),
        (false, true, false) => Ok(Parameters::Words(entry.choices.clone())),
        (true, false, false) => Ok(Parameters::Numbers(entry.values.clone())),
        (true, true, true) => Ok(Parameters::Open),
        _ => Err("only one of `choices`, `values` and `open` can be there".to_owned()),
    }
}

fn rules(pairs: &[[String; 2]]) -> Result<Vec<(Pattern, String)>, String> {
    pairs.iter().map(|[pattern, with]| Ok((Pattern::new(pattern)?, with.clone()))).collect()
}

/// The edit that gives the attribute, if there is one.
fn change(entry: &Entry) -> Result<Option<Change>, String> {
    let place = match entry.at.as_deref() {
        None => Place::Any,
        Some("start") => Place::Start,
        Some("end") => Place::End,
        Some(other) => return Err(format!("`at` is {other:?}, and may be \"start\" or \"end\"")),
    };
    let mut changes = Vec::new();
    if !entry.insert.is_empty() {
        changes.push(Change::Insert { sentences: entry.insert.clone(), place });
    }
    if let Some(text) = &entry.sentence {
        let join = entry.join.clone().unwrap_or_else(|| " ".to_owned());
        changes.push(Change::Each { text: text.clone(), join });
    }
    if let Some(text) = &entry.word {
        changes.push(Change::Words { text: text.clone() });
    }
    if !entry.whole.is_empty() {
        changes.push(Change::Whole { texts: entry.whole.clone() });
    }
    if !entry.replace.is_empty() {
        changes.push(Change::Replace { rules: rules(&entry.replace)? });
    }
    match entry.program.as_deref() {
        None | Some("on-topic") => {}
        Some("lowercase") => changes.push(Change::Letters(Letters::Lower)),
        Some("uppercase") => changes.push(Change::Letters(Letters::Upper)),
        Some("capitals") => changes.push(Change::Letters(Letters::Capitals)),
        Some("repeats-request") => changes.push(Change::Request),
        Some(other) => return Err(format!("there is no program `{other}`")),
    }
    if changes.len() > 1 {
        return Err("it has more than one edit".to_owned());
    }
    for text in [&entry.sentence, &entry.word].into_iter().flatten().chain(&entry.whole) {
        if !text.contains("{}") {
            return Err(format!("{text:?} has no {{}}, where the text goes"));
        }
    }
    Ok(changes.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::{Parameter, Seen};

    const EMOJI: &str = r#"
domain = "marks"
[[attribute]]
id = "smiley"
names = ["smileys"]
has = '(?::-\)|😀)'
insert = ["Yes :-)"]
at = "end"
want = ["smile!"]
avoid = ["stay serious"]
"#;

    fn fault(text: &str) -> String {
        parse(Path::new("file.toml"), text).expect_err("a mistake").to_string()
    }

    #[test]
    fn an_attribute_is_given_and_seen() {
        let [smiley] = &parse(Path::new("file.toml"), EMOJI).expect("sound")[..] else { panic!("one") };
        let seen = Seen { prompt: "Why?", reply: "So it is." };
        let changed = smiley.give(seen, &Parameter::None, 5).expect("it can be given");
        assert_eq!(changed, "So it is. Yes :-)");
        assert_eq!(smiley.holds(Seen { reply: &changed, ..seen }, &Parameter::None), Some(true));
        assert_eq!(smiley.holds(seen, &Parameter::None), Some(false));
        assert_eq!((&smiley.domain[..], smiley.held_out), ("marks", false));
        assert_eq!(smiley.take(seen, &Parameter::None, 0), None);
    }

    #[test]
    fn mistakes_name_file_and_attribute() {
        assert!(fault("domain = 1").starts_with("file.toml: "));
        let with = |from: &str, to: &str| fault(&EMOJI.replace(from, to));
        assert!(with("has", "hass").contains("unknown field `hass`"));
        assert!(with("smiley\"", "\"").contains("attribute 1 has no id"));
        for (from, to, reason) in [
            ("has = '(?::-\\)|😀)'", "", "it needs one of `has`"),
            ("(?::", "(?:(:", "no regular expression"),
            ("\"end\"", "\"middle\"", "`at` is \"middle\""),
            ("names = [\"smileys\"]", "names = []", "`names` has no text"),
            ("insert = [\"Yes :-)\"]", "insert = [\"Yes :-)\"]\nword = \"*{}*\"", "more than one edit"),
            ("insert = [\"Yes :-)\"]", "word = \"*\"", "has no {}"),
            ("at = \"end\"", "open = true\nchoices = [\"a\"]", "only one of `choices`, `values` and `open`"),
            ("insert = [\"Yes :-)\"]", "program = \"dance\"", "no program `dance`"),
        ] {
            let found = with(from, to);
            assert!(found.contains("file.toml: attribute `smiley`: ") && found.contains(reason), "{found}");
        }
        let twice = format!("{EMOJI}{}", EMOJI.replace("domain = \"marks\"", ""));
        assert!(fault(&twice).contains("the id `smiley` is used twice"));
    }
}
