//! Python's two ways to fill values into a text: `'%s' % value` and `'{}'.format(value)`.

mod braces;
mod percent;

use super::fault::{Result, fail};
use super::print::float;
use super::run::Heap;
use super::text::{Builder, Origin, Text};
use super::value::Value;

pub(super) use braces::braces;
pub(super) use percent::percent;

/// Digits that a float may be written with.
const PRECISION: usize = 9999;

/// How a value is written: Python's `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
#[derive(Debug, Clone)]
struct Spec {
    fill: char,
    fill_origin: Origin,
    /// `<`, `>`, `^` or `=`; none for the default of the value's kind.
    align: Option<char>,
    sign: char,
    alternate: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            fill: ' ',
            fill_origin: Origin::Template,
            align: None,
            sign: '-',
            alternate: false,
            width: 0,
            group: None,
            precision: None,
            kind: None,
        }
    }
}

/// A character that a number stands for. The number may have been read from a message, so the character counts as the
/// message's.
fn coded(letter: char) -> Text {
    Text::new(&letter.to_string(), Origin::Content)
}

fn pad_text(heap: &Heap, text: &Text, spec: &Spec, output: &mut Builder) -> Result<()> {
    if spec.width == 0 && spec.precision.is_none() {
        heap.fuel.bytes(text.len())?;
        output.push(text);
        return Ok(());
    }
    let count = text.as_str().chars().count();
    let shown = spec.precision.map_or(count, |most| most.min(count));
    let end = text.as_str().char_indices().nth(shown).map_or(text.len(), |(at, _)| at);
    heap.fuel.bytes(text.len())?;
    let missing = spec.width.saturating_sub(shown);
    let before = match spec.align {
        Some('>') => missing,
        Some('^') => missing / 2,
        _ => 0,
    };
    heap.fuel.bytes(missing.saturating_mul(4))?;
    let fill = Text::new(&spec.fill.to_string(), spec.fill_origin);
    output.fill(&fill, before);
    output.push_part(text, 0..end);
    output.fill(&fill, missing - before);
    Ok(())
}

/// Writes a number by `spec`.
fn number_value(heap: &Heap, value: &Value, spec: &Spec, output: &mut Builder) -> Result<()> {
    let kind = spec.kind;
    if let (Some(code), Some('c')) = (value.as_int(), kind) {
        return match u32::try_from(code).ok().and_then(char::from_u32) {
            Some(letter) => pad_text(heap, &coded(letter), spec, output),
            None => fail(format!("{code} is no character")),
        };
    }
    if let (Some(number), None | Some('d' | 'n' | 'b' | 'o' | 'x' | 'X')) = (value.as_int(), kind) {
        let size = number.unsigned_abs();
        let (prefix, digits) = match kind {
            Some('b') => ("0b", format!("{size:b}")),
            Some('o') => ("0o", format!("{size:o}")),
            Some('x') => ("0x", format!("{size:x}")),
            Some('X') => ("0X", format!("{size:X}")),
            _ => ("", size.to_string()),
        };
        let prefix = if spec.alternate { prefix } else { "" };
        return pad_number(heap, number < 0, prefix, &digits, spec, output);
    }
    let Some(number) = value.as_float() else {
        return fail(format!("`{}` is no number", value.kind()));
    };
    if spec.precision.is_some_and(|digits| digits > PRECISION) {
        return fail(format!("a number is written with at most {PRECISION} digits"));
    }
    let size = number.abs();
    heap.fuel.bytes(spec.precision.unwrap_or(0))?;
    let negative = number.is_sign_negative() && !number.is_nan();
    let text = match kind {
        _ if !size.is_finite() => float(size),
        None if spec.precision.is_none() => float(size),
        Some('f' | 'F') => format!("{size:.*}", spec.precision.unwrap_or(6)),
        Some('%') => format!("{:.*}%", spec.precision.unwrap_or(6), size * 100.0),
        Some(letter @ ('e' | 'E')) => scientific(size, spec.precision.unwrap_or(6), letter),
        Some('g' | 'G' | 'n') | None => general(size, spec, kind),
        Some(other) => return fail(format!("`{other}` is no format for a float")),
    };
    pad_number(heap, negative, "", &text, spec, output)
}

fn scientific(size: f64, precision: usize, letter: char) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}{letter}{sign}{:02}", exponent.abs())
}

/// The shorter of the two notations with `precision` digits, zeros at the end left out.
fn general(size: f64, spec: &Spec, kind: Option<char>) -> String {
    let precision = spec.precision.unwrap_or(6).max(1);
    let rounded = format!("{size:.*e}", precision - 1);
    let exponent: i32 = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let limit = i32::try_from(precision).unwrap_or(i32::MAX) - i32::from(kind.is_none());
    let trimmed = |text: &str| {
        let zeros = text.contains('.') && !spec.alternate;
        if zeros { text.trim_end_matches('0').trim_end_matches('.') } else { text }.to_owned()
    };
    if exponent < -4 || exponent >= limit {
        let text = scientific(size, precision - 1, if kind == Some('G') { 'E' } else { 'e' });
        let split = text.find(['e', 'E']).unwrap_or(text.len());
        return trimmed(&text[..split]) + &text[split..];
    }
    let decimals = usize::try_from(precision as i64 - 1 - i64::from(exponent)).unwrap_or(0);
    let text = trimmed(&format!("{size:.decimals$}"));
    if kind.is_none() && !text.contains('.') { text + ".0" } else { text }
}

fn pad_number(
    heap: &Heap,
    negative: bool,
    prefix: &str,
    digits: &str,
    spec: &Spec,
    output: &mut Builder,
) -> Result<()> {
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, '+') => "+",
        (false, ' ') => " ",
        _ => "",
    };
    let mut digits = digits.to_owned();
    if let Some(mark) = spec.group {
        let whole = digits.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(digits.len());
        let every = if matches!(spec.kind, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
        let mut grouped = String::new();
        for (index, digit) in digits[..whole].chars().enumerate() {
            if index > 0 && (whole - index) % every == 0 {
                grouped.push(mark);
            }
            grouped.push(digit);
        }
        digits = grouped + &digits[whole..];
    }
    let missing = spec.width.saturating_sub(sign.len() + prefix.len() + digits.chars().count());
    heap.fuel.bytes(missing.saturating_mul(4))?;
    let fill = Text::new(&spec.fill.to_string(), spec.fill_origin);
    let (before, inside, after) = match spec.align {
        Some('<') => (0, 0, missing),
        Some('=') => (0, missing, 0),
        Some('^') => (missing / 2, 0, missing - missing / 2),
        _ => (missing, 0, 0),
    };
    output.fill(&fill, before);
    output.push_own(sign);
    output.push_own(prefix);
    output.fill(&fill, inside);
    output.push_own(&digits);
    output.fill(&fill, after);
    Ok(())
}
