//! Expressions.

use super::super::ast::{Arguments, Expr, Kind};
use super::super::compare::compare;
use super::super::fault::{Result, fail};
use super::super::text::{Builder, Text};
use super::super::value::{Dict, Value};
use super::{Args, Machine};

impl Machine<'_> {
    pub(super) fn eval(&mut self, expr: &Expr) -> Result<Value> {
        self.deeper(|machine| machine.eval_kind(expr)).map_err(|fault| fault.at(expr.line))
    }

    fn eval_kind(&mut self, expr: &Expr) -> Result<Value> {
        self.heap.fuel.step()?;
        match &expr.kind {
            Kind::None => Ok(Value::None),
            Kind::Bool(truth) => Ok(Value::Bool(*truth)),
            Kind::Int(number) => Ok(Value::Int(*number)),
            Kind::Float(number) => Ok(Value::Float(*number)),
            Kind::Text(text) => Ok(Value::Text(text.clone())),
            Kind::Name(name) => self.name(name),
            Kind::List(exprs) => {
                let values = self.eval_all(exprs)?;
                Value::list(values, &self.heap.fuel)
            }
            Kind::Tuple(exprs) => {
                let values = self.eval_all(exprs)?;
                Value::tuple(values, &self.heap.fuel)
            }
            Kind::Dict(entries) => self.eval_dict(entries),
            Kind::Not(inner) => Ok(Value::Bool(!self.eval(inner)?.is_true())),
            Kind::Negative(inner) => self.eval_sign(inner, true),
            Kind::Positive(inner) => self.eval_sign(inner, false),
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                self.heap.binary(*operator, &left, &right)
            }
            Kind::Concat(exprs) => self.eval_concat(exprs),
            Kind::And(left, right) => {
                let value = self.eval(left)?;
                if value.is_true() { self.eval(right) } else { Ok(value) }
            }
            Kind::Or(left, right) => {
                let value = self.eval(left)?;
                if value.is_true() { Ok(value) } else { self.eval(right) }
            }
            Kind::Compare(first, others) => {
                let mut left = self.eval(first)?;
                for (operator, right) in others {
                    let right = self.eval(right)?;
                    if !compare(*operator, &left, &right, &self.heap.fuel)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Kind::If(parts, otherwise) => {
                let [condition, value] = &**parts;
                match (self.eval(condition)?.is_true(), otherwise) {
                    (true, _) => self.eval(value),
                    (false, Some(otherwise)) => self.eval(otherwise),
                    (false, None) => Ok(Value::undefined("a conditional expression without `else`")),
                }
            }
            Kind::Attribute(inner, name) => {
                let value = self.eval(inner)?;
                self.look_ahead(&value, Some(name))?;
                self.heap.attribute(&value, name)
            }
            Kind::Item(inner, key) => {
                let (value, key) = (self.eval(inner)?, self.eval(key)?);
                self.look_ahead(&value, key.as_text().map(Text::as_str))?;
                self.heap.item(&value, &key)
            }
            Kind::Slice(inner, bounds) => self.eval_slice(inner, bounds),
            Kind::Call(callee, arguments) => {
                let callee = self.eval(callee)?;
                let args = self.arguments(arguments)?;
                self.call(&callee, args)
            }
            Kind::Filter(inner, name, arguments) => {
                let value = self.eval(inner)?;
                self.look_ahead(&value, None)?;
                let args = self.arguments(arguments)?;
                self.heap.filter(name, value, args)
            }
            Kind::Test(inner, name, arguments, negated) => {
                let value = self.eval(inner)?;
                let args = self.arguments(arguments)?;
                Ok(Value::Bool(self.heap.test(name, &value, args)? != *negated))
            }
        }
    }

    fn eval_all(&mut self, exprs: &[Expr]) -> Result<Vec<Value>> {
        exprs.iter().map(|expr| self.eval(expr)).collect()
    }

    fn eval_dict(&mut self, entries: &[(Expr, Expr)]) -> Result<Value> {
        let mut dict = Dict::default();
        for (key, value) in entries {
            let (key, value) = (self.eval(key)?, self.eval(value)?);
            dict.insert(key, value, &self.heap.fuel)?;
        }
        Ok(Value::dict(dict))
    }

    fn eval_sign(&mut self, inner: &Expr, negative: bool) -> Result<Value> {
        let value = self.eval(inner)?;
        let sign = if negative { '-' } else { '+' };
        match (value.as_int(), &value) {
            (Some(number), _) => {
                let number = if negative { number.checked_neg() } else { Some(number) };
                number.map_or_else(|| fail("the number is too large"), |number| Ok(Value::Int(number)))
            }
            (None, Value::Float(number)) => Ok(Value::Float(if negative { -number } else { *number })),
            (None, Value::Undefined(what)) => fail(format!("{what} is undefined")),
            (None, other) => fail(format!("`{sign}` needs a number, not `{}`", other.kind())),
        }
    }

    fn eval_concat(&mut self, exprs: &[Expr]) -> Result<Value> {
        let mut text = Builder::default();
        for expr in exprs {
            let value = self.eval(expr)?;
            self.heap.write(&value, &mut text)?;
        }
        Ok(Value::Text(text.finish()))
    }

    fn eval_slice(&mut self, inner: &Expr, bounds: &[Option<Expr>; 3]) -> Result<Value> {
        let value = self.eval(inner)?;
        let mut numbers = [None; 3];
        for (number, bound) in numbers.iter_mut().zip(bounds) {
            let Some(bound) = bound else { continue };
            *number = match self.eval(bound)? {
                Value::None => None,
                Value::Undefined(what) => return fail(format!("{what} is undefined")),
                other => match other.as_int() {
                    Some(number) => Some(number),
                    None => return fail(format!("a slice needs integers, not `{}`", other.kind())),
                },
            };
        }
        self.heap.slice(&value, numbers)
    }

    /// The arguments of a call.
    pub(super) fn arguments(&mut self, arguments: &Arguments) -> Result<Args> {
        let mut args = Args { values: self.eval_all(&arguments.values)?, named: Vec::new() };
        for (name, expr) in &arguments.named {
            let value = self.eval(expr)?;
            args.named.push((name.clone(), value));
        }
        if let Some(spread) = &arguments.spread {
            let values = self.eval(spread)?.items(&self.heap.fuel)?;
            args.values.extend(values);
        }
        if let Some(spread) = &arguments.spread_named {
            let value = self.eval(spread)?;
            let Value::Dict(dict) = &value else {
                return fail(format!("`**` needs a map, not `{}`", value.kind()));
            };
            for (key, value) in dict.entries() {
                let Some(name) = key.as_text() else {
                    return fail("the names of arguments are strings");
                };
                self.heap.fuel.places(args.named.len() + 1)?;
                if args.named.iter().any(|(known, _)| known == name) {
                    return fail(format!("the argument `{}` is given twice", name.as_str()));
                }
                args.named.push((name.clone(), value.clone()));
            }
        }
        Ok(args)
    }
}
