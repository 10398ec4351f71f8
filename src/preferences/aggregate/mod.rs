//! Turns judged replies into training pairs of an instructable reward model: section 3.2 of SALMON
//! (arXiv 2310.05910), as its program does it.
//!
//! In each pass a comparison gets a random list of principles, each negated half of the time. The principle
//! under which the replies differ most decides which reply is preferred. So the label depends on the list,
//! and a model that does not read the list cannot predict it. Rules of the set may overrule the judge. Then
//! the principle that gives the reason is added to the list. A small share of the labels of training pairs is
//! flipped, and the order of the replies is random.
//!
//! The result is a function of the records, the set and the seed. The order of the records has no effect, and
//! new records do not change the lists of the others.

mod draw;
mod label;
mod options;
mod report;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub use options::{AggregateOptions, Mirror, Missing, Normalise};
pub use report::{AggregateReport, PrincipleReport, judge_report};

use super::PreferencesError;
use super::jsonl::Record;
use super::record::{Comparison, Prompt, Scores};
use super::split::held_out;
use crate::principles::{Override, Overrides, Principle, PrincipleSet};
use draw::{Chosen, Draw, RivalDraw};
use label::{Facts, Rule, Ruling, dominant, gap, rule, variance};

/// Two replies, the principles to compare them under, and which reply is preferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferencePair {
    /// The comparison's id and the pass: `p001/0-1#2`.
    pub id: String,
    /// The prompt.
    pub prompt: Prompt,
    /// The replies, in random order.
    pub replies: [String; 2],
    /// The principles, in random order.
    pub principles: Vec<Bullet>,
    /// Index of the preferred reply, 0 or 1.
    pub preferred: usize,
    /// What decided the label, before any noise.
    pub decided_by: DecidedBy,
    /// Whether the label was flipped on purpose.
    pub flipped: bool,
    /// Whether the replies are in the other order than in the comparison.
    pub swapped: bool,
}

/// One principle of a pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bullet {
    /// The principle's id.
    pub principle: String,
    /// Whether `text` is its negative.
    pub negated: bool,
    /// What the reward model reads.
    pub text: String,
    /// How much better the first reply is under this text. 0 if the judge is undecided or was not asked.
    pub gap: f64,
}

/// What decided a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecidedBy {
    /// The principle with the largest difference, as an index into the list.
    Principle(usize),
    /// The rule against stock phrases.
    Boilerplate,
    /// The rule on languages.
    Language,
}

/// Training pairs, and pairs of other prompts for evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aggregated {
    /// Pairs to train on, with noise.
    pub train: Vec<PreferencePair>,
    /// Pairs without noise, for prompts that no training pair has.
    pub held_out: Vec<PreferencePair>,
    /// Counts of the comparisons and pairs.
    pub report: AggregateReport,
}

/// Makes the pairs of all passes from comparisons, under the principles of `set` that decide.
///
/// # Errors
///
/// As [`Aggregator::new`].
pub fn aggregate(
    comparisons: &[Comparison],
    set: &PrincipleSet,
    options: &AggregateOptions,
) -> Result<Aggregated, PreferencesError> {
    let aggregator = Aggregator::new(comparisons, set, options)?;
    let mut all = Aggregated::default();
    for pass in 0..options.passes {
        let Aggregated { train, held_out, report } = aggregator.pass(pass);
        all.train.extend(train);
        all.held_out.extend(held_out);
        all.report.add(&report);
    }
    all.report.comparisons = comparisons.len();
    all.report.incomplete = aggregator.incomplete();
    if all.train.is_empty() {
        let reason = format!("none of {} comparisons gives a pair: {}", comparisons.len(), all.report);
        return Err(PreferencesError::Nothing { reason });
    }
    Ok(all)
}

/// Makes pairs pass by pass, so that a long training run never holds all of them in memory.
#[derive(Debug)]
pub struct Aggregator<'a> {
    comparisons: &'a [Comparison],
    options: &'a AggregateOptions,
    judged: Judged<'a>,
    /// Facts about each comparison that the rules use.
    facts: Vec<Facts>,
}

