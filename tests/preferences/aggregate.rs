//! Training pairs of judged replies, from outside: what each of them says, and how often.

use std::collections::{HashMap, HashSet};

use super::{comparison, comparisons, reward};
use parr::preferences::{
    AggregateOptions, Aggregated, Comparison, DecidedBy, Missing, Normalise, PreferencePair,
    PreferencesError, Record, SampledReply, Scores, aggregate, held_out, judge_report,
};
use parr::principles::PrincipleSet;

fn made(rows: &[Comparison], options: &AggregateOptions) -> Aggregated {
    aggregate(rows, &reward(), options).expect("sound")
}

fn options() -> AggregateOptions {
    AggregateOptions { seed: 5, passes: 8, ..AggregateOptions::default() }
}

/// Whether a count of successes is within four standard deviations of what is expected.
fn near(count: usize, trials: usize, chance: f64) -> bool {
    let (count, trials) = (count as f64, trials as f64);
    (count - trials * chance).abs() <= 4.0 * (trials * chance * (1.0 - chance)).sqrt()
}

/// The label that the raw scores give, by the specification, in plain loops.
fn expected(pair: &PreferencePair, row: &Comparison, spread: &HashMap<String, f64>) -> usize {
    let mut best: f64 = 0.0;
    for bullet in &pair.principles {
        let scores = row.verdict(&bullet.principle).expect("judged").scores;
        let agree = scores.s12 * scores.s21 > 0.0;
        let mut gap = if agree { (scores.s12 + scores.s21) / 2.0 / spread[&bullet.principle] } else { 0.0 };
        if bullet.negated != pair.swapped {
            gap = -gap;
        }
        assert!((gap - bullet.gap).abs() < 1e-9, "{gap} {bullet:?}");
        if gap.abs() > best.abs() {
            best = gap;
        }
    }
    usize::from(best < 0.0)
}

#[test]
fn every_label_follows_from_the_scores_and_the_list() {
    let set = reward();
    let rows = comparisons(&set, 400);
    let options = AggregateOptions { held_out: 0.2, ..options() };
    let Aggregated { train, held_out: kept, report } = made(&rows, &options);
    let by_id: HashMap<&str, &Comparison> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let of_train = |row: &&Comparison| !held_out(5, &row.prompt.text, 0.2);
    let spread: HashMap<String, f64> = set
        .principles
        .iter()
        .map(|one| {
            let scores = rows.iter().filter(of_train).map(|row| row.verdict(&one.id).expect("judged").scores);
            let values: Vec<f64> = scores.flat_map(|scores| [scores.s12, scores.s21]).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance =
                values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
            (one.id.clone(), variance)
        })
        .collect();

    let decides: HashSet<&str> =
        set.principles.iter().filter(|one| one.decides).map(|one| one.id.as_str()).collect();
    for pair in train.iter().chain(&kept) {
        let row = by_id[pair.id.rsplit_once('#').expect("comparison and pass").0];
        assert_eq!(pair.preferred, expected(pair, row, &spread) ^ usize::from(pair.flipped), "{pair:?}");
        let DecidedBy::Principle(deciding) = pair.decided_by else { panic!("no rule applies: {pair:?}") };
        let gaps = pair.principles.iter().map(|bullet| bullet.gap.abs());
        assert_eq!(pair.principles[deciding].gap.abs(), gaps.fold(0.0, f64::max));
        for bullet in &pair.principles {
            let principle = set.principle(&bullet.principle).expect("of the set");
            assert!(decides.contains(bullet.principle.as_str()));
            assert_eq!(principle.text(bullet.negated), Some(bullet.text.as_str()));
        }
        let texts = row.replies.each_ref().map(|reply| reply.text.as_str());
        let shown = if pair.swapped { [texts[1], texts[0]] } else { texts };
        assert_eq!(pair.replies, shown);
        assert_eq!(pair.prompt, row.prompt);
        pair.check().expect("sound");
    }

    // How often: noise and order.
    let flipped = train.iter().filter(|pair| pair.flipped).count();
    assert!(near(flipped, train.len(), 0.1), "{flipped} of {}", train.len());
    let swapped = train.iter().filter(|pair| pair.swapped).count();
    assert!(near(swapped, train.len(), 0.5), "{swapped} of {}", train.len());
    let first = train.iter().filter(|pair| pair.preferred == 0).count();
    assert!(near(first, train.len(), 0.5), "nothing is to be learned from the order");
    assert_eq!((report.train, report.held_out, report.flipped), (train.len(), kept.len(), flipped));
    assert_eq!(report.train + report.held_out + report.undecided, 400 * 8);

    // Noise sets the ceiling of what can be learned.
    let right = |pair: &&PreferencePair| {
        expected(pair, by_id[pair.id.rsplit_once('#').expect("").0], &spread) == pair.preferred
    };
    assert!(near(train.iter().filter(right).count(), train.len(), 0.9));
    assert!(kept.iter().all(|pair| !pair.flipped && right(&pair)));
}

