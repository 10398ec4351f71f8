//! Data and settings: what is read, and what is refused by line.

use std::fs;
use std::path::PathBuf;

use parr::preferences::Comparison;
use parr::principles::PrincipleSet;
use parr::reward::{RewardConfig, RewardData, RewardError, RewardPair};
use parr::settings::Settings;

use super::{comparisons, rules};

fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a scratch directory is writable");
    (folder, path)
}

/// Comparisons as a file of records.
fn lines(comparisons: &[Comparison]) -> String {
    let line = |one: &Comparison| serde_json::to_string(one).expect("plain values") + "\n";
    comparisons.iter().map(line).collect()
}

#[test]
fn the_sample_says_every_setting_with_its_default() {
    let path = std::path::Path::new("reward.toml");
    let sample = RewardConfig::parse(RewardConfig::SAMPLE, path).expect("a sound sample");
    assert_eq!(sample, RewardConfig::default());
    sample.validate().expect("sound defaults");
    let json = serde_json::to_value(RewardConfig::default()).expect("plain values");
    let table: toml::Table = toml::from_str(RewardConfig::SAMPLE).expect("toml");
    for (key, value) in json.as_object().expect("a struct") {
        let said = table.get(key).unwrap_or_else(|| panic!("{key} is not in the sample"));
        for inner in value.as_object().into_iter().flatten() {
            assert!(said.get(inner.0).is_some(), "{key}.{} is not in the sample", inner.0);
        }
    }
    let again = RewardConfig::parse(&sample.to_toml(), path).expect("what is written can be read");
    assert_eq!(again, sample);
    let error = RewardConfig::parse("seed = 1\n[aggregate]\nnoises = 0.1\n", path).expect_err("no setting");
    assert!(error.to_string().contains("reward.toml line 3 column 1"), "{error}");
}

#[test]
fn the_hash_changes_with_whatever_the_weights_depend_on() {
    let hash = |change: fn(&mut RewardConfig)| {
        let mut config = RewardConfig::default();
        change(&mut config);
        config.hash()
    };
    let plain = hash(|_| {});
    for change in [
        (|config| config.seed = 1) as fn(&mut RewardConfig),
        |config| config.epochs = 2.0,
        |config| config.lora.rank = 4,
        |config| config.limits.reply = 64,
        |config| config.aggregate.noise = 0.2,
        |config| config.aggregate.seed = 1,
        |config| config.batch.pairs = 8,
    ] {
        assert_ne!(hash(change), plain);
    }
    for change in [
        (|config| config.evaluation.every = 3) as fn(&mut RewardConfig),
        |config| config.checkpoint.every = 3,
        |config| config.batch.micro_batch = parr::settings::Auto::Fixed(1),
        |config| config.factors = parr::reward::Factors::F16,
    ] {
        assert_eq!(hash(change), plain);
    }
}

#[test]
fn lines_that_are_no_preferences_are_refused_by_number() {
    let sound = "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"margin\": 2}\n";
    let refused = |line: &str, part: &str| {
        let (_folder, path) = written("hh.jsonl", &format!("{sound}\n{line}\n{sound}"));
        let error = RewardData::preferences(&path).expect_err("the third line is wrong");
        assert!(matches!(error, RewardError::Row { line: 3, .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains("hh.jsonl line 3: ") && error.contains(part), "`{part}` is not in: {error}");
    };
    refused("{\"prompt\": \"a\", \"chosen\": \"b\"}", "missing field `rejected`");
    refused("{\"prompt\": \"a\", \"chosen\": \" \", \"rejected\": \"c\"}", "`chosen` is empty");
    refused("{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"b \"}", "the same text");
    refused("{\"prompt\": \"a\", ", "(column ");
    refused("{\"prompt\": 3, \"chosen\": \"b\", \"rejected\": \"c\"}", "invalid type");
    let (_folder, empty) = written("none.jsonl", "\n \n");
    assert!(
        RewardData::preferences(&empty).expect_err("no row").to_string().contains("contains no preferences")
    );
    let error = RewardData::preferences(&empty.with_file_name("gone")).expect_err("no file").to_string();
    assert!(error.contains("cannot read") && error.contains("gone"), "{error}");
}

#[test]
fn comparisons_and_sets_are_read_together() {
    let comparisons = comparisons(3);
    let (_folder, path) = written("judged.jsonl", &lines(&comparisons));
    let read = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|&name| name.to_owned()).collect();
        RewardData::judged(std::slice::from_ref(&path), &sets)
    };
    let one = read(&["reward"]).expect("sound files");
    let two = read(&["reward", "style"]).expect("sets that share nothing");
    assert_eq!(one.comparisons(), comparisons);
    let count = |name| PrincipleSet::open(name).expect("built in").principles.len();
    let set = two.set().expect("they have principles");
    assert_eq!(set.principles.len(), count("reward") + count("style"));
    assert_eq!(set.id, "reward+style");
    assert_ne!(one.sha256(), two.sha256(), "the principles are part of the data");
    let error = read(&["reward", "reward"]).expect_err("everything twice").to_string();
    assert!(error.contains("is in reward and in reward"), "{error}");
    let error = read(&["no-such-set"]).expect_err("no set").to_string();
    assert!(error.contains("no-such-set"), "{error}");

    let broken = lines(&comparisons).replacen("\"judge\"", "\"jugde\"", 2);
    fs::write(&path, broken).expect("a scratch directory is writable");
    let error = read(&["reward"]).expect_err("a wrong key").to_string();
    assert!(error.contains("judged.jsonl line 1: unknown field `jugde`"), "{error}");
}

