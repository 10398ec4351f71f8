//! Attributes of replies, and sentences that ask for them: training data for reward models that read any sentence.
//!
//! An [`Attribute`] is something that a reply has or has not: an emoji, a warning, a word of French. Its file contains
//! names for it, the program that sees it, a way to give it to a reply, and sentences in which people ask for it or
//! forbid it. The [`Factory`] edits plain replies, and labels each of them under many sentences. A label always comes
//! from the program, never from the edit, so it is right also where a plain reply has the attribute.
//!
//! What a small model learns to read depends on the number of different attributes, from many domains, more than on
//! the number of wordings (arXiv 2410.04717).
//!
//! | part | holds |
//! |---|---|
//! | [`AttributeSet`] | attributes from files, shipped or one's own, and which of them are held out |
//! | [`Attribute`] | one attribute: [`Attribute::holds`], [`Attribute::give`] |
//! | [`Factory`] | labelled replies from plain ones |
//! | [`Reserved`] | what is kept for evaluation, so that no training may use it |
//! | [`cases`], [`lists`], [`Split`], [`EverydaySentence`] | evaluation on sentences and attributes that were not trained |

mod accuracy;
mod cases;
mod change;
mod document;
mod draws;
mod factory;
mod frames;
mod lists;
mod pattern;
mod reserved;
mod set;
mod shipped;

use std::path::PathBuf;

pub use accuracy::Accuracy;
pub use cases::{Case, CaseOptions, EverydaySentence, Split, cases, everyday};
pub(crate) use draws::Draws;
pub use factory::{Factory, FactoryConfig, PlainReply};
pub use lists::{ListCase, lists};
pub use reserved::Reserved;
pub use set::AttributeSet;

use crate::error::ErrorKind;
use crate::file::FileError;
use change::Change;
use pattern::Test;

/// Something that a reply has or has not.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its id, unique in a set.
    pub id: String,
    /// Its domain, such as `topic`.
    pub domain: String,
    /// Whether no training may use it: it is for evaluation.
    pub held_out: bool,
    /// Noun phrases for it.
    names: Vec<String>,
    /// Sentences that ask for it.
    want: Vec<String>,
    /// Sentences that forbid it, or ask for its opposite.
    avoid: Vec<String>,
    test: Test,
    give: Option<Change>,
    take: Option<Change>,
    parameters: Parameters,
}

/// What stands for `{w}` or `{n}` in the texts of an attribute.
#[derive(Clone, Debug, PartialEq)]
enum Parameters {
    None,
    Words(Vec<String>),
    Numbers(Vec<usize>),
    /// Any word.
    Open,
}

/// One value of the parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// The attribute has none.
    #[default]
    None,
    /// Stands for `{w}`.
    Word(String),
    /// Stands for `{n}`.
    Number(usize),
}

impl Parameter {
    /// `text` with this value in its place.
    pub(crate) fn fill(&self, text: &str) -> String {
        match self {
            Parameter::None => text.to_owned(),
            Parameter::Word(word) => text.replace("{w}", word),
            Parameter::Number(number) => text.replace("{n}", &number.to_string()),
        }
    }
}

/// A reply as tests see it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The request.
    pub prompt: &'a str,
    /// The reply.
    pub reply: &'a str,
}

impl Attribute {
    /// Whether the reply has the attribute, with this value of its parameter. `None` if its program cannot decide.
    pub fn holds(&self, seen: Seen<'_>, parameter: &Parameter) -> Option<bool> {
        self.test.holds(seen, parameter)
    }

    /// Whether its parameter may be any word.
    pub fn is_open(&self) -> bool {
        self.parameters == Parameters::Open
    }

    /// All values of its parameter; one without meaning if it has none. Empty if it is open.
    pub fn parameters(&self) -> Vec<Parameter> {
        match &self.parameters {
            Parameters::None => vec![Parameter::None],
            Parameters::Open => Vec::new(),
            Parameters::Words(words) => words.iter().cloned().map(Parameter::Word).collect(),
            Parameters::Numbers(numbers) => numbers.iter().copied().map(Parameter::Number).collect(),
        }
    }

    /// Whether there is an edit that gives it.
    pub fn can_give(&self) -> bool {
        self.give.is_some()
    }

    /// A version of the reply that has the attribute; `pick` is any number and chooses among the ways. `None` if there
    /// is no way.
    pub fn give(&self, seen: Seen<'_>, parameter: &Parameter, pick: u64) -> Option<String> {
        let version = self.give.as_ref()?.apply(seen, parameter, pick)?;
        self.decided(seen, version, parameter, true)
    }

    /// A version of the reply that has not the attribute. `None` if there is no way.
    pub fn take(&self, seen: Seen<'_>, parameter: &Parameter, pick: u64) -> Option<String> {
        let version = self.take.as_ref()?.apply(seen, parameter, pick)?;
        self.decided(seen, version, parameter, false)
    }

    /// A version of the reply that has the attribute if `wanted`, or has not. `None` if it is so already, or there is no
    /// way.
    fn changed(&self, seen: Seen<'_>, parameter: &Parameter, wanted: bool, pick: u64) -> Option<String> {
        match self.holds(seen, parameter) {
            Some(holds) if holds == wanted => None,
            _ if wanted => self.give(seen, parameter, pick),
            _ => self.take(seen, parameter, pick),
        }
    }

    /// `version` if its label is `wanted`.
    fn decided(
        &self,
        seen: Seen<'_>,
        version: String,
        parameter: &Parameter,
        wanted: bool,
    ) -> Option<String> {
        let version = version.trim().to_owned();
        let changed = Seen { reply: &version, ..seen };
        (self.holds(changed, parameter) == Some(wanted) && !version.is_empty()).then_some(version)
    }

    /// Sentences that people wrote: those that ask for it if `wants`, or that forbid it.
    pub fn sentences(&self, wants: bool) -> &[String] {
        if wants { &self.want } else { &self.avoid }
    }
}

/// Why attributes cannot be used, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttributesError {
    /// A file could not be read: check path and permissions.
    #[error(transparent)]
    Io(#[from] FileError),

    /// A file has a mistake: correct it.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The attribute or the line, and what is wrong there.
        reason: String,
    },

    /// There is no attribute of this name, or none is left: choose others.
    #[error("{reason}")]
    Nothing {
        /// What is missing.
        reason: String,
    },
}

impl AttributesError {
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            AttributesError::Io(file) => file.kind(),
            AttributesError::File { .. } => ErrorKind::Data,
            AttributesError::Nothing { .. } => ErrorKind::NotFound,
        }
    }
}
