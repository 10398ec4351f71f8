//! Attributes, items and slices.

use std::rc::Rc;

use super::super::fault::{Result, fail};
use super::super::methods;
use super::super::text::{Builder, Text};
use super::super::value::{Range, Value};
use super::calls::FROM_KEYS;
use super::{Heap, Loop};

impl Heap {
    /// `value.name`: an attribute, or else an item.
    pub(in super::super) fn attribute(&self, value: &Value, name: &str) -> Result<Value> {
        self.fuel.bytes(name.len())?;
        if let Value::Undefined(what) = value {
            return fail(format!("{what} is undefined"));
        }
        if let Some(found) = self.own_attribute(value, name)? {
            return Ok(found);
        }
        if let Value::Dict(dict) = value
            && let Some(found) = dict.get_str(name)
        {
            return Ok(found.clone());
        }
        Ok(Value::undefined(format!("`{name}` of `{}`", value.kind())))
    }

    /// `value[key]`: an item, or else an attribute.
    pub(in super::super) fn item(&self, value: &Value, key: &Value) -> Result<Value> {
        let found = match (value, key) {
            (Value::Undefined(what), _) => return fail(format!("{what} is undefined")),
            (Value::Dict(dict), key) => match key {
                // What cannot be a key is none of the map's.
                Value::List(_) | Value::Dict(_) => None,
                key => dict.get(&key.key(&self.fuel)?).cloned(),
            },
            (Value::List(items) | Value::Tuple(items), key) => {
                key.as_int().and_then(|index| items.values.get(place(index, items.values.len())?).cloned())
            }
            (Value::Range(range), key) => {
                let index = key.as_int().and_then(|index| place(index, range.len()));
                index.map(|index| Value::Int(range.at(index)))
            }
            (Value::Text(text), key) => match key.as_int() {
                Some(index) => {
                    self.fuel.bytes(text.len())?;
                    letter(text, index).map(Value::Text)
                }
                None => None,
            },
            _ => None,
        };
        match (found, key) {
            (Some(found), _) => Ok(found),
            (None, Value::Text(name)) => match self.own_attribute(value, name.as_str())? {
                Some(found) => Ok(found),
                None => Ok(Value::undefined(format!("`{}` of `{}`", short(name), value.kind()))),
            },
            (None, _) => Ok(Value::undefined(format!("an item of `{}`", value.kind()))),
        }
    }

    /// A method of the value, or a field of one that has fields.
    fn own_attribute(&self, value: &Value, name: &str) -> Result<Option<Value>> {
        Ok(match value {
            Value::Namespace(place) => self.namespaces.borrow()[*place].get_str(name).cloned(),
            Value::Loop(state) => loop_attribute(state, name),
            Value::Cycler(cycler) if name == "current" => Some(cycler.items[cycler.at.get()].clone()),
            Value::Function("dict") if name == "fromkeys" => Some(Value::Function(FROM_KEYS)),
            Value::Macro(closure) if name == "name" => Some(Value::text(&closure.declared.name)),
            Value::Range(range) => match name {
                "start" => Some(Value::Int(range.start)),
                "stop" => Some(Value::Int(range.stop)),
                "step" => Some(Value::Int(range.step)),
                _ => None,
            },
            _ => None,
        }
        .or_else(|| {
            methods::known(value, name).then(|| Value::Method(Rc::new((value.clone(), name.into()))))
        }))
    }

