//! Several replies to one request, and lists of principles that they keep more or less of.

use serde::{Serialize, Serializer};

use super::cases::{LONGEST, MOST_SENTENCES, TRIES};
use super::{
    Attribute, AttributeSet, CaseOptions, Draws, EverydaySentence, Parameter, PlainReply, Seen, Split,
};

/// Replies to one request under a list of principles. No training has seen the list.
#[derive(Clone, Debug, Serialize)]
pub struct ListCase<'a> {
    /// [`Split::NewSentence`] for attributes of the training in new sentences, or [`Split::NewAttribute`] for held-out
    /// ones.
    pub split: Split,
    /// The request.
    pub prompt: String,
    /// The sentences.
    pub principles: Vec<String>,
    /// Their attributes: ids, in JSON.
    #[serde(serialize_with = "ids")]
    pub attributes: Vec<&'a Attribute>,
    /// The replies.
    pub replies: Vec<String>,
    /// How many of the principles each reply keeps.
    pub kept: Vec<usize>,
}

fn ids<S: Serializer>(attributes: &[&Attribute], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(attributes.iter().map(|attribute| &attribute.id))
}

/// Lengths of the lists.
const LIST_LENGTHS: std::ops::RangeInclusive<usize> = 2..=8;
/// Replies of a case.
const REPLIES: usize = 4;

/// A sentence of a list, and what it is about.
#[derive(Clone)]
struct Demand<'a> {
    attribute: &'a Attribute,
    parameter: Parameter,
    wants: bool,
    text: String,
}

/// `options.lists` cases for each length and each of the two splits. `written` are sentences about trained attributes
/// that no training has seen. Programs edit `replies`.
pub fn lists<'a>(
    set: &'a AttributeSet,
    written: &[EverydaySentence],
    replies: &[PlainReply],
    options: &CaseOptions,
) -> Vec<ListCase<'a>> {
    let mut cases = Vec::new();
    if replies.is_empty() {
        return cases;
    }
    let splits: [(Split, Vec<&Attribute>); 2] =
        [(Split::NewSentence, set.trained().collect()), (Split::NewAttribute, set.held_out().collect())];
    for (split, mut attributes) in splits {
        attributes.retain(|one| !one.is_open() && !sentences(one, split, written, true).is_empty());
        for length in LIST_LENGTHS {
            let mut draws = Draws::new(options.seed, u32::MAX - 16 - 16 * split as u32 - length as u32);
            for _ in 0..options.lists {
                let case = (0..TRIES).find_map(|_| {
                    let demands = demands(&attributes, length, split, written, &mut draws)?;
                    case(split, &demands, replies, &mut draws)
                });
                cases.extend(case);
            }
        }
    }
    cases
}

fn sentences(attribute: &Attribute, split: Split, written: &[EverydaySentence], wants: bool) -> Vec<String> {
    if split == Split::NewAttribute {
        return attribute.sentences(wants).to_vec();
    }
    let about = written.iter().filter(|one| one.attribute == attribute.id && one.wants == wants);
    about.map(|one| one.text.clone()).collect()
}

/// A list of sentences about different attributes. `None` if there are too few.
fn demands<'a>(
    attributes: &[&'a Attribute],
    length: usize,
    split: Split,
    written: &[EverydaySentence],
    draws: &mut Draws,
) -> Option<Vec<Demand<'a>>> {
    let mut chosen = attributes.to_vec();
    draws.shuffle(&mut chosen);
    let mut demands = Vec::with_capacity(length);
    for attribute in chosen {
        if demands.len() == length {
            break;
        }
        let wants = draws.chance(0.5);
        let texts = sentences(attribute, split, written, wants);
        if texts.is_empty() {
            continue;
        }
        let parameters = attribute.parameters();
        let parameter = parameters[draws.below(parameters.len())].clone();
        let text = parameter.fill(&texts[draws.below(texts.len())]);
        demands.push(Demand { attribute, parameter, wants, text });
    }
    (demands.len() == length).then_some(demands)
}

/// Replies that keep different numbers of the demands. `None` if the edits gave none.
fn case<'a>(
    split: Split,
    demands: &[Demand<'a>],
    replies: &[PlainReply],
    draws: &mut Draws,
) -> Option<ListCase<'a>> {
    let plain = &replies[draws.below(replies.len())];
    let prompt = plain.prompt.as_str();
    let (mut texts, mut kept): (Vec<String>, Vec<usize>) = (Vec::new(), Vec::new());
    for _ in 0..REPLIES {
        let mut text = draws.cut(&plain.reply, MOST_SENTENCES);
        for demand in demands {
            let seen = Seen { prompt, reply: &text };
            let wanted = draws.chance(0.5);
            let pick = draws.bits();
            let changed = demand.attribute.changed(seen, &demand.parameter, wanted, pick);
            if let Some(changed) = changed.filter(|text| text.chars().count() <= LONGEST) {
                text = changed;
            }
        }
        if text.is_empty() || texts.contains(&text) {
            return None;
        }
        let mut n = 0;
        for demand in demands {
            let holds = demand.attribute.holds(Seen { prompt, reply: &text }, &demand.parameter)?;
            n += usize::from(holds == demand.wants);
        }
        texts.push(text);
        kept.push(n);
    }
    let differ = kept.iter().any(|n| *n != kept[0]);
    differ.then(|| ListCase {
        split,
        prompt: prompt.to_owned(),
        principles: demands.iter().map(|demand| demand.text.clone()).collect(),
        attributes: demands.iter().map(|demand| demand.attribute).collect(),
        replies: texts,
        kept,
    })
}
