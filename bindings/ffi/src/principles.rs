//! Principles as values: read, built, edited, judged by line and column.

use parr::principles::{Check, PrinciplesError, PromptType, SHIPPED, Use};
use parr::random::Philox;

use crate::ParrError;

/// A set of principles. It is a value: an app builds or edits one and hands it on.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct PrincipleSet {
    /// Lower-case letters and digits in words joined by hyphens.
    pub id: String,
    /// One line for lists and reports.
    pub title: String,
    /// What the set is for.
    pub description: String,
    /// How it is used.
    pub uses: PrincipleUse,
    /// The principles, in their order.
    pub principles: Vec<Principle>,
    /// Rule against stock phrases that may decide a pair in the place of the judge.
    #[uniffi(default = None)]
    pub boilerplate: Option<BoilerplateRule>,
    /// Rule for replies in the language of the prompt.
    #[uniffi(default = None)]
    pub language: Option<OverrideRule>,
}

/// What a set is made for. Replies can be scored under any set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PrincipleUse {
    /// Each principle by itself judges replies, and each has a negative.
    Judge,
    /// A few are drawn by weight for each score.
    Sample {
        /// How many.
        draws: u32,
    },
    /// All of them count for every reply.
    Always,
    /// Numbered rules of self-alignment.
    Rules,
}

/// One quality of a reply, in words.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Principle {
    /// Lower-case letters and digits in words joined by hyphens.
    pub id: String,
    /// A name of a few words, for people.
    pub dimension: String,
    /// What it asks for: the text that a reward model reads.
    pub definition: String,
    /// The definition negated.
    #[uniffi(default = None)]
    pub negative: Option<String>,
    /// Chance of being drawn, relative to the others of the set; above 0.
    #[uniffi(default = 1.0)]
    pub weight: f64,
    /// Words to group principles by.
    #[uniffi(default = [])]
    pub tags: Vec<String>,
    /// What is added to the weight for prompts of one type.
    #[uniffi(default = None)]
    pub boost: Option<Boost>,
    /// Whether it may enter training pairs of a reward model.
    #[uniffi(default = true)]
    pub decides: bool,
    /// Name of the program that can tell whether a reply keeps it.
    #[uniffi(default = None)]
    pub check: Option<String>,
}

/// What is added to a principle's weight, by the type of the prompt.
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
    /// How often it decides one, from 0 to 1.
    pub probability: f64,
    /// How often a label that it decided is flipped on purpose, from 0 to 0.5.
    pub noise: f64,
    /// Id of the principle that gives the reason for the label.
    pub explained_by: String,
}

/// The rule against stock phrases.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct BoilerplateRule {
    /// How it decides.
    pub rule: OverrideRule,
    /// The phrases, at least one.
    pub phrases: Vec<String>,
}

/// One mistake in the text of a set.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PrincipleFault {
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// What is wrong there, and what would be right.
    pub reason: String,
}

/// Names of the sets that come with Parr.
#[uniffi::export]
pub fn shipped_principles() -> Vec<String> {
    SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// The set in the file `name`, or if there is no such file the one of that name which comes with Parr.
///
/// # Errors
///
/// * [`ParrError::NotFound`] if there is neither;
/// * [`ParrError::Principles`] with every mistake in it, by line and column.
#[uniffi::export]
pub fn open_principles(name: &str) -> Result<PrincipleSet, ParrError> {
    Ok(parr::principles::PrincipleSet::open(name)?.into())
}

/// The set that a text in TOML is.
///
/// # Errors
///
/// [`ParrError::Principles`] with every mistake in it; [`check_principles`] gives them as values.
#[uniffi::export]
pub fn parse_principles(toml: &str) -> Result<PrincipleSet, ParrError> {
    Ok(parr::principles::PrincipleSet::parse(toml)?.into())
}

/// Every mistake in the text of a set, in its order; none if it can be used. For editors.
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

/// The set as TOML, whatever it says: [`check_principles`] tells what is wrong with a set that was built or
/// edited, by the lines of this text.
///
/// # Errors
///
/// [`ParrError::Principles`] if a principle names a check that there is not.
#[uniffi::export]
pub fn principles_to_toml(set: PrincipleSet) -> Result<String, ParrError> {
    Ok(parr::principles::PrincipleSet::try_from(set)?.to_toml())
}

/// The texts that one score reads: of a set that is drawn from, another few for each `seed`, of any other set
/// the definitions of all.
///
/// # Errors
///
/// [`ParrError::Principles`] as [`parse_principles`] if the set has mistakes.
#[uniffi::export]
pub fn draw_principles(set: PrincipleSet, seed: u64) -> Result<Vec<String>, ParrError> {
    let set = set.checked()?;
    let drawn = set.draw(PromptType::General, Philox::new(seed), 0, 0);
    Ok(drawn.into_iter().map(|place| set.principles[place].definition.clone()).collect())
}

/// Whether a reply keeps a principle, by the program that it names; none if it names none, or one that can
/// only compare two replies.
///
/// # Errors
///
/// [`ParrError::Principles`] if there is no such program.
#[uniffi::export]
pub fn keeps_principle(principle: Principle, reply: &str) -> Result<Option<bool>, ParrError> {
    Ok(check(principle.check.as_deref())?.and_then(|check| check.keeps(reply)))
}

/// Which of two replies keeps a principle better, by the program that it names: 1 for the first, -1 for the
/// second, 0 for neither; none if it names none.
///
/// # Errors
///
/// As [`keeps_principle`].
#[uniffi::export]
pub fn compare_replies(principle: Principle, first: &str, second: &str) -> Result<Option<i8>, ParrError> {
    Ok(check(principle.check.as_deref())?.map(|check| check.compare(first, second) as i8))
}

/// A hash of a principle's texts, which records of judged replies carry: once a text is edited they are stale.
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
    /// The set as the core knows it, if it has no mistakes: what was edited is judged before it is used.
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
