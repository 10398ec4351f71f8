//! Exemplars of self-alignment: their own rules, and the rules that they name.

use std::fs;

use super::{faults, folder};
use parr::principles::{Collection, PrincipleSet};

const RULES: &str = "id = \"r\"\ntitle = \"R\"\ndescription = \"R.\"\nuse = \"rules\"\n[[principle]]\nid = \"rule-a\"\n\
                     dimension = \"brew\"\ndefinition = \"Brew tea.\"\n";
const EXEMPLARS: &str = r#"id = "e"
title = "E"
description = "E."
rules = "r"
opener = "Let me see."
[reset]
user = "Next."
reply = "Yes."
[[exemplar]]
id = "one"
kind = "fact"
user = "Tea?"
rules = ["rule-a"]
thoughts = "By (brew) I brew."
reply = """
Tea.

Hot.
"""
leaks = ["hot tea"]
"#;

/// The faults of `exemplars` beside the rules above.
fn check(exemplars: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (rules, path) = (folder.path().join("r.toml"), folder.path().join("e.toml"));
    fs::write(&rules, RULES).expect("written");
    fs::write(&path, exemplars).expect("written");
    match Collection::read(&[path, rules]) {
        Ok(collection) => {
            assert_eq!(collection.exemplars[0].exemplars[0].reply, "Tea.\n\nHot.");
            Vec::new()
        }
        error => faults(error),
    }
}

#[test]
fn each_mistake_is_found_where_it_is() {
    assert_eq!(check(EXEMPLARS), [""; 0]);
    for (found, replacement, expected) in [
        ("rule-a", "rule-b", "13:10 there is no rule `rule-b` in the set `r`"),
        ("(brew)", "(boil)", "13:10 the thoughts do not name the rule `rule-a` as (brew)"),
        ("rules = \"r\"", "rules = \"q\"", "13:10 there is no set `q` among the files"),
        ("[\"rule-a\"]", "[]", "13:9 `rules` is empty"),
        ("kind = \"fact\"\n", "", "9:1 the exemplar has no `kind`"),
        ("user = \"Tea?\"", "user = \"\"", "12:8 `user` is empty"),
        ("leaks", "leak", "20:1 unknown key `leak`"),
        ("[\"hot tea\"]", "[\"\"]", "20:10 `leaks` is empty"),
        ("opener = \"Let me see.\"\n", "", "1:1 the file has no `opener`"),
        ("user = \"Next.\"", "use = \"Next.\"", "7:1 unknown key `use`; `reset` may have user, reply"),
        ("id = \"e\"", "id = \"f\"", "1:6 `id` is \"f\", but the file is named \"e\""),
    ] {
        let found_faults = check(&EXEMPLARS.replacen(found, replacement, 1));
        let hit = found_faults.iter().any(|fault| fault.starts_with(expected));
        assert!(hit, "{found} -> {replacement}: {found_faults:?}");
    }
    let twice = [EXEMPLARS, &EXEMPLARS[EXEMPLARS.find("[[").expect("there")..]].concat();
    assert_eq!(check(&twice), ["22:6 there is already an exemplar `one`"]);
}

#[test]
fn rules_are_looked_for_a_folder_above_and_exemplars_are_no_set() {
    let path = folder().join("exemplars/self-align.toml");
    let alone = Collection::read(std::slice::from_ref(&path)).expect("the rules stand beside it");
    assert_eq!((alone.sets.len(), alone.exemplars.len()), (0, 1));
    let error = faults(PrincipleSet::read(&path));
    assert_eq!(error, ["1:1 the file holds exemplars, not a set of principles"]);
}
