//! The WGSL linker: joins readable shader files into one module.
//!
//! It has five directives, all in comments, so that editors treat every file as WGSL:
//!
//! * `//# use lib/index` includes a fragment; repeated uses include it once;
//! * `//# slot weight` declares a slot that exactly one fragment fills, chosen by the host;
//! * `//# provides weight` marks this fragment as one that fills the slot;
//! * `//# unroll` unrolls the `for` loop below it, one block per iteration, with the loop variable as a
//!   `const`, so that register arrays are indexed by literals. Hardware drivers do that
//!   automatically. llvmpipe does not, and each array access with a variable index costs it a memory
//!   access;
//!   `//# unroll WHOLE` keeps the loop if the constant `WHOLE` is 0;
//! * a prelude of typed constants and aliases, given by the host, comes before everything.
//!
//! Anything else after `//#` is an error that names file and line.

use std::collections::{BTreeMap, BTreeSet};

use super::source::shader_source;

/// The origin of a line of composed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the shader file, such as `linear/matmul`; `prelude` for host-made lines.
    pub file: String,
    /// One-based line in that file.
    pub line: u32,
}

/// A linked module: the text, and the origin of every line.
#[derive(Clone, Debug)]
pub struct Composed {
    /// Complete WGSL.
    pub text: String,
    /// One entry per line of `text`.
    pub origins: Vec<Origin>,
}

impl Composed {
    /// The source file and line of a one-based line of [`Composed::text`].
    pub fn origin(&self, line: u32) -> Option<&Origin> {
        self.origins.get((line as usize).checked_sub(1)?)
    }
}

/// Why a shader could not be linked; always a bug in a shader or in the op that requested it.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ComposeError {
    /// A file that does not exist.
    #[error("shader `{file}` does not exist (wanted by {wanted_by})")]
    UnknownFile {
        /// The missing file.
        file: String,
        /// The file that names it.
        wanted_by: String,
    },
    /// A directive that the linker does not know.
    #[error("{file}:{line}: unknown directive `{directive}`")]
    UnknownDirective {
        /// File of the directive.
        file: String,
        /// One-based line.
        line: u32,
        /// The directive's text.
        directive: String,
    },
    /// A slot that the host left empty.
    #[error("{file}:{line}: slot `{slot}` is not filled")]
    UnfilledSlot {
        /// File that declares the slot.
        file: String,
        /// One-based line.
        line: u32,
        /// The slot's name.
        slot: String,
    },
    /// A slot filled with a fragment that does not provide it, or a choice for no slot.
    #[error("fragment `{fragment}` does not provide slot `{slot}` of `{file}`")]
    WrongSlot {
        /// The kernel.
        file: String,
        /// The slot's name.
        slot: String,
        /// The fragment that was given.
        fragment: String,
    },
    /// A loop that cannot be unrolled.
    #[error("{file}:{line}: cannot unroll: {reason}")]
    Unroll {
        /// File of the loop.
        file: String,
        /// One-based line of the directive.
        line: u32,
        /// What is wrong with the loop.
        reason: String,
    },
    /// The composed text is not valid WGSL.
    #[error("{file}:{line}: {reason}")]
    Invalid {
        /// File of the offending line.
        file: String,
        /// One-based line.
        line: u32,
        /// naga's message.
        reason: String,
    },
}

struct Linker<'a> {
    root: &'a str,
    slots: &'a [(&'a str, &'a str)],
    constants: BTreeMap<String, i64>,
    included: BTreeSet<String>,
    lines: Vec<(String, Origin)>,
}

/// Links `root` with `slots` filled as given, under a prelude of `consts` and `aliases`.
///
/// # Errors
///
/// An unknown file or directive, a slot that is empty or filled by a fragment that does not provide
/// it, or a loop that cannot be unrolled. Every error names file and line.
pub fn compose(root: &str, slots: &[(&str, &str)], consts: &[(&str, u32)]) -> Result<Composed, ComposeError> {
    let mut linker = Linker {
        root,
        slots,
        constants: consts.iter().map(|&(name, value)| (name.to_owned(), i64::from(value))).collect(),
        included: BTreeSet::new(),
        lines: Vec::new(),
    };
    for (index, (name, value)) in consts.iter().enumerate() {
        let origin = Origin { file: "prelude".to_owned(), line: index as u32 + 1 };
        linker.lines.push((format!("const {name}: u32 = {value}u;"), origin));
    }
    linker.include(root, "the host")?;
    for &(slot, fragment) in slots {
        if !linker.included.contains(fragment) {
            return Err(ComposeError::WrongSlot {
                file: root.to_owned(),
                slot: slot.to_owned(),
                fragment: fragment.to_owned(),
            });
        }
    }
    linker.collect_constants();
    let lines = linker.unroll(0, linker.lines.len(), &BTreeMap::new())?;
    let mut text = String::new();
    let mut origins = Vec::with_capacity(lines.len());
    for (line, origin) in lines {
        text.push_str(&line);
        text.push('\n');
        origins.push(origin);
    }
    Ok(Composed { text, origins })
}

