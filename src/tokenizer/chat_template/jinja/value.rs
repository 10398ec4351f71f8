//! The values of a template.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::Macro;
use super::fault::{Fuel, Result, fail};
use super::run::Loop;
use super::text::Text;

/// Lists and maps within each other; a template nests five or six.
pub(super) const DEPTH: usize = 100;

/// A value. Only the fields of a namespace can change, and a namespace is a place in the [`super::run::Heap`], so
/// that values form no rings.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// What does not exist, with what to say when it is used.
    Undefined(Arc<str>),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    Range(Range),
    Iter(Rc<Iter>),
    Namespace(usize),
    Macro(Rc<Closure>),
    Function(&'static str),
    /// A method of a value, not yet called.
    Method(Rc<(Value, Arc<str>)>),
    Loop(Rc<Loop>),
    Cycler(Rc<Cycler>),
    /// The separator, and whether it was asked for already.
    Joiner(Rc<(Text, std::cell::Cell<bool>)>),
}

/// The values of a list.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub values: Vec<Value>,
    depth: usize,
}

/// The arguments of Python's `range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub start: i64,
    pub stop: i64,
    pub step: i64,
}

impl Range {
    pub fn len(&self) -> usize {
        let (start, stop, step) = (i128::from(self.start), i128::from(self.stop), i128::from(self.step));
        let span = if step > 0 { stop - start } else { start - stop };
        let len = if span <= 0 { 0 } else { (span - 1) / step.abs() + 1 };
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    pub fn at(&self, index: usize) -> i64 {
        // In the range, so what wraps on the way there wraps back.
        self.start.wrapping_add((index as i64).wrapping_mul(self.step))
    }
}

/// What an iterator is, for printing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IterKind {
    /// Read once, without a length.
    Generator,
    Keys,
    Values,
    Entries,
}

/// An iterator, or a view of a map.
#[derive(Debug)]
pub(super) struct Iter {
    pub kind: IterKind,
    pub items: RefCell<VecDeque<Value>>,
    depth: usize,
}

impl Iter {
    /// How many lists and maps the items have within each other.
    pub fn depth_of_items(&self) -> usize {
        self.depth
    }
}

/// A macro with the scope that it was defined in.
#[derive(Debug)]
pub(super) struct Closure {
    pub declared: Arc<Macro>,
    pub scope: usize,
}

/// Jinja's `cycler`.
#[derive(Debug)]
pub(super) struct Cycler {
    pub items: Vec<Value>,
    pub at: std::cell::Cell<usize>,
    pub depth_of_items: usize,
}

/// A map in the order of its insertions.
#[derive(Debug, Default)]
pub(super) struct Dict {
    entries: Vec<(Value, Value)>,
    index: HashMap<Key, usize>,
    depth: usize,
}

/// A value as the key of a map: equal values have equal keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    None,
    Int(i64),
    /// The bits of a number that is no integer.
    Float(u64),
    Text(Arc<str>),
    Tuple(Vec<Key>),
    /// A namespace.
    Place(usize),
}

impl Dict {
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.index.get(key).map(|&at| &self.entries[at].1)
    }

    pub fn get_str(&self, key: &str) -> Option<&Value> {
        self.get(&Key::Text(key.into()))
    }

    pub fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Sets a field; the fuel for it is paid here.
    pub fn insert(&mut self, key: Value, value: Value, fuel: &Fuel) -> Result<()> {
        fuel.places(4)?;
        let depth = value.depth().max(key.depth());
        if depth >= DEPTH {
            return too_deep();
        }
        self.depth = self.depth.max(depth);
        let slot = key.key(fuel)?;
        match self.index.get(&slot) {
            Some(&at) => self.entries[at].1 = value,
            None => {
                self.index.insert(slot, self.entries.len());
                self.entries.push((key, value));
            }
        }
        Ok(())
    }

    /// A map of `entries` with words as keys.
    pub fn of(entries: impl IntoIterator<Item = (Text, Value)>, fuel: &Fuel) -> Result<Dict> {
        let mut dict = Dict::default();
        for (key, value) in entries {
            dict.insert(Value::Text(key), value, fuel)?;
        }
        Ok(dict)
    }
}

fn too_deep<T>() -> Result<T> {
    fail(format!("lists and maps are nested more than {DEPTH} deep"))
}

fn items(values: Vec<Value>, fuel: &Fuel) -> Result<Items> {
    fuel.places(values.len())?;
    let depth = values.iter().map(Value::depth).max().unwrap_or(0);
    if depth >= DEPTH { too_deep() } else { Ok(Items { values, depth }) }
}

impl Value {
    pub fn text(text: &str) -> Value {
        Value::Text(Text::own(text))
    }

    pub fn undefined(what: impl Into<Arc<str>>) -> Value {
        Value::Undefined(what.into())
    }

