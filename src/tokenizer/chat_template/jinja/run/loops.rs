//! Loops. As in Jinja2, a loop asks for its next item, and for the condition behind `if`, only when it gets there or
//! when its body asks what follows. So the body can end the loop by what it changes in a namespace.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::super::ast::For;
use super::super::fault::Result;
use super::super::value::{Iter, IterKind, Value};
use super::{Flow, Machine};

/// A loop, as its body sees it.
#[derive(Debug)]
pub(in super::super::super) struct Loop {
    /// The items so far, and those behind them that are known.
    pub(in super::super) items: RefCell<Vec<Value>>,
    pub(in super::super) at: Cell<usize>,
    pub(in super::super) depth_of_items: usize,
    pub(super) depth: usize,
    /// What `changed` was called with last, as text.
    pub(super) changed: RefCell<Option<String>>,
    pub(super) each: Arc<For>,
    /// The scope around the loop.
    pub(super) around: usize,
    rest: RefCell<Rest>,
}

/// The values that a loop has not asked for.
#[derive(Debug)]
enum Rest {
    Values(VecDeque<Value>),
    /// What the loop does not take stays in the generator.
    Generator(Rc<Iter>),
}

impl Rest {
    fn take(&mut self) -> Option<Value> {
        match self {
            Rest::Values(values) => values.pop_front(),
            Rest::Generator(iter) => iter.items.borrow_mut().pop_front(),
        }
    }
}

impl Machine<'_> {
    /// Runs a loop over `over`; `depth` is the number of its runs around this one. Returns what follows the loop: a
    /// `break` in its `else` ends the loop around it.
    pub(super) fn for_loop(&mut self, each: &Arc<For>, over: &Value, depth: usize) -> Result<Flow> {
        let state = self.open_loop(each, over, depth)?;
        let name = Arc::from("loop");
        let mut finished_one = false;
        let mut index = 0;
        while self.reaches(&state, index)? {
            self.heap.fuel.step()?;
            state.at.set(index);
            let item = state.items.borrow()[index].clone();
            let flow = self.scoped(state.around, |machine| {
                machine.set_name(&name, Value::Loop(Rc::clone(&state)))?;
                machine.assign(&each.target, item)?;
                machine.statements(&each.body)
            })?;
            match flow {
                Flow::Next => finished_one = true,
                Flow::Continue => {}
                Flow::Break => break,
            }
            index += 1;
        }
        // The template may keep the loop, but the scope in which the condition was evaluated ends.
        state.rest.replace(Rest::Values(VecDeque::new()));
        if finished_one {
            return Ok(Flow::Next);
        }
        // Jinja2 runs `else` also if every round was ended by `break` or `continue`.
        self.scoped(state.around, |machine| machine.statements(&each.otherwise))
    }

    fn open_loop(&mut self, each: &Arc<For>, over: &Value, depth: usize) -> Result<Rc<Loop>> {
        let (rest, depth_of_items) = match over {
            Value::Iter(iter) if iter.kind == IterKind::Generator => {
                (Rest::Generator(Rc::clone(iter)), iter.depth_of_items())
            }
            over => {
                let values = over.items(&self.heap.fuel)?;
                let depth = Value::depth_of(&values)?;
                (Rest::Values(values.into()), depth)
            }
        };
        // Without a condition there is nothing to wait for.
        let (items, rest) = match rest {
            Rest::Values(values) if each.only.is_none() => (values.into(), Rest::Values(VecDeque::new())),
            rest => (Vec::new(), rest),
        };
        // The template may keep a recursive loop and call it after the scope around it has ended.
        let around = if each.recursive { self.capture_scope() } else { self.scope };
        Ok(Rc::new(Loop {
            items: RefCell::new(items),
            at: Cell::new(0),
            depth_of_items,
            depth,
            changed: RefCell::default(),
            each: Arc::clone(each),
            around,
            rest: RefCell::new(rest),
        }))
    }

    /// Whether the loop has an item `index`; asks for the items up to it.
    fn reaches(&mut self, state: &Loop, index: usize) -> Result<bool> {
        while state.items.borrow().len() <= index {
            let next = state.rest.borrow_mut().take();
            let Some(item) = next else { return Ok(false) };
            self.heap.fuel.places(1)?;
            let keep = match &state.each.only {
                Some(only) => self.scoped(state.around, |machine| {
                    machine.assign(&state.each.target, item.clone())?;
                    Ok(machine.eval(only)?.is_true())
                })?,
                None => true,
            };
            if keep {
                state.items.borrow_mut().push(item);
            }
        }
        Ok(true)
    }

    /// Asks for the items that the attribute `name` of a loop needs; those of all if it is none.
    pub(super) fn look_ahead(&mut self, value: &Value, name: Option<&str>) -> Result<()> {
        let Value::Loop(state) = value else { return Ok(()) };
        match name {
            Some("last" | "nextitem") => self.reaches(state, state.at.get() + 1)?,
            None | Some("length" | "revindex" | "revindex0") => self.reaches(state, usize::MAX)?,
            Some(_) => true,
        };
        Ok(())
    }
}
