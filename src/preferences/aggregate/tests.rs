//! Tests of the parts of the aggregation against the specification: draws, decisions, rules.

use super::draw::geometric;
use super::*;
use crate::preferences::record::{SampledReply, Verdict};
use crate::principles::{Boilerplate, Use};
use crate::random::{Philox, Purpose, uniform01};

/// Principles `p0`, `p1` and so on, and two that decide nothing but explain rules.
fn set(deciding: usize) -> PrincipleSet {
    let principle = |id: String, decides| Principle {
        definition: format!("Do {id}."),
        negative: Some(format!("Do not {id}.")),
        dimension: id.clone(),
        id,
        weight: 1.0,
        tags: Vec::new(),
        boost: Default::default(),
        decides,
        check: None,
    };
    let rule = |probability, explained_by: &str| Override {
        probability,
        noise: Override::NOISE,
        explained_by: explained_by.to_owned(),
    };
    let mut principles: Vec<Principle> = (0..deciding).map(|at| principle(format!("p{at}"), true)).collect();
    principles.extend(["plain", "tongue"].map(|id| principle(id.to_owned(), false)));
    PrincipleSet {
        id: "test".to_owned(),
        uses: Use::Judge,
        overrides: Overrides {
            boilerplate: Some(Boilerplate {
                rule: rule(0.5, "plain"),
                phrases: vec!["as a language model".to_owned()],
            }),
            language: Some(rule(1.0, "tongue")),
        },
        principles,
        ..PrincipleSet::default()
    }
}

/// A comparison with these scores under `p0`, `p1` and so on.
fn comparison(set: &PrincipleSet, id: &str, scores: &[[f64; 2]]) -> Comparison {
    let verdicts = set.principles.iter().zip(scores);
    Comparison {
        id: id.to_owned(),
        prompt: Prompt {
            id: format!("prompt-{id}"),
            kind: Default::default(),
            language: Some("en".to_owned()),
            text: format!("What of {id}?"),
        },
        replies: ["first", "second"].map(|name| SampledReply {
            text: format!("This is the {name} of the replies to it."),
            seed: 0,
            under: None,
        }),
        judge: "ab".to_owned(),
        model: "test".to_owned(),
        seed: 0,
        verdicts: verdicts.map(|(one, scores)| Verdict::new(one, Scores::from(*scores))).collect(),
    }
}

/// `count` comparisons with scores of all sizes. About a third of the scores depend on the order.
fn comparisons(set: &PrincipleSet, count: u32) -> Vec<Comparison> {
    let n_deciding = set.principles.iter().filter(|one| one.decides).count();
    let score = |row: u32, at: usize| {
        let [a, b, ..] = Philox::new(3).block(Purpose::Conformance, row, at as u32, 0);
        let [a, b] = [a, b].map(|bits| f64::from(uniform01(bits)) - 0.5);
        // Principles differ in how far their scores spread.
        let scale = 1.0 + at as f64;
        [scale * (a + 0.4 * b), scale * (a - 0.4 * b)]
    };
    let row = |row: u32| {
        let scores: Vec<[f64; 2]> = (0..n_deciding).map(|at| score(row, at)).collect();
        comparison(set, &format!("c{row}"), &scores)
    };
    (0..count).map(row).collect()
}

fn options() -> AggregateOptions {
    AggregateOptions { held_out: 0.0, ..AggregateOptions::default() }
}

/// Whether a count of successes is within four standard deviations of its expected value.
fn near(count: usize, trials: usize, chance: f64) -> bool {
    let (count, trials) = (count as f64, trials as f64);
    (count - trials * chance).abs() <= 4.0 * (trials * chance * (1.0 - chance)).sqrt()
}

