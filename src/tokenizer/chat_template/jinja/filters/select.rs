//! Filters that look at every item of a list.

use std::collections::HashSet;

use super::super::ast::Binary;
use super::super::compare::{equal, sorted};
use super::super::fault::{Result, fail};
use super::super::methods;
use super::super::run::{Args, Heap};
use super::super::value::{Key, Value};

pub(super) fn call(heap: &Heap, name: &str, value: &Value, mut args: Args) -> Result<Value> {
    let fuel = &heap.fuel;
    match name {
        "map" => map(heap, value, args),
        "select" | "reject" | "selectattr" | "rejectattr" => {
            // An empty value is not looked at further.
            if !value.is_true() {
                return Value::generator(Vec::new(), fuel);
            }
            let attribute = match name.ends_with("attr") {
                true if args.values.is_empty() => {
                    return fail(format!("`{name}` needs the name of an attribute"));
                }
                true => Some(args.values.remove(0)),
                false => None,
            };
            let test = if args.values.is_empty() { None } else { Some(args.values.remove(0)) };
            let wanted = name.starts_with("select");
            let mut kept = Vec::new();
            for item in value.items(fuel)? {
                let part = match &attribute {
                    Some(attribute) => heap.part(&item, attribute)?,
                    None => item.clone(),
                };
                let truth = match &test {
                    Some(Value::Text(test)) => heap.test(test.as_str(), &part, copy(heap, &args)?)?,
                    Some(other) => return fail(format!("a test has a name, not `{}`", other.kind())),
                    None => part.is_true(),
                };
                if truth == wanted {
                    kept.push(item);
                }
            }
            Value::generator(kept, fuel)
        }
        "sort" => {
            let [reverse, case, attribute] =
                args.bind(name, ["reverse", "case_sensitive", "attribute"], 0)?;
            let keyed = keyed(heap, value, attribute.as_ref(), is_true(&case), true)?;
            let keyed = sorted(keyed, is_true(&reverse), fuel, |(key, _)| key)?;
            Value::list(keyed.into_iter().map(|(_, value)| value).collect(), fuel)
        }
        "dictsort" => {
            let [case, by, reverse] = args.bind(name, ["case_sensitive", "by", "reverse"], 0)?;
            let at = match by.as_ref().and_then(Value::as_text).map_or("key", |by| by.as_str()) {
                "key" => 0,
                "value" => 1,
                _ => return fail("`dictsort` sorts by either \"key\" or \"value\""),
            };
            let Value::Dict(dict) = value else {
                return fail(format!("`dictsort` needs a map, not `{}`", value.kind()));
            };
            fuel.places(dict.len())?;
            let mut entries = Vec::new();
            for (key, value) in dict.entries() {
                let by = if at == 0 { key } else { value };
                let by = if is_true(&case) { by.clone() } else { lowered(heap, by)? };
                entries.push((by, Value::tuple(vec![key.clone(), value.clone()], fuel)?));
            }
            let entries = sorted(entries, is_true(&reverse), fuel, |(by, _)| by)?;
            Value::list(entries.into_iter().map(|(_, entry)| entry).collect(), fuel)
        }
        "unique" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"], 0)?;
            let mut seen: HashSet<Key> = HashSet::new();
            let mut kept = Vec::new();
            for (by, item) in keyed(heap, value, attribute.as_ref(), is_true(&case), false)? {
                if seen.insert(by.key(fuel)?) {
                    kept.push(item);
                }
            }
            Value::generator(kept, fuel)
        }
        "min" | "max" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"], 0)?;
            let keyed = keyed(heap, value, attribute.as_ref(), is_true(&case), false)?;
            let mut sorted = sorted(keyed, name == "max", fuel, |(by, _)| by)?.into_iter();
            let nothing = || Value::undefined("the smallest or largest item of nothing");
            Ok(sorted.next().map_or_else(nothing, |(_, value)| value))
        }
        "sum" => {
            let [attribute, start] = args.bind(name, ["attribute", "start"], 0)?;
            let mut total = start.unwrap_or(Value::Int(0));
            if matches!(total, Value::Text(_)) {
                return fail("`sum` cannot add strings");
            }
            for item in value.items(fuel)? {
                let part = match &attribute {
                    None | Some(Value::None) => item,
                    Some(attribute) => heap.part(&item, attribute)?,
                };
                total = heap.binary(Binary::Add, &total, &part)?;
            }
            Ok(total)
        }
        _ => {
            let [attribute, default, case] =
                args.bind(name, ["attribute", "default", "case_sensitive"], 1)?;
            let case = is_true(&case);
            let mut entries = Vec::new();
            for item in value.items(fuel)? {
                let mut part = heap.part(&item, attribute.as_ref().unwrap_or(&Value::None))?;
                if let (Value::Undefined(_), Some(default)) = (&part, &default) {
                    part = default.clone();
                }
                let by = if case { part.clone() } else { lowered(heap, &part)? };
                entries.push((by, (part, item)));
            }
            let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
            for (by, (part, item)) in sorted(entries, false, fuel, |(by, _)| by)? {
                match groups.last_mut() {
                    Some((known, _, items)) if equal(known, &by, fuel)? => items.push(item),
                    _ => groups.push((by, part, vec![item])),
                }
            }
            let groups = groups.into_iter().map(|(_, part, items)| {
                let items = Value::list(items, fuel)?;
                Value::tuple(vec![part, items], fuel)
            });
            Value::list(groups.collect::<Result<_>>()?, fuel)
        }
    }
}

