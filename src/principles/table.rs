//! The entries of a table by name and type. Mistakes are recorded with their positions, and reading
//! continues.

use super::document::{Key, Node, Value};
use super::error::{Faults, shown};

/// A table of a file, with its keys checked against those that it may have.
pub(super) struct Table<'a> {
    /// Byte offset of its start.
    pub at: usize,
    /// Its kind, for messages: `the set`, `the principle`.
    name: &'static str,
    entries: &'a [(Key, Node)],
}

impl<'a> Table<'a> {
    /// The entries of `node`. Keys other than `known` are mistakes; so is a node that is not a table.
    pub(super) fn new(
        node: &'a Node,
        name: &'static str,
        known: &[&str],
        faults: &mut Faults,
    ) -> Option<Table<'a>> {
        let Value::Table(entries) = &node.value else {
            faults.add(node.at, format!("{name} is {}, not a table", node.value.kind()));
            return None;
        };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let unknown = shown(&key.name);
            faults.add(key.at, format!("unknown key `{unknown}`; {name} may have {}", known.join(", ")));
        }
        Some(Table { at: node.at, name, entries })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&self, key: &str) -> Option<&'a (Key, Node)> {
        self.entries.iter().find(|(found, _)| found.name == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Byte offset of the value of `key`, or of the table if there is none.
    pub(super) fn place(&self, key: &str) -> usize {
        self.get(key).map_or(self.at, |node| node.at)
    }

    /// Adds a fault if `key` is present although it is not allowed.
    pub(super) fn forbid(&self, key: &str, reason: &str, faults: &mut Faults) {
        if let Some((found, _)) = self.entry(key) {
            faults.add(found.at, format!("`{key}` {reason}"));
        }
    }

    /// Adds a fault if `key` is missing.
    pub(super) fn need(&self, key: &str, faults: &mut Faults) {
        if self.entry(key).is_none() {
            faults.add(self.at, format!("{} has no `{key}`", self.name));
        }
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        faults: &mut Faults,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(key)?;
        let value = read(&node.value);
        if value.is_none() {
            faults.add(node.at, format!("`{key}` is {}, not {wanted}", node.value.kind()));
        }
        value
    }

    /// Any string, which may be empty.
    pub(super) fn raw_text(&self, key: &str, faults: &mut Faults) -> Option<&'a str> {
        self.typed(key, "a string", faults, as_text)
    }

    /// One line of at most `longest` characters that neither begins nor ends with a blank.
    pub(super) fn line(&self, key: &str, longest: usize, faults: &mut Faults) -> Option<String> {
        let text = self.raw_text(key, faults)?;
        check_line(key, text, longest, self.place(key), faults).then(|| text.to_owned())
    }

    /// A required line.
    pub(super) fn need_line(&self, key: &str, longest: usize, faults: &mut Faults) -> Option<String> {
        self.need(key, faults);
        self.line(key, longest, faults)
    }

    /// A required identifier.
    pub(super) fn need_id(&self, key: &str, faults: &mut Faults) -> Option<String> {
        self.need(key, faults);
        let text = self.raw_text(key, faults)?;
        check_id(key, text, self.place(key), faults).then(|| text.to_owned())
    }

    /// A number within `bounds`, which `wanted` describes.
    pub(super) fn number(
        &self,
        key: &str,
        wanted: &str,
        bounds: impl FnOnce(f64) -> bool,
        faults: &mut Faults,
    ) -> Option<f64> {
        let number = self.typed(key, wanted, faults, |value| match *value {
            Value::Number { number, .. } => Some(number),
            _ => None,
        })?;
        let sound = number.is_finite() && bounds(number);
        if !sound {
            faults.add(self.place(key), format!("`{key}` is {number}, not {wanted}"));
        }
        sound.then_some(number)
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self, key: &str, faults: &mut Faults) -> Option<usize> {
        const WANTED: &str = "a whole number that is not negative";
        self.typed(key, WANTED, faults, |value| match *value {
            Value::Number { number, whole: true } if number >= 0.0 => Some(number as usize),
            _ => None,
        })
    }

    pub(super) fn flag(&self, key: &str, faults: &mut Faults) -> Option<bool> {
        self.typed(key, "true or false", faults, |value| match *value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        })
    }

    pub(super) fn list(&self, key: &str, faults: &mut Faults) -> Option<&'a [Node]> {
        self.typed(key, "a list", faults, |value| match value {
            Value::List(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// Whether `key` is a list without items.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        matches!(self.get(key), Some(Node { value: Value::List(items), .. }) if items.is_empty())
    }

    /// The strings of a list, each with its place.
    pub(super) fn string_places(&self, key: &str) -> impl Iterator<Item = (&'a str, usize)> {
        let items = match self.get(key) {
            Some(Node { value: Value::List(items), .. }) => items.as_slice(),
            _ => &[],
        };
        items.iter().filter_map(|item| Some((as_text(&item.value)?, item.at)))
    }

    /// A list of distinct strings that pass `check`, which adds a fault for each that does not.
    pub(super) fn strings(
        &self,
        key: &str,
        faults: &mut Faults,
        check: impl Fn(&str, &str, usize, &mut Faults) -> bool,
    ) -> Option<Vec<String>> {
        let mut texts: Vec<String> = Vec::new();
        for item in self.list(key, faults)? {
            let Some(text) = as_text(&item.value) else {
                faults.add(item.at, format!("`{key}` holds {}, not a string", item.value.kind()));
                continue;
            };
            if texts.iter().any(|known| known == text) {
                faults.add(item.at, format!("`{key}` holds \"{}\" twice", shown(text)));
            } else if check(key, text, item.at, faults) {
                texts.push(text.to_owned());
            }
        }
        Some(texts)
    }
}

fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// Adds a fault unless `text` is one line of at most `longest` characters without blanks around it.
pub(super) fn check_line(key: &str, text: &str, longest: usize, at: usize, faults: &mut Faults) -> bool {
    let length = text.chars().count();
    let reason = if text.trim().is_empty() {
        format!("`{key}` is empty")
    } else if text.contains(['\n', '\r']) {
        format!("`{key}` has several lines; write it in one")
    } else if text.trim() != text {
        format!("`{key}` begins or ends with a blank")
    } else if let Some(control) = text.chars().find(|c| c.is_control()) {
        format!("`{key}` contains the control character {}", control.escape_debug())
    } else if length > longest {
        format!("`{key}` has {length} characters; at most {longest} are allowed")
    } else {
        return true;
    };
    faults.add(at, reason);
    false
}

/// Adds a fault if `text` is not an identifier.
pub(super) fn check_id(key: &str, text: &str, at: usize, faults: &mut Faults) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let sound = text.split('-').all(word);
    if !sound {
        let reason = "is not made of lower-case letters and digits, in words joined by hyphens";
        faults.add(at, format!("`{key}` \"{}\" {reason}", shown(text)));
    }
    sound
}
