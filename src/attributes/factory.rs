//! Plain replies edited by programs, and labelled by programs under many sentences.

use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;

use serde::{Deserialize, Serialize};

use super::draws::Draws;
use super::frames;
use super::pattern::words;
use super::{Attribute, AttributesError, Parameter, Reserved, Seen};
use crate::preferences::{Label, LabelledReply};

/// Settings of a [`Factory`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactoryConfig {
    /// Seed. All random draws depend on it.
    pub seed: u64,
    /// Number of sentences that each reply is labelled under.
    pub labels: usize,
    /// Share of the sentences on which the two replies of a pair differ.
    pub differing: f64,
    /// Maximum number of attributes that one reply of a pair gets, and the other loses.
    pub edits: usize,
    /// Share of the sentences that people wrote. The others are composed of a frame and a name.
    pub written: f64,
    /// Share of the labels that are given for two sentences together, which the reply must both keep.
    pub both: f64,
    /// Share of the sentences about single words of the replies, in equal parts for each [`Attribute::is_open`].
    pub words: f64,
    /// The first pairs are mostly about single words, so that a model learns to compare before it reads anything else.
    /// Without them, a small model stays at chance for hundreds of steps.
    pub warm_up: u32,
    /// Maximum number of sentences that are kept of a plain reply.
    pub sentences: usize,
    /// Maximum number of characters of an edited reply.
    pub characters: usize,
}

impl Default for FactoryConfig {
    fn default() -> Self {
        FactoryConfig {
            seed: 0,
            labels: 16,
            differing: 0.75,
            edits: 6,
            written: 0.6,
            both: 0.06,
            words: 0.15,
            warm_up: 120,
            sentences: 4,
            characters: 480,
        }
    }
}

/// A request with a plain reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainReply {
    /// The request.
    pub prompt: String,
    /// The reply.
    pub reply: String,
}

/// Makes pairs of labelled replies from plain ones. Every pair depends only on the inputs, the settings and its number.
///
/// Both replies of a pair are labelled under the same sentences, and differ on most of them. So neither the sentence
/// nor the reply alone gives a label away: only reading both does.
#[derive(Debug)]
pub struct Factory<'a> {
    attributes: Vec<&'a Attribute>,
    /// Those whose parameter is any word.
    open: Vec<&'a Attribute>,
    replies: &'a [PlainReply],
    config: FactoryConfig,
}

/// Sentences about one attribute in a pair, at most.
const MOST_ALIKE: usize = 3;
/// How often a reply is the reply to another request.
const SWAPPED: f64 = 0.1;
/// Share of the sentences about single words in the warm-up.
const WARM_UP_WORDS: f64 = 0.9;
/// How often a sentence about a word is about the first open attribute, after the warm-up.
const FIRST_OPEN: f64 = 0.5;
/// A shorter word is too usual to ask about.
const SHORTEST_WORD: usize = 4;
/// How often the word comes from another reply.
const OTHER_WORD: f64 = 0.15;
/// How often another word is tried.
const TRIES: usize = 40;
/// How often a composed sentence is written carelessly.
const CARELESS: f64 = 0.15;

/// An attribute that each of two replies has or has not.
#[derive(Clone, Debug)]
struct Fact<'a> {
    attribute: &'a Attribute,
    parameter: Parameter,
    holds: [bool; 2],
}

impl Fact<'_> {
    fn differs(&self) -> bool {
        self.holds[0] != self.holds[1]
    }
}

/// What changes from pair to pair.
struct Shares {
    /// Of sentences about single words.
    words: f64,
    /// Of sentences that people wrote.
    written: f64,
    /// Of the first open attribute, whether a word is there at all: it is the one to learn comparing from.
    any: f64,
}

/// A sentence, and whether each of two replies keeps it.
struct Question {
    principle: String,
    keeps: [bool; 2],
    attribute: String,
    wants: bool,
}

