//! Judges that need no training, compared on pairs of replies whose right order is known.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::chat::{AdaptedModel, encode};
use super::{JudgeError, mean_logprob};
use crate::attributes::{
    Accuracy, AttributeSet, Case, CaseOptions, EverydaySentence, PlainReply, Split, cases,
};
use crate::generate::{CancelToken, Continuation, Generator, GeneratorOptions};
use crate::ops::KvFormat;
use crate::preferences::{ANSWERS, InputLimits, PointwiseFormat};
use crate::tokenizer::{ChatFormat, Specials, TokenId};

/// A judge that needs no training: a number for a reply under a sentence and its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UntrainedJudge {
    /// How much more likely a token of the reply is with the sentence in the system message than with its opposite.
    ContrastSystem,
    /// The same with the sentence behind the request.
    ContrastQuestion,
    /// The log-odds of " yes" and " no" to the question whether the reply keeps the sentence.
    Yes,
    /// How much more likely a token of the sentence is after the reply than a token of its opposite: the instruction
    /// is recovered from the reply (arXiv 2602.13551).
    Backward,
    /// The sum of the others, each divided by its standard deviation.
    Sum,
}

impl UntrainedJudge {
    /// All of them.
    pub const ALL: [UntrainedJudge; 5] = [
        UntrainedJudge::ContrastSystem,
        UntrainedJudge::ContrastQuestion,
        UntrainedJudge::Yes,
        UntrainedJudge::Backward,
        UntrainedJudge::Sum,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            UntrainedJudge::ContrastSystem => "contrast, system message",
            UntrainedJudge::ContrastQuestion => "contrast, behind the request",
            UntrainedJudge::Yes => "yes or no",
            UntrainedJudge::Backward => "backward contrast",
            UntrainedJudge::Sum => "sum of all",
        }
    }
}

/// Number of judges that read; the last one adds them up.
const READERS: usize = 4;

/// How often each judge is right.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JudgeBench {
    /// By judge and split: how often the reply that has the attribute gets the larger number under a sentence that
    /// asks for it.
    pub judges: BTreeMap<UntrainedJudge, BTreeMap<Split, Accuracy>>,
    /// Number of pairs of replies.
    pub pairs: usize,
}

/// Compares judges that need no training on pairs of replies that differ in an attribute of `set`. The sentences of
/// trained attributes are the everyday ones in `written`; no judge was trained on any. `on_done` receives the numbers
/// of pairs done, and of all.
///
/// # Errors
///
/// * [`JudgeError::NoChat`] if the model has no chat template;
/// * [`JudgeError::Nothing`] if no pair can be made;
/// * [`JudgeError::Generate`] if the device fails, or after a cancel.
pub fn bench(
    model: AdaptedModel<'_>,
    set: &AttributeSet,
    written: &[EverydaySentence],
    replies: &[PlainReply],
    options: &CaseOptions,
    cancel: &CancelToken,
    on_done: &mut dyn FnMut(usize, usize),
) -> Result<JudgeBench, JudgeError> {
    let mut cases = cases(set, written, replies, options);
    // Nothing was trained, so sentences of the training are sentences like all others.
    cases.retain(|case| case.split != Split::SeenSentence);
    if cases.is_empty() {
        let reason = "no pair of replies could be made: there are too few replies or attributes".to_owned();
        return Err(JudgeError::Nothing { reason });
    }
    let chat = model.chat()?;
    let limits = InputLimits { tokens: CONTEXT, request: CONTEXT / 4, reply: CONTEXT / 2 };
    let format = PointwiseFormat::new(chat.tokenizer(), limits)?;
    // Differences of large sums, so keys and values are not rounded.
    let generation =
        GeneratorOptions { slots: SLOTS, context: CONTEXT, kv: KvFormat::F32, ..GeneratorOptions::default() };
    let mut reader = Reader { chat, format, model, generator: model.generator(generation)? };
    // For each sentence, how far apart each judge puts the two replies.
    let mut apart: Vec<(Split, [f64; READERS])> = Vec::new();
    for (done, case) in cases.iter().enumerate() {
        for (want, avoid) in case.want.iter().zip(&case.avoid) {
            apart.push((case.split, reader.apart(case, [want, avoid], cancel)?));
        }
        on_done(done + 1, cases.len());
    }
    Ok(JudgeBench { pairs: cases.len(), ..JudgeBench::of(&apart) })
}

/// Tokens of an input. Longer ones are cut, which the replies of these pairs hardly are.
const CONTEXT: usize = 512;
/// Inputs at a time: those of one judge for both replies.
const SLOTS: usize = 4;

impl JudgeBench {
    fn of(apart: &[(Split, [f64; READERS])]) -> JudgeBench {
        let mut bench = JudgeBench::default();
        let spread = |judge: usize| -> f64 {
            let values = apart.iter().map(|(_, values)| values[judge]);
            let square = values.map(|value| value * value).sum::<f64>() / apart.len().max(1) as f64;
            square.sqrt().max(f64::MIN_POSITIVE)
        };
        let spreads: [f64; READERS] = std::array::from_fn(spread);
        for (split, values) in apart {
            let sum = values.iter().zip(spreads).map(|(value, spread)| value / spread).sum::<f64>();
            for (judge, value) in UntrainedJudge::ALL.into_iter().zip(values.iter().copied().chain([sum])) {
                bench.judges.entry(judge).or_default().entry(*split).or_default().add(value > 0.0);
            }
        }
        bench
    }
}

