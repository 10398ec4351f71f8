//! Runs a parsed template.

mod access;
mod calls;
mod expressions;
mod loops;
mod statements;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use super::ast::Stmt;
use super::fault::{Cause, Fault, Fuel, Result, fail};
use super::text::{Builder, Text};
use super::value::{Dict, Value};
use super::{Bounds, Day};
pub(in super::super) use loops::Loop;

/// Statements, expressions and calls within each other; real templates stay below 50.
const DEPTH: usize = 1000;

/// What values need besides themselves: the fuel, and the fields of namespaces.
#[derive(Debug)]
pub(in super::super) struct Heap {
    pub(super) fuel: Fuel,
    pub(super) namespaces: RefCell<Vec<Dict>>,
    /// How many statements, expressions, calls and filters run within each other now.
    depth: Cell<usize>,
}

impl Heap {
    /// Goes one level deeper; [`Heap::leave`] comes back.
    fn enter(&self) -> Result<()> {
        let depth = self.depth.get();
        if depth == DEPTH {
            return fail(format!("macros, loops, filters and expressions are nested more than {DEPTH} deep"));
        }
        self.depth.set(depth + 1);
        Ok(())
    }

    fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }

    /// Runs `work` one level deeper.
    pub(super) fn deeper<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.enter()?;
        let result = work();
        self.leave();
        result
    }
}

/// The arguments of a call.
#[derive(Debug, Default)]
pub(in super::super) struct Args {
    pub(super) values: Vec<Value>,
    pub(super) named: Vec<(Text, Value)>,
}

impl Args {
    /// The arguments in the order of `names`, of which the first `required` must be given.
    pub(super) fn bind<const N: usize>(
        self,
        what: &str,
        names: [&str; N],
        required: usize,
    ) -> Result<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.values.len() > N {
            return fail(format!("`{what}` takes at most {N} arguments, not {}", self.values.len()));
        }
        for (place, value) in bound.iter_mut().zip(self.values) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|known| *known == name.as_str()) {
                None => return fail(format!("`{what}` has no argument `{}`", name.as_str())),
                Some(at) if bound[at].is_some() => {
                    return fail(format!("`{what}` got the argument `{}` twice", name.as_str()));
                }
                Some(at) => bound[at] = Some(value),
            }
        }
        match bound[..required].iter().position(Option::is_none) {
            Some(missing) => fail(format!("`{what}` needs the argument `{}`", names[missing])),
            None => Ok(bound),
        }
    }
}

/// The names of a place and the scope around it.
#[derive(Debug, Default)]
struct Scope {
    names: HashMap<Arc<str>, Value>,
    parent: Option<usize>,
    /// Whether a macro refers to it.
    captured: bool,
}

/// What follows a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// A template at work.
pub(super) struct Machine<'a> {
    heap: Heap,
    scopes: Vec<Scope>,
    scope: usize,
    /// The text that is being written: the output first, then what is captured.
    output: Vec<Builder>,
    bounds: &'a Bounds,
    day: Day,
}

/// Runs `body` with `names` and returns what it writes.
pub(super) fn run(
    body: &[Stmt],
    names: impl FnOnce(&Fuel) -> Result<Vec<(Arc<str>, Value)>>,
    bounds: &Bounds,
    day: Day,
) -> Result<Text> {
    let fuel = Fuel::new(bounds.steps);
    let names = names(&fuel)?.into_iter().collect();
    let mut machine = Machine {
        heap: Heap { fuel, namespaces: RefCell::default(), depth: Cell::default() },
        scopes: vec![
            Scope { names, parent: None, captured: true },
            Scope { parent: Some(0), ..Scope::default() },
        ],
        scope: 1,
        output: vec![Builder::default()],
        bounds,
        day,
    };
    machine.statements(body)?;
    Ok(machine.output.swap_remove(0).finish())
}

impl Machine<'_> {
    /// Runs `work` one level deeper.
    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.heap.enter()?;
        let result = work(self);
        self.heap.leave();
        result
    }

    /// Runs `work` in a new scope inside `parent`.
    fn scoped<T>(&mut self, parent: usize, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.heap.fuel.places(4)?;
        let outer = self.scope;
        let inner = self.scopes.len();
        self.scopes.push(Scope { parent: Some(parent), ..Scope::default() });
        self.scope = inner;
        let result = work(self);
        self.scope = outer;
        // A scope that a macro refers to stays.
        if self.scopes.len() == inner + 1 && !self.scopes[inner].captured {
            self.scopes.pop();
        }
        result
    }

    /// Keeps the current scope and those around it.
    fn capture_scope(&mut self) -> usize {
        let mut next = Some(self.scope);
        while let Some(scope) = next {
            self.scopes[scope].captured = true;
            next = self.scopes[scope].parent;
        }
        self.scope
    }

    fn set_name(&mut self, name: &Arc<str>, value: Value) -> Result<()> {
        self.heap.fuel.places(4)?;
        self.heap.fuel.bytes(name.len())?;
        self.scopes[self.scope].names.insert(Arc::clone(name), value);
        Ok(())
    }

    fn name(&self, name: &str) -> Result<Value> {
        let mut next = Some(self.scope);
        while let Some(scope) = next {
            self.heap.fuel.bytes(name.len() + 8)?;
            let scope = &self.scopes[scope];
            if let Some(value) = scope.names.get(name) {
                return Ok(value.clone());
            }
            next = scope.parent;
        }
        Ok(match calls::FUNCTIONS.iter().find(|known| **known == name) {
            Some(name) => Value::Function(name),
            None => Value::undefined(format!("`{name}`")),
        })
    }

    /// Runs `work` and returns what it writes, and its value.
    fn captured<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<(Text, T)> {
        self.output.push(Builder::default());
        let result = work(self);
        let text = self.output.pop().unwrap_or_default();
        let value = result?;
        self.heap.fuel.bytes(text.len())?;
        Ok((text.finish(), value))
    }

    fn write(&mut self, value: &Value) -> Result<()> {
        if let Some(output) = self.output.last_mut() {
            self.heap.write(value, output)?;
        }
        match &self.output[..] {
            [output] if output.len() > self.bounds.output_bytes => Err(Fault::of(Cause::TooLong)),
            _ => Ok(()),
        }
    }
}
