//! The record of each prompt, and the report of a run.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{InContext, Reason};
use crate::preferences::{Prompt, Record};

/// The result for one prompt: a line of the file of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfAlignSample {
    /// The prompt.
    pub prompt: Prompt,
    /// Random seed of the answer.
    pub seed: u64,
    /// The model's whole output.
    pub text: String,
    /// Whether the output ended before the token limit.
    pub finished: bool,
    /// The thoughts after the opener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thoughts: Option<String>,
    /// The answer to train on, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Whether the reply is shorter than the answer in the output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
    /// Why the answer was dropped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Reason>,
    /// Hash of the other inputs: settings, rules, exemplars and base.
    pub run: String,
}

impl Record for SelfAlignSample {
    const START: &str = "{\"prompt\":{\"id\":";

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

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfAlignReport {
    /// Number of prompts.
    pub prompts: usize,
    /// Number of answers kept, which are the rows to train on.
    pub kept: usize,
    /// Number of kept answers that were shortened, because the model repeated itself or stopped in a
    /// sentence.
    pub shortened: usize,
    /// Number of dropped answers, by reason. Contains all reasons.
    pub dropped: BTreeMap<String, usize>,
    /// For each rule in the prompt, the number of answers whose thoughts name it.
    pub named: BTreeMap<String, usize>,
    /// Number of tokens of the prompt before the request.
    pub prefix_tokens: usize,
    /// Number of rules in the prompt.
    pub rules: usize,
    /// Number of rules that were left out.
    pub left_out_rules: usize,
    /// Number of exemplars in the prompt.
    pub exemplars: usize,
    /// Number of exemplars that were left out.
    pub left_out_exemplars: usize,
}

impl SelfAlignReport {
    /// Counts the results of `samples`, which were answered with `prompt`.
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
