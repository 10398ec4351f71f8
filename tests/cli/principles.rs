//! `parr principles`: mistakes by line and column, sets for people and for programs.

use std::fs;

use super::{parr, rows, stderr, stdout};

#[test]
fn mistakes_are_listed_and_fail() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("mine.toml");
    let text = "id = \"mine\"\ntitle = \"\"\ndescription = \"D.\"\nuse = \"judge\"\n\
                [[principle]]\nid = \"a\"\ndimension = \"A\"\ndefinition = \"Be a.\"\nnegativ = \"Be b.\"\n";
    fs::write(&path, text).expect("written");
    let run = parr().args(["principles", "check"]).arg(&path).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(1));
    let file = path.display();
    let expected = [
        format!("{file} line 2 column 9: `title` is empty"),
        format!(
            "{file} line 5 column 1: the principle has no `negative`, which sets with use = \"judge\" require"
        ),
        format!(
            "{file} line 9 column 1: unknown key `negativ`; the principle may have id, dimension, definition, negative, weight, tags, boost, decides, check"
        ),
    ];
    assert_eq!(stdout(&run).lines().collect::<Vec<_>>(), expected);
    assert_eq!(stderr(&run), "error: 3 mistakes in 1 of 1 file\n");

    fs::write(&path, text.replace("\"\"", "\"T\"").replace("negativ ", "negative ")).expect("written");
    let run = parr().args(["principles", "check"]).arg(folder.path()).output().expect("the program starts");
    assert_eq!(stdout(&run), format!("{file}: set mine, 1 principle, use = \"judge\"\n"), "{}", stderr(&run));
    assert!(run.status.success());

    let none = folder.path().join("none.toml");
    let run = parr().args(["principles", "check"]).arg(&none).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).starts_with(&format!("error: cannot read {}", none.display())), "{}", stderr(&run));
    let usage = parr().args(["principles", "check"]).output().expect("the program starts");
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn the_shipped_folder_has_no_mistake() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/principles");
    let run = parr().args(["principles", "check", folder]).output().expect("the program starts");
    assert!(run.status.success(), "{}{}", stdout(&run), stderr(&run));
    assert!(stdout(&run).contains("reward.toml: set reward, 11 principles, use = \"judge\""));
}

#[test]
fn sets_are_listed_for_people_and_for_programs() {
    let list =
        |args: &[&str]| parr().args(["principles", "list"]).args(args).output().expect("the program starts");
    let all = stdout(&list(&[]));
    assert!(
        all.starts_with("set            use     principles  title\nreward         judge           11  "),
        "{all}"
    );
    let policy = stdout(&list(&["policy"]));
    assert!(
        policy.starts_with("policy: Principles for a balanced assistant (sample, 3 drawn for a score)\n")
    );
    assert!(policy.contains("\npolicy-truthful (Truthful, weight 3)\n  "), "{policy}");
    let style = rows(&list(&["style", "--json"]));
    assert_eq!(style.len(), 27);
    assert_eq!((&style[0]["set"], &style[0]["check"]), (&"style".into(), &"shorter".into()));
    let unknown = list(&["polite"]);
    assert_eq!(unknown.status.code(), Some(1));
    let expected = "error: there is no set of principles `polite`; choose one of reward,";
    assert!(stderr(&unknown).starts_with(expected));
}
