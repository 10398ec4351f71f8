//! Written principles: their files, and how they are read, drawn and checked.
//!
//! A [`PrincipleSet`] is one TOML file of `principles/`; `principles/schema.json` documents every key.
//! No principle is in code: to edit, add or remove one, edit text. The JSON lists of SALMON (arXiv
//! 2310.05910) load unchanged.
//!
//! | part | holds |
//! |---|---|
//! | [`PrincipleSet`], [`Principle`] | the contents of a file |
//! | [`Selection`] | some principles of a set, by name |
//! | [`Collection`] | files that are used together; all their mistakes are reported at once |
//! | [`PrincipleSet::draw`] | the principles of one scoring prompt |
//! | [`Check`] | programs that decide whether a reply keeps a principle |
//! | [`Exemplars`] | dialogues that show a base model how to use a set of rules |
//!
//! ```
//! use parr::principles::{PrincipleSet, Use};
//!
//! let policy = PrincipleSet::open("policy")?;
//! assert_eq!(policy.uses, Use::Sample { draws: 3 });
//! println!("{}", policy.principle("policy-truthful")?.definition);
//! # Ok::<(), parr::principles::PrinciplesError>(())
//! ```

mod check;
mod collection;
mod document;
mod draw;
mod edit;
mod error;
mod exemplars;
mod joined;
mod salmon_json;
mod selection;
mod set;
mod shipped;
mod table;
mod write;

use crate::file::hex;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use check::{Check, Language, contains_phrase, language};
pub use collection::{Collection, FileReport};
pub use error::{Fault, PrinciplesError};
pub use exemplars::{Exemplar, Exemplars};
pub use selection::Selection;
pub use shipped::SHIPPED;

pub use crate::random::Philox;

/// A set of principles: one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrincipleSet {
    /// Name of the set: its file name without the extension.
    pub id: String,
    /// One line for lists and reports.
    pub title: String,
    /// The purpose of the set.
    pub description: String,
    /// How it is used.
    pub uses: Use,
    /// Rules that may decide a pair instead of the judge.
    pub overrides: Overrides,
    /// The principles, in the order of the file; never empty once read.
    pub principles: Vec<Principle>,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: String,
}

/// The use of a set. Replies can be scored under any set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Use {
    /// Replies are judged under each principle alone. The reward model is trained on random subsets, with
    /// each principle negated half of the time, so every principle has a negative.
    #[default]
    Judge,
    /// A few principles are drawn by weight for each score while a policy is trained.
    Sample {
        /// Number drawn, without replacement; from 1 to the number of principles.
        draws: usize,
    },
    /// Every principle is in every scoring prompt, before drawn ones. Negated only where `!ID` asks for the
    /// opposite.
    Always,
    /// Numbered rules in the prompt of self-alignment.
    Rules,
}

impl Use {
    /// The word used in files.
    pub fn name(self) -> &'static str {
        match self {
            Use::Judge => "judge",
            Use::Sample { .. } => "sample",
            Use::Always => "always",
            Use::Rules => "rules",
        }
    }
}

/// One quality of a reply, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Principle {
    /// The name in records and reports: lower-case letters and digits, in words joined by hyphens.
    pub id: String,
    /// A name of a few words, for judges and reports; the reward model never sees it.
    pub dimension: String,
    /// The request itself: the only text of the principle that the reward model reads.
    pub definition: String,
    /// The negated definition; exactly the replies that break the definition keep it.
    pub negative: Option<String>,
    /// Probability of being drawn, relative to the other principles of the set; above 0.
    pub weight: f64,
    /// Words for grouping principles.
    pub tags: Vec<String>,
    /// Added to the weight for prompts of one type.
    pub boost: Boost,
    /// Whether it may enter training pairs of the reward model. It is judged and reported in either case.
    pub decides: bool,
    /// The program that decides whether a reply keeps the definition.
    pub check: Option<Check>,
}

impl Principle {
    /// The definition, or the negative if `negated`; none if there is no negative.
    pub fn text(&self, negated: bool) -> Option<&str> {
        if negated { self.negative.as_deref() } else { Some(&self.definition) }
    }

