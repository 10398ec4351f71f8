//! Pairs of replies that differ in an attribute, and sentences about it.

use serde::{Deserialize, Serialize, Serializer};

use super::{Attribute, AttributeSet, Draws, Parameter, PlainReply, Seen};

/// A sentence about a trained attribute that no training has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EverydaySentence {
    /// The id of the attribute.
    pub attribute: String,
    /// Whether it asks for the attribute. Otherwise it forbids it, or asks for its opposite.
    pub wants: bool,
    /// The sentence.
    pub text: String,
}

/// The everyday sentences that ship with Parr. Somebody wrote them who knew the attributes by one line each, and had
/// not seen the sentences of training.
pub fn everyday() -> Vec<EverydaySentence> {
    let text = include_str!("../../attributes/everyday.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("a test reads the shipped sentences")).collect()
}

/// What of a sentence was in the training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The sentence itself.
    SeenSentence,
    /// Its attribute, in other sentences.
    NewSentence,
    /// Only other attributes of its domain.
    NewAttribute,
    /// Only other domains.
    NewDomain,
}

impl Split {
    /// All splits, from the easiest on.
    pub const ALL: [Split; 4] =
        [Split::SeenSentence, Split::NewSentence, Split::NewAttribute, Split::NewDomain];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Split::SeenSentence => "seen sentence",
            Split::NewSentence => "new sentence of a seen attribute",
            Split::NewAttribute => "new attribute",
            Split::NewDomain => "new domain",
        }
    }
}

/// Options of an evaluation on attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaseOptions {
    /// Seed of all draws: the replies, the edits, the rivals.
    pub seed: u64,
    /// Pairs of replies for each attribute.
    pub pairs: usize,
    /// Sentences for each attribute that ask for it, and as many that forbid it.
    pub sentences: usize,
    /// Attributes of each split; those of a split are drawn by the seed.
    pub attributes: usize,
    /// Lists of principles of each length.
    pub lists: usize,
}

impl Default for CaseOptions {
    /// One pair for each attribute, under two sentences of each kind, of all attributes; ten lists of each length.
    fn default() -> Self {
        CaseOptions { seed: 0, pairs: 1, sentences: 2, attributes: usize::MAX, lists: 10 }
    }
}

/// Two replies to one request, and sentences about what tells them apart.
#[derive(Clone, Debug, Serialize)]
pub struct Case<'a> {
    /// What of the sentences was in the training.
    pub split: Split,
    /// What tells the replies apart: its id, in JSON.
    #[serde(serialize_with = "id")]
    pub attribute: &'a Attribute,
    /// The request.
    pub prompt: String,
    /// The reply with the attribute, and the one without.
    pub replies: [String; 2],
    /// Sentences that ask for the attribute.
    pub want: Vec<String>,
    /// As many sentences that forbid it.
    pub avoid: Vec<String>,
}

fn id<S: Serializer>(attribute: &&Attribute, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&attribute.id)
}

/// How often another pair of replies is tried for an attribute.
pub(super) const TRIES: usize = 40;
/// Sentences kept of a plain reply.
pub(super) const MOST_SENTENCES: usize = 3;
/// Longest reply in characters.
pub(super) const LONGEST: usize = 480;

/// Pairs of replies with sentences, split by split. Programs edit `replies`. `written` are sentences about trained
/// attributes that no training has seen. Empty if no pair can be made.
pub fn cases<'a>(
    set: &'a AttributeSet,
    written: &[EverydaySentence],
    replies: &[PlainReply],
    options: &CaseOptions,
) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    if replies.is_empty() {
        return cases;
    }
    let whole = set.held_out_domains();
    let held_out = |whole_domain: bool| -> Vec<&Attribute> {
        let closed = set.held_out().filter(|one| !one.is_open());
        closed.filter(|one| whole.contains(&one.domain[..]) == whole_domain).collect()
    };
    let trained: Vec<&Attribute> = set.trained().filter(|one| !one.is_open()).collect();
    let splits = [
        (Split::SeenSentence, trained.clone()),
        (Split::NewSentence, trained),
        (Split::NewAttribute, held_out(false)),
        (Split::NewDomain, held_out(true)),
    ];
    for (split, attributes) in splits {
        let mut draws = Draws::new(options.seed, u32::MAX - split as u32);
        let mut chosen = attributes.clone();
        draws.shuffle(&mut chosen);
        let mut made = 0;
        for attribute in chosen {
            if made == options.attributes {
                break;
            }
            let before = cases.len();
            for _ in 0..options.pairs {
                cases.extend(case(split, attribute, &attributes, written, replies, options, &mut draws));
            }
            made += usize::from(cases.len() > before);
        }
    }
    cases
}

