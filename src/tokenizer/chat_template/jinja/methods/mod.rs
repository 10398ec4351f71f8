//! Python's methods of texts, lists and maps.

mod cases;
mod search;
mod shape;

use super::compare::equal;
use super::fault::{Result, fail};
use super::run::{Args, Heap};
use super::text::Text;
use super::value::{IterKind, Value};

const TEXT: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

/// Whether `value` has the method `name`. Methods that would change the value are none, as in Jinja's sandbox.
pub(super) fn known(value: &Value, name: &str) -> bool {
    match value {
        Value::Text(_) => TEXT.contains(&name),
        Value::List(_) => matches!(name, "count" | "index" | "copy"),
        Value::Tuple(_) | Value::Range(_) => matches!(name, "count" | "index"),
        Value::Dict(_) => matches!(name, "get" | "items" | "keys" | "values" | "copy"),
        Value::Loop(_) => matches!(name, "cycle" | "changed"),
        Value::Cycler(_) => matches!(name, "next" | "reset"),
        Value::Float(_) => name == "is_integer",
        _ => false,
    }
}

/// Calls the method `name` of `value`, which has it.
pub(super) fn call(heap: &Heap, value: &Value, name: &str, args: Args) -> Result<Value> {
    let fuel = &heap.fuel;
    match value {
        Value::Text(text) => text_method(heap, text, name, args),
        Value::Dict(dict) => match name {
            "get" => {
                let [key, default] = args.bind("get", ["key", "default"], 1)?;
                let found = dict.get(&key.unwrap_or(Value::None).key(fuel)?).cloned();
                Ok(found.or(default).unwrap_or(Value::None))
            }
            "copy" => Ok(value.clone()),
            _ => {
                let [] = args.bind(name, [], 0)?;
                fuel.places(dict.len())?;
                let entries = dict.entries().iter();
                match name {
                    "keys" => {
                        let keys = entries.map(|(key, _)| key.clone()).collect();
                        Value::iter(IterKind::Keys, keys, fuel)
                    }
                    "values" => {
                        let values = entries.map(|(_, value)| value.clone()).collect();
                        Value::iter(IterKind::Values, values, fuel)
                    }
                    _ => {
                        let pairs =
                            entries.map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()], fuel));
                        Value::iter(IterKind::Entries, pairs.collect::<Result<_>>()?, fuel)
                    }
                }
            }
        },
        Value::Cycler(cycler) => {
            let [] = args.bind(name, [], 0)?;
            let at = cycler.at.get();
            cycler.at.set(if name == "next" { (at + 1) % cycler.items.len() } else { 0 });
            Ok(if name == "next" { cycler.items[at].clone() } else { Value::None })
        }
        Value::Float(number) => Ok(Value::Bool(number.is_finite() && number.fract() == 0.0)),
        _ if name == "copy" => Ok(value.clone()),
        _ => {
            let [wanted] = args.bind(name, ["value"], 1)?;
            let wanted = wanted.unwrap_or(Value::None);
            let mut count = 0;
            for (at, item) in value.items(fuel)?.iter().enumerate() {
                if equal(item, &wanted, fuel)? {
                    if name == "index" {
                        return Ok(Value::int(at));
                    }
                    count += 1;
                }
            }
            if name == "index" { fail("the value is not in the list") } else { Ok(Value::int(count)) }
        }
    }
}

fn text_method(heap: &Heap, text: &Text, name: &str, args: Args) -> Result<Value> {
    // Every method reads the whole text, and most write another of about its size.
    heap.fuel.bytes(text.len().saturating_mul(2))?;
    match name {
        "format" => super::format::braces(heap, text, &args).map(Value::Text),
        "format_map" => {
            let [map] = args.bind("format_map", ["map"], 1)?;
            let Some(Value::Dict(dict)) = map else { return fail("`format_map` needs a map") };
            heap.fuel.places(dict.len())?;
            let named = dict.entries().iter();
            let named = named.filter_map(|(key, value)| Some((key.as_text()?.clone(), value.clone())));
            let args = Args { values: Vec::new(), named: named.collect() };
            super::format::braces(heap, text, &args).map(Value::Text)
        }
        "count" | "find" | "index" | "rfind" | "rindex" | "startswith" | "endswith" | "split" | "rsplit"
        | "splitlines" | "partition" | "rpartition" => search::call(heap, text, name, args),
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs" | "strip" | "lstrip" | "rstrip"
        | "removeprefix" | "removesuffix" | "replace" | "join" => shape::call(heap, text, name, args),
        _ => {
            let [] = args.bind(name, [], 0)?;
            heap.fuel.letters(text.len())?;
            Ok(cases::call(text, name))
        }
    }
    .map(|result| match result {
        // HTML that was changed is HTML.
        Value::Text(result) if text.is_safe() => Value::Text(result.marked(true)),
        result => result,
    })
}

pub(super) use search::{splitlines, words};
pub(super) use shape::{joined, replaced, stripped};

/// The text that the method `what` got as an argument.
fn wanted(what: &str, value: Option<&Value>) -> Result<Text> {
    match value {
        Some(Value::Text(text)) => Ok(text.clone()),
        Some(Value::Undefined(name)) => fail(format!("{name} is undefined")),
        other => fail(format!("`{what}` needs a string, not `{}`", other.map_or("nothing", Value::kind))),
    }
}

/// The integer that the method `what` got as an argument; none if it got none.
pub(super) fn integer(what: &str, value: Option<&Value>) -> Result<Option<i64>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(Value::Undefined(name)) => fail(format!("{name} is undefined")),
        Some(value) => match value.as_int() {
            Some(number) => Ok(Some(number)),
            None => fail(format!("`{what}` needs an integer, not `{}`", value.kind())),
        },
    }
}
