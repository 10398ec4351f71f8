//! Filters that write a text.

use super::super::fault::{Result, fail};
use super::super::format;
use super::super::methods::{self, integer, replaced, splitlines, stripped, words};
use super::super::run::{Args, Heap};
use super::super::text::{Builder, Text};
use super::super::value::{Dict, Value};
use super::string;

pub(super) const NAMES: &[&str] = &[
    "capitalize",
    "center",
    "e",
    "escape",
    "forceescape",
    "format",
    "indent",
    "lower",
    "replace",
    "striptags",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
];

pub(super) fn call(heap: &Heap, name: &str, value: &Value, args: Args) -> Result<Text> {
    if name == "urlencode" {
        let [] = args.bind(name, [], 0)?;
        return urlencode(heap, value);
    }
    if let (Value::Undefined(what), "indent" | "truncate") = (value, name) {
        return fail(format!("{what} is undefined"));
    }
    let text = heap.print(value)?;
    heap.fuel.bytes(text.len().saturating_mul(2))?;
    match name {
        "upper" | "lower" | "capitalize" => {
            let [] = args.bind(name, [], 0)?;
            match methods::call(heap, &Value::Text(text), name, Args::default())? {
                Value::Text(text) => Ok(text),
                other => fail(format!("`{name}` gave `{}`", other.kind())),
            }
        }
        "title" => {
            let [] = args.bind(name, [], 0)?;
            heap.fuel.letters(text.len())?;
            Ok(title(&text))
        }
        "trim" => {
            let [letters] = args.bind(name, ["chars"], 0)?;
            let letters = match letters {
                None | Some(Value::None) => None,
                letters => Some(string(name, letters.as_ref())?),
            };
            let letters = letters.as_ref();
            heap.fuel.bytes(letters.map_or(0, |letters| letters.len().saturating_mul(text.len() / 8)))?;
            Ok(stripped(&text, letters, true, true))
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"], 2)?;
            let print = |value: Option<Value>| heap.print(&value.unwrap_or(Value::None));
            let (old, new) = (print(old)?, print(new)?);
            let count = integer(name, count.as_ref())?.and_then(|count| usize::try_from(count).ok());
            replaced(heap, &text, &old, &new, count)
        }
        "format" => {
            let arguments = match (args.values.is_empty(), args.named.is_empty()) {
                (_, true) => Value::tuple(args.values, &heap.fuel)?,
                (true, false) => Value::dict(Dict::of(args.named, &heap.fuel)?),
                _ => return fail("`format` takes arguments with names or without, not both"),
            };
            format::percent(heap, &text, &arguments)
        }
        "e" | "escape" | "forceescape" => {
            let [] = args.bind(name, [], 0)?;
            heap.fuel.letters(text.len())?;
            let safe = text.is_safe() && name != "forceescape";
            Ok(text.marked(safe).escaped())
        }
        "center" => {
            let [width] = args.bind(name, ["width"], 0)?;
            let width = width.unwrap_or(Value::Int(80));
            let args = Args { values: vec![width], named: Vec::new() };
            heap.print(&methods::call(heap, &Value::Text(text), "center", args)?)
        }
        "indent" => {
            heap.fuel.letters(text.len())?;
            indent(heap, value, &text, args)
        }
        "truncate" => {
            heap.fuel.letters(text.len())?;
            truncate(heap, &text, args)
        }
        _ => {
            let [] = args.bind(name, [], 0)?;
            heap.fuel.letters(text.len())?;
            striptags(heap, &text)
        }
    }
}

/// Every word with a capital; words are what stands between blanks, hyphens and opening brackets.
fn title(text: &Text) -> Text {
    let mut starts = true;
    text.map_chars(|letter, written| {
        let between = letter.is_whitespace() || "-({[<".contains(letter);
        if starts {
            written.extend(letter.to_uppercase());
        } else {
            written.extend(letter.to_lowercase());
        }
        starts = between;
    })
}