#[test]
fn without_the_list_nothing_can_be_told() {
    let rows = comparisons(&reward(), 60);
    let options = AggregateOptions { passes: 80, noise: 0.0, held_out: 0.0, ..options() };
    let mut wins: HashMap<String, (usize, usize)> = HashMap::new();
    for pair in made(&rows, &options).train {
        let (first, all) = wins.entry(pair.prompt.id.clone()).or_default();
        *first += usize::from((pair.preferred == 0) != pair.swapped);
        *all += 1;
    }
    assert_eq!(wins.len(), 60);
    let fair = wins.values().filter(|(first, all)| near(*first, *all, 0.5)).count();
    assert_eq!(fair, 60, "half of the time one reply wins, half of the time the other");
}

#[test]
fn held_out_prompts_are_in_no_training_pair() {
    let set = reward();
    let mut rows = comparisons(&set, 300);
    // The same words under another id, in another case, and another pair of replies to the same prompt.
    for number in 0..100 {
        let mut twin = comparison(&set, number);
        (twin.id, twin.prompt.id) = (format!("twin{number}"), format!("other{number}"));
        twin.prompt.text = format!(" {}\n", twin.prompt.text.to_uppercase());
        rows.push(twin);
    }
    let Aggregated { train, held_out: kept, .. } = made(&rows, &options());
    let words = |pair: &PreferencePair| pair.prompt.text.trim().to_lowercase();
    let (train, kept): (HashSet<String>, HashSet<String>) =
        (train.iter().map(words).collect(), kept.iter().map(words).collect());
    assert!(train.is_disjoint(&kept) && kept.len() > 10);

    let part = (0..5000).filter(|number| held_out(1, &format!("Question {number}?"), 0.1)).count();
    assert!(near(part, 5000, 0.1), "{part}");
    let both = (0..5000).filter(|number| {
        let prompt = format!("Question {number}?");
        held_out(1, &prompt, 0.1) && held_out(2, &prompt, 0.1)
    });
    assert!(near(both.count(), 5000, 0.01), "another seed holds out others");
    assert!((0..100).all(|number| !held_out(1, &format!("{number}"), 0.0)));
}

#[test]
fn pairs_depend_on_their_record_and_the_seed_alone() {
    let rows = comparisons(&reward(), 120);
    let options = AggregateOptions { normalise: Normalise::Nothing, held_out: 0.0, ..options() };
    let by_id = |rows: &[Comparison], options: &AggregateOptions| -> HashMap<String, PreferencePair> {
        made(rows, options).train.into_iter().map(|pair| (pair.id.clone(), pair)).collect()
    };
    let all = by_id(&rows, &options);
    let backwards: Vec<Comparison> = rows.iter().rev().cloned().collect();
    assert_eq!(by_id(&backwards, &options), all);
    let few = by_id(&rows[..30], &options);
    assert!(few.len() > 100 && few.iter().all(|(id, pair)| all[id] == *pair));
    assert_ne!(by_id(&rows, &AggregateOptions { seed: 6, ..options.clone() }), all);

    // Noise is the only thing that noise changes.
    let calm = by_id(&rows, &AggregateOptions { noise: 0.0, ..options });
    for (id, pair) in calm {
        let noisy = &all[&id];
        assert!(!pair.flipped);
        assert_eq!((&noisy.principles, &noisy.replies), (&pair.principles, &pair.replies));
        assert_eq!(noisy.preferred == pair.preferred, !noisy.flipped);
    }
}

