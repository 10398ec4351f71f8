//! Jinja's tests, behind `is`.

use super::ast::Compare;
use super::compare::{compare, same_object};
use super::fault::{Fuel, Result, fail};
use super::filters;
use super::run::{Args, Heap};
use super::text::Text;
use super::value::Value;

impl Heap {
    /// `value is name(args)`.
    pub(super) fn test(&self, name: &str, value: &Value, args: Args) -> Result<bool> {
        let fuel = &self.fuel;
        fuel.step()?;
        let comparison = match name {
            "eq" | "equalto" | "==" => Some(Compare::Equal),
            "ne" | "!=" => Some(Compare::NotEqual),
            "lt" | "lessthan" | "<" => Some(Compare::Less),
            "le" | "<=" => Some(Compare::LessOrEqual),
            "gt" | "greaterthan" | ">" => Some(Compare::Greater),
            "ge" | ">=" => Some(Compare::GreaterOrEqual),
            "in" => Some(Compare::In),
            _ => None,
        };
        if let Some(comparison) = comparison {
            let [other] = args.bind(name, ["other"], 1)?;
            return compare(comparison, value, &other.unwrap_or(Value::None), fuel);
        }
        match name {
            "sameas" => {
                let [other] = args.bind(name, ["other"], 1)?;
                return Ok(same_object(value, &other.unwrap_or(Value::None)));
            }
            "divisibleby" => {
                let [number] = args.bind(name, ["num"], 1)?;
                return match (value.as_int(), number.as_ref().and_then(Value::as_int)) {
                    (_, Some(0)) => fail("division by zero"),
                    (Some(value), Some(number)) => Ok(value.wrapping_rem(number) == 0),
                    _ => fail("`divisibleby` needs integers"),
                };
            }
            _ => {}
        }
        let [] = args.bind(name, [], 0)?;
        Ok(match name {
            "defined" => !matches!(value, Value::Undefined(_)),
            "undefined" => matches!(value, Value::Undefined(_)),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "number" => matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_)),
            "string" => matches!(value, Value::Text(_)),
            "mapping" => matches!(value, Value::Dict(_)),
            "sequence" => is_sequence(value),
            "iterable" => is_sequence(value) || matches!(value, Value::Iter(_) | Value::Loop(_)),
            "callable" => {
                matches!(
                    value,
                    Value::Function(_)
                        | Value::Method(_)
                        | Value::Macro(_)
                        | Value::Loop(_)
                        | Value::Joiner(_)
                ) || matches!(value, Value::Undefined(_))
            }
            "escaped" => value.as_text().is_some_and(Text::is_safe),
            "odd" | "even" => {
                let Some(number) = value.as_int() else {
                    return fail(format!("`{name}` needs an integer, not `{}`", value.kind()));
                };
                (number % 2 == 0) == (name == "even")
            }
            "lower" | "upper" => {
                let text = self.print(value)?;
                fuel.bytes(text.len())?;
                let upper = text.as_str().chars().any(char::is_uppercase);
                let lower = text.as_str().chars().any(char::is_lowercase);
                upper != lower && upper == (name == "upper")
            }
            "filter" | "test" => named(name, value, fuel)?,
            other => return fail(format!("there is no test `{other}`")),
        })
    }
}

/// Whether `value` is the name of a filter or a test.
fn named(what: &str, value: &Value, fuel: &Fuel) -> Result<bool> {
    const TESTS: &str = "eq equalto == ne != lt lessthan < le <= gt greaterthan > ge >= in sameas divisibleby defined \
        undefined none boolean true false integer float number string mapping sequence iterable callable escaped odd \
        even lower upper filter test";
    let Some(name) = value.as_text() else { return Ok(false) };
    fuel.bytes(name.len())?;
    Ok(match what {
        "filter" => filters::known(name.as_str()),
        _ => TESTS.split_ascii_whitespace().any(|known| known == name.as_str()),
    })
}

/// Whether a value has a length and items.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value,
        Value::Undefined(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Tuple(_)
            | Value::Dict(_)
            | Value::Range(_)
    )
}