fn is_true(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}

/// The arguments once more, for the next item.
fn copy(heap: &Heap, args: &Args) -> Result<Args> {
    heap.fuel.places(args.values.len() + args.named.len())?;
    Ok(Args { values: args.values.clone(), named: args.named.clone() })
}

fn map(heap: &Heap, value: &Value, mut args: Args) -> Result<Value> {
    if !value.is_true() {
        return Value::generator(Vec::new(), &heap.fuel);
    }
    let mut result = Vec::new();
    if args.values.is_empty() {
        let [attribute, default] = args.bind("map", ["attribute", "default"], 0)?;
        let Some(attribute) = attribute else { return fail("`map` needs a filter or an attribute") };
        for item in value.items(&heap.fuel)? {
            let part = heap.part(&item, &attribute)?;
            result.push(match (&part, &default) {
                (Value::Undefined(_), Some(default)) => default.clone(),
                _ => part,
            });
        }
    } else {
        let Value::Text(filter) = args.values.remove(0) else {
            return fail("`map` needs the name of a filter");
        };
        for item in value.items(&heap.fuel)? {
            result.push(heap.filter(filter.as_str(), item, copy(heap, &args)?)?);
        }
    }
    Value::generator(result, &heap.fuel)
}

/// Every item behind what it is compared by. Several attributes, with commas between them, are allowed if `many`.
fn keyed(
    heap: &Heap,
    value: &Value,
    attribute: Option<&Value>,
    case_sensitive: bool,
    many: bool,
) -> Result<Vec<(Value, Value)>> {
    let mut keyed = Vec::new();
    for item in value.items(&heap.fuel)? {
        let lower = |part: Value| if case_sensitive { Ok(part) } else { lowered(heap, &part) };
        let by = match attribute {
            None | Some(Value::None) => lower(item.clone())?,
            Some(Value::Text(names)) if many && names.as_str().contains(',') => {
                let parts = names.as_str().split(',');
                let parts = parts.map(|name| lower(heap.part(&item, &Value::text(name))?));
                Value::tuple(parts.collect::<Result<_>>()?, &heap.fuel)?
            }
            Some(attribute) => lower(heap.part(&item, attribute)?)?,
        };
        keyed.push((by, item));
    }
    Ok(keyed)
}

/// A text in small letters; other values as they are.
fn lowered(heap: &Heap, value: &Value) -> Result<Value> {
    match value {
        Value::Text(_) => methods::call(heap, value, "lower", Args::default()),
        other => Ok(other.clone()),
    }
}

impl Heap {
    /// The part of a value that `attribute` names: a number, or names and numbers with dots between them.
    pub(in super::super) fn part(&self, value: &Value, attribute: &Value) -> Result<Value> {
        let Value::Text(path) = attribute else { return self.item(value, attribute) };
        let mut value = value.clone();
        for name in path.as_str().split('.') {
            self.fuel.step()?;
            value = match name.parse() {
                Ok(index) if name.bytes().all(|digit| digit.is_ascii_digit()) => {
                    self.item(&value, &Value::Int(index))?
                }
                _ => self.item(&value, &Value::text(name))?,
            };
        }
        Ok(value)
    }
}