#[test]
fn list_lengths_have_the_published_distribution() {
    const PUBLISHED: [f64; 8] = [0.2403, 0.1923, 0.1538, 0.1230, 0.0984, 0.0787, 0.0630, 0.0504];
    const STEPS: usize = 1_000_000;
    let mut counts = [0; 8];
    (0..STEPS).for_each(|at| counts[geometric(0.2, 8, at as f64 / STEPS as f64) - 1] += 1);
    for (count, published) in counts.iter().zip(PUBLISHED) {
        let share = *count as f64 / STEPS as f64;
        assert!((share - published).abs() < 6e-5, "{share} {published}");
    }
    let mean: f64 = counts.iter().zip(1..).map(|(count, k)| (count * k) as f64).sum::<f64>() / STEPS as f64;
    assert!((mean - 3.39).abs() < 5e-3, "{mean}");
    assert_eq!((geometric(0.2, 1, 0.999), geometric(1.0, 8, 0.999), geometric(0.2, 3, 1.0)), (1, 1, 3));
    assert_eq!(geometric(0.2, 0, 0.5), 0);
}

#[test]
fn draws_are_fair() {
    const DRAWS: usize = 20_000;
    let options = options();
    let eligible: Vec<usize> = (0..8).collect();
    let (mut lengths, mut included, mut first, mut negated) = ([0; 8], [0; 8], [0; 8], [0; 8]);
    let (mut swaps, mut both_negated, mut pairs, mut above) = (0, 0, 0, [0; 4]);
    for at in 0..DRAWS {
        let draw = Draw::new(&options, &format!("id{}", at / 4), (at % 4) as u32, &eligible);
        lengths[draw.chosen.len() - 1] += 1;
        first[draw.chosen[0].principle] += 1;
        for chosen in &draw.chosen {
            included[chosen.principle] += 1;
            negated[chosen.principle] += usize::from(chosen.negated);
        }
        if let [a, b, ..] = draw.chosen.as_slice() {
            assert_ne!(a.principle, b.principle);
            pairs += 1;
            both_negated += usize::from(a.negated && b.negated);
        }
        swaps += usize::from(draw.swap);
        let uniform = [draw.boilerplate, draw.language, draw.noise, draw.place];
        (0..4).for_each(|at| above[at] += usize::from(uniform[at] < 0.25));
    }
    let pmf = |k: usize| 0.2 * 0.8f64.powi(k as i32) / (1.0 - 0.8f64.powi(8));
    assert!((0..8).all(|k| near(lengths[k], DRAWS, pmf(k))), "{lengths:?}");
    let mean: f64 = (0..8).map(|k| (k + 1) as f64 * pmf(k)).sum();
    assert!(included.iter().all(|&count| near(count, DRAWS, mean / 8.0)), "{included:?}");
    assert!(first.iter().all(|&count| near(count, DRAWS, 1.0 / 8.0)), "{first:?}");
    assert!((0..8).all(|at| near(negated[at], included[at], 0.5)), "{negated:?}");
    assert!(near(both_negated, pairs, 0.25) && near(swaps, DRAWS, 0.5));
    assert!(above.iter().all(|&count| near(count, DRAWS, 0.25)), "{above:?}");
}

#[test]
fn the_most_pronounced_difference_decides() {
    // Scores 2, 3, 6 of one reply against 1, 5, 5 of the other: the second wins by its one large lead.
    assert_eq!(dominant(&[1.0, -2.0, 1.0]), Some(1));
    assert_eq!(dominant(&[1.0, -1.0]), Some(0), "the first of equals");
    assert_eq!(dominant(&[0.0, -0.0]), None);
    assert_eq!(dominant(&[]), None);

    let gap_of = |scores: [f64; 2], negated| gap(Scores::from(scores), 0.5, negated);
    assert_eq!(gap_of([1.0, 2.0], false), 3.0);
    assert_eq!(gap_of([1.0, 2.0], true), -3.0);
    for torn in [[1.0, -3.0], [0.0, 3.0], [-1.0, 0.0], [0.0, 0.0]] {
        assert_eq!((gap_of(torn, false), gap_of(torn, true)), (0.0, 0.0), "{torn:?}");
    }
}

