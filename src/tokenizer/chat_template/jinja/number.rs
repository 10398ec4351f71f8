//! Python's operators on numbers, texts and lists.

use super::ast::Binary;
use super::fault::{Result, fail};
use super::format;
use super::run::Heap;
use super::text::Builder;
use super::value::Value;

impl Heap {
    /// `left operator right`.
    pub(super) fn binary(&self, operator: Binary, left: &Value, right: &Value) -> Result<Value> {
        for value in [left, right] {
            // `'%s' % undefined` writes nothing.
            let formats = operator == Binary::Mod && matches!(left, Value::Text(_));
            if let (Value::Undefined(what), false) = (value, formats) {
                return fail(format!("{what} is undefined"));
            }
        }
        match (operator, left, right) {
            (Binary::Add, Value::Text(left), Value::Text(right)) => {
                self.fuel.bytes(left.len() + right.len())?;
                if left.is_safe() || right.is_safe() {
                    self.fuel.letters(left.len() + right.len())?;
                }
                return Ok(Value::Text(left.plus(right)));
            }
            (Binary::Add, Value::List(left), Value::List(right)) => {
                self.fuel.places(left.values.len() + right.values.len())?;
                return Value::list([&left.values[..], &right.values[..]].concat(), &self.fuel);
            }
            (Binary::Add, Value::Tuple(left), Value::Tuple(right)) => {
                self.fuel.places(left.values.len() + right.values.len())?;
                return Value::tuple([&left.values[..], &right.values[..]].concat(), &self.fuel);
            }
            (Binary::Mul, Value::Text(_) | Value::List(_) | Value::Tuple(_), _) => {
                if let Some(count) = right.as_int() {
                    return self.repeat(left, count);
                }
            }
            (Binary::Mul, _, Value::Text(_) | Value::List(_) | Value::Tuple(_)) => {
                if let Some(count) = left.as_int() {
                    return self.repeat(right, count);
                }
            }
            (Binary::Mod, Value::Text(text), arguments) => {
                return Ok(Value::Text(format::percent(self, text, arguments)?));
            }
            _ => {}
        }
        if let (Some(left), Some(right)) = (left.as_int(), right.as_int())
            && let Some(result) = integers(operator, left, right)?
        {
            return Ok(result);
        }
        if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
            return floats(operator, left, right).map(Value::Float);
        }
        let (left, right) = (left.kind(), right.kind());
        fail(format!("`{}` cannot join `{left}` and `{right}`", sign(operator)))
    }

    /// `value` `count` times in a row.
    fn repeat(&self, value: &Value, count: i64) -> Result<Value> {
        let count = usize::try_from(count).unwrap_or(0);
        match value {
            Value::Text(text) => {
                self.fuel.bytes(text.len().saturating_mul(count))?;
                let mut result = Builder::default();
                result.fill(text, if text.is_empty() { 0 } else { count });
                Ok(Value::Text(result.finish().marked(text.is_safe())))
            }
            Value::List(items) => {
                self.fuel.places(items.values.len().saturating_mul(count))?;
                Value::list(repeated(&items.values, count), &self.fuel)
            }
            Value::Tuple(items) => {
                self.fuel.places(items.values.len().saturating_mul(count))?;
                Value::tuple(repeated(&items.values, count), &self.fuel)
            }
            other => fail(format!("`*` cannot repeat `{}`", other.kind())),
        }
    }
}

fn repeated(values: &[Value], count: usize) -> Vec<Value> {
    let len = values.len().saturating_mul(count);
    values.iter().cycle().take(len).cloned().collect()
}

fn sign(operator: Binary) -> &'static str {
    match operator {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::FloorDiv => "//",
        Binary::Mod => "%",
        Binary::Pow => "**",
    }
}

/// None where Python's result is no integer.
fn integers(operator: Binary, left: i64, right: i64) -> Result<Option<Value>> {
    if right == 0 && matches!(operator, Binary::Div | Binary::FloorDiv | Binary::Mod) {
        return fail("division by zero");
    }
    // Python rounds to the lower integer, and the rest has the sign of the divisor.
    let floor = || {
        let quotient = left.checked_div(right)?;
        let exact = left % right == 0 || (left < 0) == (right < 0);
        if exact { Some(quotient) } else { quotient.checked_sub(1) }
    };
    let result = match operator {
        Binary::Add => left.checked_add(right),
        Binary::Sub => left.checked_sub(right),
        Binary::Mul => left.checked_mul(right),
        Binary::FloorDiv => floor(),
        Binary::Mod => {
            let rest = left.checked_rem(right).unwrap_or(0);
            Some(if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest })
        }
        Binary::Pow if right >= 0 => u32::try_from(right).ok().and_then(|power| left.checked_pow(power)),
        Binary::Div | Binary::Pow => return Ok(None),
    };
    match result {
        Some(number) => Ok(Some(Value::Int(number))),
        None => fail(format!("the result of {left} {} {right} is too large", sign(operator))),
    }
}

fn floats(operator: Binary, left: f64, right: f64) -> Result<f64> {
    if right == 0.0 && matches!(operator, Binary::Div | Binary::FloorDiv | Binary::Mod) {
        return fail("division by zero");
    }
    let rest = || {
        let rest = left % right;
        if rest != 0.0 && (rest < 0.0) != (right < 0.0) { rest + right } else { rest }
    };
    Ok(match operator {
        Binary::Add => left + right,
        Binary::Sub => left - right,
        Binary::Mul => left * right,
        Binary::Div => left / right,
        Binary::FloorDiv => ((left - rest()) / right).round(),
        Binary::Mod => rest(),
        Binary::Pow => left.powf(right),
    })
}
