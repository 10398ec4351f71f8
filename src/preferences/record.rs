//! Records of collected preferences: prompts, replies, verdicts.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::jsonl::Record;
use crate::principles::{Principle, PromptType};

/// A request to the assistant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Unique in its file.
    pub id: String,
    /// The kind of task.
    #[serde(rename = "type", default)]
    pub kind: PromptType,
    /// Its language, as an ISO 639-1 code. If it is left out, the language is guessed from the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The text.
    #[serde(rename = "prompt")]
    pub text: String,
}

/// A reply to a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledReply {
    /// The text.
    pub text: String,
    /// The seed it was sampled with.
    pub seed: u64,
    /// The principle that it was written under, if one was given to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<Under>,
}

/// A principle that a reply was written under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Under {
    /// Its id.
    pub principle: String,
    /// Whether the model was given its negative instead of its definition.
    pub negated: bool,
}

/// How much better the first of two replies is, as one judge scores it twice: once with the first reply shown
/// first, once with the second reply shown first. In both, a positive score means that the first reply is
/// better.
///
/// A judge that sees one reply at a time gives the same score twice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Scores {
    /// Score with the first reply shown first.
    pub s12: f64,
    /// Score with the second reply shown first.
    pub s21: f64,
}

impl From<[f64; 2]> for Scores {
    fn from([s12, s21]: [f64; 2]) -> Scores {
        Scores { s12, s21 }
    }
}

impl From<Scores> for [f64; 2] {
    fn from(scores: Scores) -> [f64; 2] {
        [scores.s12, scores.s21]
    }
}

impl Scores {
    /// Returns the scores of a judge that names the better reply by one of two labels, from its logits for
    /// the labels `[a, b]` at the position of the verdict. In `first_first`, (a) is the first reply. In
    /// `second_first`, (a) is the second reply.
    pub fn from_labels(first_first: [f64; 2], second_first: [f64; 2]) -> Scores {
        Scores { s12: first_first[0] - first_first[1], s21: second_first[1] - second_first[0] }
    }

    /// Returns the scores of a judge that does not depend on the order.
    pub fn without_order(score: f64) -> Scores {
        Scores { s12: score, s21: score }
    }

    /// Mean of both scores if they have the same strict sign. 0 if the verdict depends on the order.
    pub fn agreed(self) -> f64 {
        if self.agree() { (self.s12 + self.s21) / 2.0 } else { 0.0 }
    }

    /// Whether both scores have the same strict sign.
    pub fn agree(self) -> bool {
        (self.s12 > 0.0 && self.s21 > 0.0) || (self.s12 < 0.0 && self.s21 < 0.0)
    }

    /// How much the judge prefers the reply that is shown first.
    pub fn position_bias(self) -> f64 {
        (self.s12 - self.s21) / 2.0
    }

    /// Returns the same verdict with the replies in the other order: the two scores are exchanged and their
    /// signs flipped.
    #[must_use]
    pub fn swapped(self) -> Scores {
        // `0.0 - x` avoids -0.
        Scores { s12: 0.0 - self.s21, s21: 0.0 - self.s12 }
    }
}

/// A judge's scores under one principle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The principle's id.
    pub principle: String,
    /// Its [`wording`](Principle::wording) when the judge read it.
    pub wording: String,
    /// The scores under the definition, not negated.
    pub scores: Scores,
}

impl Verdict {
    /// Creates the verdict of a judge that read `principle` as it is now.
    pub fn new(principle: &Principle, scores: Scores) -> Verdict {
        Verdict { principle: principle.id.clone(), wording: principle.wording(), scores }
    }
}

/// Two replies to one prompt, and a judge's verdict on them under each principle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Unique in its file.
    pub id: String,
    /// The whole prompt, so that no other file is needed.
    pub prompt: Prompt,
    /// The replies. "First" and "second" in the scores refer to this order.
    pub replies: [SampledReply; 2],
    /// Name of the judge.
    pub judge: String,
    /// Name of the model that it judged with.
    pub model: String,
    /// The seed of the run.
    pub seed: u64,
    /// The verdicts, one for each principle.
    pub verdicts: Vec<Verdict>,
}

impl Comparison {
    /// The verdict under the principle with this id.
    pub fn verdict(&self, principle: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.principle == principle)
    }
}

/// A reply, and whether it keeps each of some principles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledReply {
    /// Unique in its file.
    pub id: String,
    /// The request.
    pub prompt: String,
    /// The reply.
    pub reply: String,
    /// The principles with their labels, at least one.
    pub labels: Vec<Label>,
}

/// A principle, and whether a reply keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// A sentence as a person writes it.
    pub principle: String,
    /// Whether the reply keeps it.
    pub keeps: bool,
    /// What it is about, for figures by attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
}

impl Record for LabelledReply {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), String> {
        let texts = [("id", &self.id), ("prompt", &self.prompt), ("reply", &self.reply)];
        if let Some((key, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
            return Err(format!("`{key}` is empty"));
        }
        if self.labels.is_empty() {
            return Err("it has no labels".to_owned());
        }
        match self.labels.iter().position(|label| label.principle.trim().is_empty()) {
            Some(at) => Err(format!("the principle of label {} is empty", at + 1)),
            None => Ok(()),
        }
    }
}

impl Record for Prompt {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), String> {
        let Prompt { id, text, .. } = self;
        if id.trim().is_empty() {
            return Err("`id` is empty".to_owned());
        }
        if text.trim().is_empty() {
            return Err("`prompt` is empty".to_owned());
        }
        Ok(())
    }
}

impl Record for Comparison {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), String> {
        if self.id.trim().is_empty() {
            return Err("`id` is empty".to_owned());
        }
        self.prompt.check()?;
        if let Some(at) = self.replies.iter().position(|reply| reply.text.trim().is_empty()) {
            return Err(format!("reply {} is empty", at + 1));
        }
        let mut seen = HashSet::new();
        for Verdict { principle, scores, .. } in &self.verdicts {
            if !seen.insert(principle) {
                return Err(format!("there are two verdicts under `{principle}`"));
            }
            if !scores.s12.is_finite() || !scores.s21.is_finite() {
                return Err(format!("a score under `{principle}` is not a finite number"));
            }
        }
        Ok(())
    }
}
