//! Plain replies edited by programs, and labelled by programs under many sentences.

use serde::{Deserialize, Serialize};

use super::draws::Draws;
use super::frames;
use super::{Attribute, AttributesError, Parameter, Seen};
use crate::preferences::{Label, LabelledReply};

/// Settings of a [`Factory`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactoryConfig {
    /// Seed. All random draws depend on it.
    pub seed: u64,
    /// Number of sentences that each reply is labelled under.
    pub labels: usize,
    /// Maximum number of edits of a reply.
    pub edits: usize,
    /// Share of the sentences that people wrote. The others are composed of a frame and a name.
    pub written: f64,
    /// Share of the labels that are given for two sentences together, which the reply must both keep.
    pub pairs: f64,
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
            edits: 4,
            written: 0.6,
            pairs: 0.06,
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

/// Makes labelled replies from plain ones. Every one depends only on the inputs, the settings and its number.
#[derive(Debug)]
pub struct Factory<'a> {
    attributes: Vec<&'a Attribute>,
    replies: &'a [PlainReply],
    config: FactoryConfig,
}

/// How often one attribute is asked about at most, if the reply has it.
const MOST_ALIKE: usize = 3;
/// How often a reply is the reply to another request.
const SWAPPED: f64 = 0.1;
/// How often a composed sentence is written carelessly.
const CARELESS: f64 = 0.15;

