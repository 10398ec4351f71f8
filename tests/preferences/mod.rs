//! From judged replies to what a reward model reads: records, aggregation, input format.

mod aggregate;
mod input;
mod records;

use parr::preferences::{Comparison, Prompt, SampledReply, Scores, Verdict};
use parr::principles::{PrincipleSet, PromptType};
use parr::random::{Philox, Purpose, uniform01};

/// The set that comes with Parr for this purpose.
fn reward() -> PrincipleSet {
    PrincipleSet::open("reward").expect("built in")
}

/// A comparison under all principles of `set`, with scores of its own.
fn comparison(set: &PrincipleSet, number: u32) -> Comparison {
    let score = |at: usize| {
        let [a, b, ..] = Philox::new(9).block(Purpose::Conformance, number, at as u32, 0);
        let [a, b] = [a, b].map(|bits| f64::from(uniform01(bits)) - 0.5);
        Scores { s12: a + 0.4 * b, s21: a - 0.4 * b }
    };
    let reply = |name: &str| SampledReply {
        text: format!("This is the {name} of the replies to question {number}."),
        seed: u64::MAX - 1,
        under: None,
    };
    let verdicts = set.principles.iter().enumerate().map(|(at, one)| Verdict::new(one, score(at)));
    Comparison {
        id: format!("q{number}/0-1"),
        prompt: Prompt {
            id: format!("q{number}"),
            kind: PromptType::Reasoning,
            language: Some("en".to_owned()),
            text: format!("What is the answer to question {number}?"),
        },
        replies: [reply("first"), reply("second")],
        judge: "ab".to_owned(),
        model: "0123".to_owned(),
        seed: 7,
        verdicts: verdicts.collect(),
    }
}

fn comparisons(set: &PrincipleSet, count: u32) -> Vec<Comparison> {
    (0..count).map(|number| comparison(set, number)).collect()
}
