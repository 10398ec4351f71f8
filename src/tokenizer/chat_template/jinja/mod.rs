//! Jinja, as much of it as a chat template can use, with what no other engine has: every character knows whether it
//! comes from a message, and every value is paid for before it is made.
//!
//! The language is that of Jinja2 in `transformers`: its sandbox, in which lists and maps cannot change, with
//! `trim_blocks` and `lstrip_blocks`, with `{% break %}`, `{% continue %}` and `{% generation %}`. Values behave as
//! Python's do. What a chat template has no use for is left out: other templates, escaping for HTML, random values.
//! A number is an integer of 64 bits or a float of 64 bits; what does not fit is an error.

mod ast;
mod checks;
mod compare;
mod expression;
mod fault;
mod filters;
mod format;
mod json;
mod lexer;
mod methods;
mod number;
mod parser;
mod print;
mod run;
mod text;
mod value;

use std::sync::Arc;

use super::TemplateValue;
use super::time::Day;
pub(super) use fault::{Cause, Fault, Result};
pub(in super::super) use text::{Origin, Text};

use ast::Stmt;
use value::{Dict, Value};

/// A parsed template.
#[derive(Debug)]
pub(super) struct Program {
    body: Vec<Stmt>,
}

/// What a render may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Steps, which also pay for text and lists.
    pub steps: u64,
    /// Bytes of the output.
    pub output_bytes: usize,
}

/// What a template is rendered for.
pub(super) struct Given<'a> {
    /// Role and content of each message.
    pub messages: Vec<(&'a str, &'a str)>,
    pub add_generation_prompt: bool,
    pub bos: &'a str,
    pub eos: &'a str,
    /// Other variables. Those above win over variables of the same name.
    pub variables: &'a [(String, TemplateValue)],
}

impl Program {
    pub fn parse(source: &str) -> Result<Program> {
        let source = lexer::normalized(source);
        Ok(Program { body: parser::parse(lexer::tokens(&source)?)? })
    }

    /// What the template writes.
    pub fn render(&self, given: &Given<'_>, bounds: &Bounds, day: Day) -> Result<Text> {
        run::run(
            &self.body,
            |fuel| {
                let mut messages = Vec::new();
                for (role, content) in &given.messages {
                    let fields = [
                        (Text::own("role"), Value::Text(Text::new(role, Origin::Role))),
                        (Text::own("content"), Value::Text(Text::new(content, Origin::Content))),
                    ];
                    messages.push(Value::dict(Dict::of(fields, fuel)?));
                }
                let variable = |(name, value): &(String, TemplateValue)| {
                    let value = match value {
                        TemplateValue::Bool(value) => Value::Bool(*value),
                        TemplateValue::Int(value) => Value::Int(*value),
                        TemplateValue::Text(value) => Value::text(value),
                    };
                    (Arc::from(name.as_str()), value)
                };
                let mut names: Vec<(Arc<str>, Value)> = given.variables.iter().map(variable).collect();
                let own = [
                    ("messages", Value::list(messages, fuel)?),
                    ("add_generation_prompt", Value::Bool(given.add_generation_prompt)),
                    ("bos_token", Value::text(given.bos)),
                    ("eos_token", Value::text(given.eos)),
                    ("tools", Value::None),
                    ("documents", Value::None),
                ];
                names.extend(own.map(|(name, value)| (Arc::from(name), value)));
                Ok(names)
            },
            bounds,
            day,
        )
    }
}
