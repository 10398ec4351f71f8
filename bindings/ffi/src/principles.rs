//! Principles as values: read, built, edited, and checked with line and column.

use parr::principles::Philox;
use parr::principles::{Check, PrinciplesError, PromptType, SHIPPED, Use};

use crate::ParrError;

/// A set of principles, as a value that an app can build or edit.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct PrincipleSet {
    /// Id: words of lower-case letters and digits, joined by hyphens.
    pub id: String,
    /// Title: one line for lists and reports.
    pub title: String,
    /// Purpose of the set.
    pub description: String,
    /// How the set is used.
    pub uses: PrincipleUse,
    /// The principles, in their order.
    pub principles: Vec<Principle>,
    /// Rule against stock phrases, which may decide a pair instead of the judge.
    #[uniffi(default = None)]
    pub boilerplate: Option<BoilerplateRule>,
    /// Rule for replies in the language of the prompt, which may also decide a pair.
    #[uniffi(default = None)]
    pub language: Option<OverrideRule>,
}

/// Purpose of a set. Replies can be scored under any set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PrincipleUse {
    /// Replies are judged under one principle at a time. Each principle has a negative.
    Judge,
    /// A few principles are drawn by weight for each score.
    Sample {
        /// Number of principles to draw.
        draws: u32,
    },
    /// All principles apply to every reply.
    Always,
    /// Numbered rules of self-alignment.
    Rules,
}

/// One quality of a reply, as text.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Principle {
    /// Id: words of lower-case letters and digits, joined by hyphens.
    pub id: String,
    /// A short name, for people.
    pub dimension: String,
    /// What the principle asks for. A reward model reads this text.
    pub definition: String,
    /// The negated definition.
    #[uniffi(default = None)]
    pub negative: Option<String>,
    /// Chance of being drawn, relative to the other principles of the set. Above 0.
    #[uniffi(default = 1.0)]
    pub weight: f64,
    /// Words for grouping principles.
    #[uniffi(default = [])]
    pub tags: Vec<String>,
    /// Amounts added to the weight for each type of prompt.
    #[uniffi(default = None)]
    pub boost: Option<Boost>,
    /// Whether the principle may be used in training pairs of a reward model.
    #[uniffi(default = true)]
    pub decides: bool,
    /// Name of the program that checks whether a reply follows the principle.
    #[uniffi(default = None)]
    pub check: Option<String>,
}

/// Amounts added to a principle's weight, by type of prompt.
#[derive(Clone, Copy, Debug, PartialEq, uniffi::Record)]
pub struct Boost {
    /// For general prompts.
    #[uniffi(default = 0.0)]
    pub general: f64,
    /// For reasoning prompts.
    #[uniffi(default = 0.0)]
    pub reasoning: f64,
    /// For red-team prompts.
    #[uniffi(default = 0.0)]
    pub red_team: f64,
}

/// How a rule decides the pairs to which it applies.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct OverrideRule {
    /// How often the rule decides a pair, from 0 to 1.
    pub probability: f64,
    /// How often a label that the rule decided is flipped on purpose, from 0 to 0.5.
    pub noise: f64,
    /// Id of the principle that gives the reason for the label.
    pub explained_by: String,
}

/// The rule against stock phrases.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct BoilerplateRule {
    /// How the rule decides.
    pub rule: OverrideRule,
    /// The phrases. At least one.
    pub phrases: Vec<String>,
}

/// One mistake in the text of a set.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PrincipleFault {
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// What is wrong and what is expected.
    pub reason: String,
}