impl Linker<'_> {
    fn include(&mut self, file: &str, wanted_by: &str) -> Result<(), ComposeError> {
        if !self.included.insert(file.to_owned()) {
            return Ok(());
        }
        let source = shader_source(file).ok_or_else(|| ComposeError::UnknownFile {
            file: file.to_owned(),
            wanted_by: wanted_by.to_owned(),
        })?;
        for (index, text) in source.lines().enumerate() {
            let line = index as u32 + 1;
            let origin = Origin { file: file.to_owned(), line };
            let Some(directive) = text.trim_start().strip_prefix("//#") else {
                self.lines.push((text.to_owned(), origin));
                continue;
            };
            let mut words = directive.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("use"), Some(target), None) => self.include(target, &format!("{file}:{line}"))?,
                (Some("slot"), Some(slot), None) => self.fill(file, line, slot)?,
                (Some("provides"), Some(_), None) => {}
                (Some("unroll"), _, None) => self.lines.push((text.to_owned(), origin)),
                _ => {
                    return Err(ComposeError::UnknownDirective {
                        file: file.to_owned(),
                        line,
                        directive: directive.trim().to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn fill(&mut self, file: &str, line: u32, slot: &str) -> Result<(), ComposeError> {
        let fragment = self.slots.iter().find(|(name, _)| *name == slot).map(|&(_, fragment)| fragment);
        let Some(fragment) = fragment else {
            return Err(ComposeError::UnfilledSlot { file: file.to_owned(), line, slot: slot.to_owned() });
        };
        let provides = shader_source(fragment).is_some_and(|source| {
            source.lines().any(|text| {
                let words: Vec<&str> = text.split_whitespace().collect();
                words == ["//#", "provides", slot]
            })
        });
        if !provides {
            return Err(ComposeError::WrongSlot {
                file: self.root.to_owned(),
                slot: slot.to_owned(),
                fragment: fragment.to_owned(),
            });
        }
        self.include(fragment, &format!("{file}:{line}"))
    }

    /// Reads the module's own `const NAME: u32 = expression;` lines, which loop bounds may use.
    fn collect_constants(&mut self) {
        for (text, _) in &self.lines {
            let Some(rest) = text.strip_prefix("const ") else { continue };
            let Some((name, value)) = rest.split_once('=') else { continue };
            let name = name.split(':').next().unwrap_or("").trim();
            let value = value.split(';').next().unwrap_or("");
            if let Ok(value) = evaluate(value, &self.constants) {
                self.constants.insert(name.to_owned(), value);
            }
        }
    }

    /// Lines `from..to` with every marked loop unrolled; `turn` holds the enclosing loops' variables.
    fn unroll(
        &self,
        from: usize,
        to: usize,
        turn: &BTreeMap<String, i64>,
    ) -> Result<Vec<(String, Origin)>, ComposeError> {
        let mut out = Vec::with_capacity(to - from);
        let mut at = from;
        while at < to {
            let (text, origin) = &self.lines[at];
            if !text.trim_start().starts_with("//#") {
                out.push((text.clone(), origin.clone()));
                at += 1;
                continue;
            }
            let fail = |reason: String| ComposeError::Unroll {
                file: origin.file.clone(),
                line: origin.line,
                reason,
            };
            let mut known = self.constants.clone();
            known.extend(turn.iter().map(|(name, &value)| (name.clone(), value)));
            if let Some(switch) = text.split_whitespace().nth(2) {
                let on =
                    known.get(switch).ok_or_else(|| fail(format!("`{switch}` is an unknown constant")))?;
                if *on == 0 {
                    at += 1;
                    continue;
                }
            }
            let head = at + 1;
            let (variable, start, end) = match self.lines.get(head) {
                Some((header, _)) if head < to => loop_bounds(header, &known).map_err(&fail)?,
                _ => return Err(fail("no loop follows".to_owned())),
            };
            if end - start > 256 {
                return Err(fail(format!("{} iterations are too many", end - start)));
            }
            let close =
                self.closing_line(head, to).ok_or_else(|| fail("the loop is not closed".to_owned()))?;
            for value in start..end {
                let mut inner = turn.clone();
                inner.insert(variable.clone(), value);
                out.push((format!("{{ const {variable}: u32 = {value}u;"), self.lines[head].1.clone()));
                out.extend(self.unroll(head + 1, close, &inner)?);
                out.push(("}".to_owned(), self.lines[close].1.clone()));
            }
            at = close + 1;
        }
        Ok(out)
    }

    /// The line that closes the block opened on line `head`: a lone `}`.
    fn closing_line(&self, head: usize, to: usize) -> Option<usize> {
        let mut depth = 0i32;
        for (index, (text, _)) in self.lines[head..to].iter().enumerate() {
            let code = text.split("//").next().unwrap_or("");
            depth += code.matches('{').count() as i32 - code.matches('}').count() as i32;
            if depth == 0 {
                return (code.trim() == "}").then_some(head + index);
            }
        }
        None
    }
}

/// Variable, first value and end of `for (var i = A; i < B; i++) {`.
fn loop_bounds(header: &str, known: &BTreeMap<String, i64>) -> Result<(String, i64, i64), String> {
    let form = "expected `for (var i = 0u; i < N; i++) {`";
    let rest = header.trim().strip_prefix("for (var ").ok_or(form)?;
    let mut clauses = rest.splitn(3, ';');
    let (Some(init), Some(test), Some(step)) = (clauses.next(), clauses.next(), clauses.next()) else {
        return Err(form.to_owned());
    };
    let (variable, start) = init.split_once('=').ok_or(form)?;
    let variable = variable.split(':').next().unwrap_or("").trim();
    let (tested, end) = test.split_once('<').ok_or(form)?;
    if tested.trim() != variable || step.trim() != format!("{variable}++) {{") {
        return Err(form.to_owned());
    }
    Ok((variable.to_owned(), evaluate(start, known)?, evaluate(end, known)?))
}

/// The value of an expression of integers, known names, `+ - * / %` and parentheses.
fn evaluate(text: &str, known: &BTreeMap<String, i64>) -> Result<i64, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    let mut at = 0;
    let value = sum(&tokens, &mut at, known)?;
    if at == tokens.len() { Ok(value) } else { Err(format!("cannot evaluate `{}`", text.trim())) }
}

fn sum(tokens: &[&str], at: &mut usize, known: &BTreeMap<String, i64>) -> Result<i64, String> {
    let mut value = product(tokens, at, known)?;
    while let Some(&operator) = tokens.get(*at).filter(|t| matches!(**t, "+" | "-")) {
        *at += 1;
        let right = product(tokens, at, known)?;
        value = if operator == "+" { value + right } else { value - right };
    }
    Ok(value)
}

fn product(tokens: &[&str], at: &mut usize, known: &BTreeMap<String, i64>) -> Result<i64, String> {
    let mut value = atom(tokens, at, known)?;
    while let Some(&operator) = tokens.get(*at).filter(|t| matches!(**t, "*" | "/" | "%")) {
        *at += 1;
        let right = atom(tokens, at, known)?;
        if right == 0 && operator != "*" {
            return Err("division by zero".to_owned());
        }
        value = match operator {
            "*" => value * right,
            "/" => value / right,
            _ => value % right,
        };
    }
    Ok(value)
}

fn atom(tokens: &[&str], at: &mut usize, known: &BTreeMap<String, i64>) -> Result<i64, String> {
    let token = *tokens.get(*at).ok_or("an operand is missing")?;
    *at += 1;
    if token == "(" {
        let value = sum(tokens, at, known)?;
        if tokens.get(*at) != Some(&")") {
            return Err("a parenthesis is not closed".to_owned());
        }
        *at += 1;
        return Ok(value);
    }
    if let Some(&value) = known.get(token) {
        return Ok(value);
    }
    token.trim_end_matches(['u', 'i']).parse().map_err(|_| format!("`{token}` is an unknown constant"))
}