#[test]
fn rules_overrule_with_their_own_noise_and_their_reason() {
    let set = reward();
    let mut rows = comparisons(&set, 300);
    for (at, row) in rows.iter_mut().enumerate() {
        if at % 3 == 0 {
            row.replies[0].text =
                "Das ist die Antwort auf die Frage, und sie ist nicht ganz kurz.".to_owned();
        } else if at % 3 == 1 {
            row.replies[1].text.push_str(" As an AI language model, I have no more to say of it.");
        }
    }
    let options = AggregateOptions { held_out: 0.0, ..options() };
    let Aggregated { train, report, .. } = made(&rows, &options);
    let count = |by: DecidedBy| train.iter().filter(|pair| pair.decided_by == by).collect::<Vec<_>>();
    let (language, boilerplate) = (count(DecidedBy::Language), count(DecidedBy::Boilerplate));
    assert_eq!(report.ruled, language.len() + boilerplate.len());
    let of_kind = |remainder: usize| {
        let of =
            |pair: &&PreferencePair| pair.prompt.id[1..].parse::<usize>().expect("a number") % 3 == remainder;
        train.iter().filter(of).count()
    };
    assert_eq!(language.len(), of_kind(0), "the language always decides");
    assert!(near(boilerplate.len(), of_kind(1), 0.5), "stock phrases decide half of the time");
    for (pairs, reason, loser) in
        [(language, "reward-language", "Das ist"), (boilerplate, "reward-fluent", "model, I have")]
    {
        let flipped = pairs.iter().filter(|pair| pair.flipped).count();
        assert!(near(flipped, pairs.len(), 0.25), "{flipped} of {}", pairs.len());
        for pair in pairs {
            let lost = pair.replies[1 - pair.preferred].contains(loser);
            assert_eq!(lost, !pair.flipped);
            let reasons: Vec<bool> =
                pair.principles.iter().filter(|one| one.principle == reason).map(|one| one.negated).collect();
            assert_eq!(reasons, [false]);
        }
    }
    let Aggregated { train, .. } = made(&rows, &AggregateOptions { rules: false, ..options });
    assert!(train.iter().all(|pair| matches!(pair.decided_by, DecidedBy::Principle(_))));
}

