//! What is recorded of each prompt, and what of all of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{InContext, Reason};
use crate::preferences::{Prompt, Record};

/// What became of one prompt: one line of the file of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfAlignSample {
    /// The prompt, all of it.
    pub prompt: Prompt,
    /// The seed that the answer was drawn with.
    pub seed: u64,
    /// Everything the model wrote.
    pub text: String,
    /// Whether it came to an end by itself.
    pub finished: bool,
    /// The thoughts behind the opener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thoughts: Option<String>,
    /// What is learned, if the answer was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Whether the reply is less than what the model wrote as its answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
    /// Why it was dropped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Reason>,
    /// What it depends on beside prompt and seed: a hash of settings, rules, exemplars and base.
    pub run: String,
}

impl Record for SelfAlignSample {
    fn id(&self) -> &str {
        &self.prompt.id
    }

    fn check(&self) -> Result<(), String> {
        self.prompt.check()?;
        match (&self.reply, self.dropped) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            (Some(_), Some(_)) => Err("it has a reply and a reason for dropping it".to_owned()),
            (None, None) => Err("it has neither a reply nor a reason for dropping it".to_owned()),
        }
    }
}

/// What became of all prompts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfAlignReport {
    /// Prompts.
    pub prompts: usize,
    /// Answers kept: rows to learn from.
    pub kept: usize,
    /// Of those, how many are shorter than what the model wrote, as it repeated itself or broke off.
    pub shortened: usize,
    /// How many were dropped, by the reason; all reasons are there.
    pub dropped: BTreeMap<String, usize>,
    /// In the thoughts of how many answers each rule of the prompt is named.
    pub named: BTreeMap<String, usize>,
    /// Tokens of the prompt before the request.
    pub prefix_tokens: usize,
    /// Rules in the prompt.
    pub rules: usize,
    /// Rules that were left out.
    pub left_out_rules: usize,
    /// Exemplars in the prompt.
    pub exemplars: usize,
    /// Exemplars that were left out.
    pub left_out_exemplars: usize,
}

impl SelfAlignReport {
    /// Counts what became of `samples` under `prompt`.
    pub fn new(prompt: &InContext, samples: &[SelfAlignSample]) -> SelfAlignReport {
        let dropped = Reason::ALL.map(|reason| {
            let count = samples.iter().filter(|sample| sample.dropped == Some(reason)).count();
            (reason.name().to_owned(), count)
        });
        let named = prompt.rules().iter().map(|rule| {
            let call = format!("({rule})");
            let names = |sample: &&SelfAlignSample| {
                sample.thoughts.as_ref().is_some_and(|thoughts| thoughts.contains(&call))
            };
            (rule.clone(), samples.iter().filter(names).count())
        });
        let (left_out_rules, left_out_exemplars) = prompt.left_out();
        SelfAlignReport {
            prompts: samples.len(),
            kept: samples.iter().filter(|sample| sample.reply.is_some()).count(),
            shortened: samples.iter().filter(|sample| sample.shortened).count(),
            dropped: dropped.into(),
            named: named.collect(),
            prefix_tokens: prompt.prefix().len(),
            rules: prompt.rules().len(),
            left_out_rules,
            exemplars: prompt.exemplars().len(),
            left_out_exemplars,
        }
    }
}

impl fmt::Display for SelfAlignReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SelfAlignReport { prompts, kept, shortened, dropped, .. } = self;
        write!(f, "{kept} of {prompts} answers kept")?;
        if *shortened > 0 {
            write!(f, ", {shortened} of them shortened")?;
        }
        let reasons = dropped.iter().filter(|(_, count)| **count > 0);
        for (place, (reason, count)) in reasons.enumerate() {
            let before = if place == 0 { "; dropped:" } else { "," };
            write!(f, "{before} {count} {}", reason.replace('_', " "))?;
        }
        Ok(())
    }
}
