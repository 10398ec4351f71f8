//! Mistakes in principles, with their lines, and principles that are switched off.
//!
//! A principle that is switched off is a comment in the file: each of its lines begins with `#off `. Other programs,
//! and people, see a comment; this server reads it back.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::is_toml;
use super::rows::of_sentences;
use crate::principles::{Fault, PrincipleSet, PrinciplesError};
use crate::steer::Steering;

/// How a line of a principle begins that is switched off.
const OFF: &str = "#off ";
/// The line where a principle begins.
const HEADER: &str = "[[principle]]";

/// A text of principles after the check.
#[derive(Debug)]
pub(super) struct Checked {
    /// The text as TOML.
    pub text: String,
    /// The set, with principles that are switched off; `None` if there are errors.
    pub set: Option<PrincipleSet>,
    /// Objects with line, column, index of the principle, message and severity.
    pub mistakes: Vec<Value>,
}

/// The places of the principles that a text switches off, counted from 0 over all of its principles.
pub(super) fn switched_off(text: &str) -> HashSet<usize> {
    let headers = text.lines().filter(|line| is_header(line));
    headers.enumerate().filter(|(_, line)| line.starts_with(OFF)).map(|(place, _)| place).collect()
}

/// Whether a principle begins at this line, on or off.
fn is_header(line: &str) -> bool {
    line.strip_prefix(OFF).unwrap_or(line).trim() == HEADER
}

/// Checks a text: TOML, or sentences, one a line.
pub(super) fn check_text(text: &str) -> Checked {
    if is_toml(text) {
        return check_toml(text.to_owned());
    }
    let (set, lines) = of_sentences(text);
    let mut checked = check_toml(set.to_toml());
    // Lines of the text that the client sent, not of the TOML.
    for mistake in &mut checked.mistakes {
        let line = mistake["index"].as_u64().and_then(|index| lines.get(index as usize));
        mistake["line"] = line.copied().unwrap_or(1).into();
        mistake["column"] = 1.into();
    }
    checked
}

/// Checks a set, of which some principles are switched off.
pub(super) fn check_rows(set: &PrincipleSet, off: &HashSet<String>) -> Checked {
    check_toml(written(set, off))
}

/// The text of a set, with the principles that are switched off as comments.
fn written(set: &PrincipleSet, off: &HashSet<String>) -> String {
    let whole = set.to_toml();
    if off.is_empty() {
        return whole;
    }
    let (mut text, mut principle) = (String::with_capacity(whole.len()), None);
    let mut is_off = false;
    for line in whole.lines() {
        if line == HEADER {
            let next: usize = principle.map_or(0, |place| place + 1);
            is_off = set.principles.get(next).is_some_and(|one| off.contains(&one.id));
            principle = Some(next);
        }
        if is_off && !line.is_empty() {
            text.push_str(OFF);
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn check_toml(text: String) -> Checked {
    let lines: Vec<&str> = text.lines().collect();
    let whole: String =
        lines.iter().flat_map(|line| [line.strip_prefix(OFF).unwrap_or(line), "\n"]).collect();
    let mut mistakes = Vec::new();
    let set = match PrincipleSet::parse(&whole) {
        Ok(set) => Some(set),
        Err(error) => {
            mistakes.extend(of_error(&lines, error));
            None
        }
    };
    let on = set.as_ref().map_or(0, |set| set.principles.len().saturating_sub(switched_off(&text).len()));
    // The principles that are on are a set of their own.
    if set.is_some() && on == 0 {
        let message = "all principles are switched off; switch at least one on";
        let line = json!({ "line": 1, "column": 1, "index": null, "message": message, "severity": "error" });
        mistakes.push(line);
    } else if set.is_some()
        && whole.trim_end() != text.trim_end()
        && let Err(error) = PrincipleSet::parse(&text)
    {
        mistakes.extend(of_error(&lines, error));
    }
    if on > Steering::MOST {
        let message =
            format!("{on} principles are on; replies follow the {} with the largest weights", Steering::MOST);
        mistakes.push(
            json!({ "line": 1, "column": 1, "index": null, "message": message, "severity": "warning" }),
        );
    }
    Checked { text, set, mistakes }
}

/// The mistakes that an error names.
fn of_error(lines: &[&str], error: PrinciplesError) -> Vec<Value> {
    match error {
        PrinciplesError::Faults(faults) => faults.iter().map(|fault| mistake(lines, fault)).collect(),
        other => {
            let message = other.to_string();
            vec![json!({ "line": 1, "column": 1, "index": null, "message": message, "severity": "error" })]
        }
    }
}

fn mistake(lines: &[&str], fault: &Fault) -> Value {
    let headers = lines.iter().take(fault.line).filter(|line| is_header(line)).count();
    let is_off = lines.get(fault.line - 1).is_some_and(|line| line.starts_with(OFF));
    let column = fault.column + if is_off { OFF.len() } else { 0 };
    json!({
        "line": fault.line,
        "column": column,
        "index": headers.checked_sub(1),
        "message": fault.reason,
        "severity": "error",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principles_that_are_off_come_back() {
        let set = PrincipleSet::open("honest").expect("it comes with parr");
        let off: HashSet<String> = [set.principles[1].id.clone()].into();
        let checked = check_rows(&set, &off);
        assert_eq!(checked.mistakes, [] as [Value; 0], "{}", checked.text);
        let ids = |set: &PrincipleSet| set.principles.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(checked.set.as_ref().unwrap()), ids(&set), "in their order");
        let on = PrincipleSet::parse(&checked.text).expect("comments are no principles");
        assert_eq!(on.principles.len(), set.principles.len() - 1);
        let shown = checked.principles();
        assert_eq!((shown[0]["on"].clone(), shown[1]["on"].clone()), (true.into(), false.into()));
    }

    #[test]
    fn a_set_that_is_off_as_a_whole_is_a_mistake() {
        let set = PrincipleSet::open("honest").expect("it comes with parr");
        let off = set.principles.iter().map(|one| one.id.clone()).collect();
        let checked = check_rows(&set, &off);
        assert_eq!(checked.mistakes.len(), 1, "{:?}", checked.mistakes);
        assert!(checked.principles().iter().all(|one| one["on"] == false));
    }

    #[test]
    fn mistakes_have_lines_and_name_their_principle() {
        let text = "id = \"x\"\ntitle = \"X\"\ndescription = \"D\"\nuse = \"always\"\n\n[[principle]]\nid = \"x-a\"\n\
                    dimension = \"A\"\ndefinition = \"A.\"\n\n[[principle]]\nid = \"x-b\"\ndimension = \"B\"\n\
                    definition = \"B.\"\nweight = -1\n";
        let checked = check_text(text);
        assert_eq!(checked.mistakes.len(), 1, "{:?}", checked.mistakes);
        let mistake = &checked.mistakes[0];
        assert_eq!((mistake["line"].clone(), mistake["index"].clone()), (15.into(), 1.into()));
        assert!(checked.set.is_none());
        let long = "x".repeat(301);
        let sentences = check_text(&format!("Be brief.\n\n{long}\n"));
        assert_eq!(
            (sentences.mistakes[0]["line"].clone(), sentences.mistakes[0]["index"].clone()),
            (3.into(), 1.into())
        );
    }

    #[test]
    fn too_long_lists_are_warned_of() {
        let text: String = (0..9).map(|number| format!("Name number {number}.\n")).collect();
        let checked = check_text(&text);
        assert_eq!(checked.mistakes[0]["severity"], "warning");
        assert!(checked.set.is_some());
    }
}
