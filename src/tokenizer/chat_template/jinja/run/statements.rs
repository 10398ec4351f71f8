//! Statements.

use std::rc::Rc;
use std::sync::Arc;

use super::super::ast::{Expr, Kind, Stmt, StmtKind, Target};
use super::super::fault::{Result, fail};
use super::super::text::Text;
use super::super::value::{Closure, Value};
use super::{Args, Flow, Machine};

impl Machine<'_> {
    pub(super) fn statements(&mut self, body: &[Stmt]) -> Result<Flow> {
        self.deeper(|machine| {
            for statement in body {
                let flow = machine.statement(statement).map_err(|fault| fault.at(statement.line))?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
            }
            Ok(Flow::Next)
        })
    }

    fn statement(&mut self, statement: &Stmt) -> Result<Flow> {
        self.heap.fuel.step()?;
        match &statement.kind {
            StmtKind::Write(text) => self.write(&Value::Text(text.clone()))?,
            StmtKind::Print(expr) => {
                let value = self.eval(expr)?;
                self.write(&value)?;
            }
            StmtKind::If(branches) => {
                for (condition, body) in branches {
                    let taken = match condition {
                        Some(condition) => self.eval(condition)?.is_true(),
                        None => true,
                    };
                    if taken {
                        return self.statements(body);
                    }
                }
            }
            StmtKind::For(each) => {
                let over = self.eval(&each.over)?;
                return self.for_loop(each, &over, 0);
            }
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            StmtKind::Set(target, expr) => {
                let value = self.eval(expr)?;
                self.assign(target, value)?;
            }
            StmtKind::SetBlock(target, filter, body) => {
                let (text, flow) = self.block(body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = match filter {
                    Some(filter) => self.filter_block(filter, text)?,
                    None => Value::Text(text),
                };
                self.assign(target, value)?;
            }
            StmtKind::With(values, body) => {
                let values: Vec<Value> =
                    values.iter().map(|(_, expr)| self.eval(expr)).collect::<Result<_>>()?;
                let StmtKind::With(targets, _) = &statement.kind else { return Ok(Flow::Next) };
                return self.scoped(self.scope, |machine| {
                    for ((target, _), value) in targets.iter().zip(values) {
                        machine.assign(target, value)?;
                    }
                    machine.statements(body)
                });
            }
            StmtKind::Macro(declared) => {
                let scope = self.capture_scope();
                let closure = Closure { declared: Arc::clone(declared), scope };
                self.set_name(&declared.name, Value::Macro(Rc::new(closure)))?;
            }
            StmtKind::CallBlock(body, call) => self.call_block(body, call)?,
            StmtKind::FilterBlock(filter, body) => {
                let (text, flow) = self.block(body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filter_block(filter, text)?;
                self.write(&value)?;
            }
            StmtKind::Body(body) => {
                return self.scoped(self.scope, |machine| machine.statements(body));
            }
            StmtKind::Refuse(reason) => return fail(*reason),
        }
        Ok(Flow::Next)
    }

    /// What `body` writes, in a scope of its own, and what follows it. As in Jinja2, a `break` or `continue` inside
    /// ends the loop around the block, and what the block wrote is lost.
    fn block(&mut self, body: &[Stmt]) -> Result<(Text, Flow)> {
        self.scoped(self.scope, |machine| machine.captured(|machine| machine.statements(body)))
    }

    fn call_block(&mut self, body: &Arc<super::super::ast::Macro>, call: &Expr) -> Result<()> {
        let Kind::Call(callee, arguments) = &call.kind else {
            return fail("`call` needs a call of a macro");
        };
        let scope = self.capture_scope();
        let callee = self.eval(callee)?;
        let mut args: Args = self.arguments(arguments)?;
        let caller = Value::Macro(Rc::new(Closure { declared: Arc::clone(body), scope }));
        args.named.push((Text::own("caller"), caller));
        let value = self.call(&callee, args)?;
        self.write(&value)
    }

    /// The filters of a block, around the text that stands where the innermost has no value.
    fn filter_block(&mut self, filter: &Expr, text: Text) -> Result<Value> {
        let Kind::Filter(inner, name, arguments) = &filter.kind else {
            return Ok(Value::Text(text));
        };
        let value = self.deeper(|machine| machine.filter_block(inner, text))?;
        let args = self.arguments(arguments)?;
        self.heap.filter(name, value, args)
    }

    /// Assigns `value` to `target`.
    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Result<()> {
        match target {
            Target::Name(name) => self.set_name(name, value),
            Target::Tuple(targets) => {
                let values = value.items(&self.heap.fuel)?;
                if values.len() != targets.len() {
                    return fail(format!("cannot assign {} values to {} names", values.len(), targets.len()));
                }
                targets.iter().zip(values).try_for_each(|(target, value)| self.assign(target, value))
            }
            Target::Field(name, field) => match self.name(name)? {
                Value::Namespace(place) => {
                    let heap = &self.heap;
                    let mut namespaces = heap.namespaces.borrow_mut();
                    namespaces[place].insert(Value::text(field), value, &heap.fuel)
                }
                other => fail(format!(
                    "only the fields of a namespace can be set, and `{name}` is `{}`",
                    other.kind()
                )),
            },
        }
    }
}