    pub fn int(number: usize) -> Value {
        Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub fn list(values: Vec<Value>, fuel: &Fuel) -> Result<Value> {
        Ok(Value::List(Rc::new(items(values, fuel)?)))
    }

    pub fn tuple(values: Vec<Value>, fuel: &Fuel) -> Result<Value> {
        Ok(Value::Tuple(Rc::new(items(values, fuel)?)))
    }

    pub fn dict(dict: Dict) -> Value {
        Value::Dict(Rc::new(dict))
    }

    pub fn iter(kind: IterKind, values: Vec<Value>, fuel: &Fuel) -> Result<Value> {
        let Items { values, depth } = items(values, fuel)?;
        Ok(Value::Iter(Rc::new(Iter { kind, items: RefCell::new(values.into()), depth })))
    }

    pub fn generator(values: Vec<Value>, fuel: &Fuel) -> Result<Value> {
        Value::iter(IterKind::Generator, values, fuel)
    }

    /// How many lists and maps this value has within each other.
    fn depth(&self) -> usize {
        match self {
            Value::List(items) | Value::Tuple(items) => items.depth + 1,
            Value::Dict(dict) => dict.depth + 1,
            Value::Iter(iter) => iter.depth + 1,
            Value::Method(method) => method.0.depth() + 1,
            Value::Cycler(cycler) => cycler.depth_of_items + 1,
            Value::Loop(state) => state.depth_of_items + 1,
            _ => 0,
        }
    }

    /// The deepest of `values`.
    pub fn depth_of(values: &[Value]) -> Result<usize> {
        let depth = values.iter().map(Value::depth).max().unwrap_or(0);
        if depth >= DEPTH { too_deep() } else { Ok(depth) }
    }

    /// Python's name of the type.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Range(_) => "range",
            Value::Iter(iter) => match iter.kind {
                IterKind::Generator => "generator",
                IterKind::Keys => "dict_keys",
                IterKind::Values => "dict_values",
                IterKind::Entries => "dict_items",
            },
            Value::Namespace(_) => "Namespace",
            Value::Macro(_) => "Macro",
            Value::Function(_) | Value::Method(_) => "function",
            Value::Loop(_) => "LoopContext",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
        }
    }

    /// Whether it counts as true.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(truth) => *truth,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(items) | Value::Tuple(items) => !items.values.is_empty(),
            Value::Dict(dict) => dict.len() > 0,
            Value::Range(range) => range.len() > 0,
            Value::Iter(iter) => iter.kind == IterKind::Generator || !iter.items.borrow().is_empty(),
            _ => true,
        }
    }

    /// The value as a number, as Python counts `True` as one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Bool(truth) => Some(i64::from(*truth)),
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(number) => Some(*number),
            other => other.as_int().map(|number| number as f64),
        }
    }

    /// The number of items, if the value has one.
    pub fn len(&self) -> Option<usize> {
        Some(match self {
            Value::Undefined(_) => 0,
            Value::Text(text) => text.as_str().chars().count(),
            Value::List(items) | Value::Tuple(items) => items.values.len(),
            Value::Dict(dict) => dict.len(),
            Value::Range(range) => range.len(),
            Value::Iter(iter) if iter.kind != IterKind::Generator => iter.items.borrow().len(),
            Value::Loop(state) => state.items.borrow().len(),
            _ => return None,
        })
    }

    /// The items that a loop over the value visits. A generator is empty afterwards.
    pub fn items(&self, fuel: &Fuel) -> Result<Vec<Value>> {
        let values = match self {
            Value::Undefined(_) => Vec::new(),
            Value::Text(text) => {
                fuel.places(text.len())?;
                let letters = text.as_str().char_indices();
                let part = |(at, letter): (usize, char)| text.slice(at..at + letter.len_utf8()).marked(false);
                letters.map(|letter| Value::Text(part(letter))).collect()
            }
            Value::List(items) | Value::Tuple(items) => {
                fuel.places(items.values.len())?;
                items.values.clone()
            }
            Value::Dict(dict) => {
                fuel.places(dict.len())?;
                dict.entries.iter().map(|(key, _)| key.clone()).collect()
            }
            Value::Range(range) => {
                fuel.places(range.len())?;
                (0..range.len()).map(|index| Value::Int(range.at(index))).collect()
            }
            Value::Iter(iter) => {
                fuel.places(iter.items.borrow().len())?;
                match iter.kind {
                    IterKind::Generator => iter.items.take().into(),
                    _ => iter.items.borrow().iter().cloned().collect(),
                }
            }
            Value::Loop(state) => {
                let items = state.items.borrow();
                fuel.places(items.len())?;
                items[state.at.get()..].to_vec()
            }
            other => return fail(format!("`{}` object is not iterable", other.kind())),
        };
        Ok(values)
    }

    /// The value as the key of a map.
    pub fn key(&self, fuel: &Fuel) -> Result<Key> {
        fuel.step()?;
        Ok(match self {
            Value::Undefined(_) | Value::None => Key::None,
            Value::Bool(truth) => Key::Int(i64::from(*truth)),
            Value::Int(number) => Key::Int(*number),
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e18 => Key::Int(*number as i64),
            Value::Float(number) => Key::Float(number.to_bits()),
            Value::Text(text) => {
                fuel.bytes(text.len())?;
                Key::Text(text.shared())
            }
            Value::Tuple(items) => {
                Key::Tuple(items.values.iter().map(|value| value.key(fuel)).collect::<Result<_>>()?)
            }
            Value::Namespace(place) => Key::Place(*place),
            other => return fail(format!("unhashable type: `{}`", other.kind())),
        })
    }

    /// The value as text, if it is text.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}