impl<'a> Aggregator<'a> {
    /// Prepares comparisons and the principles of `set` that decide.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Options`] if options are outside their range.
    /// * [`PreferencesError::Nothing`] if no principle decides, one lacks its negative, or no comparison can
    ///   be used.
    /// * [`PreferencesError::Stale`] if a principle was edited since the judge read it.
    /// * [`PreferencesError::Record`] if a record is not valid, or two have the same id.
    /// * [`PreferencesError::Principles`] if the principle that explains a rule does not exist.
    pub fn new(
        comparisons: &'a [Comparison],
        set: &'a PrincipleSet,
        options: &'a AggregateOptions,
    ) -> Result<Aggregator<'a>, PreferencesError> {
        options.validate()?;
        let judged = Judged::new(comparisons, set, options)?;
        let facts = comparisons.iter().map(|comparison| Facts::of(comparison, judged.overrides)).collect();
        Ok(Aggregator { comparisons, options, judged, facts })
    }

    /// The options.
    pub fn options(&self) -> &AggregateOptions {
        self.options
    }

    /// Number of comparisons that cannot be used because verdicts are missing.
    pub fn incomplete(&self) -> usize {
        self.judged.scores.iter().filter(|scores| scores.is_none()).count()
    }

    /// Returns the pairs of one pass, at most one per comparison. There is no last pass: each number gives
    /// different lists.
    pub fn pass(&self, pass: u32) -> Aggregated {
        let Aggregator { comparisons, options, judged, facts } = self;
        let mut pairs = Aggregated::default();
        let report = &mut pairs.report;
        for ((comparison, scores), facts) in comparisons.iter().zip(&judged.scores).zip(facts) {
            let Some(scores) = scores else { continue };
            let kept_out = held_out(options.seed, &comparison.prompt.text, options.held_out);
            let eligible: Vec<usize> = (0..scores.len()).filter(|&at| scores[at].is_some()).collect();
            let draw = Draw::new(options, &comparison.id, pass, &eligible);
            let noise = if kept_out { None } else { Some(options.noise) };
            match judged.pair(comparison, pass, scores, *facts, &draw, noise) {
                // Without its mirror, the model could learn the label from the replies alone.
                Ok(pair) if !kept_out && self.lacks_mirror(&pair) => report.undecided += 1,
                Ok(pair) => {
                    report.count(&pair);
                    if kept_out { &mut pairs.held_out } else { &mut pairs.train }.push(pair);
                }
                Err(Discard::Undecided) => report.undecided += 1,
                Err(Discard::Foreign) => report.foreign += 1,
            }
        }
        (report.train, report.held_out) = (pairs.train.len(), pairs.held_out.len());
        pairs
    }

    /// Returns the pair's mirror: the same replies under a list that prefers the other reply, as [`Mirror`]
    /// sets. `None` if [`Mirror`] allows none, and for a pair that a rule decided, because no list flips its
    /// label.
    pub fn mirrored(&self, pair: &PreferencePair) -> Option<PreferencePair> {
        if !matches!(pair.decided_by, DecidedBy::Principle(_)) {
            return None;
        }
        let rival = match self.options.mirror {
            Mirror::Off => return None,
            Mirror::Negated => None,
            Mirror::Rival if self.options.negation == 0.0 => Some(self.rival(pair)?),
            Mirror::Rival => self.rival(pair),
        };
        let turned = |there: &Bullet| {
            let principle = self.judged.principles.iter().find(|one| one.id == there.principle)?;
            Some(bullet(principle, !there.negated, 0.0 - there.gap))
        };
        let (principles, decided_by) = match rival {
            Some(rival) => (vec![rival], DecidedBy::Principle(0)),
            None => (pair.principles.iter().map(turned).collect::<Option<_>>()?, pair.decided_by),
        };
        Some(PreferencePair {
            id: format!("{}-mirrored", pair.id),
            principles,
            decided_by,
            preferred: 1 - pair.preferred,
            ..pair.clone()
        })
    }

    fn lacks_mirror(&self, pair: &PreferencePair) -> bool {
        let meant = self.options.mirror != Mirror::Off && matches!(pair.decided_by, DecidedBy::Principle(_));
        meant && self.mirrored(pair).is_none()
    }

    /// Returns a principle outside the pair's list, negated if needed, that prefers the reply that the list
    /// does not prefer. Returns one only half of the time, unless there are no negations.
    fn rival(&self, pair: &PreferencePair) -> Option<Bullet> {
        let (random, unnegated) = (RivalDraw::new(self.options.seed, &pair.id), self.options.negation == 0.0);
        if random.negated && !unnegated {
            return None;
        }
        let (comparison, _pass) = pair.id.rsplit_once('#')?;
        let scores = self.judged.scores[*self.judged.places.get(comparison)?].as_ref()?;
        let of_first = |at: usize| {
            let gap = gap(scores[at]?, self.judged.spread[at], false);
            (gap != 0.0).then_some(if pair.swapped { 0.0 - gap } else { gap })
        };
        // The preference before any noise. If the label of the pair was flipped, so is that of its mirror.
        let second_shall_win = (pair.preferred == 0) != pair.flipped;
        let negated = |gap: f64| (gap > 0.0) == second_shall_win;
        let listed =
            |at: usize| pair.principles.iter().any(|one| one.principle == self.judged.principles[at].id);
        let rivals: Vec<(usize, f64)> = (0..scores.len())
            .filter(|&at| !listed(at))
            .filter_map(|at| Some((at, of_first(at)?)))
            .filter(|&(_, gap)| !(unnegated && negated(gap)))
            .collect();
        let (at, gap) = *rivals.get((random.place * rivals.len() as f64) as usize)?;
        let turned = if negated(gap) { 0.0 - gap } else { gap };
        Some(bullet(self.judged.principles[at], negated(gap), turned))
    }
}