#[test]
fn the_divisor_is_the_population_variance_of_both_orders_pooled() {
    let scores = [[1.0, 3.0], [-1.0, 1.0]].map(Scores::from);
    assert_eq!(variance(scores.into_iter()), 2.0);
    assert_eq!(variance(std::iter::empty()), 0.0);

    let set = set(2);
    // Variances 0.5 and 2: by variance the first weighs four times as much, by deviation twice.
    let one = 0.5f64.sqrt();
    let rows = [
        comparison(&set, "a", &[[one, one], [2f64.sqrt(); 2]]),
        comparison(&set, "b", &[[-one; 2], [-2f64.sqrt(); 2]]),
    ];
    for (normalise, expected) in [
        (Normalise::Variance, [0.5, 2.0]),
        (Normalise::Deviation, [one, 2f64.sqrt()]),
        (Normalise::Nothing, [1.0; 2]),
    ] {
        let judged = Judged::new(&rows, &set, &AggregateOptions { normalise, ..options() }).expect("sound");
        let apart = judged.spread.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-12, "{normalise:?} {:?}", judged.spread);
    }
    let same = [comparison(&set, "a", &[[2.0; 2], [0.0; 2]])];
    assert_eq!(Judged::new(&same, &set, &options()).expect("sound").spread, [1.0; 2]);
}

#[test]
fn a_preference_for_the_first_place_is_taken_off_where_asked() {
    let set = set(1);
    // The reply shown first gets 2 more. Without this bias, the scores are 1 and -1.
    let rows = [comparison(&set, "a", &[[3.0, -1.0]]), comparison(&set, "b", &[[1.0, -3.0]])];
    let judged = Judged::new(&rows, &set, &options()).expect("sound");
    assert!(judged.scores.iter().flatten().flatten().flatten().all(|scores| !scores.agree()));
    let judged = Judged::new(&rows, &set, &AggregateOptions { debias: true, ..options() }).expect("sound");
    let scores: Vec<Option<Scores>> = judged.scores.iter().flatten().flatten().copied().collect();
    assert_eq!(scores, [Some(Scores::without_order(1.0)), Some(Scores::without_order(-1.0))]);
}

/// The pair of `draw`, without noise and rules.
fn pair_of(judged: &Judged, rows: &[Comparison], at: usize, draw: &Draw) -> Option<PreferencePair> {
    let scores = judged.scores[at].as_ref().expect("complete");
    let facts = Facts::of(&rows[at], judged.overrides);
    judged.pair(&rows[at], 0, scores, facts, draw, None).ok()
}

