//! Methods that look for a part of a text, and those that cut it there.

use std::ops::Range;

use super::super::fault::{Fuel, Result, fail};
use super::super::run::{Args, Heap};
use super::super::text::Text;
use super::super::value::Value;
use super::{integer, wanted};

pub(super) fn call(heap: &Heap, text: &Text, name: &str, args: Args) -> Result<Value> {
    let fuel = &heap.fuel;
    match name {
        "startswith" | "endswith" => {
            let [part, start, end] = args.bind(name, ["prefix", "start", "end"], 1)?;
            let Some(window) = window(text, &start, &end, name)? else { return Ok(Value::Bool(false)) };
            let window = &text.as_str()[window];
            let matches = |part: &Text| match name {
                "startswith" => window.starts_with(part.as_str()),
                _ => window.ends_with(part.as_str()),
            };
            let parts = match &part {
                Some(Value::Tuple(items)) => &items.values[..],
                other => other.as_slice(),
            };
            fuel.places(parts.len())?;
            for part in parts {
                let part = wanted(name, Some(part))?;
                fuel.bytes(part.len())?;
                if matches(&part) {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        "count" | "find" | "index" | "rfind" | "rindex" => {
            let [part, start, end] = args.bind(name, ["sub", "start", "end"], 1)?;
            let part = wanted(name, part.as_ref())?;
            let window = window(text, &start, &end, name)?;
            let inside = window.clone().map_or("", |window| &text.as_str()[window]);
            if name == "count" {
                let count = match (window, part.is_empty()) {
                    (None, _) => 0,
                    (_, true) => inside.chars().count() + 1,
                    _ => inside.matches(part.as_str()).count(),
                };
                return Ok(Value::int(count));
            }
            let found = match (window, name) {
                (None, _) => None,
                (Some(window), "find" | "index") => inside.find(part.as_str()).map(|at| window.start + at),
                (Some(window), _) => inside.rfind(part.as_str()).map(|at| window.start + at),
            };
            match found {
                Some(at) => Ok(Value::int(text.as_str()[..at].chars().count())),
                None if name.ends_with("index") => fail("substring not found"),
                None => Ok(Value::Int(-1)),
            }
        }
        "split" | "rsplit" => {
            let [separator, most] = args.bind(name, ["sep", "maxsplit"], 0)?;
            let most = integer(name, most.as_ref())?.and_then(|most| usize::try_from(most).ok());
            let most = most.unwrap_or(usize::MAX);
            let parts = match separator {
                None | Some(Value::None) => split_blanks(text, most, name == "rsplit", fuel)?,
                separator => {
                    let separator = wanted(name, separator.as_ref())?;
                    if separator.is_empty() {
                        return fail("empty separator");
                    }
                    split_at(text, &separator, most, name == "rsplit", fuel)?
                }
            };
            texts(text, parts, fuel)
        }
        "splitlines" => {
            fuel.letters(text.len())?;
            let [keep] = args.bind(name, ["keepends"], 0)?;
            let lines = splitlines(text.as_str(), keep.is_some_and(|keep| keep.is_true()), fuel)?;
            texts(text, lines, fuel)
        }
        _ => {
            let [separator] = args.bind(name, ["sep"], 1)?;
            let separator = wanted(name, separator.as_ref())?;
            if separator.is_empty() {
                return fail("empty separator");
            }
            let last = name == "rpartition";
            let plain = text.as_str();
            let found = if last { plain.rfind(separator.as_str()) } else { plain.find(separator.as_str()) };
            let cuts = match (found, last) {
                (Some(at), _) => [at, at + separator.len()],
                (None, true) => [0, 0],
                (None, false) => [text.len(), text.len()],
            };
            let parts = [0..cuts[0], cuts[0]..cuts[1], cuts[1]..text.len()];
            Value::tuple(parts.map(|part| Value::Text(text.slice(part))).to_vec(), fuel)
        }
    }
}

fn texts(text: &Text, parts: Vec<Range<usize>>, fuel: &Fuel) -> Result<Value> {
    fuel.places(parts.len())?;
    Value::list(parts.into_iter().map(|part| Value::Text(text.slice(part))).collect(), fuel)
}

/// The bytes between the characters `start` and `end`; none if `start` is behind the text.
fn window(
    text: &Text,
    start: &Option<Value>,
    end: &Option<Value>,
    what: &str,
) -> Result<Option<Range<usize>>> {
    let (start, end) = (integer(what, start.as_ref())?, integer(what, end.as_ref())?);
    if start.is_none() && end.is_none() {
        return Ok(Some(0..text.len()));
    }
    let count = i64::try_from(text.as_str().chars().count()).unwrap_or(i64::MAX);
    let clamp = |at: i64| if at < 0 { (at.saturating_add(count)).max(0) } else { at };
    let (start, end) = (clamp(start.unwrap_or(0)), clamp(end.unwrap_or(count)).min(count));
    if start > end {
        return Ok(None);
    }
    let byte = |at: i64| {
        let at = usize::try_from(at).unwrap_or(0);
        text.as_str().char_indices().nth(at).map_or(text.len(), |(at, _)| at)
    };
    Ok(Some(byte(start)..byte(end)))
}

/// The words between white space, at most `most` of them cut off, from the end if `last`.
fn split_blanks(text: &Text, most: usize, last: bool, fuel: &Fuel) -> Result<Vec<Range<usize>>> {
    let plain = text.as_str();
    let mut all = words(plain, fuel)?;
    if all.len() <= most {
        return Ok(all);
    }
    if last {
        let rest = all.len() - most;
        let kept = all.split_off(rest);
        let end = all.last().map_or(0, |word| word.end);
        // The rest keeps the white space at its beginning only if nothing of it was asked for.
        let start = if rest == 0 { end } else { 0 };
        return Ok(std::iter::once(start..end).chain(kept).collect());
    }
    let start = all[most].start;
    all.truncate(most);
    all.push(start..plain.len());
    Ok(all)
}

/// The words between white space.
pub(in super::super) fn words(plain: &str, fuel: &Fuel) -> Result<Vec<Range<usize>>> {
    let mut words = Vec::new();
    let mut start = 0;
    while let Some(first) = plain[start..].find(|letter| !is_python_space(letter)) {
        fuel.places(1)?;
        start += first;
        let end = plain[start..].find(is_python_space).map_or(plain.len(), |len| start + len);
        words.push(start..end);
        start = end;
    }
    Ok(words)
}

/// What Python's `str` counts as white space.
pub(in super::super) fn is_python_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
}

fn split_at(
    text: &Text,
    separator: &Text,
    most: usize,
    last: bool,
    fuel: &Fuel,
) -> Result<Vec<Range<usize>>> {
    let (plain, separator) = (text.as_str(), separator.as_str());
    let mut parts = Vec::new();
    if last {
        let mut end = plain.len();
        while parts.len() < most {
            let Some(at) = plain[..end].rfind(separator) else { break };
            fuel.places(1)?;
            parts.push(at + separator.len()..end);
            end = at;
        }
        parts.push(0..end);
        parts.reverse();
        return Ok(parts);
    }
    let mut start = 0;
    for (at, _) in plain.match_indices(separator).take(most) {
        fuel.places(1)?;
        parts.push(start..at);
        start = at + separator.len();
    }
    parts.push(start..plain.len());
    Ok(parts)
}

/// The lines of a text, with their ends if `keep`.
pub(in super::super) fn splitlines(plain: &str, keep: bool, fuel: &Fuel) -> Result<Vec<Range<usize>>> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut letters = plain.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let ends = matches!(
            letter,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        if !ends {
            continue;
        }
        let mut next = at + letter.len_utf8();
        if letter == '\r' && letters.next_if(|&(_, letter)| letter == '\n').is_some() {
            next += 1;
        }
        fuel.places(1)?;
        lines.push(start..if keep { next } else { at });
        start = next;
    }
    if start < plain.len() {
        lines.push(start..plain.len());
    }
    Ok(lines)
}