/// The model, as the judges use it.
struct Reader<'a> {
    chat: &'a ChatFormat,
    format: PointwiseFormat<'a>,
    model: AdaptedModel<'a>,
    generator: Generator,
}

impl Reader<'_> {
    /// How much larger the number of the first reply is than that of the second, for each judge that reads.
    fn apart(
        &mut self,
        case: &Case<'_>,
        sentences: [&String; 2],
        cancel: &CancelToken,
    ) -> Result<[f64; READERS], JudgeError> {
        let Case { prompt, replies, .. } = case;
        let replies = replies.each_ref().map(String::as_str);
        let [want, avoid] = sentences.map(String::as_str);
        let system = |sentence: &str| encode(self.chat, Some(sentence), prompt);
        let question = |sentence: &str| encode(self.chat, None, &format!("{prompt}\n\n{sentence}"));
        let given = [[system(want)?, system(avoid)?], [question(want)?, question(avoid)?]];
        let tokens = |text: &str| self.chat.tokenizer().encode(text, Specials::AsText);
        let texts = [tokens(replies[0])?, tokens(replies[1])?];
        let mut rows = Vec::new();
        for [with, against] in &given {
            for reply in &texts {
                rows.push(continued(with, reply));
                rows.push(continued(against, reply));
            }
        }
        let input = |reply: &str| self.format.encode(prompt, reply, &[want]);
        let inputs = [input(replies[0])?, input(replies[1])?];
        for input in &inputs {
            let asked = [&input.shared[..], &input.branches[0]].concat();
            for answer in ANSWERS {
                rows.push(continued(&asked, &tokens(answer)?));
            }
        }
        for input in &inputs {
            for sentence in [want, avoid] {
                rows.push(continued(&input.shared, &tokens(sentence)?));
            }
        }
        let stats = self.generator.continuation_stats(&rows, self.model.adapter_id(), cancel)?;
        let means: Vec<f64> = stats.iter().map(|stats| mean_logprob(stats)).collect();
        // Four rows for each judge: the first reply with and against, then the second.
        let judged = means.chunks_exact(4).map(|rows| (rows[0] - rows[1]) - (rows[2] - rows[3]));
        let judged: Vec<f64> = judged.collect();
        Ok(std::array::from_fn(|judge| judged[judge]))
    }
}

/// `rest` after `given`, within the context.
fn continued(given: &[TokenId], rest: &[TokenId]) -> Continuation {
    let room = CONTEXT.saturating_sub(given.len()).max(1);
    let given = &given[given.len().saturating_sub(CONTEXT - 1)..];
    Continuation { ids: [given, &rest[..rest.len().min(room)]].concat(), from: given.len() }
}

impl fmt::Display for JudgeBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let splits = [Split::NewSentence, Split::NewAttribute, Split::NewDomain];
        write!(f, "{:30}", "")?;
        for name in ["everyday sentences", "further attributes", "further domains"] {
            write!(f, "{name:>20}")?;
        }
        writeln!(f)?;
        for (judge, figures) in &self.judges {
            write!(f, "{:30}", judge.name())?;
            for split in splits {
                write!(f, "{:>20}", figures.get(&split).copied().unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{} pairs of replies", self.pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_weighs_judges_by_their_spread() {
        // The third judge is loud and wrong; the others are quiet and right.
        let apart = [
            (Split::NewDomain, [0.1, 0.1, -90.0, 0.1]),
            (Split::NewDomain, [0.1, 0.1, -110.0, 0.1]),
            (Split::NewSentence, [-0.1, -0.1, 100.0, -0.1]),
        ];
        let bench = JudgeBench::of(&apart);
        let of = |judge, split| bench.judges[&judge][&split];
        assert_eq!(of(UntrainedJudge::Sum, Split::NewDomain), Accuracy { right: 2, of: 2 });
        assert_eq!(of(UntrainedJudge::Yes, Split::NewDomain), Accuracy { right: 0, of: 2 });
        assert_eq!(of(UntrainedJudge::Backward, Split::NewSentence), Accuracy { right: 0, of: 1 });
        assert!(bench.to_string().contains("sum of all"));
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let long: Vec<TokenId> = (0..2000).collect();
        let cut = continued(&long, &[7, 8]);
        assert_eq!((cut.ids.len(), cut.from, cut.ids[CONTEXT - 1]), (CONTEXT, CONTEXT - 1, 7));
        let cut = continued(&long[..500], &long);
        assert_eq!((cut.ids.len(), cut.from), (CONTEXT, 500));
        assert_eq!(continued(&long[..5], &[1, 2]).ids.len(), 7);
    }
}