    /// `value[start:stop:step]`.
    pub(in super::super) fn slice(&self, value: &Value, bounds: [Option<i64>; 3]) -> Result<Value> {
        let len = match value {
            Value::Undefined(what) => return fail(format!("{what} is undefined")),
            Value::Text(text) => {
                self.fuel.bytes(text.len())?;
                text.as_str().chars().count()
            }
            Value::List(items) | Value::Tuple(items) => items.values.len(),
            Value::Range(range) => range.len(),
            other => return Ok(Value::undefined(format!("a slice of `{}`", other.kind()))),
        };
        let [start, stop, step] = bounds;
        let step = step.unwrap_or(1);
        if step == 0 {
            return fail("a slice cannot have the step 0");
        }
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let clamp = |bound: i64| (if bound < 0 { bound.saturating_add(len) } else { bound }).clamp(low, high);
        let start = start.map_or(if step > 0 { low } else { high }, clamp);
        let stop = stop.map_or(if step > 0 { high } else { low }, clamp);
        let range = Range { start, stop, step };
        let count = range.len();
        self.fuel.places(match value {
            Value::Range(_) => 1,
            Value::Text(_) if step != 1 => usize::try_from(len).unwrap_or(0),
            Value::Text(_) => 1,
            _ => count,
        })?;
        let at = |index: usize| usize::try_from(range.at(index)).unwrap_or(0);
        match value {
            Value::Text(text) if step == 1 => {
                let mut offsets = text.as_str().char_indices().map(|(at, _)| at).chain([text.len()]);
                let first = at(0);
                let begin = offsets.nth(first).unwrap_or(text.len());
                let end = if count == 0 { begin } else { offsets.nth(count - 1).unwrap_or(text.len()) };
                Ok(Value::Text(text.slice(begin..end)))
            }
            Value::Text(text) => {
                let letters: Vec<(usize, char)> = text.as_str().char_indices().collect();
                let mut result = Builder::default();
                for (at, letter) in (0..count).map(|index| letters[at(index)]) {
                    result.push_part(text, at..at + letter.len_utf8());
                }
                Ok(Value::Text(result.finish().marked(text.is_safe())))
            }
            Value::List(items) => {
                Value::list((0..count).map(|index| items.values[at(index)].clone()).collect(), &self.fuel)
            }
            Value::Tuple(items) => {
                Value::tuple((0..count).map(|index| items.values[at(index)].clone()).collect(), &self.fuel)
            }
            Value::Range(whole) => Ok(Value::Range(Range {
                start: whole.start.wrapping_add(start.wrapping_mul(whole.step)),
                stop: whole.start.wrapping_add(stop.wrapping_mul(whole.step)),
                step: whole.step.saturating_mul(step),
            })),
            other => Ok(Value::undefined(format!("a slice of `{}`", other.kind()))),
        }
    }
}

/// The beginning of a text, for a message.
fn short(text: &Text) -> String {
    text.as_str().chars().take(40).collect()
}

/// The place of `index` in a list of `len` values, counted from the end if it is negative.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(len).ok()?)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn letter(text: &Text, index: i64) -> Option<Text> {
    let plain = text.as_str();
    let mut letters = plain.char_indices();
    let (at, letter) = match usize::try_from(index) {
        Ok(index) => letters.nth(index)?,
        Err(_) => letters.nth_back(usize::try_from(-(index + 1)).ok()?)?,
    };
    Some(text.slice(at..at + letter.len_utf8()))
}

fn loop_attribute(state: &Loop, name: &str) -> Option<Value> {
    let items = state.items.borrow();
    let (at, len) = (state.at.get(), items.len());
    let item = |at: Option<usize>, what: &str| {
        let found = at.and_then(|at| items.get(at).cloned());
        found.unwrap_or_else(|| Value::undefined(format!("the {what} item of the loop")))
    };
    Some(match name {
        "index" => Value::int(at + 1),
        "index0" => Value::int(at),
        "revindex" => Value::int(len - at),
        "revindex0" => Value::int(len - at - 1),
        "first" => Value::Bool(at == 0),
        "last" => Value::Bool(at + 1 == len),
        "length" => Value::int(len),
        "depth" => Value::int(state.depth + 1),
        "depth0" => Value::int(state.depth),
        "previtem" => item(at.checked_sub(1), "previous"),
        "nextitem" => item(Some(at + 1), "next"),
        _ => return None,
    })
}
