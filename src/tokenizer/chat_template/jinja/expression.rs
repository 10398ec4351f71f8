//! Tokens as expressions.

use std::sync::Arc;

use super::ast::{Arguments, Binary, Compare, Expr, Kind};
use super::fault::{Fault, Result};
use super::lexer::TokenKind;
use super::parser::Parser;
use super::text::Text;

/// Expressions within each other, chains such as `a | b | c` and `a + b + c` included.
const DEPTH: usize = 400;

/// An expression, if it is not too deep.
pub(super) fn node(line: usize, kind: Kind) -> Result<Expr> {
    let depth = depth_below(&kind) + 1;
    if depth > DEPTH {
        return Err(Fault::new(format!("an expression is nested more than {DEPTH} deep")).at(line));
    }
    Ok(Expr { line, depth, kind })
}

fn depth_below(kind: &Kind) -> usize {
    let of = |expr: &Expr| expr.depth;
    let most = |exprs: &[Expr]| exprs.iter().map(of).max().unwrap_or(0);
    let arguments = |arguments: &Arguments| {
        let named = arguments.named.iter().map(|(_, expr)| expr.depth).max().unwrap_or(0);
        let spread = [&arguments.spread, &arguments.spread_named];
        let spread = spread.into_iter().flatten().map(|expr| expr.depth).max().unwrap_or(0);
        most(&arguments.values).max(named).max(spread)
    };
    match kind {
        Kind::None | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Text(_) | Kind::Name(_) => 0,
        Kind::List(values) | Kind::Tuple(values) | Kind::Concat(values) => most(values),
        Kind::Dict(entries) => entries.iter().map(|(key, value)| of(key).max(of(value))).max().unwrap_or(0),
        Kind::Not(inner) | Kind::Negative(inner) | Kind::Positive(inner) | Kind::Attribute(inner, _) => {
            of(inner)
        }
        Kind::Binary(_, left, right)
        | Kind::And(left, right)
        | Kind::Or(left, right)
        | Kind::Item(left, right) => of(left).max(of(right)),
        Kind::Compare(first, others) => {
            others.iter().map(|(_, expr)| of(expr)).max().unwrap_or(0).max(of(first))
        }
        Kind::If(parts, otherwise) => most(&parts[..]).max(otherwise.as_deref().map_or(0, of)),
        Kind::Slice(inner, bounds) => bounds.iter().flatten().map(of).max().unwrap_or(0).max(of(inner)),
        Kind::Call(inner, args) | Kind::Filter(inner, _, args) | Kind::Test(inner, _, args, _) => {
            of(inner).max(arguments(args))
        }
    }
}

impl Parser {
    /// A whole expression.
    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Result<Expr> {
        let line = self.line();
        let mut value = self.or()?;
        while self.take_word("if") {
            let condition = self.or()?;
            let otherwise = if self.take_word("else") { Some(Box::new(self.expression()?)) } else { None };
            value = node(line, Kind::If(Box::new([condition, value]), otherwise))?;
        }
        Ok(value)
    }