/// Comparisons with their scores, indexed by the principles that decide.
#[derive(Debug)]
struct Judged<'a> {
    set: &'a PrincipleSet,
    overrides: &'a Overrides,
    principles: Vec<&'a Principle>,
    spread: Vec<f64>,
    /// `None` for a comparison that cannot be used.
    scores: Vec<Option<Vec<Option<Scores>>>>,
    /// Index of each comparison by its id.
    places: HashMap<&'a str, usize>,
}

const NO_RULES: &Overrides = &Overrides { boilerplate: None, language: None };

impl<'a> Judged<'a> {
    fn new(
        comparisons: &'a [Comparison],
        set: &'a PrincipleSet,
        options: &AggregateOptions,
    ) -> Result<Judged<'a>, PreferencesError> {
        let principles: Vec<&Principle> = set.principles.iter().filter(|one| one.decides).collect();
        let nothing = |reason| Err(PreferencesError::Nothing { reason });
        if principles.is_empty() {
            return nothing(format!("no principle of the set `{}` decides", set.id));
        }
        if let Some(one) = principles.iter().find(|one| one.negative.is_none()) {
            return nothing(format!("the principle `{}` has no negative", one.id));
        }
        let wordings: Vec<String> = principles.iter().map(|one| one.wording()).collect();
        let mut places = HashMap::with_capacity(comparisons.len());
        let mut scores = Vec::with_capacity(comparisons.len());
        for (place, comparison) in comparisons.iter().enumerate() {
            let refused = |reason: &str| PreferencesError::Record {
                id: comparison.id.clone(),
                reason: reason.to_owned(),
            };
            comparison.check().map_err(|reason| refused(&reason))?;
            if places.insert(comparison.id.as_str(), place).is_some() {
                return Err(refused("there are two records with this id"));
            }
            let row =
                principles.iter().zip(&wordings).map(|(one, wording)| current(comparison, one, wording));
            let row = row.collect::<Result<Vec<_>, _>>()?;
            let n_known = row.iter().flatten().count();
            let enough = match options.missing {
                Missing::Drop => n_known == row.len(),
                Missing::UseRest => n_known > 0,
            };
            scores.push(enough.then_some(row));
        }
        // Held-out comparisons do not affect the values that training pairs are made with.
        let train: Vec<bool> = comparisons
            .iter()
            .map(|comparison| !held_out(options.seed, &comparison.prompt.text, options.held_out))
            .collect();
        let mut spread = Vec::with_capacity(principles.len());
        for at in 0..principles.len() {
            let of_train = |scores: &[Option<Vec<Option<Scores>>>]| -> Vec<Scores> {
                let rows = scores.iter().zip(&train).filter(|(_, train)| **train);
                rows.filter_map(|(row, _)| row.as_ref()?[at]).collect()
            };
            if options.debias {
                let known = of_train(&scores);
                let bias = known.iter().map(|scores| scores.position_bias()).sum::<f64>()
                    / known.len().max(1) as f64;
                for scores in scores.iter_mut().flatten().filter_map(|row| row[at].as_mut()) {
                    *scores = Scores { s12: scores.s12 - bias, s21: scores.s21 + bias };
                }
            }
            let variance = variance(of_train(&scores).into_iter());
            let divisor = match options.normalise {
                Normalise::Variance => variance,
                Normalise::Deviation => variance.sqrt(),
                Normalise::Nothing => 1.0,
            };
            spread.push(if divisor > 0.0 { divisor } else { 1.0 });
        }
        let overrides = if options.rules { &set.overrides } else { NO_RULES };
        let boilerplate = overrides.boilerplate.as_ref().map(|boilerplate| &boilerplate.rule);
        for rule in boilerplate.into_iter().chain(&overrides.language) {
            set.principle(&rule.explained_by)?;
        }
        Ok(Judged { set, overrides, principles, spread, scores, places })
    }

    /// Returns the pair of one pass. `noise` is the probability that a label is flipped. `None` means never.
    fn pair(
        &self,
        comparison: &Comparison,
        pass: u32,
        scores: &[Option<Scores>],
        facts: Facts,
        draw: &Draw,
        noise: Option<f64>,
    ) -> Result<PreferencePair, Discard> {
        let gap_of = |&Chosen { principle, negated }: &Chosen| {
            scores[principle].map_or(0.0, |scores| gap(scores, self.spread[principle], negated))
        };
        let gaps: Vec<f64> = draw.chosen.iter().map(gap_of).collect();
        let deciding = dominant(&gaps).ok_or(Discard::Undecided)?;
        let chosen = draw.chosen.iter().zip(&gaps);
        let mut bullets: Vec<Bullet> =
            chosen.map(|(one, gap)| bullet(self.principles[one.principle], one.negated, *gap)).collect();

        let mut first_wins = gaps[deciding] > 0.0;
        let mut decided_by = DecidedBy::Principle(deciding);
        let mut noise = noise;
        match rule(self.overrides, facts, draw) {
            Ruling::None => {}
            Ruling::Drop => return Err(Discard::Foreign),
            Ruling::Decided { rule, by, first } => {
                first_wins = first;
                noise = noise.map(|_| rule.noise);
                decided_by = match by {
                    Rule::Boilerplate => DecidedBy::Boilerplate,
                    Rule::Language => DecidedBy::Language,
                };
                self.explain(rule, draw, &mut bullets);
            }
        }
        let flipped = noise.is_some_and(|noise| draw.noise < noise);
        let mut replies = comparison.replies.each_ref().map(|reply| reply.text.clone());
        let mut preferred = usize::from(first_wins == flipped);
        if draw.swap {
            replies.swap(0, 1);
            bullets.iter_mut().for_each(|bullet| bullet.gap = 0.0 - bullet.gap);
            preferred = 1 - preferred;
        }
        Ok(PreferencePair {
            id: format!("{}#{pass}", comparison.id),
            prompt: comparison.prompt.clone(),
            replies,
            principles: bullets,
            preferred,
            decided_by,
            flipped,
            swapped: draw.swap,
        })
    }

    /// Adds the principle that explains a rule's label to the list, not negated. With a list that does not
    /// explain the label, the model would learn to ignore the list.
    fn explain(&self, rule: &Override, draw: &Draw, bullets: &mut Vec<Bullet>) {
        let reason = self.set.principle(&rule.explained_by).expect("looked up when the rules were taken");
        match bullets.iter_mut().find(|bullet| bullet.principle == reason.id) {
            Some(there) if there.negated => *there = bullet(reason, false, 0.0 - there.gap),
            Some(_) => {}
            None => {
                let place = (draw.place * (bullets.len() + 1) as f64) as usize;
                bullets.insert(place, bullet(reason, false, 0.0));
            }
        }
    }
}

