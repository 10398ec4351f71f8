//! Jinja, as much of it as a chat template can use, with what no other engine has: every character knows whether it
//! comes from a message, and every value is paid for before it is made.
//!
//! The language is that of Jinja2 in `transformers`: its sandbox, in which lists and maps cannot change, with
//! `trim_blocks` and `lstrip_blocks`, with `{% break %}`, `{% continue %}` and `{% generation %}`. Values behave as
//! Python's do. What a chat template has no use for is left out: other templates, automatic escaping for HTML, random
//! values. A number is an integer of 64 bits or a float of 64 bits; what does not fit is an error.

mod ast;
mod checks;
mod compare;
mod expression;
mod fault;
mod filters;
mod format;
mod given;
mod json;
mod lexer;
mod methods;
mod number;
mod parser;
mod print;
mod run;
mod text;
mod value;

use super::time::Day;
pub(super) use fault::{Cause, Fault, Result};
pub(in super::super) use given::Messages;
pub(super) use given::{Given, bytes_of};
pub(in super::super) use text::{Origin, Text};

use ast::Stmt;

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

impl Program {
    pub fn parse(source: &str) -> Result<Program> {
        let source = lexer::normalized(source);
        Ok(Program { body: parser::parse(lexer::tokens(&source)?)? })
    }

    /// What the template writes.
    pub fn render(&self, given: &Given<'_>, bounds: &Bounds, day: Day) -> Result<Text> {
        run::run(&self.body, |fuel| given.names(fuel), bounds, day)
    }
}
