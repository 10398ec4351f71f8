//! Written principles: what they are, how they are read, drawn and checked.
//!
//! A [`PrincipleSet`] is one TOML file of `principles/`; `principles/schema.json` documents every key.
//! No code knows any principle: whoever edits, adds or removes one edits text. The JSON lists of
//! SALMON (arXiv 2310.05910) load as they are, for those who have them.
//!
//! | part | holds |
//! |---|---|
//! | [`PrincipleSet`], [`Principle`] | what a file says |
//! | [`Selection`] | some principles of a set, by name |
//! | [`Collection`] | files that are used together, read with all their mistakes at once |
//! | [`PrincipleSet::draw`] | the principles of one scoring prompt |
//! | [`Check`] | programs that can tell whether a reply keeps a principle |
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

/// A set of principles: one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrincipleSet {
    /// Name of the set: that of its file without the extension.
    pub id: String,
    /// One line for lists and reports.
    pub title: String,
    /// What the set is for.
    pub description: String,
    /// How it is used.
    pub uses: Use,
    /// Rules that may decide a pair in the place of the judge.
    pub overrides: Overrides,
    /// The principles, in the order of the file; never empty once read.
    pub principles: Vec<Principle>,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: String,
}

/// What a set is made for. Replies can be scored under any set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Use {
    /// Replies are judged under each principle by itself, and the reward model is trained on random subsets,
    /// each principle negated half of the time: every principle has a negative.
    #[default]
    Judge,
    /// A few principles are drawn by weight for each score while a policy is trained.
    Sample {
        /// How many, without replacement; from 1 to the number of principles.
        draws: usize,
    },
    /// Every principle stands in every scoring prompt, before drawn ones.
    Always,
    /// Numbered rules in the prompt of self-alignment.
    Rules,
}

impl Use {
    /// The word that files say.
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
    /// What records and reports call it: lower-case letters and digits in words joined by hyphens.
    pub id: String,
    /// A name of a few words, for judges and reports; the reward model never sees it.
    pub dimension: String,
    /// What it asks for: the only text of it that the reward model sees.
    pub definition: String,
    /// The definition negated, kept by just those replies that break the definition.
    pub negative: Option<String>,
    /// Chance of being drawn, relative to the others of the set; above 0.
    pub weight: f64,
    /// Words to group principles by.
    pub tags: Vec<String>,
    /// What is added to the weight for prompts of one type.
    pub boost: Boost,
    /// Whether it may enter training pairs of the reward model. It is judged and reported all the same.
    pub decides: bool,
    /// The program that can tell whether a reply keeps the definition.
    pub check: Option<Check>,
}

impl Principle {
    /// The definition, or the negative if `negated`; none if there is no negative.
    pub fn text(&self, negated: bool) -> Option<&str> {
        if negated { self.negative.as_deref() } else { Some(&self.definition) }
    }

    /// The first 64 bits of the SHA-256 of both texts, in hexadecimal. Scores that a judge gave carry it:
    /// once a text is edited they are stale, and it differs.
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
    /// Questions and tasks of every day.
    #[default]
    General,
    /// Tasks with an answer that has to be worked out.
    Reasoning,
    /// Requests that tempt the assistant to do harm.
    RedTeam,
}

impl PromptType {
    /// All there are.
    pub const ALL: [PromptType; 3] = [PromptType::General, PromptType::Reasoning, PromptType::RedTeam];

    /// The word that files say.
    pub fn name(self) -> &'static str {
        match self {
            PromptType::General => "general",
            PromptType::Reasoning => "reasoning",
            PromptType::RedTeam => "red-team",
        }
    }
}

/// What is added to a principle's weight, by the type of the prompt.
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
    /// What is added for prompts of this type.
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

/// Rules that may decide a pair in the place of the judge, in the order in which they apply: the later wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// If exactly one reply talks about being a program, the other wins.
    pub boilerplate: Option<Boilerplate>,
    /// If exactly one reply is in the language of the prompt, it wins; if neither is, the pair is dropped.
    pub language: Option<Override>,
}

/// The rule against stock phrases.
#[derive(Clone, Debug, PartialEq)]
pub struct Boilerplate {
    /// How it decides.
    pub rule: Override,
    /// The phrases, as [`contains_phrase`] takes them; never empty once read.
    pub phrases: Vec<String>,
}

/// How a rule decides the pairs to which it applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// How often it decides one, from 0 to 1.
    pub probability: f64,
    /// How often a label that it decided is flipped on purpose, in training data only, from 0 to 0.5.
    pub noise: f64,
    /// Id of the principle that gives the reason for the label, and joins those of the pair.
    pub explained_by: String,
}

impl Override {
    /// SALMON's noise on labels that a rule decided: 2.5 times the 0.1 of all others.
    pub const NOISE: f64 = 0.25;
}

impl PrincipleSet {
    /// Reads one file: TOML, or one of SALMON's JSON lists if its name ends in `.json`.
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::Io`] if it cannot be read.
    /// * [`PrinciplesError::Faults`] with every mistake in it.
    pub fn read(path: &Path) -> Result<PrincipleSet, PrinciplesError> {
        collection::read_set(path)
    }

    /// The set in the file `name`, or if there is no such file the one of that name which comes with
    /// Parr ([`SHIPPED`]).
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::Unknown`] if there is neither.
    /// * Otherwise as [`PrincipleSet::read`].
    pub fn open(name: &str) -> Result<PrincipleSet, PrinciplesError> {
        shipped::open(name)
    }

    /// The set that a text in TOML is, wherever it comes from: there is no file that its id has to agree with.
    ///
    /// # Errors
    ///
    /// [`PrinciplesError::Faults`] with every mistake in it, as if of a file `principles.toml`.
    pub fn parse(text: &str) -> Result<PrincipleSet, PrinciplesError> {
        collection::parse_unnamed(Path::new("principles.toml"), text)
    }

    /// The principle with this id.
    ///
    /// # Errors
    ///
    /// [`PrinciplesError::Unknown`] with the ids that there are.
    pub fn principle(&self, id: &str) -> Result<&Principle, PrinciplesError> {
        let ids = || self.principles.iter().map(|principle| principle.id.as_str());
        let found = self.principles.iter().find(|principle| principle.id == id);
        found.ok_or_else(|| PrinciplesError::unknown("principle", id, ids()))
    }
}
