//! What a faulty file of principles says: everything at once, each with its place.

use super::{faults, read};
use parr::principles::{PrinciplesError, Use};

const SOUND: &str = r#"id = "tea"
title = "Tea"
description = "How to answer about tea."
use = "judge"

[overrides.boilerplate]
explained_by = "tea-hot"
phrases = ["as a kettle"]

[[principle]]
id = "tea-hot"
dimension = "Hot"
definition = "Say that tea is hot."
negative = "Say that tea is cold."
tags = ["heat"]
check = "hedged"

[[principle]]
id = "tea-green"
dimension = "Green"
definition = "Praise {green} tea."
negative = "Praise black tea."
decides = false
"#;

/// The faults of the sound file after one replacement.
fn after(found: &str, replacement: &str) -> Vec<String> {
    assert!(SOUND.contains(found), "{found}");
    faults(read("tea.toml", &SOUND.replacen(found, replacement, 1)))
}

#[test]
fn a_sound_file_says_what_it_says() {
    let set = read("tea.toml", SOUND).expect("sound");
    assert_eq!((set.id.as_str(), set.uses, set.principles.len()), ("tea", Use::Judge, 2));
    let boilerplate = set.overrides.boilerplate.as_ref().expect("given");
    assert_eq!((boilerplate.rule.probability, boilerplate.rule.noise), (1.0, 0.25));
    assert_eq!(boilerplate.phrases, ["as a kettle"]);
    assert_eq!(set.overrides.language, None);
    let [hot, green] = set.principles.as_slice() else { panic!("two principles") };
    assert!(hot.decides && !green.decides);
    assert_eq!(hot.tags, ["heat"]);
    assert_eq!(hot.check.map(|check| check.name()).as_deref(), Some("hedged"));
    assert_eq!(green.text(false), Some("Praise {green} tea."));
    assert_eq!(green.text(true), Some("Praise black tea."));
    assert_eq!(green.weight, 1.0);
    let edited = read("tea.toml", &SOUND.replace("is hot", "was hot")).expect("sound");
    assert_ne!(set.sha256, edited.sha256);
    assert_ne!(hot.wording(), edited.principles[0].wording());
    assert_eq!(green.wording(), edited.principles[1].wording());
}

