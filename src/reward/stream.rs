//! Training pairs in the order of training: pass after pass, each in a new order.

use super::data::Source;
use crate::preferences::PreferencePair;
use crate::train::Order;

/// An endless sequence of pairs. The pair at a position depends only on data, options and seed, so a run
/// needs only its position to resume.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    source: Source<'a>,
    seed: u64,
    /// Position of each known pass's first pair. The last entry is where the next pass begins.
    starts: Vec<u64>,
    current: Option<Pass>,
}

#[derive(Debug)]
struct Pass {
    number: u32,
    pairs: Vec<PreferencePair>,
    order: Order,
}

/// Number of consecutive passes without a pair after which the stream stops. Each pass has new draws, so a
/// few comparisons may be undecided in some passes.
const EMPTY_PASSES: usize = 100;

impl<'a> Stream<'a> {
    pub fn new(source: Source<'a>, seed: u64) -> Stream<'a> {
        Stream { source, seed, starts: vec![0], current: None }
    }

    /// The pair at `position`. `None` if the data gives no pairs.
    pub fn pair(&mut self, position: u64) -> Option<&PreferencePair> {
        let mut empty = 0;
        while self.starts.last().is_some_and(|&end| end <= position) {
            let next = self.starts.len() as u32 - 1;
            let found = self.open(next);
            empty = if found == 0 { empty + 1 } else { 0 };
            if empty == EMPTY_PASSES {
                return None;
            }
            let end = self.starts.last().copied().unwrap_or(0) + found as u64;
            self.starts.push(end);
        }
        // The last pass that begins at `position` or before. Empty passes before it begin there too.
        let number = self.starts.partition_point(|&start| start <= position) as u32 - 1;
        if self.current.as_ref().is_none_or(|pass| pass.number != number) {
            self.open(number);
        }
        let at = position - self.starts[number as usize];
        let Pass { pairs, order, .. } = self.current.as_mut()?;
        // Each pass is an epoch of its own length and takes the order with its number.
        let place = order.example(u64::from(number) * pairs.len() as u64 + at);
        pairs.get(place)
    }

    /// The pair at `position`, and its mirror if the options ask for mirrors.
    pub fn with_mirror(&mut self, position: u64) -> Option<Vec<PreferencePair>> {
        let pair = self.pair(position)?.clone();
        let mirrored = self.source.mirrored(&pair);
        Some([Some(pair), mirrored].into_iter().flatten().collect())
    }

    /// Makes a pass the current one, and returns its number of pairs.
    fn open(&mut self, number: u32) -> usize {
        let pairs = self.source.pass(number).train;
        let found = pairs.len();
        // An order needs a row. The order of an empty pass is never used.
        let order = Order::new(self.seed, found.max(1));
        self.current = Some(Pass { number, pairs, order });
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::preferences::{
        AggregateOptions, Aggregator, Comparison, Prompt, SampledReply, Scores, Verdict,
    };
    use crate::principles::{PrincipleSet, PromptType};

    fn comparisons(set: &PrincipleSet) -> Vec<Comparison> {
        let verdict = |number: u32| {
            let judged = set.principles.iter().enumerate().map(move |(at, principle)| {
                // Some scores are 0, so that passes differ in length.
                let score = f64::from((number + at as u32) % 3) - 1.0;
                Verdict::new(principle, Scores::without_order(score))
            });
            judged.collect()
        };
        let reply = |text: String| SampledReply { text, seed: 0, under: None };
        (0..20)
            .map(|number| Comparison {
                id: format!("c{number}"),
                prompt: Prompt {
                    id: format!("p{number}"),
                    kind: PromptType::General,
                    language: None,
                    text: format!("Question {number}"),
                },
                replies: [reply(format!("first {number}")), reply(format!("second {number}"))],
                judge: "test".to_owned(),
                model: "none".to_owned(),
                seed: 0,
                verdicts: verdict(number),
            })
            .collect()
    }

    #[test]
    fn every_pass_has_each_comparison_once_under_another_list() {
        let set = PrincipleSet::open("reward").expect("built in");
        let comparisons = comparisons(&set);
        let options = AggregateOptions { held_out: 0.0, ..AggregateOptions::default() };
        let stream = || {
            let judged = Aggregator::new(&comparisons, &set, &options).expect("sound records");
            Stream::new(Source::Judged(Box::new(judged)), 5)
        };
        let mut whole = stream();
        let ids: Vec<String> =
            (0..90).map(|position| whole.pair(position).expect("endless").id.clone()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 90, "no pair comes twice");
        let mut start = 0;
        for pass in 0..4 {
            let end = whole.starts[pass + 1] as usize;
            assert!(end > start && end - start <= 20);
            assert!(ids[start..end].iter().all(|id| id.ends_with(&format!("#{pass}"))), "pass {pass}");
            start = end;
        }
        let order = |pass: &[String]| -> Vec<String> {
            pass.iter().filter_map(|id| Some(id.split_once('#')?.0.to_owned())).collect()
        };
        let first = order(&ids[..whole.starts[1] as usize]);
        assert_ne!(first, order(&ids[whole.starts[1] as usize..whole.starts[2] as usize]));

        // A resumed run needs the same pair at a position, from any start and in any order.
        for position in [89, 0, 47, 19, 20, 46] {
            assert_eq!(stream().pair(position).expect("endless").id, ids[position as usize]);
            assert_eq!(whole.pair(position).expect("endless").id, ids[position as usize]);
        }
    }

    #[test]
    fn data_that_decides_nothing_ends() {
        let set = PrincipleSet::open("reward").expect("built in");
        let mut comparisons = comparisons(&set);
        for verdict in comparisons.iter_mut().flat_map(|one| &mut one.verdicts) {
            verdict.scores = Scores::without_order(0.0);
        }
        let options = AggregateOptions::default();
        let judged = Aggregator::new(&comparisons, &set, &options).expect("sound records");
        assert!(Stream::new(Source::Judged(Box::new(judged)), 5).pair(0).is_none());
    }
}
