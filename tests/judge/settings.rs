//! Settings of a collection: the sample is the default, mistakes have a place.

use std::path::Path;

use parr::judge::{JudgeKind, PreferenceConfig, ReplyPlan, Verdicts};
use parr::settings::Settings;

#[test]
fn the_sample_says_every_default() {
    let read = PreferenceConfig::parse(PreferenceConfig::SAMPLE, Path::new("sample")).expect("valid");
    assert_eq!(read, PreferenceConfig::default());
    read.validate().expect("the defaults are sound");
    let written: toml::Table = toml::from_str(&read.to_toml()).expect("TOML");
    let sample: toml::Table = toml::from_str(PreferenceConfig::SAMPLE).expect("TOML");
    let keys = |table: &toml::Table| -> Vec<String> {
        let inner = |(key, value): (&String, &toml::Value)| match value {
            toml::Value::Table(inner) => inner.keys().map(|name| format!("{key}.{name}")).collect(),
            _ => vec![key.clone()],
        };
        let mut keys: Vec<String> = table.iter().flat_map(inner).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&sample), keys(&written), "the sample names every setting");
}

#[test]
fn what_a_file_says_is_taken_and_mistakes_have_a_place() {
    let text = "judge = \"check\"\nverdicts = \"own\"\n[replies]\nplan = \"mix\"\n";
    let read = PreferenceConfig::parse(text, Path::new("mine.toml")).expect("valid");
    let found = (read.judge, read.verdicts, read.replies.plan, read.replies.count);
    assert_eq!(found, (JudgeKind::Check, Verdicts::Own, ReplyPlan::Mix, 2));
    let error = PreferenceConfig::parse("[replies]\nplann = \"mix\"\n", Path::new("mine.toml"));
    let error = error.expect_err("misspelt").to_string();
    assert!(error.contains("mine.toml line 2 column 1") && error.contains("plann"), "{error}");
    let mut wrong = PreferenceConfig { seed: u64::MAX, ..PreferenceConfig::default() };
    wrong.replies.count = 1;
    wrong.replies.temperature = f32::NAN;
    wrong.batch.slots = 0;
    let error = wrong.validate().expect_err("outside their range").to_string();
    for part in ["replies.count is 1", "replies.temperature is NaN", "batch.slots is 0", "seed is 1844"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}
