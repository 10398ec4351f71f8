//! `tojson` as in `transformers`: Python's `json.dumps`, without the escapes that Jinja adds for HTML.

use super::compare::sorted;
use super::fault::{Result, fail};
use super::methods::integer;
use super::print::float;
use super::run::{Args, Heap};
use super::text::{Builder, Text};
use super::value::Value;

/// How values are laid out.
struct Layout {
    ascii: bool,
    /// What a level is indented by; none for one line.
    indent: Option<Text>,
    between: Text,
    after_key: Text,
    sorted: bool,
}

impl Heap {
    pub(super) fn to_json(&self, value: &Value, args: Args) -> Result<Value> {
        let [ascii, indent, separators, sort] =
            args.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"], 0)?;
        let indent = match indent {
            None | Some(Value::None) => None,
            Some(Value::Text(indent)) => Some(indent),
            indent => {
                let width = integer("tojson", indent.as_ref())?.unwrap_or(0);
                let width = usize::try_from(width).unwrap_or(0);
                self.fuel.bytes(width)?;
                Some(Text::own(&" ".repeat(width)))
            }
        };
        let (between, after_key) = match separators {
            None | Some(Value::None) => {
                (Text::own(if indent.is_some() { "," } else { ", " }), Text::own(": "))
            }
            Some(pair) => match &pair.items(&self.fuel)?[..] {
                [Value::Text(between), Value::Text(after_key)] => (between.clone(), after_key.clone()),
                _ => return fail("the separators of `tojson` are two strings"),
            },
        };
        let is_true = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        let layout = Layout { ascii: is_true(ascii), indent, between, after_key, sorted: is_true(sort) };
        let mut output = Builder::default();
        self.json(value, &layout, 0, &mut output)?;
        Ok(Value::Text(output.finish()))
    }

    fn json(&self, value: &Value, layout: &Layout, level: usize, output: &mut Builder) -> Result<()> {
        self.fuel.step()?;
        match value {
            Value::None => output.push_own("null"),
            Value::Bool(truth) => output.push_own(if *truth { "true" } else { "false" }),
            Value::Int(number) => output.push_own(&number.to_string()),
            Value::Float(number) => output.push_own(&json_float(*number)),
            Value::Text(text) => self.json_text(text, layout, output)?,
            Value::List(items) | Value::Tuple(items) => {
                let each = items.values.iter();
                self.json_items("[]", each, layout, level, output, |value, output| {
                    self.json(value, layout, level + 1, output)
                })?;
            }
            Value::Dict(dict) => {
                let mut entries: Vec<&(Value, Value)> = dict.entries().iter().collect();
                if layout.sorted {
                    entries = sorted(entries, false, &self.fuel, |(key, _)| key)?;
                }
                self.json_items("{}", entries.into_iter(), layout, level, output, |(key, value), output| {
                    match key {
                        Value::Text(text) => self.json_text(text, layout, output)?,
                        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                            output.push_own("\"");
                            self.json(key, layout, level, output)?;
                            output.push_own("\"");
                        }
                        other => return fail(format!("`{}` cannot be a key in JSON", other.kind())),
                    }
                    output.push(&layout.after_key);
                    self.json(value, layout, level + 1, output)
                })?;
            }
            Value::Undefined(what) => {
                return fail(format!("{what} is undefined and cannot be written as JSON"));
            }
            other => return fail(format!("`{}` cannot be written as JSON", other.kind())),
        }
        Ok(())
    }

    fn json_items<T>(
        &self,
        brackets: &str,
        items: impl ExactSizeIterator<Item = T>,
        layout: &Layout,
        level: usize,
        output: &mut Builder,
        mut write: impl FnMut(T, &mut Builder) -> Result<()>,
    ) -> Result<()> {
        let (open, close) = brackets.split_at(1);
        output.push_own(open);
        let count = items.len();
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.fuel.bytes(layout.between.len())?;
                output.push(&layout.between);
            }
            self.fuel.step()?;
            self.line(layout, level + 1, output)?;
            self.fuel.bytes(layout.after_key.len())?;
            write(item, output)?;
        }
        if count > 0 {
            self.line(layout, level, output)?;
        }
        output.push_own(close);
        Ok(())
    }

    fn line(&self, layout: &Layout, level: usize, output: &mut Builder) -> Result<()> {
        let Some(indent) = &layout.indent else { return Ok(()) };
        self.fuel.bytes(1 + level * indent.len())?;
        output.push_own("\n");
        output.fill(indent, level);
        Ok(())
    }

    fn json_text(&self, text: &Text, layout: &Layout, output: &mut Builder) -> Result<()> {
        self.fuel.letters(text.len())?;
        output.push_own("\"");
        output.push(&text.map_chars(|letter, written| match letter {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            '\x08' => written.push_str("\\b"),
            '\x0c' => written.push_str("\\f"),
            letter if u32::from(letter) < 0x20 || (layout.ascii && !(' '..='~').contains(&letter)) => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    written.push_str(&format!("\\u{unit:04x}"));
                }
            }
            letter => written.push(letter),
        }));
        output.push_own("\"");
        Ok(())
    }
}

fn json_float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float(number)
    }
}
