//! SALMON's JSON lists, as they are.

use super::{faults, read};
use parr::principles::Use;

const REWARD: &str = r#"[
    {
        "dimension": "Overall Helpful",
        "definition": "Help the person\nwho asks.",
        "negative_definition": "Do not help the person who asks."
    },
    {
        "dimension": "Brief",
        "definition": "Be brief.",
        "negative_definition": "Be long."
    },
    {
        "dimension": "Natural and Fluent",
        "definition": "Write well.",
        "negative_definition": "Write badly."
    },
    {
        "dimension": "Multilingual",
        "definition": "用中文回答中文问题。",
        "negative_definition": "Use another language."
    }
]"#;

const POLICY: &str = r#"[
{"dimension": "Ethical", "definition": "Be good.", "weight": 2},
{"dimension": "Consistent Reasoning", "definition": "Reason well.", "weight": 1},
{"dimension": "Numerical Sensitive", "definition": "Mind numbers.", "weight": 1},
{"dimension": "Candor", "definition": "Be frank.", "weight": 4}
]"#;

#[test]
fn the_collection_for_the_reward_model_is_judged() {
    let set = read("principle_collection_rm.json", REWARD).expect("sound");
    assert_eq!((set.id.as_str(), set.uses), ("principle-collection-rm", Use::Judge));
    let ids: Vec<&str> = set.principles.iter().map(|principle| principle.id.as_str()).collect();
    assert_eq!(ids[1], "principle-collection-rm-brief");
    assert_eq!(set.principles[0].definition, "Help the person who asks.");
    assert_eq!(set.principles[3].definition, "用中文回答中文问题。");
    assert_eq!(set.principles[1].negative.as_deref(), Some("Be long."));
    let decides: Vec<bool> = set.principles.iter().map(|principle| principle.decides).collect();
    assert_eq!(decides, [false, true, false, false], "as the aggregation of SALMON leaves three out");
    let boilerplate = set.overrides.boilerplate.expect("a dimension can explain it");
    assert_eq!((boilerplate.rule.probability, boilerplate.rule.noise), (0.5, 0.25));
    assert_eq!(boilerplate.rule.explained_by, ids[2]);
    assert_eq!(set.overrides.language.expect("a dimension can explain it").explained_by, ids[3]);
}

#[test]
fn the_collection_for_the_policy_is_drawn_from() {
    let set = read("principle_collection_ppo.json", POLICY).expect("sound");
    assert_eq!(set.uses, Use::Sample { draws: 3 });
    let weights: Vec<f64> = set.principles.iter().map(|principle| principle.weight).collect();
    assert_eq!(weights, [2.0, 1.0, 1.0, 4.0]);
    let boosts: Vec<(f64, f64)> = set
        .principles
        .iter()
        .map(|principle| (principle.boost.reasoning, principle.boost.red_team))
        .collect();
    assert_eq!(boosts, [(0.0, 128.0), (128.0, 0.0), (128.0, 0.0), (0.0, 0.0)]);
    assert!(set.principles.iter().all(|principle| principle.negative.is_none()));
}

#[test]
fn mistakes_in_json_have_places_too() {
    for (text, expected) in [
        (REWARD.replace("\"Be long.\"", "\"\""), "10:32 `negative_definition` is empty"),
        (REWARD.replace("\"Be long.\"", "7"), "10:32 `negative_definition` is a number, not a string"),
        (REWARD.replace("\"Brief\"", "\"Multilingual\""), "18:22 `dimension` is the same as that of"),
        (
            REWARD.replace("\"Be brief.\"", "\"Write well.\""),
            "14:23 `definition` is the same as that of \"Brief\"",
        ),
        (
            REWARD.replace("\"Be brief.\",\n        \"negative_definition\": \"Be long.\"", "\"Be brief.\""),
            "7:5 the principle has no `negative_definition`, but the first one has",
        ),
        (
            REWARD.replace("\"dimension\": \"Brief\"", "\"dimesion\": \"Brief\""),
            "8:21 unknown key `dimesion`",
        ),
        (REWARD.replace("\"Be brief.\"", "null"), "9:23 `definition` is null, not a string"),
        (
            REWARD.replace("\"Be brief.\",", "\"Be brief.\", \"dimension\": \"B\","),
            "9:49 duplicate key `dimension`",
        ),
        (POLICY.replace("4}", "0}"), "5:62 `weight` is 0, not a number above 0"),
        (POLICY.replace(", \"weight\": 4}", "}"), "5:1 the principle has no `weight`, but the first one has"),
        (POLICY.replace(", \"weight\": 4}", ", \"weight\": 4"), "6:1 not a JSON list of principles"),
        ("[]".to_owned(), "1:1 the list has no principles"),
        ("\n [1]".to_owned(), "2:3 the principle is a number, not a table"),
        ("{}".to_owned(), "1:1 not a JSON list of principles: invalid type: map"),
        (r#"[{"\ud800": 1}]"#.to_owned(), "1:2 a key in this object is not valid Unicode"),
        (r#"[{"dimension": "\ud800"}]"#.to_owned(), "1:16 `dimension` is a string that is not valid Unicode"),
    ] {
        let found = faults(read("a.json", &text));
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "no `{expected}` in {found:#?}");
    }
}