#[test]
fn each_mistake_is_found_where_it_is() {
    for (found, replacement, expected) in [
        // Keys.
        ("title =", "titel =", "1:1 the set has no `title`"),
        ("title =", "titel =", "2:1 unknown key `titel`; the set may have id, title"),
        ("dimension = \"Green\"", "dimesion = \"Green\"", "18:1 the principle has no `dimension`"),
        ("decides", "decide", "23:1 unknown key `decide`; the principle may have id,"),
        ("explained_by", "explained", "6:1 the override has no `explained_by`"),
        ("phrases = [", "phrase = [", "6:1 the override has no `phrases`"),
        ("[overrides.boilerplate]", "[overrides.language]", "8:1 unknown key `phrases`; the override may"),
        ("[overrides.boilerplate]", "[overrides.greeting]", "6:12 unknown key `greeting`; `overrides` may"),
        // Types and texts.
        ("\"Tea\"", "3", "2:9 `title` is a number, not a string"),
        ("\"Tea\"", "\"\"", "2:9 `title` is empty"),
        ("\"Tea\"", "\" \\t\"", "2:9 `title` is empty"),
        ("\"Say that tea is hot.\"", "\"Say that tea is hot. \"", "13:14 `definition` begins or ends with"),
        ("\"Say that tea is hot.\"", "\"\"\"Say\nthat.\"\"\"", "13:14 `definition` has several lines"),
        ("\"Say that tea is hot.\"", "\"Say\\u0007that\"", "13:14 `definition` contains the control"),
        ("\"Say that tea is cold.\"", "\"\"", "14:12 `negative` is empty"),
        ("Say that tea is hot.", &"hot ".repeat(76), "13:14 `definition` begins or ends with a blank"),
        ("Say that tea is hot.", &"h".repeat(301), "13:14 `definition` has 301 characters; at most 300"),
        ("\"Hot\"", "[\"Hot\"]", "12:13 `dimension` is a list, not a string"),
        ("\"Hot\"", "1979-05-27", "12:13 `dimension` is a date, not a string"),
        // Ids.
        ("id = \"tea\"", "id = \"Tea\"", "1:6 `id` \"Tea\" is not made of lower-case letters"),
        ("id = \"tea\"", "id = \"coffee\"", "1:6 `id` is \"coffee\", but the file is named \"tea\""),
        ("id = \"tea-hot\"", "id = \"tea--hot\"", "11:6 `id` \"tea--hot\" is not made of"),
        ("[\"heat\"]", "[\"heat\", \"\"]", "15:17 `tags` \"\" is not made of"),
        ("[\"heat\"]", "[\"heat\", \"heat\"]", "15:17 `tags` holds \"heat\" twice"),
        ("[\"heat\"]", "\"heat\"", "15:8 `tags` is a string, not a list"),
        ("[\"heat\"]", "[1]", "15:9 `tags` holds a number, not a string"),
        // Doubles.
        ("id = \"tea-green\"", "id = \"tea-hot\"", "19:6 `id` is the same as that of `tea-hot`"),
        ("\"Green\"", "\"HOT\"", "20:13 `dimension` is the same as that of `tea-hot`"),
        ("Praise black tea.", "say that tea is hot.", "22:12 `negative` is the same as that of `tea-hot`"),
        ("Say that tea is cold.", "Say that tea is HOT.", "14:12 `negative` is the same as `definition`"),
        // Use.
        (
            "use = \"judge\"\n",
            "",
            "1:1 the set has no `use`; write \"judge\", \"sample\", \"always\" or \"rules\"",
        ),
        ("\"judge\"", "\"jury\"", "4:7 `use` is \"jury\", not \"judge\", \"sample\""),
        ("use = \"judge\"", "use = \"judge\"\ndraws = 2", "5:1 `draws` is for sets with use = \"sample\""),
        ("\"judge\"", "\"sample\"", "1:1 the set has no `draws`"),
        ("\"judge\"", "\"sample\"", "6:2 `overrides` is for sets with use = \"judge\""),
        ("negative = \"Praise black tea.\"\n", "", "18:1 the principle has no `negative`, which sets with"),
        (
            "\"judge\"",
            "\"rules\"",
            "14:1 `negative` is for sets with use = \"judge\", \"sample\" or \"always\"",
        ),
        ("\"judge\"", "\"rules\"", "16:1 `check` is for sets with use = \"judge\", \"sample\" or \"always\""),
        ("\"judge\"", "\"rules\"", "23:1 `decides` is for sets with use = \"judge\""),
        ("decides = false", "boost = { red-team = 1 }", "23:1 `boost` is for sets with use = \"sample\""),
        ("decides = false", "boost = {}", "23:9 `boost` is empty"),
        (
            "decides = false",
            "boost = { redteam = 1 }",
            "23:11 unknown key `redteam`; `boost` may have general",
        ),
        ("decides = false", "boost = { red-team = -1 }", "23:22 `red-team` is -1, not 0 or a number above"),
        // Numbers.
        ("decides = false", "decides = 0", "23:11 `decides` is a number, not true or false"),
        ("decides = false", "weight = 0", "23:10 `weight` is 0, not a number above 0"),
        ("decides = false", "weight = nan", "23:10 `weight` is NaN, not a number above 0"),
        ("decides = false", "weight = inf", "23:10 `weight` is inf, not a number above 0"),
        ("decides = false", "weight = \"2\"", "23:10 `weight` is a string, not a number above 0"),
        ("phrases =", "probability = 1.5\nphrases =", "8:15 `probability` is 1.5, not from 0 to 1"),
        ("phrases =", "noise = 0.6\nphrases =", "8:9 `noise` is 0.6, not from 0 to 0.5"),
        // References.
        ("explained_by = \"tea-hot\"", "explained_by = \"tea-cold\"", "7:16 `explained_by` names `tea-cold`"),
        ("[\"as a kettle\"]", "[]", "8:11 `phrases` is empty"),
        ("[\"as a kettle\"]", "[\"\"]", "8:12 `phrases` holds an empty phrase"),
        ("\"hedged\"", "\"hedge\"", "16:9 unknown check \"hedge\"; choose one of shorter, longer,"),
        ("\"hedged\"", "\"language:xx\"", "16:9 unknown check \"language:xx\"; choose one of"),
    ] {
        let found_faults = after(found, replacement);
        assert!(
            found_faults.iter().any(|fault| fault.starts_with(expected)),
            "{found} -> {replacement}: no `{expected}` in\n{}",
            found_faults.join("\n")
        );
    }
}

