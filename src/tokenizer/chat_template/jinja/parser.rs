//! Tokens as statements.

use std::sync::Arc;

use super::ast::{Arguments, Expr, For, Kind, Macro, Stmt, StmtKind, Target};
use super::fault::{Fault, Result};
use super::lexer::{Token, TokenKind};
use super::text::Text;

/// Tags and expressions within each other; real templates stay below 30.
pub(super) const NESTING: usize = 200;

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    pub(super) nesting: usize,
    loops: usize,
    /// The names that are read in the macros around this place, as far as they mean something there.
    uses: Vec<[bool; 3]>,
}

/// The statements of a template.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Vec<Stmt>> {
    let mut parser = Parser { tokens, at: 0, nesting: 0, loops: 0, uses: Vec::new() };
    let body = parser.body(&[]).map_err(|fault| fault.at(parser.line()))?;
    Ok(body)
}

impl Parser {
    pub(super) fn line(&self) -> usize {
        self.tokens.get(self.at.min(self.tokens.len() - 1)).map_or(1, |token| token.line)
    }

    pub(super) fn peek(&self) -> &TokenKind {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, count: usize) -> &TokenKind {
        self.tokens.get(self.at + count).map_or(&TokenKind::End, |token| &token.kind)
    }

    pub(super) fn next(&mut self) -> TokenKind {
        let kind = self.peek().clone();
        self.at += 1;
        kind
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), TokenKind::Sign(found) if *found == sign)
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_sign(&mut self, sign: &str) -> Result<()> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), TokenKind::Name(found) if found == word)
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_name(&mut self) -> Result<Arc<str>> {
        match self.peek() {
            TokenKind::Name(name) => {
                let name = name.as_str().into();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.peek() {
            TokenKind::Data(_) => "text".to_owned(),
            TokenKind::VariableBegin => "`{{`".to_owned(),
            TokenKind::VariableEnd => "`}}`".to_owned(),
            TokenKind::BlockBegin => "`{%`".to_owned(),
            TokenKind::BlockEnd => "`%}`".to_owned(),
            TokenKind::Name(name) => format!("`{name}`"),
            TokenKind::Text(_) => "a string".to_owned(),
            TokenKind::Int(_) | TokenKind::Float(_) => "a number".to_owned(),
            TokenKind::Sign(sign) => format!("`{sign}`"),
            TokenKind::End => "the end of the template".to_owned(),
        };
        Fault::new(format!("expected {wanted}, found {found}")).at(self.line())
    }

    /// Runs `parse` one level deeper.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting == NESTING {
            return Err(Fault::new(format!("it is nested more than {NESTING} deep")).at(self.line()));
        }
        self.nesting += 1;
        let result = parse(self);
        self.nesting -= 1;
        result
    }

    /// Notes that the innermost macro reads `name`.
    pub(super) fn note(&mut self, name: &str) {
        let at = ["varargs", "kwargs", "caller"].iter().position(|known| *known == name);
        if let (Some(at), Some(uses)) = (at, self.uses.last_mut()) {
            uses[at] = true;
        }
    }

    /// Statements up to a block tag with one of the words `ends`, or the end of the template if there are none.
    /// The tag's word is not passed.
    fn body(&mut self, ends: &[&str]) -> Result<Vec<Stmt>> {
        self.nested(|parser| parser.statements(ends))
    }

    fn statements(&mut self, ends: &[&str]) -> Result<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            match self.next() {
                TokenKind::Data(text) => {
                    body.push(Stmt { line, kind: StmtKind::Write(Text::own(&text)) });
                }
                TokenKind::VariableBegin => {
                    let value = self.tuple(true)?;
                    if *self.peek() != TokenKind::VariableEnd {
                        return Err(self.unexpected("`}}`"));
                    }
                    self.at += 1;
                    body.push(Stmt { line, kind: StmtKind::Print(value) });
                }
                TokenKind::BlockBegin => {
                    if ends.iter().any(|end| self.is_word(end)) {
                        return Ok(body);
                    }
                    let kind = self.statement()?;
                    self.block_end()?;
                    body.push(Stmt { line, kind });
                }
                TokenKind::End if ends.is_empty() => return Ok(body),
                _ => {
                    self.at -= 1;
                    let wanted = ends.iter().map(|end| format!("`{{% {end} %}}`"));
                    return Err(self.unexpected(&wanted.collect::<Vec<_>>().join(" or ")));
                }
            }
        }
    }

    fn block_end(&mut self) -> Result<()> {
        match self.peek() {
            TokenKind::BlockEnd => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected("`%}`")),
        }
    }

    /// Parses what is a function of its own in Jinja2: `break` and `continue` reach no loop around it.
    fn outside_loops<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let loops = std::mem::take(&mut self.loops);
        let result = parse(self);
        self.loops = loops;
        result
    }

    /// Passes `%}`, a body, and the word of the tag that ends it.
    fn body_to(&mut self, end: &str) -> Result<Vec<Stmt>> {
        self.block_end()?;
        let body = self.body(&[end])?;
        self.at += 1;
        Ok(body)
    }

    fn statement(&mut self) -> Result<StmtKind> {
        let line = self.line();
        let word = self.expect_name()?;
        match &*word {
            "if" => self.condition(),
            "for" => self.for_loop(),
            "set" => self.set(),
            "with" => self.with(),
            "macro" => {
                let name = self.expect_name()?;
                self.macro_of(name, "endmacro", true).map(|declared| StmtKind::Macro(Arc::new(declared)))
            }
            "call" => self.call_block(line),
            "filter" => {
                let filter = self.filters_of_block()?;
                Ok(StmtKind::FilterBlock(filter, self.body_to("endfilter")?))
            }
            // It marks the assistant's words for training masks, and writes nothing itself.
            "generation" => Ok(StmtKind::Body(self.outside_loops(|parser| parser.body_to("endgeneration"))?)),
            "break" | "continue" if self.loops == 0 => {
                Err(Fault::new(format!("`{word}` stands outside of a loop")).at(line))
            }
            "break" => Ok(StmtKind::Break),
            "continue" => Ok(StmtKind::Continue),
            "block" => {
                self.expect_name()?;
                self.take_word("scoped");
                self.take_word("required");
                let body = self.outside_loops(|parser| parser.body_to("endblock"))?;
                if matches!(self.peek(), TokenKind::Name(_)) {
                    self.at += 1;
                }
                Ok(StmtKind::Body(body))
            }
            "print" => Ok(StmtKind::Body(vec![Stmt { line, kind: StmtKind::Print(self.tuple(true)?) }])),
            "include" | "import" | "from" | "extends" => {
                while !matches!(self.peek(), TokenKind::BlockEnd | TokenKind::End) {
                    self.at += 1;
                }
                Ok(StmtKind::Refuse("a chat template stands alone: there is no other template"))
            }
            _ => Err(Fault::new(format!("unknown tag `{word}`")).at(line)),
        }
    }

    fn condition(&mut self) -> Result<StmtKind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(false)?;
            self.block_end()?;
            let body = self.body(&["elif", "else", "endif"])?;
            branches.push((Some(condition), body));
            if self.take_word("elif") {
                continue;
            }
            if self.take_word("else") {
                branches.push((None, self.body_to("endif")?));
            } else {
                self.at += 1;
            }
            return Ok(StmtKind::If(branches));
        }
    }

    fn for_loop(&mut self) -> Result<StmtKind> {
        let target = self.targets()?;
        if !self.take_word("in") {
            return Err(self.unexpected("`in`"));
        }
        let over = self.tuple(false)?;
        let only = if self.take_word("if") { Some(self.expression()?) } else { None };
        let recursive = self.take_word("recursive");
        self.block_end()?;
        self.loops += 1;
        let body = self.body(&["else", "endfor"]);
        self.loops -= 1;
        let body = body?;
        let otherwise = if self.take_word("else") {
            // In Jinja2 a recursive loop is a function, so its `else` belongs to no loop around it.
            if recursive {
                self.outside_loops(|parser| parser.body_to("endfor"))?
            } else {
                self.body_to("endfor")?
            }
        } else {
            self.at += 1;
            Vec::new()
        };
        Ok(StmtKind::For(Arc::new(For { target, over, only, body, otherwise, recursive })))
    }

    fn set(&mut self) -> Result<StmtKind> {
        let target = self.targets()?;
        if self.take_sign("=") {
            return Ok(StmtKind::Set(target, self.tuple(true)?));
        }
        let filter = if self.is_sign("|") { Some(self.filters_of_block()?) } else { None };
        Ok(StmtKind::SetBlock(target, filter, self.body_to("endset")?))
    }

    fn with(&mut self) -> Result<StmtKind> {
        let mut values = Vec::new();
        while !matches!(self.peek(), TokenKind::BlockEnd) {
            if !values.is_empty() {
                self.expect_sign(",")?;
            }
            let target = self.target()?;
            self.expect_sign("=")?;
            values.push((target, self.expression()?));
        }
        Ok(StmtKind::With(values, self.body_to("endwith")?))
    }

    fn call_block(&mut self, line: usize) -> Result<StmtKind> {
        let parameters = if self.is_sign("(") { self.parameters()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call.kind, Kind::Call(..)) {
            return Err(Fault::new("`call` needs a call of a macro").at(line));
        }
        let mut body = self.macro_of("caller".into(), "endcall", false)?;
        body.parameters = parameters;
        Ok(StmtKind::CallBlock(Arc::new(body), call))
    }

    fn macro_of(&mut self, name: Arc<str>, end: &str, with_parameters: bool) -> Result<Macro> {
        let parameters = if with_parameters { self.parameters()? } else { Vec::new() };
        self.uses.push([false; 3]);
        let body = self.outside_loops(|parser| parser.body_to(end));
        let [varargs, kwargs, caller] = self.uses.pop().unwrap_or_default();
        Ok(Macro { name, parameters, body: body?, varargs, kwargs, caller })
    }

    fn parameters(&mut self) -> Result<Vec<(Arc<str>, Option<Expr>)>> {
        self.expect_sign("(")?;
        let mut parameters: Vec<(Arc<str>, Option<Expr>)> = Vec::new();
        while !self.is_sign(")") {
            if !parameters.is_empty() {
                self.expect_sign(",")?;
                if self.is_sign(")") {
                    break;
                }
            }
            let name = self.expect_name()?;
            let default = if self.take_sign("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return Err(
                    Fault::new(format!("`{name}` without a default follows one that has it")).at(self.line())
                );
            }
            parameters.push((name, default));
        }
        self.expect_sign(")")?;
        Ok(parameters)
    }

    /// `| filter | filter`, or without the first bar, of the text of a block.
    fn filters_of_block(&mut self) -> Result<Expr> {
        let line = self.line();
        let captured = Expr { line, depth: 1, kind: Kind::None };
        self.take_sign("|");
        let mut filtered = self.filter(captured)?;
        while self.take_sign("|") {
            filtered = self.filter(filtered)?;
        }
        Ok(filtered)
    }

    /// Targets of an assignment or a loop, separated by commas.
    fn targets(&mut self) -> Result<Target> {
        let first = self.target()?;
        if !self.is_sign(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.take_sign(",") {
            if matches!(self.peek(), TokenKind::Name(name) if name != "in") || self.is_sign("(") {
                targets.push(self.target()?);
            }
        }
        Ok(Target::Tuple(targets))
    }

    fn target(&mut self) -> Result<Target> {
        if self.take_sign("(") {
            let inner = self.nested(Self::targets)?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        let line = self.line();
        let name = self.expect_name()?;
        if matches!(&*name, "true" | "false" | "none" | "True" | "False" | "None") {
            return Err(Fault::new(format!("cannot assign to `{name}`")).at(line));
        }
        if self.take_sign(".") {
            return Ok(Target::Field(name, self.expect_name()?));
        }
        Ok(Target::Name(name))
    }

    /// An expression, or several with commas between them, which make a tuple. `whole` is whether it may be `a if b`;
    /// where a loop's `if` follows it may not.
    pub(super) fn tuple(&mut self, whole: bool) -> Result<Expr> {
        let line = self.line();
        let one = |parser: &mut Self| if whole { parser.expression() } else { parser.or() };
        let first = one(self)?;
        if !self.is_sign(",") {
            return Ok(first);
        }
        let mut values = vec![first];
        while self.take_sign(",") {
            let ended = matches!(self.peek(), TokenKind::VariableEnd | TokenKind::BlockEnd | TokenKind::End);
            if ended || self.is_sign(")") {
                break;
            }
            values.push(one(self)?);
        }
        super::expression::node(line, Kind::Tuple(values))
    }

    /// The arguments of a call, from its opening bracket.
    pub(super) fn arguments(&mut self) -> Result<Arguments> {
        self.expect_sign("(")?;
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.is_sign(")") {
            if !first {
                self.expect_sign(",")?;
                if self.is_sign(")") {
                    break;
                }
            }
            first = false;
            let misplaced = |parser: &Self| parser.unexpected("no argument of this kind here");
            if self.is_sign("*") {
                if arguments.spread.is_some() || arguments.spread_named.is_some() {
                    return Err(misplaced(self));
                }
                self.at += 1;
                arguments.spread = Some(Box::new(self.expression()?));
            } else if self.is_sign("**") {
                if arguments.spread_named.is_some() {
                    return Err(misplaced(self));
                }
                self.at += 1;
                arguments.spread_named = Some(Box::new(self.expression()?));
            } else if matches!((self.peek(), self.ahead(1)), (TokenKind::Name(_), TokenKind::Sign("="))) {
                let name = self.expect_name()?;
                self.at += 1;
                if arguments.named.iter().any(|(known, _)| known.as_str() == &*name) {
                    return Err(Fault::new(format!("the argument `{name}` is given twice")).at(self.line()));
                }
                arguments.named.push((Text::own(&name), self.expression()?));
            } else {
                if arguments.spread.is_some()
                    || arguments.spread_named.is_some()
                    || !arguments.named.is_empty()
                {
                    return Err(misplaced(self));
                }
                arguments.values.push(self.expression()?);
            }
        }
        self.expect_sign(")")?;
        Ok(arguments)
    }
}