/// Data in memory, and a file of it, are the same.
#[test]
fn data_in_memory_is_that_of_a_file() {
    let all = comparisons(3);
    let set = PrincipleSet::open("reward").expect("built in");
    let memory = RewardData::of_comparisons(all.clone(), set.clone()).expect("sound comparisons");
    let (_folder, path) = written("judged.jsonl", &lines(&all));
    let file = RewardData::judged(&[path], &["reward".to_owned()]).expect("a sound file");
    assert_eq!((memory.sha256(), memory.comparisons()), (file.sha256(), file.comparisons()));
    assert_eq!(memory.set().map(|set| &set.sha256), file.set().map(|set| &set.sha256));

    let refused =
        |all: Vec<Comparison>| RewardData::of_comparisons(all, set.clone()).expect_err("a fault").to_string();
    assert_eq!(refused(Vec::new()), "comparisons contains no comparisons");
    let mut twice = all.clone();
    twice[2].id = twice[0].id.clone();
    assert_eq!(refused(twice), "record `c0`: an earlier record has this id");
    let mut empty = all;
    empty[1].replies[1].text = " ".to_owned();
    assert_eq!(refused(empty), "record `c1`: reply 2 is empty");

    let pair = |rejected: &str| RewardPair {
        prompt: "Name a river.".to_owned(),
        chosen: "The Loire.".to_owned(),
        rejected: rejected.to_owned(),
    };
    let rows = [pair("A river is water."), pair("No.")];
    let text: String =
        rows.iter().map(|row| serde_json::to_string(row).expect("plain values") + "\n").collect();
    let (_folder, path) = written("hh.jsonl", &text);
    let memory = RewardData::of_preferences(rows.clone()).expect("sound rows");
    assert_eq!(memory.sha256(), RewardData::preferences(&path).expect("a sound file").sha256());
    let refused = |rows: Vec<RewardPair>| RewardData::of_preferences(rows).expect_err("a fault").to_string();
    assert_eq!(refused(Vec::new()), "preferences contains no preferences");
    let error = refused(vec![pair("No."), pair("The Loire. ")]);
    assert!(error.starts_with("preferences line 2: `chosen` and `rejected` are the same text"), "{error}");
}

#[test]
fn programs_can_judge_in_place_of_the_records() {
    let mut comparisons = comparisons(2);
    comparisons[0].replies[0].text = "One sentence, no more.".to_owned();
    comparisons[0].replies[1].text =
        "- A list\n- of points, and many more words than the other has".to_owned();
    let style = PrincipleSet::open("style").expect("built in");
    let of =
        |set: PrincipleSet| RewardData::of_comparisons(comparisons.clone(), set).expect("sound comparisons");
    let data = of(style.clone()).checked().expect("it has checks");
    let judged = &data.comparisons()[0];
    let score = |id: &str| judged.verdict(id).expect("it has a check").scores.agreed();
    assert_eq!((score("style-concise"), score("style-comprehensive")), (1.0, -1.0));
    assert_eq!(score("style-bulleted"), -1.0);
    assert_eq!(score("style-headings"), 0.0, "neither has any");
    assert_eq!(judged.judge, "check");
    let by_judge = of(style);
    assert_ne!(data.sha256(), by_judge.sha256());
    let error = of(rules()).checked().expect_err("no checks").to_string();
    assert!(error.contains("rules"), "{error}");
}
