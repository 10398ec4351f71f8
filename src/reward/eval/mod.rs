//! How well a reward model follows principles.

mod ask;
#[cfg(feature = "html")]
mod page;

use std::collections::BTreeMap;

use serde::Serialize;

use super::data::Source;
use super::tally::{Tallies, Tally};
use super::{RewardData, RewardError, RewardModel};
use crate::generate::CancelToken;
use crate::preferences::{
    AggregateOptions, Comparison, PreferencePair, PrincipleReport, held_out, judge_report,
};
use crate::principles::{Principle, PrincipleSet};
use crate::report::{correlation, moments};
use crate::train::{Count, Event, Items, Order};
use ask::{Asked, Ticket};

pub use crate::report::{Bin, Calibration, Rate};

/// Options of an evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvaluateOptions {
    /// How lists are drawn, and which prompts are held out. Its noise is not applied.
    pub aggregate: AggregateOptions,
    /// Whether to use all prompts, for data that was not trained on.
    pub everything: bool,
    /// Maximum number of pairs under drawn lists, and of comparisons under each principle. `None` for all.
    pub limit: Option<usize>,
}

/// Results of a reward model on replies that a judge compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RewardReport {
    /// The base, as the adapter's card names it.
    pub base: Option<String>,
    /// Hash of the adapter's training data, from its card.
    pub trained_on: Option<String>,
    /// Hash of the evaluation data.
    pub measured_on: String,
    /// The sets of principles.
    pub set: Option<String>,
    /// Whether the prompts are held out from training, according to the split.
    pub held_out: bool,
    /// Number of comparisons in the evaluation.
    pub comparisons: usize,
    /// Number of different questions to the model.
    pub questions: usize,
    /// Pairs under drawn lists, with some principles negated. The reply that the deciding principle prefers
    /// should have the larger score.
    pub lists: Tallies,
    /// How often the ranking flips when every principle of a list is negated.
    pub list_flips: Rate,
    /// How often the ranking stays the same when the list is reversed.
    pub order_consistency: Rate,
    /// Each principle alone, and its negative alone.
    pub alone: Vec<Alone>,
    /// How often the better reply has the larger score, over all of `alone`.
    pub alone_accuracy: Rate,
    /// How often the ranking flips when the principle is negated, over all of `alone`.
    pub alone_flips: Rate,
    /// How much scores depend on each principle.
    pub sensitivity: Vec<Sensitivity>,
    /// Whether long replies are preferred because of their length.
    pub length: LengthBias,
    /// Whether differences of scores match the observed rates of preference.
    pub calibration: Calibration,
    /// The judge's own consistency and position bias, under each principle.
    pub judge: Vec<PrincipleReport>,
    /// Score differences of the pairs under drawn lists, preferred reply minus the other.
    pub margins: Vec<f64>,
}

/// A principle as the only one of its list.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Alone {
    /// The principle's id.
    pub principle: String,
    /// Its name for readers.
    pub dimension: String,
    /// Whether the model was trained on this principle, according to its card.
    pub taught: bool,
    /// Comparisons in which one reply is better under the principle, scored under the definition.
    pub definition: Tally,
    /// The same comparisons scored under its negative, which prefers the other reply.
    pub negative: Tally,
    /// How often the ranking flips between the two.
    pub flips: Rate,
}

/// How much scores depend on a principle.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sensitivity {
    /// The principle's id.
    pub principle: String,
    /// Mean change of a pair's margin when only this principle of its list is negated, in standard deviations
    /// of all margins. 0 if the model ignores the principle.
    pub shift: f64,
    /// Number of pairs that the mean is over.
    pub pairs: usize,
}

