//! Values as text, as Python's `str` and `repr` write them.

use super::fault::{Result, fail};
use super::run::Heap;
use super::text::{Builder, Text};
use super::value::{IterKind, Value};

/// Namespaces within each other that can be printed.
const DEPTH: usize = 100;

impl Heap {
    /// Python's `str` of a value.
    pub(super) fn print(&self, value: &Value) -> Result<Text> {
        if let Value::Text(text) = value {
            return Ok(text.clone());
        }
        let mut output = Builder::default();
        self.write(value, &mut output)?;
        Ok(output.finish())
    }

    /// Writes Python's `str` of a value.
    pub(super) fn write(&self, value: &Value, output: &mut Builder) -> Result<()> {
        match value {
            Value::Text(text) => {
                self.fuel.bytes(text.len())?;
                output.push(text);
                Ok(())
            }
            Value::Undefined(_) => Ok(()),
            other => self.write_repr(other, output, 0),
        }
    }

    /// Python's `repr` of a value.
    pub(super) fn repr(&self, value: &Value) -> Result<Text> {
        let mut output = Builder::default();
        self.write_repr(value, &mut output, 0)?;
        Ok(output.finish())
    }

    fn write_repr(&self, value: &Value, output: &mut Builder, depth: usize) -> Result<()> {
        self.fuel.step()?;
        match value {
            Value::Undefined(_) => output.push_own("Undefined"),
            Value::None => output.push_own("None"),
            Value::Bool(true) => output.push_own("True"),
            Value::Bool(false) => output.push_own("False"),
            Value::Int(number) => output.push_own(&number.to_string()),
            Value::Float(number) => output.push_own(&float(*number)),
            Value::Text(text) => {
                self.fuel.letters(text.len())?;
                if text.is_safe() {
                    output.push_own("Markup(");
                }
                quote(text, output);
                if text.is_safe() {
                    output.push_own(")");
                }
            }
            Value::List(items) => self.write_items("[", &items.values, "]", output, depth)?,
            Value::Tuple(items) => {
                let close = if items.values.len() == 1 { ",)" } else { ")" };
                self.write_items("(", &items.values, close, output, depth)?;
            }
            Value::Dict(dict) => self.write_entries(dict.entries(), output, depth)?,
            Value::Range(range) => {
                let step = if range.step == 1 { String::new() } else { format!(", {}", range.step) };
                output.push_own(&format!("range({}, {}{step})", range.start, range.stop));
            }
            Value::Iter(iter) if iter.kind != IterKind::Generator => {
                output.push_own(value.kind());
                let items = value.items(&self.fuel)?;
                self.write_items("([", &items, "])", output, depth)?;
            }
            Value::Namespace(place) => {
                if depth == DEPTH {
                    return fail(format!("namespaces are nested more than {DEPTH} deep"));
                }
                let entries = self.namespaces.borrow()[*place].entries().to_vec();
                self.fuel.places(entries.len())?;
                output.push_own("<Namespace ");
                self.write_entries(&entries, output, depth + 1)?;
                output.push_own(">");
            }
            Value::Macro(closure) => {
                output.push_own("<Macro '");
                output.push_own(&closure.declared.name);
                output.push_own("'>");
            }
            other => output.push_own(&format!("<{} object>", other.kind())),
        }
        Ok(())
    }

    fn write_items(
        &self,
        open: &str,
        values: &[Value],
        close: &str,
        output: &mut Builder,
        depth: usize,
    ) -> Result<()> {
        output.push_own(open);
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                output.push_own(", ");
            }
            self.write_repr(value, output, depth)?;
        }
        output.push_own(close);
        Ok(())
    }

    fn write_entries(&self, entries: &[(Value, Value)], output: &mut Builder, depth: usize) -> Result<()> {
        output.push_own("{");
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                output.push_own(", ");
            }
            self.write_repr(key, output, depth)?;
            output.push_own(": ");
            self.write_repr(value, output, depth)?;
        }
        output.push_own("}");
        Ok(())
    }
}

/// Writes `text` between quotation marks, with Python's escapes.
fn quote(text: &Text, output: &mut Builder) {
    let plain = text.as_str();
    let mark = if plain.contains('\'') && !plain.contains('"') { '"' } else { '\'' };
    let around = mark.to_string();
    output.push_own(&around);
    output.push(&text.map_chars(|letter, written| match letter {
        '\\' => written.push_str("\\\\"),
        '\n' => written.push_str("\\n"),
        '\r' => written.push_str("\\r"),
        '\t' => written.push_str("\\t"),
        letter if letter == mark => written.extend(['\\', letter]),
        letter if is_printable(letter) => written.push(letter),
        letter => written.push_str(&match u32::from(letter) {
            code @ 0..=0xff => format!("\\x{code:02x}"),
            code @ 0x100..=0xffff => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        }),
    }));
    output.push_own(&around);
}

/// Whether Python writes the character as it is. Characters that Unicode has not assigned count as printable here.
pub(super) fn is_printable(letter: char) -> bool {
    let invisible = matches!(
        letter,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{fffe}'..='\u{ffff}'
            | '\u{e0000}'..='\u{e007f}'
            | '\u{f0000}'..='\u{10ffff}'
    );
    letter == ' ' || !(letter.is_control() || letter.is_whitespace() || invisible)
}

/// A number as Python's `repr` writes it: the fewest digits that tell it apart.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