#[test]
fn what_cannot_be_used_is_said() {
    let set = reward();
    let rows = comparisons(&set, 40);
    let refused = |rows: &[Comparison], set: &PrincipleSet, options: &AggregateOptions| {
        aggregate(rows, set, options).expect_err("of no use")
    };

    // Verdicts that are missing.
    let mut partial = rows.clone();
    partial[0].verdicts.retain(|verdict| verdict.principle != "reward-brief");
    partial[1].verdicts.retain(|verdict| verdict.principle == "reward-brief");
    partial[2].verdicts.clear();
    assert_eq!(made(&partial, &options()).report.incomplete, 3);
    let rest = AggregateOptions { missing: Missing::UseRest, held_out: 0.0, ..options() };
    let used = made(&partial, &rest);
    assert_eq!(used.report.incomplete, 1);
    let of = |number: usize| {
        let id = format!("q{number}");
        used.train.iter().filter(move |pair| pair.prompt.id == id).collect::<Vec<_>>()
    };
    assert!(of(0).iter().all(|pair| pair.principles.iter().all(|one| one.principle != "reward-brief")));
    assert!(!of(1).is_empty() && of(1).iter().all(|pair| pair.principles.len() == 1));
    // One that does not decide is not missed.
    let mut undecided = rows.clone();
    undecided[0].verdicts.retain(|verdict| verdict.principle != "reward-helpful");
    assert_eq!(made(&undecided, &options()).report.incomplete, 0);

    // An edited principle.
    let mut edited = set.clone();
    edited.principles[1].definition.push_str(" Really.");
    let stale = refused(&rows, &edited, &options());
    assert!(
        matches!(&stale, PreferencesError::Stale { principle, .. } if principle == "reward-brief"),
        "{stale}"
    );

    // Sets without what is needed.
    let policy = PrincipleSet::open("interventions").expect("built in");
    let error = refused(&rows, &policy, &options()).to_string();
    assert_eq!(error, "no preferences to train on: the principle `never-praise-itself` has no negative");
    let error = refused(&[], &set, &options()).to_string();
    assert!(error.starts_with("no preferences to train on: none of 0 comparisons gives a pair"), "{error}");
    let mut dangling = set.clone();
    dangling.overrides.language.as_mut().expect("given").explained_by = "nobody".to_owned();
    assert!(matches!(refused(&rows, &dangling, &options()), PreferencesError::Principles(_)));

    // Records that make no sense.
    let mut twice = rows.clone();
    twice[3].id = twice[2].id.clone();
    assert_eq!(
        refused(&twice, &set, &options()).to_string(),
        "record `q2/0-1`: there are two records with this id"
    );
    let mut broken = rows.clone();
    broken[3].verdicts[0].scores.s21 = f64::NAN;
    let error = refused(&broken, &set, &options()).to_string();
    assert_eq!(error, "record `q3/0-1`: a score under `reward-helpful` is not a finite number");

    // Options, all at once.
    let wild = AggregateOptions { passes: 0, noise: 0.6, success: 0.0, negation: f64::NAN, ..options() };
    let PreferencesError::Options { faults } = refused(&rows, &set, &wild) else { panic!("options") };
    assert_eq!(faults.len(), 4, "{faults:?}");
}

#[test]
fn swapping_the_replies_turns_the_scores_about() {
    // Logits for (a) and (b), with the first reply as (a), then with the second.
    let scores = Scores::from_labels([2.0, 0.5], [1.0, 4.0]);
    assert_eq!((scores.s12, scores.s21), (1.5, 3.0));
    let swapped = Scores::from_labels([1.0, 4.0], [2.0, 0.5]);
    assert_eq!((swapped.s12, swapped.s21), (-scores.s21, -scores.s12));
    assert_eq!(swapped, scores.swapped());
    assert_eq!((scores.agreed(), swapped.agreed()), (2.25, -2.25));
    assert_eq!(scores.position_bias(), swapped.position_bias());
    // A judge that always says (a) has a bias and no opinion.
    let always = Scores::from_labels([1.0, 0.0], [1.0, 0.0]);
    assert_eq!((always.agreed(), always.position_bias()), (0.0, 1.0));
    assert_eq!(Scores::without_order(-0.5).agreed(), -0.5);
}

#[test]
fn the_judge_is_reported_by_principle() {
    let set = reward();
    let mut rows = comparisons(&set, 4);
    let scores = [[1.0, 2.0], [2.0, 1.0], [-1.0, -3.0], [3.0, -1.0]];
    for (row, scores) in rows.iter_mut().zip(scores) {
        row.verdicts[1].scores = Scores::from(scores);
    }
    let reports = judge_report(&rows);
    assert_eq!(reports.len(), 11);
    let brief = reports.iter().find(|report| report.principle == "reward-brief").expect("judged");
    assert_eq!((brief.verdicts, brief.consistent), (4, 0.75));
    assert_eq!(brief.position_bias, (-0.5 + 0.5 + 1.0 + 2.0) / 4.0);
    assert!((brief.first_wins - 2.0 / 3.0).abs() < 1e-12);
    assert!(judge_report(&[]).is_empty());
}

#[test]
fn pairs_come_back_from_their_json() {
    let mut rows = comparisons(&reward(), 3);
    rows[0].replies[0] =
        SampledReply { text: "{braces}\n\"quotes\"".to_owned(), ..rows[0].replies[0].clone() };
    for pair in made(&rows, &options()).train {
        let json = serde_json::to_string(&pair).expect("JSON");
        assert_eq!(serde_json::from_str::<PreferencePair>(&json).expect("a pair"), pair);
    }
}