/// Correlations of score and length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LengthBias {
    /// Correlation of score and number of characters of the reply, under drawn lists.
    pub with_principles: Option<f64>,
    /// The same correlation without principles.
    pub without_principles: Option<f64>,
    /// Correlation of the differences between the two replies to a prompt, under drawn lists. The length that
    /// the prompt asks for does not affect it.
    pub pairs_with_principles: Option<f64>,
    /// The same correlation of differences without principles.
    pub pairs_without_principles: Option<f64>,
    /// Number of characters, score under the list, score without principles: one row per reply.
    pub replies: Vec<[f64; 3]>,
}

/// Evaluates `model` on the held-out part of `data`. `on_event` receives the number of scored replies.
///
/// # Errors
///
/// * [`RewardError::Preferences`] if comparisons and principles do not fit;
/// * [`RewardError::Nothing`] if there is no pair to evaluate on;
/// * [`RewardError::Item`] and [`RewardError::Generate`] as [`RewardModel::score`].
pub fn evaluate(
    model: &mut RewardModel,
    data: &RewardData,
    options: &EvaluateOptions,
    cancel: &CancelToken,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<RewardReport, RewardError> {
    let pairs = chosen(pairs(&data.source(&options.aggregate)?, options), options.limit);
    if pairs.is_empty() {
        let reason = "there is no pair to evaluate on: no prompt is held out, or no pair was decided";
        return Err(RewardError::Nothing { reason: reason.to_owned() });
    }
    let measured = |comparison: &&Comparison| {
        let AggregateOptions { seed, held_out: part, .. } = options.aggregate;
        options.everything || held_out(seed, &comparison.prompt.text, part)
    };
    let comparisons: Vec<&Comparison> = data.comparisons().iter().filter(measured).collect();
    let taught = model.reward_card().principles.clone();

    let mut asked = Asked::default();
    let lists: Vec<ListTickets> =
        pairs.iter().map(|pair| ListTickets::ask(&mut asked, pair, data.set())).collect::<Result<_, _>>()?;
    let principles = data.set().map_or(&[][..], |set| &set.principles);
    let alone: Vec<AloneTickets<'_>> = principles
        .iter()
        .map(|principle| AloneTickets::ask(&mut asked, principle, &comparisons, options.limit))
        .collect();
    let questions = asked.len();
    let count = |done| Count::new(Items::Scores, done, questions);
    let answers = asked.answer(model, cancel, &mut |done| on_event(Event::Counted(count(done))))?;

    // First reply minus second, as the pair shows them.
    let margins: Vec<f64> = lists.iter().map(|tickets| answers.margin(tickets.list)).collect();
    let right_way: Vec<f64> = pairs
        .iter()
        .zip(&margins)
        .map(|(pair, margin)| if pair.preferred == 0 { *margin } else { -margin })
        .collect();
    let turns = |from: f64, tickets: [Ticket; 2]| from * answers.margin(tickets) < 0.0;
    let flips = lists.iter().zip(&margins);
    let flips = flips.filter_map(|(tickets, margin)| Some(turns(*margin, tickets.negated?)));
    let steady = lists.iter().zip(&margins);
    let steady =
        steady.filter_map(|(tickets, margin)| Some(*margin * answers.margin(tickets.reversed?) > 0.0));

    let (_, deviation) = moments(&margins);
    let mut shifts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for ((pair, tickets), margin) in pairs.iter().zip(&lists).zip(&margins) {
        for (bullet, without) in pair.principles.iter().zip(&tickets.each_negated) {
            let moved = (margin - answers.margin(*without)).abs() / deviation.max(f64::MIN_POSITIVE);
            shifts.entry(&bullet.principle).or_default().push(moved);
        }
    }
    let sensitivity = shifts.into_iter().map(|(principle, moved)| Sensitivity {
        principle: principle.to_owned(),
        shift: moments(&moved).0,
        pairs: moved.len(),
    });

    let alone: Vec<Alone> =
        alone.iter().filter(|one| !one.rows.is_empty()).map(|one| one.finish(&answers, &taught)).collect();
    let sum = |of: &dyn Fn(&Alone) -> (usize, usize)| {
        alone.iter().map(of).fold((0, 0), |(hits, all), (hit, n)| (hits + hit, all + n))
    };
    let (right, decided) =
        sum(&|one| (one.definition.right + one.negative.right, one.definition.pairs + one.negative.pairs));
    let (flipped, flippable) = sum(&|one| (one.flips.hits, one.flips.of));
    let outcomes: Vec<(f64, bool)> =
        pairs.iter().zip(&margins).map(|(pair, margin)| (*margin, pair.preferred == 0)).collect();
    Ok(RewardReport {
        base: model.card().base.clone(),
        trained_on: model.card().data_sha256.clone(),
        measured_on: data.sha256(),
        set: data.set().map(|set| set.id.clone()),
        held_out: !options.everything,
        comparisons: if data.comparisons().is_empty() { pairs.len() } else { comparisons.len() },
        questions,
        lists: Tallies::of_pairs(&pairs, &right_way),
        list_flips: Rate::of(flips),
        order_consistency: Rate::of(steady),
        alone_accuracy: Rate::new(right, decided),
        alone_flips: Rate::new(flipped, flippable),
        alone,
        sensitivity: sensitivity.collect(),
        length: length_bias(&pairs, &lists, &answers),
        calibration: Calibration::of(&outcomes),
        judge: judge_report(data.comparisons()),
        margins: right_way,
    })
}

/// Pairs under drawn lists, without noise.
fn pairs(source: &Source<'_>, options: &EvaluateOptions) -> Vec<PreferencePair> {
    if !options.everything {
        return source.held_out(options.aggregate.passes);
    }
    let passes = if matches!(source, Source::Judged(_)) { options.aggregate.passes } else { 1 };
    let unflipped = |mut pair: PreferencePair| {
        if std::mem::take(&mut pair.flipped) {
            pair.preferred = 1 - pair.preferred;
        }
        pair
    };
    (0..passes)
        .map(|pass| source.pass(pass))
        .flat_map(|pass| pass.train.into_iter().chain(pass.held_out))
        .map(unflipped)
        .collect()
}

/// Returns at most `limit` items of `all`, chosen at random with a fixed seed.
fn chosen<T>(all: Vec<T>, limit: Option<usize>) -> Vec<T> {
    let Some(limit) = limit.filter(|limit| *limit < all.len()) else { return all };
    let mut order = Order::new(0, all.len());
    let mut places: Vec<usize> = (0..limit as u64).map(|position| order.example(position)).collect();
    places.sort_unstable();
    let mut places = places.into_iter().peekable();
    let kept = all.into_iter().enumerate().filter(|(place, _)| places.next_if_eq(place).is_some());
    kept.map(|(_, one)| one).collect()
}

/// Questions about a pair under a list.
struct ListTickets {
    list: [Ticket; 2],
    /// All principles negated. `None` if one has no negative, or there is no list.
    negated: Option<[Ticket; 2]>,
    /// The list in reverse. `None` for lists of one.
    reversed: Option<[Ticket; 2]>,
    /// Without principles.
    bare: [Ticket; 2],
    /// One principle negated, for each principle of the list.
    each_negated: Vec<[Ticket; 2]>,
}

impl ListTickets {
    fn ask<'a>(
        asked: &mut Asked<'a>,
        pair: &'a PreferencePair,
        set: Option<&'a PrincipleSet>,
    ) -> Result<ListTickets, RewardError> {
        let prompt = pair.prompt.text.as_str();
        let replies = pair.replies.each_ref().map(String::as_str);
        let texts: Vec<&str> = pair.principles.iter().map(|bullet| bullet.text.as_str()).collect();
        let mut opposites = Vec::new();
        if let Some(set) = set {
            for bullet in &pair.principles {
                opposites.push(set.principle(&bullet.principle)?.text(!bullet.negated));
            }
        }
        let all_opposites: Option<Vec<&str>> = opposites.iter().copied().collect();
        let mut ask = |list: &[&'a str]| asked.both(prompt, replies, list);
        let negated = all_opposites.filter(|list| !list.is_empty()).map(|list| ask(&list));
        let reversed: Vec<&str> = texts.iter().rev().copied().collect();
        let each = |(place, opposite): (usize, &Option<&'a str>)| {
            let mut list = texts.clone();
            list[place] = (*opposite)?;
            Some(list)
        };
        let each: Vec<Vec<&str>> = opposites.iter().enumerate().map_while(each).collect();
        Ok(ListTickets {
            list: ask(&texts),
            negated,
            reversed: (texts.len() > 1).then(|| ask(&reversed)),
            bare: ask(&[]),
            each_negated: each.iter().map(|list| ask(list)).collect(),
        })
    }
}

/// Questions about a principle alone.
struct AloneTickets<'a> {
    principle: &'a Principle,
    /// Definition and negative of each comparison. The reply that the definition prefers is first.
    rows: Vec<[[Ticket; 2]; 2]>,
}