/// Names of the shipped sets.
#[uniffi::export]
pub fn shipped_principles() -> Vec<String> {
    SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Reads the set in the file `name`. If there is no such file, returns the shipped set with this name.
///
/// # Errors
///
/// * [`ParrError::NotFound`] if neither exists;
/// * [`ParrError::Principles`] with every mistake in the set, by line and column.
#[uniffi::export]
pub fn open_principles(name: &str) -> Result<PrincipleSet, ParrError> {
    Ok(parr::principles::PrincipleSet::open(name)?.into())
}

/// Parses a set in TOML.
///
/// # Errors
///
/// [`ParrError::Principles`] with every mistake in the text. [`check_principles`] returns the mistakes as
/// values.
#[uniffi::export]
pub fn parse_principles(toml: &str) -> Result<PrincipleSet, ParrError> {
    Ok(parr::principles::PrincipleSet::parse(toml)?.into())
}

/// Returns every mistake in the text of a set, in order. The list is empty if the set can be used. For
/// editors.
#[uniffi::export]
pub fn check_principles(toml: &str) -> Vec<PrincipleFault> {
    let Err(PrinciplesError::Faults(faults)) = parr::principles::PrincipleSet::parse(toml) else {
        return Vec::new();
    };
    let fault = |fault: parr::principles::Fault| PrincipleFault {
        line: fault.line as u32,
        column: fault.column as u32,
        reason: fault.reason,
    };
    faults.into_iter().map(fault).collect()
}

/// Writes the set as TOML, without checking it. To check a set that the app built or edited, pass this text
/// to [`check_principles`], which reports mistakes by its lines.
///
/// # Errors
///
/// [`ParrError::Principles`] if a principle names an unknown check.
#[uniffi::export]
pub fn principles_to_toml(set: PrincipleSet) -> Result<String, ParrError> {
    Ok(parr::principles::PrincipleSet::try_from(set)?.to_toml())
}

/// Returns the definitions for one score. For a set with [`PrincipleUse::Sample`] these are a few that are
/// drawn by `seed`. For any other set they are all definitions.
///
/// # Errors
///
/// [`ParrError::Principles`] if the set has mistakes, as in [`parse_principles`].
#[uniffi::export]
pub fn draw_principles(set: PrincipleSet, seed: u64) -> Result<Vec<String>, ParrError> {
    let set = set.checked()?;
    let drawn = set.draw(PromptType::General, Philox::new(seed), 0, 0);
    Ok(drawn.into_iter().map(|place| set.principles[place].definition.clone()).collect())
}

/// Whether a reply follows a principle, according to the program that the principle names. None if it names
/// no program, or one that can only compare two replies.
///
/// # Errors
///
/// [`ParrError::Principles`] if there is no such program.
#[uniffi::export]
pub fn keeps_principle(principle: Principle, reply: &str) -> Result<Option<bool>, ParrError> {
    Ok(check(principle.check.as_deref())?.and_then(|check| check.keeps(reply)))
}

/// Which of two replies follows a principle better, according to the program that the principle names: 1
/// for the first, -1 for the second, 0 for neither. None if it names no program.
///
/// # Errors
///
/// As [`keeps_principle`].
#[uniffi::export]
pub fn compare_replies(principle: Principle, first: &str, second: &str) -> Result<Option<i8>, ParrError> {
    Ok(check(principle.check.as_deref())?.map(|check| check.compare(first, second) as i8))
}

/// Returns a hash of a principle's texts. Records of judged replies contain it, and are stale after an edit
/// of a text.
///
/// # Errors
///
/// As [`keeps_principle`].
#[uniffi::export]
pub fn principle_wording(principle: Principle) -> Result<String, ParrError> {
    Ok(parr::principles::Principle::try_from(principle)?.wording())
}

fn check(name: Option<&str>) -> Result<Option<Check>, ParrError> {
    let find = |name: &str| {
        Check::from_name(name).ok_or_else(|| {
            let known: Vec<String> = Check::all().map(Check::name).collect();
            ParrError::Principles(format!("unknown check \"{name}\"; there are {}", known.join(", ")))
        })
    };
    name.map(find).transpose()
}

impl PrincipleSet {
    /// The set in the core's type, if it has no mistakes. Edited sets are checked before use.
    pub(crate) fn checked(self) -> Result<parr::principles::PrincipleSet, ParrError> {
        let set = parr::principles::PrincipleSet::try_from(self)?;
        Ok(parr::principles::PrincipleSet::parse(&set.to_toml())?)
    }
}

impl From<parr::principles::PrincipleSet> for PrincipleSet {
    fn from(set: parr::principles::PrincipleSet) -> Self {
        PrincipleSet {
            id: set.id,
            title: set.title,
            description: set.description,
            uses: match set.uses {
                Use::Judge => PrincipleUse::Judge,
                Use::Sample { draws } => PrincipleUse::Sample { draws: draws as u32 },
                Use::Always => PrincipleUse::Always,
                Use::Rules => PrincipleUse::Rules,
            },
            principles: set.principles.into_iter().map(Into::into).collect(),
            boilerplate: set.overrides.boilerplate.map(|boilerplate| BoilerplateRule {
                rule: boilerplate.rule.into(),
                phrases: boilerplate.phrases,
            }),
            language: set.overrides.language.map(Into::into),
        }
    }
}

impl TryFrom<PrincipleSet> for parr::principles::PrincipleSet {
    type Error = ParrError;

    fn try_from(set: PrincipleSet) -> Result<Self, ParrError> {
        Ok(parr::principles::PrincipleSet {
            id: set.id,
            title: set.title,
            description: set.description,
            uses: match set.uses {
                PrincipleUse::Judge => Use::Judge,
                PrincipleUse::Sample { draws } => Use::Sample { draws: draws as usize },
                PrincipleUse::Always => Use::Always,
                PrincipleUse::Rules => Use::Rules,
            },
            overrides: parr::principles::Overrides {
                boilerplate: set.boilerplate.map(|boilerplate| parr::principles::Boilerplate {
                    rule: boilerplate.rule.into(),
                    phrases: boilerplate.phrases,
                }),
                language: set.language.map(Into::into),
            },
            principles: set.principles.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            sha256: String::new(),
        })
    }
}

impl From<parr::principles::Principle> for Principle {
    fn from(principle: parr::principles::Principle) -> Self {
        let parr::principles::Boost { general, reasoning, red_team } = principle.boost;
        let boost = Boost { general, reasoning, red_team };
        Principle {
            id: principle.id,
            dimension: principle.dimension,
            definition: principle.definition,
            negative: principle.negative,
            weight: principle.weight,
            tags: principle.tags,
            boost: Some(boost).filter(|_| principle.boost != parr::principles::Boost::default()),
            decides: principle.decides,
            check: principle.check.map(Check::name),
        }
    }
}

impl TryFrom<Principle> for parr::principles::Principle {
    type Error = ParrError;

    fn try_from(principle: Principle) -> Result<Self, ParrError> {
        let boost =
            |Boost { general, reasoning, red_team }| parr::principles::Boost { general, reasoning, red_team };
        Ok(parr::principles::Principle {
            id: principle.id,
            dimension: principle.dimension,
            definition: principle.definition,
            negative: principle.negative,
            weight: principle.weight,
            tags: principle.tags,
            boost: principle.boost.map(boost).unwrap_or_default(),
            decides: principle.decides,
            check: check(principle.check.as_deref())?,
        })
    }
}

impl From<parr::principles::Override> for OverrideRule {
    fn from(rule: parr::principles::Override) -> Self {
        let parr::principles::Override { probability, noise, explained_by } = rule;
        OverrideRule { probability, noise, explained_by }
    }
}

impl From<OverrideRule> for parr::principles::Override {
    fn from(rule: OverrideRule) -> Self {
        let OverrideRule { probability, noise, explained_by } = rule;
        parr::principles::Override { probability, noise, explained_by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_the_same_on_the_other_side_and_back() {
        for name in shipped_principles() {
            let set = open_principles(&name).expect("shipped");
            let toml = principles_to_toml(set.clone()).expect("sound");
            assert_eq!(check_principles(&toml), []);
            assert_eq!(parse_principles(&toml), Ok(set));
        }
    }

    #[test]
    fn an_edit_is_judged_where_it_stands() {
        let mut set = open_principles("policy").expect("shipped");
        set.principles[2].definition.clear();
        let toml = principles_to_toml(set.clone()).expect("its checks are known");
        let faults = check_principles(&toml);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(toml.lines().nth(faults[0].line as usize - 1), Some("definition = \"\""));
        assert!(matches!(draw_principles(set, 0), Err(ParrError::Principles(_))));
    }
}