#[test]
fn negating_all_flips_the_label_and_swapping_leaves_the_winner() {
    let set = set(8);
    let rows = comparisons(&set, 300);
    let options = AggregateOptions { rules: false, ..options() };
    let judged = Judged::new(&rows, &set, &options).expect("sound");
    let eligible: Vec<usize> = (0..8).collect();
    let mut seen = 0;
    for (at, row) in rows.iter().enumerate() {
        let draw = Draw::new(&options, &row.id, 0, &eligible);
        let Some(pair) = pair_of(&judged, &rows, at, &draw) else { continue };
        seen += 1;
        let mut negated = draw.clone();
        negated.chosen.iter_mut().for_each(|chosen| chosen.negated ^= true);
        let negated = pair_of(&judged, &rows, at, &negated).expect("the same differences");
        assert_eq!(negated.preferred, 1 - pair.preferred);
        assert_eq!(negated.decided_by, pair.decided_by);
        assert_eq!(negated.replies, pair.replies);
        for (one, other) in pair.principles.iter().zip(&negated.principles) {
            assert_ne!(one.text, other.text);
            assert_eq!(one.gap, -other.gap);
        }

        let swapped =
            pair_of(&judged, &rows, at, &Draw { swap: !draw.swap, ..draw.clone() }).expect("the same");
        assert_eq!(swapped.replies[swapped.preferred], pair.replies[pair.preferred]);
        assert_ne!(swapped.replies, pair.replies);
        assert_ne!(swapped.swapped, pair.swapped);

        // The comparison with its replies in the other order is the same comparison.
        let mut turned = row.clone();
        turned.replies.swap(0, 1);
        turned.verdicts.iter_mut().for_each(|verdict| verdict.scores = verdict.scores.swapped());
        let turned = [turned];
        let other =
            Judged { spread: judged.spread.clone(), ..Judged::new(&turned, &set, &options).expect("sound") };
        let turned = pair_of(&other, &turned, 0, &draw).expect("the same differences");
        assert_eq!(turned.replies[turned.preferred], pair.replies[pair.preferred]);
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn rules_apply_in_their_order() {
    let set = set(1);
    let english = "This is what the people of the town say about it.";
    let german = "Das ist es, was die Leute in der Stadt darüber sagen.";
    let stock = "As a Language\nModel I have no opinion of it, and that is that.";
    let unknown = "42";
    let draw = |boilerplate| Draw { boilerplate, ..Draw::new(&options(), "x", 0, &[0]) };
    let overrides = &set.overrides;
    for (replies, boilerplate, expected) in [
        ([english, english], 0.0, "none"),
        ([english, unknown], 0.0, "none"),
        ([stock, english], 0.49, "boilerplate second"),
        ([english, stock], 0.49, "boilerplate first"),
        ([english, stock], 0.5, "none"),
        ([stock, stock], 0.0, "none"),
        ([english, german], 0.9, "language first"),
        ([german, english], 0.9, "language second"),
        ([german, stock], 0.0, "language second"),
        ([german, german], 0.0, "drop"),
        ([german, unknown], 0.0, "language second"),
    ] {
        let mut row = comparison(&set, "x", &[[1.0, 1.0]]);
        (0..2).for_each(|at| row.replies[at].text = replies[at].to_owned());
        for language in [Some("en".to_owned()), None] {
            row.prompt =
                Prompt { language, text: "What do the people say about it?".to_owned(), ..row.prompt };
            let found = match rule(overrides, Facts::of(&row, overrides), &draw(boilerplate)) {
                Ruling::None => "none".to_owned(),
                Ruling::Drop => "drop".to_owned(),
                Ruling::Decided { by, first, .. } => {
                    let name = if by == Rule::Language { "language" } else { "boilerplate" };
                    format!("{name} {}", if first { "first" } else { "second" })
                }
            };
            assert_eq!(found, expected, "{replies:?}");
        }
        // A reply whose language is unknown is not penalized.
        row.prompt.language = Some("eu".to_owned());
        let found = rule(overrides, Facts::of(&row, overrides), &draw(0.9));
        assert_eq!(found, Ruling::None);
    }
}

#[test]
fn a_rule_brings_its_reason_along() {
    let mut set = set(4);
    // A principle that decides, so that it may be drawn, negated or not.
    set.overrides.language.as_mut().expect("given").explained_by = "p2".to_owned();
    set.overrides.boilerplate = None;
    let mut row = comparison(&set, "x", &[[1.0, 1.0]; 4]);
    row.replies[0].text = "Das ist es, was die Leute in der Stadt darüber sagen.".to_owned();
    let rows = [row];
    let judged = Judged::new(&rows, &set, &options()).expect("sound");
    let (mut inserted, mut turned, mut kept, mut places) = (0, 0, 0, [0; 3]);
    for pass in 0..400 {
        let draw = Draw::new(&options(), "x", pass, &[0, 1, 2, 3]);
        let pair = pair_of(&judged, &rows, 0, &draw).expect("decided");
        assert_eq!(pair.decided_by, DecidedBy::Language);
        assert!(pair.replies[pair.preferred].starts_with("This is the second"));
        let reason: Vec<&Bullet> = pair.principles.iter().filter(|bullet| bullet.principle == "p2").collect();
        assert_eq!(reason.len(), 1);
        assert_eq!((reason[0].negated, reason[0].text.as_str()), (false, "Do p2."));
        match draw.chosen.iter().find(|chosen| chosen.principle == 2) {
            None => {
                inserted += 1;
                assert_eq!(pair.principles.len(), draw.chosen.len() + 1);
                if draw.chosen.len() == 2 {
                    places[pair.principles.iter().position(|one| one.principle == "p2").expect("there")] += 1;
                }
            }
            Some(chosen) => {
                assert_eq!(pair.principles.len(), draw.chosen.len());
                if chosen.negated { turned += 1 } else { kept += 1 }
            }
        }
    }
    assert!(inserted > 50 && turned > 50 && kept > 50, "{inserted} {turned} {kept}");
    assert!(places.iter().all(|&count| count > 5), "any place: {places:?}");
}

#[test]
fn a_mirror_is_the_pair_under_the_negated_list() {
    let set = set(8);
    let rows = comparisons(&set, 100);
    let options = AggregateOptions { rules: false, noise: 0.0, mirror: Mirror::Negated, ..options() };
    let aggregator = Aggregator::new(&rows, &set, &options).expect("sound");
    let eligible: Vec<usize> = (0..8).collect();
    let pairs = aggregator.pass(0).train;
    assert!(pairs.len() > 50);
    for pair in &pairs {
        let at = rows.iter().position(|row| pair.id == format!("{}#0", row.id)).expect("a row's");
        let mut draw = Draw::new(&options, &rows[at].id, 0, &eligible);
        draw.chosen.iter_mut().for_each(|chosen| chosen.negated ^= true);
        let negated = pair_of(&aggregator.judged, &rows, at, &draw).expect("the same differences");
        let mirrored = aggregator.mirrored(pair).expect("no rule decided it");
        assert_ne!(mirrored.id, pair.id);
        assert_eq!(mirrored, PreferencePair { id: mirrored.id.clone(), ..negated });
    }
    let ruled = PreferencePair { decided_by: DecidedBy::Language, ..pairs[0].clone() };
    assert!(aggregator.mirrored(&ruled).is_none());
}

#[test]
fn a_rival_is_a_principle_by_which_the_other_reply_is_better() {
    let set = set(8);
    let rows = comparisons(&set, 200);
    let options = AggregateOptions {
        rules: false,
        mirror: Mirror::Rival,
        most_principles: 2,
        success: 0.5,
        noise: 0.2,
        ..options()
    };
    let aggregator = Aggregator::new(&rows, &set, &options).expect("sound");
    let pairs = aggregator.pass(3).train;
    let (mut negated, mut rivals, mut flipped) = (0, 0, 0);
    for pair in &pairs {
        let mirrored = aggregator.mirrored(pair).expect("no rule decided it");
        assert_eq!(mirrored.preferred, 1 - pair.preferred);
        assert_eq!((&mirrored.replies, mirrored.flipped), (&pair.replies, pair.flipped));
        let known = |bullet: &&Bullet| pair.principles.iter().any(|one| one.principle == bullet.principle);
        if mirrored.principles.iter().all(|bullet| known(&bullet)) {
            negated += 1;
            continue;
        }
        let [rival] = &mirrored.principles[..] else { panic!("one principle: {mirrored:?}") };
        assert!(!known(&rival));
        assert_eq!(mirrored.decided_by, DecidedBy::Principle(0));
        let first_wins = rival.gap > 0.0;
        assert_eq!(first_wins, (mirrored.preferred == 0) != mirrored.flipped, "{mirrored:?}");
        let row = rows.iter().find(|row| pair.id == format!("{}#3", row.id)).expect("a row's");
        let judged = row.verdict(&rival.principle).expect("judged").scores.agreed();
        assert_eq!(first_wins, (judged > 0.0) != (rival.negated != pair.swapped), "as the judge had it");
        rivals += 1;
        flipped += usize::from(pair.flipped);
    }
    assert!(negated > pairs.len() / 4 && rivals > pairs.len() / 4 && flipped > 0, "{negated}, {rivals}");
    assert_eq!(aggregator.mirrored(&pairs[0]), aggregator.mirrored(&pairs[0]), "the same for every call");
}

#[test]
fn without_negations_pairs_have_a_rival_as_it_stands_or_are_left_out() {
    let set = set(8);
    let rows = comparisons(&set, 200);
    let plain = AggregateOptions { rules: false, negation: 0.0, noise: 0.0, most_principles: 1, ..options() };
    let all = Aggregator::new(&rows, &set, &plain).expect("sound").pass(0);
    let options = AggregateOptions { mirror: Mirror::Rival, ..plain };
    let aggregator = Aggregator::new(&rows, &set, &options).expect("sound");
    let some = aggregator.pass(0);
    assert!(some.train.len() > 50);
    assert_eq!(some.held_out, all.held_out, "held-out pairs need no mirror");
    assert_eq!(some.report.undecided - all.report.undecided, all.train.len() - some.train.len());
    for pair in &some.train {
        let mirrored = aggregator.mirrored(pair).expect("or it would be left out");
        let (principles, mirrors) = (&pair.principles[0], &mirrored.principles[0]);
        assert_ne!(principles.principle, mirrors.principle);
        assert!(!principles.negated && !mirrors.negated);
        assert!((principles.gap > 0.0) != (mirrors.gap > 0.0));
    }
}
