//! Calls of macros, methods and the functions that every template has.

use std::cell::Cell;
use std::rc::Rc;

use super::super::fault::{Cause, Fault, Result, fail};
use super::super::methods;
use super::super::text::Text;
use super::super::value::{Closure, Cycler, Dict, Range, Value};
use super::{Args, Loop, Machine};

/// The functions that every template has.
pub(super) const FUNCTIONS: [&str; 7] =
    ["range", "dict", "namespace", "cycler", "joiner", "raise_exception", "strftime_now"];

/// Python's way to make a map with one value for all keys.
pub(super) const FROM_KEYS: &str = "dict.fromkeys";

/// The longest range that Jinja's sandbox makes.
const RANGE: usize = 100_000;

impl Machine<'_> {
    pub(super) fn call(&mut self, callee: &Value, args: Args) -> Result<Value> {
        self.heap.fuel.step()?;
        match callee {
            Value::Function(name) => self.function(name, args),
            Value::Method(method) => match &method.0 {
                Value::Loop(state) => self.loop_method(state, &method.1, args),
                value => methods::call(&self.heap, value, &method.1, args),
            },
            Value::Macro(closure) => self.call_macro(closure, args).map(Value::Text),
            Value::Loop(state) => {
                let [over] = args.bind("loop", ["iterable"], 1)?;
                if !state.each.recursive {
                    return fail("only a loop that is marked as recursive can be called");
                }
                let over = over.unwrap_or(Value::None);
                let outer = std::mem::replace(&mut self.scope, state.around);
                let text = self.deeper(|machine| {
                    machine.captured(|machine| machine.for_loop(&state.each, &over, state.depth + 1))
                });
                self.scope = outer;
                Ok(Value::Text(text?.0))
            }
            Value::Joiner(joiner) => {
                let [] = args.bind("joiner", [], 0)?;
                let (separator, used) = &**joiner;
                Ok(Value::Text(if used.replace(true) { separator.clone() } else { Text::own("") }))
            }
            Value::Undefined(what) => fail(format!("{what} is undefined")),
            other => fail(format!("`{}` object is not callable", other.kind())),
        }
    }

    fn call_macro(&mut self, closure: &Rc<Closure>, args: Args) -> Result<Text> {
        let declared = &closure.declared;
        let name = &declared.name;
        let mut named = args.named;
        self.heap.fuel.bytes(named.len().saturating_mul(declared.parameters.len()))?;
        let mut take = |wanted: &str| {
            let at = named.iter().position(|(known, _)| known.as_str() == wanted)?;
            Some(named.remove(at).1)
        };
        let caller = if declared.caller { take("caller") } else { None };
        let mut given = args.values.into_iter();
        let mut values = Vec::new();
        for (parameter, _) in &declared.parameters {
            let positional = given.next();
            let by_name = take(parameter);
            if positional.is_some() && by_name.is_some() {
                return fail(format!("macro `{name}` got the argument `{parameter}` twice"));
            }
            values.push(positional.or(by_name));
        }
        let rest: Vec<Value> = given.collect();
        if !rest.is_empty() && !declared.varargs {
            return fail(format!(
                "macro `{name}` takes not more than {} arguments",
                declared.parameters.len()
            ));
        }
        if let (Some((unknown, _)), false) = (named.first(), declared.kwargs) {
            return fail(format!("macro `{name}` takes no keyword argument `{}`", unknown.as_str()));
        }
        self.scoped(closure.scope, |machine| {
            let fuel = &machine.heap.fuel;
            if declared.varargs {
                let rest = Value::tuple(rest, fuel)?;
                machine.set_name(&"varargs".into(), rest)?;
            }
            if declared.kwargs {
                let dict = Dict::of(named, &machine.heap.fuel)?;
                machine.set_name(&"kwargs".into(), Value::dict(dict))?;
            }
            if declared.caller {
                let caller = caller.unwrap_or_else(|| Value::undefined("no caller, so `caller`"));
                machine.set_name(&"caller".into(), caller)?;
            }
            for ((parameter, default), value) in declared.parameters.iter().zip(values) {
                let value = match (value, default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => machine.eval(default)?,
                    (None, None) => Value::undefined(format!("the argument `{parameter}` of `{name}`")),
                };
                machine.set_name(parameter, value)?;
            }
            machine.captured(|machine| machine.statements(&declared.body)).map(|(text, _)| text)
        })
    }

    fn loop_method(&mut self, state: &Rc<Loop>, name: &str, args: Args) -> Result<Value> {
        if name == "cycle" {
            let values = args.values;
            return match values.len() {
                0 => fail("`loop.cycle` needs an argument"),
                len => Ok(values[state.at.get() % len].clone()),
            };
        }
        let values = Value::list(args.values, &self.heap.fuel)?;
        let now = self.heap.repr(&values)?.as_str().to_owned();
        let mut changed = state.changed.borrow_mut();
        let same = changed.as_ref() == Some(&now);
        *changed = Some(now);
        Ok(Value::Bool(!same))
    }

    fn function(&mut self, name: &str, args: Args) -> Result<Value> {
        let fuel = &self.heap.fuel;
        match name {
            "range" => range(args).map(Value::Range),
            FROM_KEYS => {
                let [keys, value] = args.bind(name, ["iterable", "value"], 1)?;
                let value = value.unwrap_or(Value::None);
                let mut dict = Dict::default();
                for key in keys.unwrap_or(Value::None).items(fuel)? {
                    dict.insert(key, value.clone(), fuel)?;
                }
                Ok(Value::dict(dict))
            }
            "dict" => {
                let mut dict = Dict::default();
                match &args.values[..] {
                    [] => {}
                    [Value::Dict(other)] => {
                        for (key, value) in other.entries() {
                            dict.insert(key.clone(), value.clone(), fuel)?;
                        }
                    }
                    [pairs] => {
                        for pair in pairs.items(fuel)? {
                            let [key, value] = &pair.items(fuel)?[..] else {
                                return fail("`dict` needs pairs of a key and a value");
                            };
                            dict.insert(key.clone(), value.clone(), fuel)?;
                        }
                    }
                    _ => return fail("`dict` takes at most 1 argument without a name"),
                }
                for (key, value) in args.named {
                    dict.insert(Value::Text(key), value, fuel)?;
                }
                Ok(Value::dict(dict))
            }
            "namespace" => {
                let mut fields = Dict::default();
                if let [Value::Dict(other)] = &args.values[..] {
                    for (key, value) in other.entries() {
                        fields.insert(key.clone(), value.clone(), fuel)?;
                    }
                } else if !args.values.is_empty() {
                    return fail("`namespace` takes named arguments, or a map");
                }
                for (key, value) in args.named {
                    fields.insert(Value::Text(key), value, fuel)?;
                }
                fuel.places(8)?;
                let mut namespaces = self.heap.namespaces.borrow_mut();
                namespaces.push(fields);
                Ok(Value::Namespace(namespaces.len() - 1))
            }
            "cycler" => {
                if args.values.is_empty() {
                    return fail("`cycler` needs at least one argument");
                }
                fuel.places(args.values.len())?;
                let depth_of_items = Value::depth_of(&args.values)?;
                Ok(Value::Cycler(Rc::new(Cycler { items: args.values, at: Cell::new(0), depth_of_items })))
            }
            "joiner" => {
                let [separator] = args.bind("joiner", ["sep"], 0)?;
                let separator = match separator {
                    Some(separator) => self.heap.print(&separator)?,
                    None => Text::own(", "),
                };
                Ok(Value::Joiner(Rc::new((separator, Cell::new(false)))))
            }
            "raise_exception" => {
                let [message] = args.bind("raise_exception", ["message"], 1)?;
                let message = self.heap.print(&message.unwrap_or(Value::None))?;
                Err(Fault::of(Cause::Raised(message.as_str().to_owned())))
            }
            "strftime_now" => {
                let [format] = args.bind("strftime_now", ["format"], 1)?;
                let Some(Value::Text(format)) = format else {
                    return fail("`strftime_now` needs a string");
                };
                // A field has two bytes and writes at most ten.
                fuel.bytes(format.len().saturating_mul(8))?;
                match self.day.format(format.as_str()) {
                    // What a message asked for is the message's.
                    Ok(text) => Ok(Value::Text(Text::new(&text, format.origin()))),
                    Err(reason) => fail(reason),
                }
            }
            other => fail(format!("`{other}` is not known")),
        }
    }
}

fn range(args: Args) -> Result<Range> {
    let [first, second, step] = args.bind("range", ["start", "stop", "step"], 1)?;
    let number = |value: Option<Value>, default: i64| match value {
        None => Ok(default),
        Some(Value::Undefined(what)) => fail(format!("{what} is undefined")),
        Some(value) => match value.as_int() {
            Some(number) => Ok(number),
            None => fail(format!("`range` needs integers, not `{}`", value.kind())),
        },
    };
    let alone = second.is_none();
    let (first, second, step) = (number(first, 0)?, number(second, 0)?, number(step, 1)?);
    let (start, stop) = if alone { (0, first) } else { (first, second) };
    if step == 0 {
        return fail("`range` cannot have the step 0");
    }
    let range = Range { start, stop, step };
    if range.len() > RANGE {
        return fail(format!("`range` makes at most {RANGE} numbers"));
    }
    Ok(range)
}
