//! A template as a tree.

use std::sync::Arc;

use super::text::Text;

/// An expression, with the line where it begins.
#[derive(Debug)]
pub(super) struct Expr {
    pub line: usize,
    /// Expressions within each other.
    pub depth: usize,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    Name(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `~`
    Concat(Vec<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// `a < b < c`
    Compare(Box<Expr>, Vec<(Compare, Expr)>),
    /// Condition, value, the value otherwise.
    If(Box<[Expr; 2]>, Option<Box<Expr>>),
    Attribute(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, Arguments),
    Filter(Box<Expr>, Arc<str>, Arguments),
    /// With `not` in front of the name or not.
    Test(Box<Expr>, Arc<str>, Arguments, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

/// The arguments of a call as they are written.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub values: Vec<Expr>,
    pub named: Vec<(Text, Expr)>,
    /// `*values`
    pub spread: Option<Box<Expr>>,
    /// `**map`
    pub spread_named: Option<Box<Expr>>,
}

/// A statement, with its line.
#[derive(Debug)]
pub(super) struct Stmt {
    pub line: usize,
    pub kind: StmtKind,
}

#[derive(Debug)]
pub(super) enum StmtKind {
    /// Text outside the tags.
    Write(Text),
    Print(Expr),
    /// Conditions with their bodies; the last may have none.
    If(Vec<(Option<Expr>, Vec<Stmt>)>),
    For(Arc<For>),
    Break,
    Continue,
    Set(Target, Expr),
    /// `{% set x | filter %}`: the name `None` stands for the captured text in the filter.
    SetBlock(Target, Option<Expr>, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    Macro(Arc<Macro>),
    /// `{% call(arguments) macro() %}`
    CallBlock(Arc<Macro>, Expr),
    FilterBlock(Expr, Vec<Stmt>),
    /// A body in a scope of its own.
    Body(Vec<Stmt>),
    /// What a template outside of a collection cannot do.
    Refuse(&'static str),
}

#[derive(Debug)]
pub(super) struct For {
    pub target: Target,
    pub over: Expr,
    pub only: Option<Expr>,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
    pub recursive: bool,
}

/// What a value is assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(Arc<str>),
    Tuple(Vec<Target>),
    /// A field of a namespace.
    Field(Arc<str>, Arc<str>),
}

/// A macro, or the body of a call block.
#[derive(Debug)]
pub(super) struct Macro {
    pub name: Arc<str>,
    pub parameters: Vec<(Arc<str>, Option<Expr>)>,
    pub body: Vec<Stmt>,
    /// Which of these names the body reads.
    pub varargs: bool,
    pub kwargs: bool,
    pub caller: bool,
}