fn indent(heap: &Heap, value: &Value, text: &Text, args: Args) -> Result<Text> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"], 0)?;
    if !matches!(value, Value::Text(_)) {
        return fail(format!("`indent` needs a string, not `{}`", value.kind()));
    }
    let indent = match &width {
        Some(Value::Text(indent)) => indent.clone(),
        width => {
            let width = usize::try_from(integer("indent", width.as_ref())?.unwrap_or(4)).unwrap_or(0);
            heap.fuel.bytes(width)?;
            Text::own(&" ".repeat(width))
        }
    };
    let is_true = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_true);
    let plain = text.as_str();
    let mut lines = splitlines(plain, false, &heap.fuel)?;
    // A line end at the end of the text stays.
    if plain.is_empty() || plain.ends_with('\n') || lines.last().is_some_and(|line| line.end < plain.len()) {
        lines.push(plain.len()..plain.len());
    }
    heap.fuel.bytes(lines.len().saturating_mul(indent.len() + 1))?;
    let mut result = Builder::default();
    for (index, line) in lines.into_iter().enumerate() {
        if index > 0 {
            result.push_own("\n");
        }
        let indented = if index == 0 { is_true(&first) } else { is_true(&blank) || !line.is_empty() };
        if indented {
            result.push(&indent);
        }
        result.push_part(text, line);
    }
    Ok(result.finish().marked(text.is_safe()))
}

fn truncate(heap: &Heap, text: &Text, args: Args) -> Result<Text> {
    let [length, kill, end, leeway] = args.bind("truncate", ["length", "killwords", "end", "leeway"], 0)?;
    let end = match end {
        Some(end) => string("truncate", Some(&end))?,
        None => Text::own("..."),
    };
    let number = |value: &Option<Value>, default| {
        integer("truncate", value.as_ref()).map(|number| number.unwrap_or(default))
    };
    let (length, leeway) = (number(&length, 255)?, number(&leeway, 5)?);
    let count = |text: &Text| i64::try_from(text.as_str().chars().count()).unwrap_or(i64::MAX);
    if leeway < 0 || length < count(&end) {
        return fail("`truncate` needs a length that the end fits into, and a leeway of 0 or more");
    }
    if count(text) <= length.saturating_add(leeway) {
        return Ok(text.clone());
    }
    let kept = usize::try_from(length - count(&end)).unwrap_or(0);
    let cut = text.as_str().char_indices().nth(kept).map_or(text.len(), |(at, _)| at);
    let kill = kill.is_some_and(|kill| kill.is_true());
    let cut = if kill { cut } else { text.as_str()[..cut].rfind(' ').unwrap_or(cut) };
    heap.fuel.letters(end.len())?;
    Ok(text.slice(0..cut).plus(&end))
}

/// The text without comments and tags, with one blank between its words.
fn striptags(heap: &Heap, text: &Text) -> Result<Text> {
    let plain = text.as_str();
    let mut kept = Builder::default();
    let mut at = 0;
    while let Some(open) = plain[at..].find('<') {
        let open = at + open;
        let comment = plain[open..].starts_with("<!--");
        let close = if comment {
            plain[open..].find("-->").map(|end| end + 3)
        } else {
            plain[open..].find('>').map(|end| end + 1)
        };
        kept.push_part(text, at..open);
        match close {
            Some(len) => at = open + len,
            None => {
                kept.push_part(text, open..plain.len());
                at = plain.len();
            }
        }
    }
    kept.push_part(text, at..plain.len());
    let kept = kept.finish();
    let mut result = Builder::default();
    for (index, word) in words(kept.as_str(), &heap.fuel)?.into_iter().enumerate() {
        if index > 0 {
            result.push_own(" ");
        }
        result.push_part(&kept, word);
    }
    Ok(result.finish())
}

fn urlencode(heap: &Heap, value: &Value) -> Result<Text> {
    let quoted = |text: &Text, pair: bool| {
        heap.fuel.letters(text.len().saturating_mul(2))?;
        Ok(text.map_chars(|letter, written| {
            if letter.is_ascii_alphanumeric() || "_.-~".contains(letter) || (letter == '/' && !pair) {
                return written.push(letter);
            }
            if letter == ' ' && pair {
                return written.push('+');
            }
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                written.push_str(&format!("%{byte:02X}"));
            }
        }))
    };
    let pairs: Vec<Value> = match value {
        Value::Dict(dict) => {
            let pairs = dict.entries().iter();
            pairs
                .map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()], &heap.fuel))
                .collect::<Result<_>>()?
        }
        Value::List(_) | Value::Tuple(_) | Value::Iter(_) => value.items(&heap.fuel)?,
        other => return quoted(&heap.print(other)?, false),
    };
    let mut result = Builder::default();
    for (index, pair) in pairs.iter().enumerate() {
        let [key, value] = &pair.items(&heap.fuel)?[..] else { return fail("`urlencode` needs pairs") };
        if index > 0 {
            result.push_own("&");
        }
        result.push(&quoted(&heap.print(key)?, true)?);
        result.push_own("=");
        result.push(&quoted(&heap.print(value)?, true)?);
    }
    Ok(result.finish())
}
