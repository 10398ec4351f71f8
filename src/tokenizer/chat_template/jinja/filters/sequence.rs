//! Filters that take lists apart and put them together.

use super::super::fault::{Fault, Result, fail};
use super::super::methods::{integer, joined};
use super::super::run::{Args, Heap};
use super::super::text::{Builder, Text};
use super::super::value::{IterKind, Value};

pub(super) fn call(heap: &Heap, name: &str, value: &Value, args: Args) -> Result<Value> {
    let fuel = &heap.fuel;
    match name {
        "count" | "length" => {
            let [] = args.bind(name, [], 0)?;
            if let Value::Text(text) = value {
                fuel.bytes(text.len())?;
            }
            match value.len() {
                Some(len) => Ok(Value::int(len)),
                None => fail(format!("`{}` has no length", value.kind())),
            }
        }
        "first" => {
            let [] = args.bind(name, [], 0)?;
            if let Value::Iter(iter) = value {
                // A generator gives only its first item away.
                let first = match iter.kind {
                    IterKind::Generator => iter.items.borrow_mut().pop_front(),
                    _ => iter.items.borrow().front().cloned(),
                };
                return Ok(first.unwrap_or_else(|| Value::undefined("the first item of nothing")));
            }
            edge(heap, value, 0, "first")
        }
        "last" => {
            let [] = args.bind(name, [], 0)?;
            match value {
                Value::Iter(iter) if iter.kind == IterKind::Generator => fail("a generator has no last item"),
                Value::Iter(iter) => {
                    let last = iter.items.borrow().back().cloned();
                    Ok(last.unwrap_or_else(|| Value::undefined("the last item of nothing")))
                }
                _ => edge(heap, value, -1, "last"),
            }
        }
        "list" => {
            let [] = args.bind(name, [], 0)?;
            Value::list(value.items(fuel)?, fuel)
        }
        "items" => {
            let [] = args.bind(name, [], 0)?;
            match value {
                Value::Undefined(_) => Value::generator(Vec::new(), fuel),
                Value::Dict(dict) => {
                    fuel.places(dict.len())?;
                    let pairs = dict.entries().iter();
                    let pairs =
                        pairs.map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()], fuel));
                    Value::generator(pairs.collect::<Result<_>>()?, fuel)
                }
                other => fail(format!("`items` needs a map, not `{}`", other.kind())),
            }
        }
        "join" => {
            let [separator, attribute] = args.bind(name, ["d", "attribute"], 0)?;
            let separator = match separator {
                Some(separator) => heap.print(&separator)?,
                None => Text::own(""),
            };
            let mut values = value.items(fuel)?;
            if let Some(attribute) = attribute.filter(|attribute| !matches!(attribute, Value::None)) {
                let each = values.iter().map(|value| heap.part(value, &attribute));
                values = each.collect::<Result<_>>()?;
            }
            joined(heap, &separator, &values).map(Value::Text)
        }
        "reverse" => {
            let [] = args.bind(name, [], 0)?;
            if let Value::Text(text) = value {
                fuel.bytes(text.len())?;
                let mut result = Builder::default();
                for (at, letter) in text.as_str().char_indices().rev() {
                    result.push_part(text, at..at + letter.len_utf8());
                }
                return Ok(Value::Text(result.finish().marked(text.is_safe())));
            }
            let mut values = value.items(fuel)?;
            values.reverse();
            Value::generator(values, fuel)
        }
        "batch" => {
            let [count, fill] = args.bind(name, ["linecount", "fill_with"], 1)?;
            let count = positive(name, count.as_ref())?;
            let values = value.items(fuel)?;
            let mut rows: Vec<Vec<Value>> = values.chunks(count).map(<[Value]>::to_vec).collect();
            if let (Some(last), Some(fill)) =
                (rows.last_mut(), fill.filter(|fill| !matches!(fill, Value::None)))
            {
                fuel.places(count - last.len())?;
                last.resize(count, fill);
            }
            rows_of(heap, rows)
        }
        _ => {
            let [count, fill] = args.bind(name, ["slices", "fill_with"], 1)?;
            let count = positive(name, count.as_ref())?;
            fuel.places(count)?;
            let values = value.items(fuel)?;
            let (each, more) = (values.len() / count, values.len() % count);
            let fill = fill.filter(|fill| !matches!(fill, Value::None));
            let mut rest = &values[..];
            let mut rows = Vec::new();
            for at in 0..count {
                let (row, after) = rest.split_at(each + usize::from(at < more));
                rest = after;
                let mut row = row.to_vec();
                row.extend(fill.clone().filter(|_| at >= more));
                rows.push(row);
            }
            rows_of(heap, rows)
        }
    }
}

fn rows_of(heap: &Heap, rows: Vec<Vec<Value>>) -> Result<Value> {
    let rows = rows.into_iter().map(|row| Value::list(row, &heap.fuel)).collect::<Result<_>>()?;
    Value::generator(rows, &heap.fuel)
}

fn positive(what: &str, value: Option<&Value>) -> Result<usize> {
    let number = integer(what, value)?.and_then(|number| usize::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or_else(|| Fault::new(format!("`{what}` needs a number above 0")))
}

fn edge(heap: &Heap, value: &Value, index: i64, which: &str) -> Result<Value> {
    let nothing = || Value::undefined(format!("the {which} item of nothing"));
    match value {
        Value::Undefined(_) => Ok(nothing()),
        Value::Dict(dict) => {
            let entry = if index == 0 { dict.entries().first() } else { dict.entries().last() };
            Ok(entry.map_or_else(nothing, |(key, _)| key.clone()))
        }
        Value::List(_) | Value::Tuple(_) | Value::Text(_) | Value::Range(_) => {
            if value.is_true() {
                let item = heap.item(value, &Value::Int(index))?;
                // The first letter is what a loop visits first; the last one is looked up by its place.
                Ok(match item {
                    Value::Text(letter) if index == 0 && matches!(value, Value::Text(_)) => {
                        Value::Text(letter.marked(false))
                    }
                    item => item,
                })
            } else {
                Ok(nothing())
            }
        }
        other => fail(format!("`{}` object is not iterable", other.kind())),
    }
}