fn case<'a>(
    split: Split,
    attribute: &'a Attribute,
    rivals: &[&'a Attribute],
    written: &[EverydaySentence],
    replies: &[PlainReply],
    options: &CaseOptions,
    draws: &mut Draws,
) -> Option<Case<'a>> {
    let mut texts = |wants: bool| -> Vec<String> {
        let mut texts: Vec<String> = if split == Split::NewSentence {
            let about = written.iter().filter(|one| one.attribute == attribute.id && one.wants == wants);
            about.map(|one| one.text.clone()).collect()
        } else {
            attribute.sentences(wants).to_vec()
        };
        draws.shuffle(&mut texts);
        texts
    };
    let (mut want, mut avoid) = (texts(true), texts(false));
    let n = want.len().min(avoid.len()).min(options.sentences);
    if n == 0 {
        return None;
    }
    want.truncate(n);
    avoid.truncate(n);
    for _ in 0..TRIES {
        let parameters = attribute.parameters();
        let parameter = &parameters[draws.below(parameters.len())];
        let plain = &replies[draws.below(replies.len())];
        let other = &replies[draws.below(replies.len())];
        let prompt = plain.prompt.as_str();
        let first = with(
            attribute,
            parameter,
            Seen { prompt, reply: &draws.cut(&plain.reply, MOST_SENTENCES) },
            draws,
        );
        let rival = rivals[draws.below(rivals.len())];
        // Where no edit can take the attribute away, such as a length, another reply may not have it.
        let source = if draws.chance(0.5) { &plain.reply } else { &other.reply };
        let second = without(
            attribute,
            parameter,
            rival,
            Seen { prompt, reply: &draws.cut(source, MOST_SENTENCES) },
            draws,
        );
        if let (Some(first), Some(second)) = (first, second)
            && first != second
        {
            let fill = |texts: &[String]| texts.iter().map(|text| parameter.fill(text)).collect();
            return Some(Case {
                split,
                attribute,
                prompt: prompt.to_owned(),
                replies: [first, second],
                want: fill(&want),
                avoid: fill(&avoid),
            });
        }
    }
    None
}

/// A version of the reply with the attribute.
fn with(attribute: &Attribute, parameter: &Parameter, seen: Seen<'_>, draws: &mut Draws) -> Option<String> {
    let text = if attribute.holds(seen, parameter)? {
        seen.reply.to_owned()
    } else {
        attribute.give(seen, parameter, draws.bits())?
    };
    fits(text)
}

/// A version of the reply without the attribute, and with another one.
fn without(
    attribute: &Attribute,
    parameter: &Parameter,
    rival: &Attribute,
    seen: Seen<'_>,
    draws: &mut Draws,
) -> Option<String> {
    let parameters = rival.parameters();
    let rivals = &parameters[draws.below(parameters.len())];
    let text = match rival.holds(seen, rivals) {
        Some(true) => seen.reply.to_owned(),
        _ => rival.give(seen, rivals, draws.bits())?,
    };
    let changed = Seen { reply: &text, ..seen };
    let text = if attribute.holds(changed, parameter)? {
        attribute.take(changed, parameter, draws.bits())?
    } else {
        text
    };
    fits(text)
}

fn fits(text: String) -> Option<String> {
    (!text.trim().is_empty() && text.chars().count() <= LONGEST).then_some(text)
}
