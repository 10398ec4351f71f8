//! Equality, order and membership, as in Python. Every value that is visited is paid for.

use std::cmp::Ordering;

use super::ast::Compare;
use super::fault::{Fuel, Result, fail};
use super::value::{IterKind, Value};

/// `left operator right`.
pub(super) fn compare(operator: Compare, left: &Value, right: &Value, fuel: &Fuel) -> Result<bool> {
    Ok(match operator {
        Compare::Equal => equal(left, right, fuel)?,
        Compare::NotEqual => !equal(left, right, fuel)?,
        Compare::Less => order(left, right, "<", fuel)? == Some(Ordering::Less),
        Compare::LessOrEqual => order(left, right, "<=", fuel)?.is_some_and(Ordering::is_le),
        Compare::Greater => order(left, right, ">", fuel)? == Some(Ordering::Greater),
        Compare::GreaterOrEqual => order(left, right, ">=", fuel)?.is_some_and(Ordering::is_ge),
        Compare::In => contains(right, left, fuel)?,
        Compare::NotIn => !contains(right, left, fuel)?,
    })
}

pub(super) fn equal(left: &Value, right: &Value, fuel: &Fuel) -> Result<bool> {
    fuel.step()?;
    Ok(match (left, right) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Text(left), Value::Text(right)) => {
            if left.len() == right.len() {
                fuel.bytes(left.len())?;
            }
            left == right
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            left.values.len() == right.values.len() && all_equal(&left.values, &right.values, fuel)?
        }
        (Value::Dict(left), Value::Dict(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (key, value) in left.entries() {
                match right.get(&key.key(fuel)?) {
                    Some(other) if equal(value, other, fuel)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Range(left), Value::Range(right)) => {
            let same = |index: usize| left.len() <= index || left.at(index) == right.at(index);
            left.len() == right.len() && same(0) && same(1)
        }
        (Value::Namespace(left), Value::Namespace(right)) => left == right,
        (Value::Function(left), Value::Function(right)) => left == right,
        _ => match (left.as_int(), right.as_int()) {
            (Some(left), Some(right)) => left == right,
            _ => match (left.as_float(), right.as_float()) {
                (Some(left), Some(right)) => left == right,
                _ => same_object(left, right),
            },
        },
    })
}

fn all_equal(left: &[Value], right: &[Value], fuel: &Fuel) -> Result<bool> {
    for (left, right) in left.iter().zip(right) {
        if !equal(left, right, fuel)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether both are one object, for Python's `is`.
pub(super) fn same_object(left: &Value, right: &Value) -> bool {
    use std::rc::Rc;
    match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => {
            left.len() == right.len()
                && (left.len() <= 1 || std::sync::Arc::ptr_eq(&left.shared(), &right.shared()))
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            Rc::ptr_eq(left, right)
        }
        (Value::Dict(left), Value::Dict(right)) => Rc::ptr_eq(left, right),
        (Value::Iter(left), Value::Iter(right)) => Rc::ptr_eq(left, right),
        (Value::Macro(left), Value::Macro(right)) => Rc::ptr_eq(left, right),
        (Value::Loop(left), Value::Loop(right)) => Rc::ptr_eq(left, right),
        (Value::Namespace(left), Value::Namespace(right)) => left == right,
        _ => false,
    }
}

/// The order of two values; none for numbers that have none. `sign` is for the message if the kinds cannot be
/// ordered.
pub(super) fn order(left: &Value, right: &Value, sign: &str, fuel: &Fuel) -> Result<Option<Ordering>> {
    fuel.step()?;
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return Ok(Some(left.cmp(&right)));
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        return Ok(left.partial_cmp(&right));
    }
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            fuel.bytes(left.len().min(right.len()))?;
            Ok(Some(left.as_str().cmp(right.as_str())))
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            for (left, right) in left.values.iter().zip(&right.values) {
                if !equal(left, right, fuel)? {
                    return order(left, right, sign, fuel);
                }
            }
            Ok(Some(left.values.len().cmp(&right.values.len())))
        }
        (Value::Undefined(what), _) | (_, Value::Undefined(what)) => fail(format!("{what} is undefined")),
        _ => fail(format!("`{sign}` cannot compare `{}` with `{}`", left.kind(), right.kind())),
    }
}

/// `value in container`.
pub(super) fn contains(container: &Value, value: &Value, fuel: &Fuel) -> Result<bool> {
    match (container, value) {
        (Value::Text(text), Value::Text(part)) => {
            fuel.bytes(text.len())?;
            Ok(text.as_str().contains(part.as_str()))
        }
        (Value::Text(_), other) => {
            fail(format!("`in` needs a string on its left for a string, not `{}`", other.kind()))
        }
        (Value::Dict(dict), key) => Ok(dict.get(&key.key(fuel)?).is_some()),
        (Value::List(items) | Value::Tuple(items), value) => any_equal(&items.values, value, fuel),
        (Value::Range(range), value) => {
            let whole = match value {
                // Far outside of every range, so that the difference below is small enough.
                Value::Float(number) if number.abs() < 1e20 && number.fract() == 0.0 => Some(*number as i128),
                value => value.as_int().map(i128::from),
            };
            Ok(whole.is_some_and(|number| {
                let (offset, step) = (number - i128::from(range.start), i128::from(range.step));
                offset % step == 0 && usize::try_from(offset / step).is_ok_and(|at| at < range.len())
            }))
        }
        (Value::Iter(iter), value) if iter.kind == IterKind::Generator => {
            // The search takes what it passes.
            loop {
                let next = iter.items.borrow_mut().pop_front();
                let Some(next) = next else { return Ok(false) };
                fuel.places(1)?;
                if equal(&next, value, fuel)? {
                    return Ok(true);
                }
            }
        }
        (container, value) => match container.items(fuel) {
            Ok(values) => any_equal(&values, value, fuel),
            Err(fault) if matches!(fault.cause, super::fault::Cause::Fuel) => Err(fault),
            Err(_) => fail(format!("`in` cannot search `{}`", container.kind())),
        },
    }
}

fn any_equal(values: &[Value], value: &Value, fuel: &Fuel) -> Result<bool> {
    for other in values {
        if equal(other, value, fuel)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sorts `values` by `key`, equal ones in their order.
///
/// It is written out, because the comparison can fail, and because numbers that are no numbers have no order: the
/// sort of the standard library may panic on those.
pub(super) fn sorted<T>(
    values: Vec<T>,
    reverse: bool,
    fuel: &Fuel,
    key: impl Fn(&T) -> &Value + Copy,
) -> Result<Vec<T>> {
    fuel.places(values.len())?;
    if values.len() < 2 {
        return Ok(values);
    }
    let mut left = values;
    let right = left.split_off(left.len() / 2);
    let mut left = sorted(left, reverse, fuel, key)?.into_iter().peekable();
    let mut right = sorted(right, reverse, fuel, key)?.into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    while let (Some(first), Some(second)) = (left.peek(), right.peek()) {
        let (first, second) = (key(first), key(second));
        let later = if reverse { order(first, second, "<", fuel) } else { order(second, first, "<", fuel) };
        let next = if later? == Some(Ordering::Less) { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}
