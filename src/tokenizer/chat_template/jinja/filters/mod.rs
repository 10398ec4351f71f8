//! Jinja's filters, and the `tojson` of `transformers`.

mod number;
mod select;
mod sequence;
mod text;

use super::fault::{Result, fail};
use super::run::{Args, Heap};
use super::text::Text;
use super::value::Value;

impl Heap {
    /// `value | name(args)`.
    pub(super) fn filter(&self, name: &str, value: Value, args: Args) -> Result<Value> {
        // `map` calls filters again, and so `map` itself.
        self.deeper(|| self.filter_here(name, value, args))
    }

    fn filter_here(&self, name: &str, value: Value, args: Args) -> Result<Value> {
        self.fuel.step()?;
        match name {
            "default" | "d" => {
                let [default, falsy] = args.bind(name, ["default_value", "boolean"], 0)?;
                let replaced = matches!(value, Value::Undefined(_))
                    || (falsy.is_some_and(|falsy| falsy.is_true()) && !value.is_true());
                Ok(if replaced { default.unwrap_or_else(|| Value::text("")) } else { value })
            }
            "attr" => {
                let [attribute] = args.bind(name, ["name"], 1)?;
                let attribute = string(name, attribute.as_ref())?;
                match &value {
                    // The filter finds attributes, never the items of a map.
                    Value::Dict(_) if !super::methods::known(&value, attribute.as_str()) => {
                        Ok(Value::undefined(format!("an attribute of `{}`", value.kind())))
                    }
                    _ => self.attribute(&value, attribute.as_str()),
                }
            }
            "tojson" => self.to_json(&value, args),
            "safe" | "string" => {
                let [] = args.bind(name, [], 0)?;
                let text = self.print(&value)?;
                let safe = name == "safe" || text.is_safe();
                Ok(Value::Text(text.marked(safe)))
            }
            "pprint" => {
                let [] = args.bind(name, [], 0)?;
                self.repr(&value).map(Value::Text)
            }
            "abs" | "int" | "float" | "round" | "filesizeformat" => number::call(self, name, &value, args),
            "batch" | "slice" | "count" | "length" | "first" | "last" | "list" | "items" | "join"
            | "reverse" => sequence::call(self, name, &value, args),
            "map" | "select" | "reject" | "selectattr" | "rejectattr" | "sort" | "dictsort" | "unique"
            | "min" | "max" | "sum" | "groupby" => select::call(self, name, &value, args),
            _ if text::NAMES.contains(&name) => text::call(self, name, &value, args).map(Value::Text),
            "wordcount" => {
                let [] = args.bind(name, [], 0)?;
                let text = self.print(&value)?;
                self.fuel.letters(text.len())?;
                let parts = text.as_str().split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
                Ok(Value::int(parts.filter(|part| !part.is_empty()).count()))
            }
            other => fail(format!("there is no filter `{other}`")),
        }
    }
}

/// Whether there is a filter `name`, for the test of that name.
pub(super) fn known(name: &str) -> bool {
    const OTHERS: &str = "default d attr tojson safe string pprint abs int float round filesizeformat batch slice \
        count length first last list items join reverse map select reject selectattr rejectattr sort dictsort unique \
        min max sum groupby wordcount";
    text::NAMES.contains(&name) || OTHERS.split_ascii_whitespace().any(|other| other == name)
}

/// The string that the filter `what` got as an argument.
fn string(what: &str, value: Option<&Value>) -> Result<Text> {
    match value {
        Some(Value::Text(text)) => Ok(text.clone()),
        other => fail(format!("`{what}` needs a string, not `{}`", other.map_or("nothing", Value::kind))),
    }
}
