//! Filters for numbers.

use super::super::fault::{Result, fail};
use super::super::methods::integer;
use super::super::run::{Args, Heap};
use super::super::value::Value;

pub(super) fn call(heap: &Heap, name: &str, value: &Value, args: Args) -> Result<Value> {
    if let (Value::Undefined(what), "abs" | "round" | "filesizeformat") = (value, name) {
        return fail(format!("{what} is undefined"));
    }
    match name {
        "abs" => {
            let [] = args.bind(name, [], 0)?;
            match (value.as_int(), value) {
                (Some(number), _) => match number.checked_abs() {
                    Some(number) => Ok(Value::Int(number)),
                    None => fail("the number is too large"),
                },
                (None, Value::Float(number)) => Ok(Value::Float(number.abs())),
                _ => fail(format!("`abs` needs a number, not `{}`", value.kind())),
            }
        }
        "int" => {
            let [default, base] = args.bind(name, ["default", "base"], 0)?;
            let base = integer(name, base.as_ref())?.unwrap_or(10);
            if let Value::Text(text) = value {
                heap.fuel.bytes(text.len())?;
            }
            Ok(to_int(value, base).map(Value::Int).or(default).unwrap_or(Value::Int(0)))
        }
        "float" => {
            let [default] = args.bind(name, ["default"], 0)?;
            let number = match value {
                Value::Text(text) => {
                    heap.fuel.bytes(text.len())?;
                    parse_float(text.as_str())
                }
                other => other.as_float(),
            };
            Ok(number.map(Value::Float).or(default).unwrap_or(Value::Float(0.0)))
        }
        "round" => {
            let [precision, method] = args.bind(name, ["precision", "method"], 0)?;
            let precision = integer(name, precision.as_ref())?.unwrap_or(0);
            let method = method.as_ref().and_then(Value::as_text).map_or("common", |text| text.as_str());
            round(value, precision, method)
        }
        _ => {
            let [binary] = args.bind(name, ["binary"], 0)?;
            let number = match value {
                Value::Text(text) => parse_float(text.as_str()),
                other => other.as_float(),
            };
            match number {
                Some(number) => Ok(Value::text(&size(number, binary.is_some_and(|binary| binary.is_true())))),
                None => fail("`filesizeformat` needs a number"),
            }
        }
    }
}

/// Python's `int`, also of a text that reads as a float.
fn to_int(value: &Value, base: i64) -> Option<i64> {
    let whole = |number: f64| (number.abs() < 9e18).then_some(number as i64);
    match value {
        Value::Text(text) => {
            let text = text.as_str().trim();
            parse_int(text, base).or_else(|| whole(parse_float(text)?))
        }
        Value::Float(number) => whole(*number),
        other => other.as_int(),
    }
}

fn parse_int(text: &str, base: i64) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find_map(|(prefix, radix)| {
        let rest = digits.to_ascii_lowercase().strip_prefix(prefix)?.to_owned();
        (base == 0 || base == radix).then_some((rest, radix))
    });
    let (digits, base) = prefixed.unwrap_or((digits.to_owned(), if base == 0 { 10 } else { base }));
    // Rust's parser takes a second sign.
    let sound = digits.starts_with(|digit: char| digit.is_alphanumeric()) && !digits.contains("__");
    if !sound || digits.ends_with('_') {
        return None;
    }
    let radix = u32::try_from(base).ok().filter(|radix| (2..=36).contains(radix))?;
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{}", digits.replace('_', "")), radix).ok()
}

fn parse_float(text: &str) -> Option<f64> {
    text.trim().replace('_', "").parse().ok()
}

fn round(value: &Value, precision: i64, method: &str) -> Result<Value> {
    let Some(number) = value.as_float() else {
        return fail(format!("`round` needs a number, not `{}`", value.kind()));
    };
    let digits = precision.clamp(-300, 300) as i32;
    let scale = 10f64.powi(digits);
    match method {
        "common" => {
            if let (Some(number), true) = (value.as_int(), precision >= 0) {
                return Ok(Value::Int(number));
            }
            let rounded = match usize::try_from(digits) {
                // The printer rounds the exact value of the number, half to even, as Python does.
                Ok(digits) => format!("{number:.digits$}").parse().unwrap_or(number),
                Err(_) => (number * scale).round_ties_even() / scale,
            };
            Ok(if value.as_int().is_some() { Value::Int(rounded as i64) } else { Value::Float(rounded) })
        }
        "ceil" => Ok(Value::Float((number * scale).ceil() / scale)),
        "floor" => Ok(Value::Float((number * scale).floor() / scale)),
        _ => fail("the method of `round` must be common, ceil or floor"),
    }
}

fn size(bytes: f64, binary: bool) -> String {
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return "1 Byte".to_owned();
    }
    if bytes < base {
        return format!("{} Bytes", bytes.trunc());
    }
    let prefixes = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
    let at =
        (0..prefixes.len() - 1).find(|&at| bytes < base.powi(at as i32 + 2)).unwrap_or(prefixes.len() - 1);
    let unit = if binary { "iB" } else { "B" };
    let prefix = if binary { prefixes[at].to_uppercase() } else { prefixes[at].to_owned() };
    format!("{:.1} {prefix}{unit}", bytes / base.powi(at as i32 + 1))
}
