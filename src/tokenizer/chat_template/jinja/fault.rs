//! Why a template stopped, and the fuel that bounds what it does.

use std::cell::Cell;

/// Units of fuel that one step costs; a byte of text costs one unit.
const STEP: u64 = 64;
/// Units of fuel that a place in a list costs, and two of which an entry of a map costs.
const PLACE: u64 = 32;

/// Why a template stopped.
#[derive(Debug)]
pub(in super::super) enum Cause {
    /// The template called `raise_exception` with this message.
    Raised(String),
    /// The fuel is used up.
    Fuel,
    /// The output has more bytes than it may have.
    TooLong,
    /// The template does not parse, or it asks for something that cannot be done.
    Other(String),
}

/// An error with its line.
#[derive(Debug)]
pub(in super::super) struct Fault {
    /// The line of the template, counted from 1; 0 as long as it is not known.
    pub line: usize,
    pub cause: Cause,
}

pub(in super::super) type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub fn new(message: impl Into<String>) -> Fault {
        Fault { line: 0, cause: Cause::Other(message.into()) }
    }

    pub fn of(cause: Cause) -> Fault {
        Fault { line: 0, cause }
    }

    /// The same fault at `line`, if no line nearer to it is known.
    pub fn at(mut self, line: usize) -> Fault {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}

/// An error of the kind that has only a message.
pub(super) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Fault::new(message))
}

/// What a render may still do.
///
/// Every step, every byte of text that is made or read, every place of a list that is made or visited is paid for
/// before it is done. The fuel therefore bounds both the time of a render and its memory.
#[derive(Debug)]
pub(super) struct Fuel {
    left: Cell<u64>,
}

impl Fuel {
    /// Fuel for `steps` steps.
    pub fn new(steps: u64) -> Fuel {
        Fuel { left: Cell::new(steps.saturating_mul(STEP)) }
    }

    pub fn step(&self) -> Result<()> {
        self.spend(STEP)
    }

    /// Pays for text of `count` bytes.
    pub fn bytes(&self, count: usize) -> Result<()> {
        self.spend(count as u64)
    }

    /// Pays for text of `count` bytes that is gone through letter by letter.
    pub fn letters(&self, count: usize) -> Result<()> {
        self.bytes(count.saturating_mul(6))
    }

    /// Pays for `count` places of a list.
    pub fn places(&self, count: usize) -> Result<()> {
        self.spend((count as u64).saturating_mul(PLACE))
    }

    fn spend(&self, units: u64) -> Result<()> {
        let left = self.left.get().saturating_sub(units);
        self.left.set(left);
        if left == 0 { Err(Fault::of(Cause::Fuel)) } else { Ok(()) }
    }
}