impl<'a> AloneTickets<'a> {
    fn ask(
        asked: &mut Asked<'a>,
        principle: &'a Principle,
        comparisons: &[&'a Comparison],
        limit: Option<usize>,
    ) -> AloneTickets<'a> {
        let Some(negative) = principle.negative.as_deref() else {
            return AloneTickets { principle, rows: Vec::new() };
        };
        let decided = |comparison: &&&'a Comparison| {
            let verdict = comparison.verdict(&principle.id);
            verdict.is_some_and(|verdict| verdict.scores.agreed() != 0.0)
        };
        let decided: Vec<&Comparison> = comparisons.iter().filter(decided).copied().collect();
        let row = |comparison: &'a Comparison| {
            let mut replies = comparison.replies.each_ref().map(|reply| reply.text.as_str());
            let verdict = comparison.verdict(&principle.id)?;
            if verdict.scores.agreed() < 0.0 {
                replies.swap(0, 1);
            }
            let lists = [&principle.definition, negative];
            Some(lists.map(|list| asked.both(&comparison.prompt.text, replies, &[list])))
        };
        let rows = chosen(decided, limit).into_iter().filter_map(row).collect();
        AloneTickets { principle, rows }
    }

    fn finish(&self, answers: &ask::Answers, taught: &[String]) -> Alone {
        let mut alone = Alone {
            principle: self.principle.id.clone(),
            dimension: self.principle.dimension.clone(),
            taught: taught.contains(&self.principle.id),
            ..Alone::default()
        };
        let mut flips = Vec::with_capacity(self.rows.len());
        for [definition, negative] in &self.rows {
            let (kept, broken) = (answers.margin(*definition), answers.margin(*negative));
            alone.definition.add(kept);
            // The negative prefers the other reply.
            alone.negative.add(-broken);
            flips.push(kept * broken < 0.0);
        }
        alone.flips = Rate::of(flips);
        alone
    }
}

fn length_bias(pairs: &[PreferencePair], lists: &[ListTickets], answers: &ask::Answers) -> LengthBias {
    let mut bias = LengthBias::default();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for (pair, tickets) in pairs.iter().zip(lists) {
        let lengths = pair.replies.each_ref().map(|reply| reply.chars().count() as f64);
        for (place, length) in lengths.into_iter().enumerate() {
            let [list, bare] = [tickets.list, tickets.bare].map(|asked| answers.score(asked[place]));
            bias.replies.push([length, list, bare]);
        }
        let longer = lengths[0] - lengths[1];
        with.push([longer, answers.margin(tickets.list)]);
        without.push([longer, answers.margin(tickets.bare)]);
    }
    let column = |at: usize| bias.replies.iter().map(|row| [row[0], row[at]]).collect::<Vec<_>>();
    bias.with_principles = correlation(&column(1));
    bias.without_principles = correlation(&column(2));
    bias.pairs_with_principles = correlation(&with);
    bias.pairs_without_principles = correlation(&without);
    bias
}