#[test]
fn a_sample_draws_no_more_than_there_is() {
    let sample = "id = \"s\"\ntitle = \"S\"\ndescription = \"S.\"\nuse = \"sample\"\ndraws = 2\n\
                  [[principle]]\nid = \"a\"\ndimension = \"A\"\ndefinition = \"Be a.\"\n\
                  boost = { reasoning = 128, general = 0.5 }\nweight = 2.5\n\
                  [[principle]]\nid = \"b\"\ndimension = \"B\"\ndefinition = \"Be b.\"\n";
    let set = read("s.toml", sample).expect("sound");
    assert_eq!(set.uses, Use::Sample { draws: 2 });
    let first = &set.principles[0];
    assert_eq!(
        (first.weight, first.boost.reasoning, first.boost.general, first.boost.red_team),
        (2.5, 128.0, 0.5, 0.0)
    );
    for (draws, expected) in [
        ("3", "5:9 `draws` is 3, not from 1 to the number of principles, 2"),
        ("0", "5:9 `draws` is 0, not from 1"),
        ("-1", "5:9 `draws` is a number, not a whole number that is not negative"),
        ("1.0", "5:9 `draws` is a number, not a whole number"),
        ("9223372036854775808", "5:9 "),
    ] {
        let text = sample.replace("draws = 2", &format!("draws = {draws}"));
        let found = faults(read("s.toml", &text));
        assert!(found[0].starts_with(expected), "{draws}: {found:?}");
    }
    let none = &sample[..sample.find("[[").expect("there")];
    assert_eq!(
        faults(read("s.toml", none)),
        ["1:1 the set has no `principle`", "5:9 `draws` is 2, not from 1 to the number of principles, 0"]
    );
    let empty = format!("{none}principle = []\n");
    assert!(faults(read("s.toml", &empty)).contains(&"6:13 the set has no principles".to_owned()));
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let text = SOUND
        .replace("\"Tea\"", "\"\"")
        .replace("\"Hot\"", "7")
        .replace("tea-green", "tea hot")
        .replace("negative = \"Praise black tea.\"\n", "colour = \"black\"\n");
    let found = faults(read("tea.toml", &text));
    let places: Vec<&str> = found.iter().filter_map(|fault| fault.split(' ').next()).collect();
    assert_eq!(places, ["2:9", "12:13", "18:1", "19:6", "22:1"], "{found:#?}");
    let shown = read("tea.toml", &text).expect_err("faulty").to_string();
    assert_eq!(shown.lines().count(), 5);
    assert!(shown.lines().all(|line| line.contains("tea.toml line ")), "{shown}");
}

#[test]
fn broken_syntax_is_told_by_line_and_column() {
    let found = faults(read("tea.toml", "id = \"tea\"\ntitle = \nid = \"tea\"\n"));
    assert!(
        found.len() == 2 && found[0].starts_with("2:") && found[1].starts_with("3:1 duplicate key"),
        "{found:?}"
    );
    assert!(faults(read("tea.toml", "é = [1,\n"))[0].starts_with("1:"), "bare keys are ASCII");
    assert!(faults(read("tea.toml", ""))[0].starts_with("1:1 the set has no `id`"));
}

#[test]
fn what_is_no_text_is_refused_and_nothing_panics() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("tea.toml");
    std::fs::write(&path, b"id = \"tea\"\n\xFF").expect("written");
    let error = parr::principles::PrincipleSet::read(&path);
    assert_eq!(faults(error), ["2:1 the file is not UTF-8 from here on"]);
    std::fs::write(&path, vec![b'#'; 2 << 20]).expect("written");
    let error = parr::principles::PrincipleSet::read(&path).expect_err("too long");
    assert!(matches!(error, PrinciplesError::Io(_)), "{error}");
    let missing = parr::principles::PrincipleSet::read(&folder.path().join("none.toml"));
    assert!(missing.expect_err("missing").to_string().starts_with("cannot read "));
    // Every prefix of a sound file is faulty in some orderly way.
    for end in (0..SOUND.len()).step_by(7) {
        let _ = read("tea.toml", &SOUND[..end]);
        let _ = read("tea.json", &SOUND[..end]);
    }
    let deep = format!("a = {}", "[".repeat(50_000));
    faults(read("tea.toml", &deep));
    faults(read("tea.json", &"[".repeat(50_000)));
}
