//! What is recorded while preferences are collected: prompts, replies, verdicts.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::jsonl::Record;
use crate::principles::{Principle, PromptType};

/// What is asked of the assistant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Unique in its file.
    pub id: String,
    /// The kind of task.
    #[serde(rename = "type", default)]
    pub kind: PromptType,
    /// Its language by ISO 639-1 code; told from the text where it is left out.
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
    /// The seed it was drawn with.
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
    /// Whether its negative was given in place of its definition.
    pub negated: bool,
}

/// How much better the first of two replies is, by two readings of one judge: once with the first reply shown
/// first, once with the second. Positive means that the first reply is better, in both.
///
/// A judge that sees one reply at a time gives the same score twice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Scores {
    /// Shown in the order first, second.
    pub s12: f64,
    /// Shown in the order second, first.
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
    /// Those of a judge that names the better reply by one of two labels, from its logits for the labels
    /// `[a, b]` at the place of the verdict: `first_first` where (a) is the first reply, `second_first` where
    /// (a) is the second.
    pub fn from_labels(first_first: [f64; 2], second_first: [f64; 2]) -> Scores {
        Scores { s12: first_first[0] - first_first[1], s21: second_first[1] - second_first[0] }
    }

    /// Those of a judge without an order.
    pub fn without_order(score: f64) -> Scores {
        Scores { s12: score, s21: score }
    }

    /// Their mean if both have the same strict sign; 0 where the verdict hangs on the order.
    pub fn agreed(self) -> f64 {
        if self.agree() { (self.s12 + self.s21) / 2.0 } else { 0.0 }
    }

    /// Whether both have the same strict sign.
    pub fn agree(self) -> bool {
        (self.s12 > 0.0 && self.s21 > 0.0) || (self.s12 < 0.0 && self.s21 < 0.0)
    }

    /// How far the judge prefers whatever it is shown first.
    pub fn position_bias(self) -> f64 {
        (self.s12 - self.s21) / 2.0
    }

    /// The same verdict with the replies in the other order: a reading in one order becomes one in the
    /// other, and what spoke for the first reply speaks against it.
    #[must_use]
    pub fn swapped(self) -> Scores {
        // Not -0: a score of nothing is one of nothing either way.
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
    /// The scores, under the definition as it stands.
    pub scores: Scores,
}

impl Verdict {
    /// The scores of a judge that read `principle` as it is now.
    pub fn new(principle: &Principle, scores: Scores) -> Verdict {
        Verdict { principle: principle.id.clone(), wording: principle.wording(), scores }
    }
}

/// Two replies to one prompt, and what a judge says of them under each principle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Unique in its file.
    pub id: String,
    /// The prompt, all of it: no other file has to be in step with this one.
    pub prompt: Prompt,
    /// The replies; the first of the scores is the first of these.
    pub replies: [SampledReply; 2],
    /// What kind of judge it was.
    pub judge: String,
    /// The model it judged with.
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
                return Err(format!("a score under `{principle}` is no finite number"));
            }
        }
        Ok(())
    }
}