/// Why a comparison gives no pair in a pass.
enum Discard {
    /// The replies do not differ under the principles that were drawn.
    Undecided,
    /// Neither reply is in the language of the prompt.
    Foreign,
}

/// The scores under a principle, if its wording is still the one that was judged.
fn current(
    comparison: &Comparison,
    principle: &Principle,
    wording: &str,
) -> Result<Option<Scores>, PreferencesError> {
    let Some(verdict) = comparison.verdict(&principle.id) else {
        return Ok(None);
    };
    if verdict.wording != wording {
        let (record, principle) = (comparison.id.clone(), principle.id.clone());
        return Err(PreferencesError::Stale { record, principle });
    }
    Ok(Some(verdict.scores))
}

fn bullet(principle: &Principle, negated: bool, gap: f64) -> Bullet {
    let text = principle.text(negated).expect("principles that are negated have a negative: `Judged::new`");
    Bullet { principle: principle.id.clone(), negated, text: text.to_owned(), gap }
}

impl Record for PreferencePair {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), String> {
        self.prompt.check()?;
        if self.preferred > 1 {
            return Err(format!("`preferred` is {}, not 0 or 1", self.preferred));
        }
        if let Some(at) = self.replies.iter().position(|reply| reply.trim().is_empty()) {
            return Err(format!("reply {} is empty", at + 1));
        }
        Ok(())
    }
}
