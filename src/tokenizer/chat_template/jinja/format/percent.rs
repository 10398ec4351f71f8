//! `'%s' % value`.

use super::super::fault::{Fault, Result, fail};
use super::super::run::Heap;
use super::super::text::{Builder, Text};
use super::super::value::Value;
use super::{Spec, coded, number_value, pad_number, pad_text};

/// `text % arguments`.
pub(in super::super) fn percent(heap: &Heap, text: &Text, arguments: &Value) -> Result<Text> {
    let plain = text.as_str();
    heap.fuel.bytes(text.len())?;
    let positional = match arguments {
        Value::Tuple(items) => &items.values[..],
        single => std::slice::from_ref(single),
    };
    let mut given = positional.iter();
    let mut output = Builder::default();
    let mut done = 0;
    let mut named = false;
    while let Some(found) = plain[done..].find('%') {
        output.push_part(text, done..done + found);
        let mut at = done + found + 1;
        heap.fuel.step()?;
        let incomplete = || Fault::new("incomplete format: text ends after `%`");
        let mut key = None;
        if plain[at..].starts_with('(') {
            let close = plain[at..].find(')').ok_or_else(incomplete)?;
            key = Some(&plain[at + 1..at + close]);
            at += close + 1;
        }
        let mut spec = Spec { align: Some('>'), ..Spec::default() };
        while let Some(flag) = plain[at..].chars().next().filter(|flag| "-+ #0".contains(*flag)) {
            match flag {
                '-' => spec.align = Some('<'),
                '0' if spec.align != Some('<') => (spec.fill, spec.align) = ('0', Some('=')),
                '0' => {}
                '#' => spec.alternate = true,
                sign => spec.sign = sign,
            }
            at += 1;
        }
        let mut next = || given.next().ok_or_else(|| Fault::new("not enough arguments for format string"));
        let star =
            |value: &Value| value.as_int().ok_or_else(|| Fault::new("`*` in a format needs an integer"));
        if plain[at..].starts_with('*') {
            let width = star(next()?)?;
            if width < 0 {
                (spec.fill, spec.align) = (' ', Some('<'));
            }
            spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
            at += 1;
        } else {
            spec.width = number(plain, &mut at).unwrap_or(0);
        }
        if plain[at..].starts_with('.') {
            at += 1;
            if plain[at..].starts_with('*') {
                spec.precision = Some(usize::try_from(star(next()?)?).unwrap_or(0));
                at += 1;
            } else {
                spec.precision = Some(number(plain, &mut at).unwrap_or(0));
            }
        }
        while plain[at..].starts_with(['h', 'l', 'L']) {
            at += 1;
        }
        let kind = plain[at..].chars().next().ok_or_else(incomplete)?;
        at += kind.len_utf8();
        done = at;
        if kind == '%' {
            output.push_part(text, at - 1..at);
            continue;
        }
        let value = match (key, arguments) {
            (Some(key), Value::Dict(dict)) => {
                named = true;
                dict.get_str(key).ok_or_else(|| Fault::new(format!("no `{key}` to format")))?
            }
            (Some(_), _) => return fail("format requires a mapping"),
            (None, _) => next()?,
        };
        percent_value(heap, text, kind, spec, value, &mut output)?;
    }
    output.push_part(text, done..text.len());
    let unused = given.next().is_some() && !named;
    if unused && !matches!(arguments, Value::Dict(_) | Value::List(_)) {
        return fail("not all arguments converted during string formatting");
    }
    Ok(output.finish().marked(text.is_safe()))
}

/// Writes `value` into `text`.
fn percent_value(
    heap: &Heap,
    text: &Text,
    kind: char,
    mut spec: Spec,
    value: &Value,
    output: &mut Builder,
) -> Result<()> {
    let wanted = |what: &str| fail(format!("%{kind} format: {what} is required, not `{}`", value.kind()));
    spec.kind = Some(kind);
    match kind {
        's' | 'r' | 'a' => {
            if spec.align == Some('=') {
                (spec.fill, spec.align) = (' ', Some('>'));
            }
            let shown = if kind == 's' { heap.print(value)? } else { heap.repr(value)? };
            if text.is_safe() {
                heap.fuel.letters(shown.len())?;
            }
            pad_text(heap, &text.fitted(shown), &spec, output)
        }
        'd' | 'i' | 'u' => {
            let whole = value.as_int().or(match value {
                Value::Float(number) if number.abs() < 9e18 => Some(number.trunc() as i64),
                _ => None,
            });
            let Some(number) = whole else { return wanted("a real number") };
            let digits = number.unsigned_abs().to_string();
            let zeros = spec.precision.take().map_or(0, |least| least.saturating_sub(digits.len()));
            heap.fuel.bytes(zeros)?;
            pad_number(heap, number < 0, "", &("0".repeat(zeros) + &digits), &spec, output)
        }
        'x' | 'X' | 'o' => match value.as_int() {
            Some(_) => {
                spec.precision = None;
                number_value(heap, value, &spec, output)
            }
            None => wanted("an integer"),
        },
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => match value.as_float() {
            Some(_) => number_value(heap, value, &spec, output),
            None => wanted("a real number"),
        },
        'c' => match value {
            Value::Text(text) if text.as_str().chars().count() == 1 => pad_text(heap, text, &spec, output),
            other => match other.as_int().and_then(|code| char::from_u32(u32::try_from(code).ok()?)) {
                Some(letter) => pad_text(heap, &coded(letter), &spec, output),
                None => wanted("a character"),
            },
        },
        other => fail(format!("unsupported format character `{other}`")),
    }
}

/// The digits at `at`, which moves behind them.
fn number(text: &str, at: &mut usize) -> Option<usize> {
    let digits = text[*at..].chars().take_while(char::is_ascii_digit).count();
    let run = &text[*at..*at + digits];
    *at += digits;
    (digits > 0).then(|| run.parse().unwrap_or(usize::MAX))
}
