//! `'{}'.format(value)`.

use super::super::fault::{Fault, Result, fail};
use super::super::run::{Args, Heap};
use super::super::text::{Builder, Text};
use super::super::value::Value;
use super::{Spec, number_value, pad_text};

/// `text.format(...)`.
pub(in super::super) fn braces(heap: &Heap, text: &Text, args: &Args) -> Result<Text> {
    let mut automatic = Some(0);
    braces_within(heap, text, args, &mut automatic, 2)
}

fn braces_within(
    heap: &Heap,
    text: &Text,
    args: &Args,
    automatic: &mut Option<usize>,
    levels: usize,
) -> Result<Text> {
    let plain = text.as_str();
    heap.fuel.bytes(text.len())?;
    if levels == 0 {
        return fail("a format is nested too deeply");
    }
    let mut output = Builder::default();
    let mut done = 0;
    while let Some(found) = plain[done..].find(['{', '}']) {
        let at = done + found;
        output.push_part(text, done..at);
        heap.fuel.step()?;
        let doubled = plain[at + 1..].starts_with(&plain[at..=at]);
        if doubled {
            output.push_part(text, at..at + 1);
            done = at + 2;
            continue;
        }
        if plain[at..].starts_with('}') {
            return fail("single `}` in a format string");
        }
        let mut open = 0usize;
        let close = plain[at..].char_indices().find(|&(_, letter)| {
            match letter {
                '{' => open += 1,
                '}' => open -= 1,
                _ => {}
            }
            open == 0
        });
        let Some((len, _)) = close else { return fail("`{` in a format string is not closed") };
        let field = text.slice(at + 1..at + len);
        done = at + len + 1;
        replacement(heap, &field, args, automatic, levels, &mut output)?;
    }
    output.push_part(text, done..text.len());
    Ok(output.finish().marked(text.is_safe()))
}

/// Writes the value of one field, such as `name.part!r:>8`.
fn replacement(
    heap: &Heap,
    field: &Text,
    args: &Args,
    automatic: &mut Option<usize>,
    levels: usize,
    output: &mut Builder,
) -> Result<()> {
    let plain = field.as_str();
    // A `:` or `!` inside of brackets belongs to a key.
    let mut bracket = false;
    let end = plain.find(|letter: char| {
        match letter {
            '[' => bracket = true,
            ']' => bracket = false,
            _ => {}
        }
        !bracket && matches!(letter, ':' | '!')
    });
    let (path, rest) = plain.split_at(end.unwrap_or(plain.len()));
    let value = heap.field_of(path, args, automatic)?;
    let mut at = path.len();
    let value = match rest.strip_prefix('!').and_then(|rest| rest.chars().next()) {
        Some(conversion) => {
            at += 1 + conversion.len_utf8();
            match conversion {
                's' => Value::Text(heap.print(&value)?.marked(false)),
                'r' | 'a' => Value::Text(heap.repr(&value)?),
                other => return fail(format!("unknown conversion `!{other}` in a format string")),
            }
        }
        None => value,
    };
    let spec = match plain[at..].strip_prefix(':') {
        None if at == plain.len() => Text::own(""),
        None => return fail("expected `:` after the conversion in a format string"),
        Some(_) => {
            let spec = field.slice(at + 1..plain.len());
            if spec.as_str().contains('{') {
                braces_within(heap, &spec, args, automatic, levels - 1)?
            } else {
                spec
            }
        }
    };
    if !field.is_safe() {
        return write_formatted(heap, &value, &spec, output);
    }
    if value.as_text().is_some_and(Text::is_safe) {
        if !spec.is_empty() {
            return fail("HTML cannot be padded");
        }
        return heap.write(&value, output);
    }
    let mut formatted = Builder::default();
    write_formatted(heap, &value, &spec, &mut formatted)?;
    heap.fuel.letters(formatted.len())?;
    output.push(&formatted.finish().escaped());
    Ok(())
}