    /// The first 64 bits of the SHA-256 of both texts, in hexadecimal. A judge's scores record it: when a
    /// text is edited, the hash differs and the scores are stale.
    pub fn wording(&self) -> String {
        let negative = self.negative.as_deref().unwrap_or_default();
        let mut hash = hex(Sha256::digest([&self.definition, "\n", negative].concat()));
        hash.truncate(16);
        hash
    }
}

/// The kind of task that a prompt sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptType {
    /// Everyday questions and tasks.
    #[default]
    General,
    /// Tasks that need reasoning.
    Reasoning,
    /// Requests that tempt the assistant to do harm.
    RedTeam,
}

impl PromptType {
    /// All prompt types.
    pub const ALL: [PromptType; 3] = [PromptType::General, PromptType::Reasoning, PromptType::RedTeam];

    /// The word used in files.
    pub fn name(self) -> &'static str {
        match self {
            PromptType::General => "general",
            PromptType::Reasoning => "reasoning",
            PromptType::RedTeam => "red-team",
        }
    }
}

/// Amounts added to a principle's weight, by the type of the prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Boost {
    /// For general prompts.
    pub general: f64,
    /// For reasoning prompts.
    pub reasoning: f64,
    /// For red-team prompts.
    pub red_team: f64,
}

impl Boost {
    /// The amount added for prompts of this type.
    pub fn of(&self, kind: PromptType) -> f64 {
        match kind {
            PromptType::General => self.general,
            PromptType::Reasoning => self.reasoning,
            PromptType::RedTeam => self.red_team,
        }
    }

    fn of_mut(&mut self, kind: PromptType) -> &mut f64 {
        match kind {
            PromptType::General => &mut self.general,
            PromptType::Reasoning => &mut self.reasoning,
            PromptType::RedTeam => &mut self.red_team,
        }
    }
}

/// Rules that may decide a pair instead of the judge, in the order in which they apply: the later one wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// If exactly one reply mentions that it is a program, the other wins.
    pub boilerplate: Option<Boilerplate>,
    /// If exactly one reply is in the language of the prompt, it wins; if neither is, the pair is dropped.
    pub language: Option<Override>,
}

/// The rule against stock phrases.
#[derive(Clone, Debug, PartialEq)]
pub struct Boilerplate {
    /// How the rule decides.
    pub rule: Override,
    /// The phrases, matched with [`contains_phrase`]; never empty once read.
    pub phrases: Vec<String>,
}

/// How a rule decides the pairs to which it applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// How often the rule decides such a pair, from 0 to 1.
    pub probability: f64,
    /// How often a label from this rule is flipped on purpose, in training data only, from 0 to 0.5.
    pub noise: f64,
    /// Id of the principle that explains the label; it is added to the principles of the pair.
    pub explained_by: String,
}

impl Override {
    /// SALMON's noise on labels from rules: 2.5 times the 0.1 of all other labels.
    pub const NOISE: f64 = 0.25;
}

impl PrincipleSet {
    /// Reads one file: TOML, or one of SALMON's JSON lists if its name ends in `.json`.
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::Io`] if the file cannot be read.
    /// * [`PrinciplesError::Faults`] with every mistake in the file.
    pub fn read(path: &Path) -> Result<PrincipleSet, PrinciplesError> {
        collection::read_set(path)
    }

    /// The set in the file `name`; if there is no such file, the set of that name that ships with
    /// Parr ([`SHIPPED`]).
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::Unknown`] if neither exists.
    /// * Otherwise as [`PrincipleSet::read`].
    pub fn open(name: &str) -> Result<PrincipleSet, PrinciplesError> {
        shipped::open(name)
    }

    /// Parses a set from TOML text of any origin; its id need not match a file name.
    ///
    /// # Errors
    ///
    /// [`PrinciplesError::Faults`] with every mistake in the text; they name the file `principles.toml`.
    pub fn parse(text: &str) -> Result<PrincipleSet, PrinciplesError> {
        collection::parse_unnamed(Path::new("principles.toml"), text)
    }

    /// The principle with this id.
    ///
    /// # Errors
    ///
    /// [`PrinciplesError::Unknown`] with the known ids.
    pub fn principle(&self, id: &str) -> Result<&Principle, PrinciplesError> {
        let ids = || self.principles.iter().map(|principle| principle.id.as_str());
        let found = self.principles.iter().find(|principle| principle.id == id);
        found.ok_or_else(|| PrinciplesError::unknown("principle", id, ids()))
    }
}
