//! Methods that pad, strip, replace and join.

use super::super::fault::{Result, fail};
use super::super::run::{Args, Heap};
use super::super::text::{Builder, Text};
use super::super::value::Value;
use super::search::is_python_space;
use super::{integer, wanted};

pub(super) fn call(heap: &Heap, text: &Text, name: &str, args: Args) -> Result<Value> {
    match name {
        "center" | "ljust" | "rjust" => {
            let [width, fill] = args.bind(name, ["width", "fillchar"], 1)?;
            let fill = match fill {
                Some(fill) => text.fitted(wanted(name, Some(&fill))?),
                None => Text::own(" "),
            };
            if fill.as_str().chars().count() != 1 {
                return fail("the fill character must be exactly one character long");
            }
            let width = integer(name, width.as_ref())?.unwrap_or(0);
            padded(heap, text, width, &fill, name).map(Value::Text)
        }
        "zfill" => {
            let [width] = args.bind(name, ["width"], 1)?;
            let width = usize::try_from(integer(name, width.as_ref())?.unwrap_or(0)).unwrap_or(0);
            let missing = width.saturating_sub(text.as_str().chars().count());
            heap.fuel.bytes(missing)?;
            let sign = usize::from(text.as_str().starts_with(['-', '+']));
            let mut result = Builder::default();
            result.push_part(text, 0..sign);
            result.fill(&Text::own("0"), missing);
            result.push_part(text, sign..text.len());
            Ok(Value::Text(result.finish()))
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"], 0)?;
            let size = usize::try_from(integer(name, size.as_ref())?.unwrap_or(8)).unwrap_or(0);
            let tabs = text.as_str().matches('\t').count();
            heap.fuel.bytes(tabs.saturating_mul(size))?;
            heap.fuel.letters(text.len())?;
            let mut column = 0;
            Ok(Value::Text(text.map_chars(|letter, written| {
                if letter == '\t' {
                    let blanks = if size == 0 { 0 } else { size - column % size };
                    written.extend(std::iter::repeat_n(' ', blanks));
                    column += blanks;
                } else {
                    column = if matches!(letter, '\n' | '\r') { 0 } else { column + 1 };
                    written.push(letter);
                }
            })))
        }
        "strip" | "lstrip" | "rstrip" => {
            let [letters] = args.bind(name, ["chars"], 0)?;
            let letters = match letters {
                None | Some(Value::None) => None,
                letters => Some(wanted(name, letters.as_ref())?),
            };
            // Every character is looked for among the letters.
            let letters = letters.as_ref();
            heap.fuel.bytes(letters.map_or(0, |letters| letters.len().saturating_mul(text.len() / 8)))?;
            Ok(Value::Text(stripped(text, letters, name != "rstrip", name != "lstrip")))
        }
        "removeprefix" | "removesuffix" => {
            let [part] = args.bind(name, ["part"], 1)?;
            let part = wanted(name, part.as_ref())?;
            let plain = text.as_str();
            let range = match name {
                "removeprefix" if plain.starts_with(part.as_str()) => part.len()..text.len(),
                "removesuffix" if plain.ends_with(part.as_str()) => 0..text.len() - part.len(),
                _ => 0..text.len(),
            };
            Ok(Value::Text(text.slice(range)))
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"], 2)?;
            let (old, new) = (wanted(name, old.as_ref())?, wanted(name, new.as_ref())?);
            if text.is_safe() {
                heap.fuel.letters(new.len())?;
            }
            let count = integer(name, count.as_ref())?.and_then(|count| usize::try_from(count).ok());
            replaced(heap, text, &old, &text.fitted(new), count).map(Value::Text)
        }
        _ => {
            let [values] = args.bind(name, ["iterable"], 1)?;
            let mut values = values.unwrap_or(Value::None).items(&heap.fuel)?;
            for value in &mut values {
                if text.is_safe() {
                    // The `join` of HTML takes values of any kind.
                    let part = heap.print(value)?;
                    heap.fuel.letters(part.len())?;
                    *value = Value::Text(part.escaped());
                } else {
                    wanted(name, Some(value))?;
                }
            }
            joined(heap, text, &values).map(Value::Text)
        }
    }
}

fn padded(heap: &Heap, text: &Text, width: i64, fill: &Text, how: &str) -> Result<Text> {
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.as_str().chars().count());
    heap.fuel.bytes(missing.saturating_mul(fill.len()))?;
    let before = match how {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd blank before a text if the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let mut result = Builder::default();
    result.fill(fill, before);
    result.push(text);
    result.fill(fill, missing - before);
    Ok(result.finish())
}

/// `text` without `letters`, or white space, at its start or end.
pub(in super::super) fn stripped(text: &Text, letters: Option<&Text>, start: bool, end: bool) -> Text {
    let plain = text.as_str();
    let drops = |letter: char| match letters {
        Some(letters) => letters.as_str().contains(letter),
        None => is_python_space(letter),
    };
    let first = if start { plain.len() - plain.trim_start_matches(drops).len() } else { 0 };
    let last = if end { first + plain[first..].trim_end_matches(drops).len() } else { plain.len() };
    text.slice(first..last)
}

/// `text` with `new` in the place of `old`, at most `count` times.
pub(in super::super) fn replaced(
    heap: &Heap,
    text: &Text,
    old: &Text,
    new: &Text,
    count: Option<usize>,
) -> Result<Text> {
    // An empty text is found before every character and at the end.
    let found = || text.as_str().match_indices(old.as_str()).take(count.unwrap_or(usize::MAX));
    heap.fuel.bytes(text.len().saturating_mul(2))?;
    let places = found().count();
    heap.fuel.places(places)?;
    heap.fuel.bytes(places.saturating_mul(new.len()))?;
    let mut result = Builder::default();
    let mut done = 0;
    for (at, _) in found() {
        result.push_part(text, done..at);
        result.push(new);
        done = at + old.len();
    }
    result.push_part(text, done..text.len());
    Ok(result.finish())
}

/// The `values` as one text with `separator` between them.
pub(in super::super) fn joined(heap: &Heap, separator: &Text, values: &[Value]) -> Result<Text> {
    let mut result = Builder::default();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            heap.fuel.bytes(separator.len())?;
            result.push(separator);
        }
        heap.write(value, &mut result)?;
    }
    Ok(result.finish())
}