    /// An expression without `if` at its end.
    pub(super) fn or(&mut self) -> Result<Expr> {
        let line = self.line();
        let mut left = self.and()?;
        while self.take_word("or") {
            left = node(line, Kind::Or(Box::new(left), Box::new(self.and()?)))?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr> {
        let line = self.line();
        let mut left = self.not()?;
        while self.take_word("and") {
            left = node(line, Kind::And(Box::new(left), Box::new(self.not()?)))?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr> {
        let line = self.line();
        if self.take_word("not") {
            let inner = self.nested(Self::not)?;
            return node(line, Kind::Not(Box::new(inner)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr> {
        let line = self.line();
        let first = self.sum()?;
        let mut others = Vec::new();
        loop {
            let sign = match self.peek() {
                TokenKind::Sign("==") => Compare::Equal,
                TokenKind::Sign("!=") => Compare::NotEqual,
                TokenKind::Sign("<") => Compare::Less,
                TokenKind::Sign("<=") => Compare::LessOrEqual,
                TokenKind::Sign(">") => Compare::Greater,
                TokenKind::Sign(">=") => Compare::GreaterOrEqual,
                TokenKind::Name(word) if word == "in" => Compare::In,
                TokenKind::Name(word) if word == "not" => match self.ahead(1) {
                    TokenKind::Name(word) if word == "in" => {
                        self.next();
                        Compare::NotIn
                    }
                    _ => break,
                },
                _ => break,
            };
            self.next();
            others.push((sign, self.sum()?));
        }
        if others.is_empty() { Ok(first) } else { node(line, Kind::Compare(Box::new(first), others)) }
    }

    /// Operators from `signs` between operands that `operand` reads, the left ones first.
    fn chain(&mut self, signs: &[(&str, Binary)], operand: fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        let line = self.line();
        let mut left = operand(self)?;
        while let Some(&(_, operator)) = signs.iter().find(|(sign, _)| self.is_sign(sign)) {
            self.next();
            let right = operand(self)?;
            left = node(line, Kind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expr> {
        self.chain(&[("+", Binary::Add), ("-", Binary::Sub)], Self::concat)
    }

    fn concat(&mut self) -> Result<Expr> {
        let line = self.line();
        let mut values = vec![self.product()?];
        while self.take_sign("~") {
            values.push(self.product()?);
        }
        match values.len() {
            1 => Ok(values.remove(0)),
            _ => node(line, Kind::Concat(values)),
        }
    }

    fn product(&mut self) -> Result<Expr> {
        let signs = [("*", Binary::Mul), ("/", Binary::Div), ("//", Binary::FloorDiv), ("%", Binary::Mod)];
        self.chain(&signs, Self::power)
    }

    fn power(&mut self) -> Result<Expr> {
        self.chain(&[("**", Binary::Pow)], |parser| parser.unary(true))
    }

    fn unary(&mut self, with_filters: bool) -> Result<Expr> {
        let line = self.line();
        let mut value = if self.take_sign("-") {
            let inner = self.nested(|parser| parser.unary(false))?;
            node(line, Kind::Negative(Box::new(inner)))?
        } else if self.take_sign("+") {
            let inner = self.nested(|parser| parser.unary(false))?;
            node(line, Kind::Positive(Box::new(inner)))?
        } else {
            self.primary()?
        };
        value = self.postfix(value)?;
        if with_filters { self.filters(value) } else { Ok(value) }
    }

    fn primary(&mut self) -> Result<Expr> {
        let line = self.line();
        let kind = match self.peek().clone() {
            TokenKind::Name(name) => {
                self.next();
                match name.as_str() {
                    "true" | "True" => Kind::Bool(true),
                    "false" | "False" => Kind::Bool(false),
                    "none" | "None" => Kind::None,
                    _ => {
                        self.note(&name);
                        Kind::Name(name.into())
                    }
                }
            }
            TokenKind::Text(mut text) => {
                self.next();
                while let TokenKind::Text(more) = self.peek() {
                    text.push_str(more);
                    self.next();
                }
                Kind::Text(Text::own(&text))
            }
            TokenKind::Int(number) => {
                self.next();
                Kind::Int(number)
            }
            TokenKind::Float(number) => {
                self.next();
                Kind::Float(number)
            }
            TokenKind::Sign("(") => {
                self.next();
                if self.take_sign(")") {
                    Kind::Tuple(Vec::new())
                } else {
                    let inner = self.nested(|parser| parser.tuple(true))?;
                    self.expect_sign(")")?;
                    return Ok(inner);
                }
            }
            TokenKind::Sign("[") => {
                self.next();
                Kind::List(self.items("]", Self::expression)?)
            }
            TokenKind::Sign("{") => {
                self.next();
                Kind::Dict(self.items("}", |parser| {
                    let key = parser.expression()?;
                    parser.expect_sign(":")?;
                    Ok((key, parser.expression()?))
                })?)
            }
            _ => return Err(self.unexpected("a value")),
        };
        node(line, kind)
    }

    /// What stands between brackets, separated by commas, up to `close`.
    fn items<T>(&mut self, close: &str, one: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.is_sign(close) {
            if !items.is_empty() {
                self.expect_sign(",")?;
                if self.is_sign(close) {
                    break;
                }
            }
            items.push(one(self)?);
        }
        self.expect_sign(close)?;
        Ok(items)
    }

    fn postfix(&mut self, mut value: Expr) -> Result<Expr> {
        loop {
            let line = self.line();
            let kind = if self.take_sign(".") {
                match self.next() {
                    TokenKind::Name(name) => Kind::Attribute(Box::new(value), name.into()),
                    TokenKind::Int(number) => {
                        Kind::Item(Box::new(value), Box::new(node(line, Kind::Int(number))?))
                    }
                    _ => return Err(Fault::new("expected a name after `.`").at(line)),
                }
            } else if self.take_sign("[") {
                self.subscript(line, value)?
            } else if self.is_sign("(") {
                Kind::Call(Box::new(value), self.arguments()?)
            } else {
                return Ok(value);
            };
            value = node(line, kind)?;
        }
    }

    /// An item or a slice, from behind the opening bracket.
    fn subscript(&mut self, line: usize, value: Expr) -> Result<Kind> {
        let mut bounds: [Option<Expr>; 3] = [None, None, None];
        let mut colons = 0;
        while !self.is_sign("]") {
            if self.take_sign(":") {
                colons += 1;
                if colons > 2 {
                    return Err(self.unexpected("`]`"));
                }
            } else if colons == 0 && bounds[0].is_none() {
                bounds[0] = Some(self.subscript_value()?);
            } else if colons > 0 && bounds[colons].is_none() {
                bounds[colons] = Some(self.expression()?);
            } else {
                return Err(self.unexpected("`]`"));
            }
        }
        self.expect_sign("]")?;
        if colons > 0 {
            return Ok(Kind::Slice(Box::new(value), Box::new(bounds)));
        }
        let [Some(index), ..] = bounds else {
            return Err(Fault::new("expected an index between `[` and `]`").at(line));
        };
        Ok(Kind::Item(Box::new(value), Box::new(index)))
    }

    /// One index, or several that make a tuple.
    fn subscript_value(&mut self) -> Result<Expr> {
        let line = self.line();
        let first = self.expression()?;
        if !self.is_sign(",") {
            return Ok(first);
        }
        let mut values = vec![first];
        while self.take_sign(",") {
            if !self.is_sign("]") {
                values.push(self.expression()?);
            }
        }
        node(line, Kind::Tuple(values))
    }

    fn filters(&mut self, mut value: Expr) -> Result<Expr> {
        loop {
            if self.take_sign("|") {
                value = self.filter(value)?;
            } else if self.is_word("is") {
                value = self.test(value)?;
            } else if self.is_sign("(") {
                let line = self.line();
                value = node(line, Kind::Call(Box::new(value), self.arguments()?))?;
            } else {
                return Ok(value);
            }
        }
    }

    /// One filter, from its name.
    pub(super) fn filter(&mut self, value: Expr) -> Result<Expr> {
        let line = self.line();
        let name = self.dotted_name()?;
        let arguments = if self.is_sign("(") { self.arguments()? } else { Arguments::default() };
        node(line, Kind::Filter(Box::new(value), name, arguments))
    }

    fn dotted_name(&mut self) -> Result<Arc<str>> {
        let mut name = self.expect_name()?;
        while self.take_sign(".") {
            name = format!("{name}.{}", self.expect_name()?).into();
        }
        Ok(name)
    }

    /// One test, from `is`.
    fn test(&mut self, value: Expr) -> Result<Expr> {
        let line = self.line();
        self.next();
        let negated = self.take_word("not");
        let name = self.dotted_name()?;
        let mut arguments = Arguments::default();
        let argument_follows = match self.peek() {
            TokenKind::Name(word) if word == "is" => {
                return Err(Fault::new("tests cannot be chained with `is`").at(line));
            }
            TokenKind::Name(word) => !matches!(word.as_str(), "else" | "or" | "and"),
            TokenKind::Text(_) | TokenKind::Int(_) | TokenKind::Float(_) => true,
            TokenKind::Sign(sign) => matches!(*sign, "[" | "{"),
            _ => false,
        };
        if self.is_sign("(") {
            arguments = self.arguments()?;
        } else if argument_follows && !self.is_word("if") {
            let argument = self.primary()?;
            arguments.values.push(self.postfix(argument)?);
        }
        node(line, Kind::Test(Box::new(value), name, arguments, negated))
    }
}