impl Heap {
    /// The value that `path` names, such as `0`, `name` or `name.part[key]`.
    fn field_of(&self, path: &str, args: &Args, automatic: &mut Option<usize>) -> Result<Value> {
        let first = path.find(['.', '[']).unwrap_or(path.len());
        let (name, mut rest) = path.split_at(first);
        let position = match (name, *automatic) {
            ("", Some(next)) => {
                *automatic = Some(next + 1);
                Some(next)
            }
            _ => number(name),
        };
        let mut value = match position {
            Some(position) => {
                let value = args.values.get(position).cloned();
                value.ok_or_else(|| Fault::new(format!("a format string has no argument {position}")))?
            }
            None => {
                let found = args.named.iter().find(|(known, _)| known.as_str() == name);
                let found = found.map(|(_, value)| value.clone());
                found.ok_or_else(|| Fault::new(format!("a format string has no argument `{name}`")))?
            }
        };
        while !rest.is_empty() {
            self.fuel.step()?;
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                value = self.attribute(&value, &after[..end])?;
                rest = &after[end..];
            } else if let Some((key, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                let key = number(key).map_or_else(|| Value::text(key), Value::Int);
                value = self.item(&value, &key)?;
                rest = after;
            } else {
                return fail("a field of a format string is not closed");
            }
        }
        Ok(value)
    }
}

/// The number that `text` is if it has only digits; a text with a sign is a name, as in Python.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Writes `format(value, spec)`.
fn write_formatted(heap: &Heap, value: &Value, spec: &Text, output: &mut Builder) -> Result<()> {
    if spec.is_empty() {
        return heap.write(value, output);
    }
    let parsed = Spec { fill_origin: spec.origin(), ..parse(spec.as_str())? };
    let spec = spec.as_str();
    let unknown = || fail(format!("`{spec}` is no format for `{}`", value.kind()));
    match value {
        Value::Text(text) => match parsed.kind {
            None | Some('s') if parsed.align != Some('=') => pad_text(heap, text, &parsed, output),
            _ => unknown(),
        },
        Value::Bool(_) if parsed.kind.is_none() => number_value(heap, value, &parsed, output),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => match parsed.kind {
            Some('s') => unknown(),
            _ => number_value(heap, value, &parsed, output),
        },
        _ => unknown(),
    }
}

fn parse(spec: &str) -> Result<Spec> {
    let mut parsed = Spec::default();
    let letters: Vec<char> = spec.chars().collect();
    let mut at = 0;
    let is_align = |letter: Option<&char>| letter.is_some_and(|letter| "<>^=".contains(*letter));
    if is_align(letters.get(1)) {
        (parsed.fill, parsed.align) = (letters[0], Some(letters[1]));
        at = 2;
    } else if is_align(letters.first()) {
        parsed.align = Some(letters[0]);
        at = 1;
    }
    let mut take = |wanted: &str| {
        let found = letters.get(at).copied().filter(|letter| wanted.contains(*letter));
        at += usize::from(found.is_some());
        found
    };
    parsed.sign = take("+- ").unwrap_or('-');
    parsed.alternate = take("#").is_some();
    if take("0").is_some() && parsed.align.is_none() {
        (parsed.fill, parsed.align) = ('0', Some('='));
    }
    let digits = |take: &mut dyn FnMut(&str) -> Option<char>| {
        let mut number = None;
        while let Some(digit) = take("0123456789").and_then(|digit| digit.to_digit(10)) {
            number = Some(number.unwrap_or(0usize).saturating_mul(10).saturating_add(digit as usize));
        }
        number
    };
    parsed.width = digits(&mut take).unwrap_or(0);
    parsed.group = take(",_");
    if take(".").is_some() {
        parsed.precision = digits(&mut take);
        if parsed.precision.is_none() {
            return fail("a format has no precision after `.`");
        }
    }
    parsed.kind = take("bcdeEfFgGnosxX%");
    if at < letters.len() { fail(format!("`{spec}` is no format")) } else { Ok(parsed) }
}