/// An attribute that a reply has or has not.
#[derive(Clone, Debug)]
struct Fact<'a> {
    attribute: &'a Attribute,
    parameter: Parameter,
    holds: bool,
    /// Whether an edit was about it.
    edited: bool,
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
        let attributes: Vec<&Attribute> = attributes.into_iter().collect();
        let nothing = |reason: &str| Err(AttributesError::Nothing { reason: reason.to_owned() });
        if attributes.is_empty() {
            return nothing("there is no attribute to ask about");
        }
        if replies.is_empty() {
            return nothing("there is no plain reply to edit");
        }
        let share = |value: f64| (0.0..=1.0).contains(&value);
        if config.labels == 0 || config.sentences == 0 || !share(config.written) || !share(config.pairs) {
            return nothing("labels and sentences must be above 0, and shares between 0 and 1");
        }
        Ok(Factory { attributes, replies, config })
    }

    /// The labelled reply with this number. `None` if its plain reply has no text.
    pub fn make(&self, number: u32) -> Option<LabelledReply> {
        let mut draws = Draws::new(self.config.seed, number);
        let PlainReply { prompt, reply } = &self.replies[draws.below(self.replies.len())];
        let source =
            if draws.chance(SWAPPED) { &self.replies[draws.below(self.replies.len())].reply } else { reply };
        let mut text = draws.cut(source, self.config.sentences);
        if text.is_empty() {
            return None;
        }
        let edited = self.edit(prompt, &mut text, &mut draws);
        let facts = self.facts(Seen { prompt, reply: &text }, &edited, &mut draws);
        let mut labels: Vec<Label> = Vec::new();
        for fact in self.asked(&facts, &mut draws) {
            let label = if draws.chance(self.config.pairs) {
                let other = &facts[draws.below(facts.len())];
                both(self.label(fact, &mut draws), self.label(other, &mut draws))
            } else {
                self.label(fact, &mut draws)
            };
            if labels.iter().all(|known| known.principle != label.principle) {
                labels.push(label);
            }
        }
        let id = format!("f{number:06}");
        Some(LabelledReply { id, prompt: prompt.clone(), reply: text, labels })
    }

    /// Gives or takes attributes, and returns those that were changed.
    fn edit(&self, prompt: &str, text: &mut String, draws: &mut Draws) -> Vec<(&'a Attribute, Parameter)> {
        let mut edited: Vec<(&Attribute, Parameter)> = Vec::new();
        for _ in 0..draws.below(self.config.edits + 1) {
            let attribute = self.attributes[draws.below(self.attributes.len())];
            let parameters = attribute.parameters();
            let parameter = parameters[draws.below(parameters.len())].clone();
            if edited.iter().any(|(known, _)| known.id == attribute.id) {
                continue;
            }
            let seen = Seen { prompt, reply: text };
            let pick = draws.bits();
            let changed = match attribute.holds(seen, &parameter) {
                Some(true) => attribute.take(seen, &parameter, pick),
                _ => attribute.give(seen, &parameter, pick),
            };
            if let Some(changed) = changed.filter(|text| text.chars().count() <= self.config.characters) {
                *text = changed;
                edited.push((attribute, parameter));
            }
        }
        edited
    }

    /// What is true of the reply: one fact for each attribute whose program decides. Those of `edited` come first.
    fn facts(
        &self,
        seen: Seen<'_>,
        edited: &[(&'a Attribute, Parameter)],
        draws: &mut Draws,
    ) -> Vec<Fact<'a>> {
        let mut facts: Vec<Fact<'a>> = Vec::with_capacity(self.attributes.len());
        for (attribute, parameter) in edited {
            if let Some(holds) = attribute.holds(seen, parameter) {
                facts.push(Fact { attribute, parameter: parameter.clone(), holds, edited: true });
            }
        }
        for &attribute in &self.attributes {
            if edited.iter().any(|(known, _)| known.id == attribute.id) {
                continue;
            }
            let fact = |parameter: Parameter| {
                let holds = attribute.holds(seen, &parameter)?;
                Some(Fact { attribute, parameter, holds, edited: false })
            };
            let known: Vec<Fact<'a>> = attribute.parameters().into_iter().filter_map(fact).collect();
            // Of an attribute with a parameter, as often one that holds as one that does not.
            let (holding, others): (Vec<Fact<'a>>, Vec<Fact<'a>>) =
                known.into_iter().partition(|fact| fact.holds);
            let wanted =
                if draws.chance(0.5) && !holding.is_empty() || others.is_empty() { holding } else { others };
            if !wanted.is_empty() {
                facts.push(wanted[draws.below(wanted.len())].clone());
            }
        }
        facts
    }

    /// The facts to ask about: up to half of them of attributes that the reply has.
    fn asked<'f>(&self, facts: &'f [Fact<'a>], draws: &mut Draws) -> Vec<&'f Fact<'a>> {
        let (mut has, mut has_not): (Vec<&Fact<'a>>, Vec<&Fact<'a>>) =
            facts.iter().partition(|fact| fact.holds);
        draws.shuffle(&mut has);
        draws.shuffle(&mut has_not);
        let wanted = self.config.labels;
        let mut asked: Vec<&Fact<'a>> = Vec::with_capacity(wanted);
        // Plain replies have the same few attributes again and again, such as commas, so those of edits come more often.
        let (given, plain): (Vec<&Fact<'a>>, Vec<&Fact<'a>>) =
            has.iter().copied().partition(|fact| fact.edited);
        for _ in 0..MOST_ALIKE {
            asked.extend(given.iter().take((wanted / 2).saturating_sub(asked.len())));
        }
        let room = (wanted / 2).saturating_sub(asked.len()).min(wanted / 4);
        asked.extend(plain.iter().take(room));
        // Half of the others are of the domains of those: they are harder to tell apart.
        let near = |fact: &&Fact<'a>| has.iter().any(|known| known.attribute.domain == fact.attribute.domain);
        let (close, far): (Vec<&Fact<'a>>, Vec<&Fact<'a>>) = has_not.into_iter().partition(near);
        let room = wanted - asked.len();
        let n_close = close.len().min(room / 2);
        asked.extend(close.iter().take(n_close));
        asked.extend(far.iter().take(room - n_close));
        let room = wanted - asked.len();
        asked.extend(close.iter().skip(n_close).take(room));
        draws.shuffle(&mut asked);
        asked
    }

    /// A sentence about the fact's attribute, and whether the reply keeps it.
    fn label(&self, fact: &Fact<'a>, draws: &mut Draws) -> Label {
        let Fact { attribute, parameter, holds, .. } = fact;
        let wants = draws.chance(0.5);
        let written = draws.chance(self.config.written);
        let text = if written {
            let texts = attribute.sentences(wants);
            texts[draws.below(texts.len())].clone()
        } else {
            let frames = if wants { frames::WANT } else { frames::AVOID };
            let name = &attribute.names[draws.below(attribute.names.len())];
            let frame = frames[draws.below(frames.len())];
            let text =
                frame.replace("{}", if frame.starts_with("No ") { without_article(name) } else { name });
            if draws.chance(CARELESS) { careless(&text) } else { capitalised(&text) }
        };
        Label {
            principle: parameter.fill(&text),
            keeps: *holds == wants,
            attribute: Some(attribute.id.clone()),
        }
    }
}

/// Both sentences together.
fn both(first: Label, second: Label) -> Label {
    let attribute = match (first.attribute, second.attribute) {
        (Some(first), Some(second)) => Some(format!("{first}+{second}")),
        _ => None,
    };
    let end = if first.principle.ends_with(['.', '!', '?']) { " " } else { ". " };
    Label {
        principle: format!("{}{end}{}", first.principle, second.principle),
        keeps: first.keeps && second.keeps,
        attribute,
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