impl<'a> Factory<'a> {
    /// A factory that edits `replies` and asks about `attributes`.
    ///
    /// # Errors
    ///
    /// [`AttributesError::Nothing`] if there are no replies or no attributes, or a setting is out of range.
    pub fn new(
        attributes: impl IntoIterator<Item = &'a Attribute>,
        replies: &'a [PlainReply],
        config: FactoryConfig,
    ) -> Result<Factory<'a>, AttributesError> {
        let (open, attributes): (Vec<&Attribute>, Vec<&Attribute>) =
            attributes.into_iter().partition(|attribute| attribute.is_open());
        let nothing = |reason: &str| Err(AttributesError::Nothing { reason: reason.to_owned() });
        if attributes.is_empty() {
            return nothing("there is no attribute to ask about");
        }
        if replies.is_empty() {
            return nothing("there is no plain reply to edit");
        }
        let FactoryConfig { labels, sentences, written, both, differing, words, .. } = config;
        if labels == 0
            || sentences == 0
            || [written, both, differing, words].iter().any(|one| !(0.0..=1.0).contains(one))
        {
            return nothing("labels and sentences must be above 0, and shares between 0 and 1");
        }
        Ok(Factory { attributes, open, replies, config })
    }

    /// The pair of labelled replies with this number. `None` if its plain reply has no text.
    pub fn make(&self, number: u32) -> Option<[LabelledReply; 2]> {
        let mut draws = Draws::new(self.config.seed, number);
        let PlainReply { prompt, reply } = &self.replies[draws.below(self.replies.len())];
        let mut texts = [String::new(), String::new()];
        for text in &mut texts {
            let swapped = draws.chance(SWAPPED);
            let source = if swapped { &self.replies[draws.below(self.replies.len())].reply } else { reply };
            *text = draws.cut(source, self.config.sentences);
            if text.is_empty() {
                return None;
            }
        }
        let edited = self.edit(prompt, &mut texts, &mut draws);
        let facts = self.facts(prompt, &texts, &edited, &mut draws);
        let Shares { words: share, written, any } = self.shares(number);
        let n_words =
            if self.open.is_empty() { 0 } else { (share * self.config.labels as f64).round() as usize };
        let mut questions = self.questions(self.config.labels - n_words, &facts, written, &mut draws);
        self.ask_about_words((n_words, any), prompt, &texts, &mut questions, &mut draws);
        draws.shuffle(&mut questions);
        let [first, second] = texts;
        Some([(0, 'a', first), (1, 'b', second)].map(|(at, letter, reply)| LabelledReply {
            id: format!("f{number:06}{letter}"),
            prompt: prompt.clone(),
            reply,
            labels: questions.iter().map(|question| question.label(at)).collect(),
        }))
    }

    /// The pairs with these numbers, in their order, made on all cores. Those of plain replies without text are left out.
    ///
    /// ```
    /// use parr::attributes::{AttributeSet, Factory, FactoryConfig, PlainReply};
    ///
    /// let (prompt, reply) = ("Why do cats purr?".to_owned(), "Nobody knows. They seem to like it.".to_owned());
    /// let replies = [PlainReply { prompt, reply }];
    /// let set = AttributeSet::shipped();
    /// let factory = Factory::new(set.trained(), &replies, FactoryConfig::default())?;
    /// assert_eq!(factory.make_all(0..3).len(), 3);
    /// # Ok::<(), parr::attributes::AttributesError>(())
    /// ```
    pub fn make_all(&self, numbers: Range<u32>) -> Vec<[LabelledReply; 2]> {
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get) as u32;
        let each = (numbers.end.saturating_sub(numbers.start)).div_ceil(workers).max(1);
        let parts = numbers.clone().step_by(each as usize);
        std::thread::scope(|scope| {
            let parts: Vec<_> = parts
                .map(|first| first..first.saturating_add(each).min(numbers.end))
                .map(|part| {
                    scope.spawn(move || part.filter_map(|number| self.make(number)).collect::<Vec<_>>())
                })
                .collect();
            let joined =
                parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
            joined.flatten().collect()
        })
    }

    /// The shares for the pair with this number. After the warm-up, they change over twice its length.
    fn shares(&self, number: u32) -> Shares {
        let FactoryConfig { warm_up, words, written, .. } = self.config;
        let after = f64::from(number.saturating_sub(warm_up));
        let done = if warm_up == 0 { 1.0 } else { (after / (2.0 * f64::from(warm_up))).min(1.0) };
        Shares {
            words: WARM_UP_WORDS + done * (words - WARM_UP_WORDS),
            written: done * written,
            any: 1.0 + done * (FIRST_OPEN - 1.0),
        }
    }

    /// Gives attributes to one of the replies, and takes them from the other. Returns those that were tried.
    fn edit(
        &self,
        prompt: &str,
        texts: &mut [String; 2],
        draws: &mut Draws,
    ) -> Vec<(&'a Attribute, Parameter)> {
        let mut edited: Vec<(&Attribute, Parameter)> = Vec::new();
        let turn = draws.below(2);
        for edit in 0..2 + draws.below(self.config.edits.saturating_sub(1)) {
            let attribute = self.attributes[draws.below(self.attributes.len())];
            let parameters = attribute.parameters();
            let parameter = parameters[draws.below(parameters.len())].clone();
            if edited.iter().any(|(known, _)| known.id == attribute.id) {
                continue;
            }
            let gets = (turn + edit) % 2;
            for (at, wanted) in [(gets, true), (1 - gets, false)] {
                let seen = Seen { prompt, reply: &texts[at] };
                let pick = draws.bits();
                let changed = attribute.changed(seen, &parameter, wanted, pick);
                if let Some(changed) = changed.filter(|text| text.chars().count() <= self.config.characters) {
                    texts[at] = changed;
                }
            }
            edited.push((attribute, parameter));
        }
        edited
    }

    /// What is true of the replies: one fact for each attribute whose program decides. Those of `edited` come first,
    /// the others in random order.
    fn facts(
        &self,
        prompt: &str,
        texts: &[String; 2],
        edited: &[(&'a Attribute, Parameter)],
        draws: &mut Draws,
    ) -> Vec<Fact<'a>> {
        let fact = |attribute: &'a Attribute, parameter: Parameter| {
            let holds = |at: usize| attribute.holds(Seen { prompt, reply: &texts[at] }, &parameter);
            let holds = [holds(0)?, holds(1)?];
            Some(Fact { attribute, parameter, holds })
        };
        let mut facts: Vec<Fact<'a>> = Vec::with_capacity(self.attributes.len());
        facts.extend(edited.iter().filter_map(|(attribute, parameter)| fact(attribute, parameter.clone())));
        let mut others = self.attributes.clone();
        draws.shuffle(&mut others);
        for attribute in others {
            if edited.iter().any(|(known, _)| known.id == attribute.id) {
                continue;
            }
            let known: Vec<Fact<'a>> = attribute
                .parameters()
                .into_iter()
                .filter_map(|parameter| fact(attribute, parameter))
                .collect();
            // Of an attribute with a parameter, as often one on which the replies differ as another.
            let (differing, others): (Vec<Fact<'a>>, Vec<Fact<'a>>) =
                known.into_iter().partition(Fact::differs);
            let wanted = if draws.chance(0.5) && !differing.is_empty() || others.is_empty() {
                differing
            } else {
                others
            };
            if !wanted.is_empty() {
                facts.push(wanted[draws.below(wanted.len())].clone());
            }
        }
        facts
    }

    /// Sentences about the facts: most about those on which the replies differ, in equal parts asking and forbidding.
    fn questions(&self, wanted: usize, facts: &[Fact<'a>], written: f64, draws: &mut Draws) -> Vec<Question> {
        let (mut differing, same): (Vec<&Fact<'a>>, Vec<&Fact<'a>>) =
            facts.iter().partition(|fact| fact.differs());
        // Plain replies differ in the same few attributes again and again, such as commas. So those of edits, which
        // come first, are asked about before others.
        let about = ((wanted as f64 * self.config.differing) as usize).min(differing.len() * MOST_ALIKE);
        differing.truncate(about.div_ceil(2).max(1));
        let mut questions: Vec<Question> = Vec::with_capacity(wanted);
        for round in 0..MOST_ALIKE {
            for fact in &differing {
                if questions.len() < about {
                    // The first two sentences about an attribute are of both kinds.
                    let known = asked(&questions, fact).filter(|_| round == 1);
                    let wants = known.map_or_else(|| draws.chance(0.5), |wants| !wants);
                    self.add(&mut questions, (fact, wants), facts, written, draws);
                }
            }
        }
        // The others are about what both replies have, or neither has.
        let (mut have, mut have_not): (Vec<&Fact<'a>>, Vec<&Fact<'a>>) =
            same.into_iter().partition(|fact| fact.holds[0]);
        draws.shuffle(&mut have);
        draws.shuffle(&mut have_not);
        for (have, have_not) in have.iter().map(Some).chain(std::iter::repeat(None)).zip(&have_not) {
            for fact in have.into_iter().chain([have_not]) {
                if questions.len() < wanted {
                    let wants = draws.chance(0.5);
                    self.add(&mut questions, (fact, wants), facts, written, draws);
                }
            }
            if questions.len() >= wanted {
                break;
            }
        }
        questions
    }

    /// Adds sentences about single words: two thirds about words that only one of the replies has.
    fn ask_about_words(
        &self,
        (n, any): (usize, f64),
        prompt: &str,
        texts: &[String; 2],
        questions: &mut Vec<Question>,
        draws: &mut Draws,
    ) {
        let long = |text: &str| -> Vec<String> {
            words(text).into_iter().filter(|word| word.chars().count() >= SHORTEST_WORD).collect()
        };
        let own = [long(&texts[0]), long(&texts[1])];
        let most = questions.len() + n;
        for at in 0..2 * n {
            if questions.len() == most {
                break;
            }
            let first = draws.chance(any);
            let attribute = self.open[if first { 0 } else { draws.below(self.open.len()) }];
            let mut fact = None;
            for _ in 0..TRIES {
                let other = &self.replies[draws.below(self.replies.len())].reply;
                let pool = if draws.chance(OTHER_WORD) { &long(other) } else { &own[draws.below(2)] };
                if pool.is_empty() {
                    continue;
                }
                let parameter = Parameter::Word(pool[draws.below(pool.len())].clone());
                let holds = |at: usize| attribute.holds(Seen { prompt, reply: &texts[at] }, &parameter);
                if let (Some(first), Some(second)) = (holds(0), holds(1)) {
                    let found = Fact { attribute, parameter, holds: [first, second] };
                    if found.differs() == (at % 3 != 2) {
                        fact = Some(found);
                        break;
                    }
                }
            }
            if let Some(fact) = fact {
                let wants = draws.chance(0.5);
                let question = question_about(&fact, wants, self.config.written, draws);
                if questions.iter().all(|known| known.principle != question.principle) {
                    questions.push(question);
                }
            }
        }
    }

    /// Adds a sentence about a fact, unless it is known or reserved.
    fn add(
        &self,
        questions: &mut Vec<Question>,
        (fact, wants): (&Fact<'a>, bool),
        facts: &[Fact<'a>],
        written: f64,
        draws: &mut Draws,
    ) {
        let mut question = question_about(fact, wants, written, draws);
        if draws.chance(self.config.both) {
            let other = &facts[draws.below(facts.len())];
            let wants = draws.chance(0.5);
            question = both(question, question_about(other, wants, written, draws));
        }
        // A frame with a name may be, word for word, a sentence of the evaluation.
        let reserved = Reserved::shipped().has_sentence(&question.principle);
        if !reserved && questions.iter().all(|known| known.principle != question.principle) {
            questions.push(question);
        }
    }
}

/// A sentence about the fact's attribute. `written` is the probability of one that people wrote.
fn question_about(fact: &Fact<'_>, wants: bool, written: f64, draws: &mut Draws) -> Question {
    let Fact { attribute, parameter, holds } = fact;
    let text = if draws.chance(written) {
        let texts = attribute.sentences(wants);
        texts[draws.below(texts.len())].clone()
    } else {
        let frames = if wants { frames::WANT } else { frames::AVOID };
        let name = &attribute.names[draws.below(attribute.names.len())];
        let frame = frames[draws.below(frames.len())];
        let text = frame.replace("{}", if frame.starts_with("No ") { without_article(name) } else { name });
        if draws.chance(CARELESS) { careless(&text) } else { capitalised(&text) }
    };
    Question {
        principle: parameter.fill(&text),
        keeps: holds.map(|holds| holds == wants),
        attribute: attribute.id.clone(),
        wants,
    }
}

impl Question {
    /// The label of the first or the second reply.
    fn label(&self, at: usize) -> Label {
        let Question { principle, keeps, attribute, .. } = self;
        Label { principle: principle.clone(), keeps: keeps[at], attribute: Some(attribute.clone()) }
    }
}

/// Whether the first sentence about the fact's attribute asks for it.
fn asked(questions: &[Question], fact: &Fact<'_>) -> Option<bool> {
    questions.iter().find(|question| question.attribute == fact.attribute.id).map(|question| question.wants)
}

/// Both sentences together.
fn both(first: Question, second: Question) -> Question {
    let end = if first.principle.ends_with(['.', '!', '?']) { " " } else { ". " };
    Question {
        principle: format!("{}{end}{}", first.principle, second.principle),
        keeps: [0, 1].map(|at| first.keeps[at] && second.keeps[at]),
        attribute: format!("{}+{}", first.attribute, second.attribute),
        wants: first.wants,
    }
}

/// "No warning", and not "No a warning".
fn without_article(name: &str) -> &str {
    ["a ", "an ", "the ", "any ", "some "]
        .iter()
        .find_map(|article| name.strip_prefix(article))
        .unwrap_or(name)
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// As people type in a hurry: in lower case, without the full stop.
fn careless(text: &str) -> String {
    text.trim_end_matches('.').to_lowercase()
}
