//! Files that are used together.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{faults, folder};
use parr::principles::{Collection, PrincipleSet, PrinciplesError, SHIPPED};

fn set(id: &str, principle: &str) -> String {
    format!(
        "id = \"{id}\"\ntitle = \"T\"\ndescription = \"D.\"\nuse = \"always\"\n[[principle]]\nid = \"{principle}\"\n\
         dimension = \"A\"\ndefinition = \"Be {principle}.\"\n"
    )
}

#[test]
fn the_example_in_the_readme_is_a_sound_set() {
    let readme = include_str!("../../README.md");
    let start = readme.find("# kind.toml\n").expect("the example");
    let text = readme[start..].split("```").next().expect("its end");
    let set = PrincipleSet::parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(set.id, "kind");
    assert_eq!(set.principles.len(), 1);
}

#[test]
fn the_sets_that_come_with_parr_are_sound_together() {
    let collection = Collection::read(&[folder()]).unwrap_or_else(|error| panic!("{error}"));
    let count = |id: &str| collection.set(id).expect("shipped").principles.len();
    for (id, expected) in [
        ("reward", 11),
        ("policy", 14),
        ("harmless", 11),
        ("honest", 8),
        ("non-evasive", 9),
        ("interventions", 3),
        ("style", 27),
        ("style-plainer", 27),
        ("style-further", 27),
        ("style-unseen", 27),
        ("small", 4),
        ("self-align", 17),
    ] {
        assert_eq!(count(id), expected, "{id}");
    }
    assert_eq!(collection.exemplars.len(), 1);
    assert_eq!(collection.exemplars[0].exemplars.len(), 6);
    assert!(matches!(collection.set("none"), Err(PrinciplesError::Unknown { .. })));

    // What is built in is what the files say, all of it.
    assert_eq!(SHIPPED.len(), collection.sets.len());
    for set in &collection.sets {
        assert_eq!(PrincipleSet::open(&set.id).expect("built in"), *set);
        let missing = set.principle("none").expect_err("no such principle").to_string();
        assert!(missing.starts_with("there is no principle `none`; choose one of "), "{missing}");
    }
    let unknown = PrincipleSet::open("polite").expect_err("no such set").to_string();
    assert!(unknown.contains("no set of principles `polite`; choose one of reward, policy"), "{unknown}");
}

/// The set `style` in other words has its dimensions and checks, and shares no sentence with it: least of all
/// what is measured on with what is trained on. So it is with the further wordings that a reward model learns from.
#[test]
fn the_sets_of_the_examples_are_sound() {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "toml") {
                let text = std::fs::read_to_string(&path).expect("text");
                if text.contains("[[principle]]") {
                    PrincipleSet::read(&path).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
                    read += 1;
                }
            }
        }
    }
    assert!(read > 3, "{read} sets");
}

#[test]
fn the_wordings_of_style_have_the_same_checks_and_other_words() {
    let set = |id| PrincipleSet::open(id).expect("built in");
    let style = set("style");
    let mut texts: HashSet<String> = HashSet::new();
    for wording in [&style, &set("style-plainer"), &set("style-further"), &set("style-unseen")] {
        for (one, first) in wording.principles.iter().zip(&style.principles) {
            assert_eq!((&one.dimension, one.check), (&first.dimension, first.check));
            assert!(one.check.is_some());
            for text in [false, true].map(|negated| one.text(negated).expect("both are there")) {
                assert!(texts.insert(text.to_lowercase()), "{text}");
            }
        }
    }
    assert_eq!(texts.len(), 4 * 2 * style.principles.len());
    let further = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/reward-model/wordings.toml");
    let further = PrincipleSet::read(&further).expect("sound");
    for one in &further.principles {
        assert!(
            style.principles.iter().any(|first| one.check.is_some() && one.check == first.check),
            "{}",
            one.id
        );
        for text in [false, true].map(|negated| one.text(negated).expect("both are there")) {
            assert!(texts.insert(text.to_lowercase()), "{text}");
        }
    }
}

#[test]
fn doubles_across_files_are_named_with_the_other_file() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        path
    };
    let one = write("one.toml", &set("one", "same"));
    let two = write("two.toml", &set("two", "same"));
    let other = write("more/one.toml", &set("one", "third"));
    write("schema.json", "{}");
    write("notes.txt", "no principles");

    let error = Collection::read(&[folder.path().to_owned()]);
    let text = error.as_ref().expect_err("doubles").to_string();
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        format!(
            "{} line 6 column 6: there is already a principle `same` in {}",
            two.display(),
            one.display()
        ),
        format!("{} line 1 column 1: there is already a set `one` in {}", other.display(), one.display()),
    ];
    assert_eq!(lines, expected);
    assert_eq!(faults(error).len(), 2);

    // One file by two names is one file.
    let again = folder.path().join("more/../one.toml");
    assert_eq!(Collection::read(&[one.clone(), again]).expect("no doubles").sets.len(), 1);

    let reports = Collection::check(&[two, one]).expect("readable");
    let counts: Vec<usize> = reports.iter().map(|report| report.faults.len()).collect();
    assert_eq!(counts, [0, 1], "the second in order is the double");
    assert_eq!(reports[0].summary, "set two, 1 principle, use = \"always\"");
}

#[test]
fn a_folder_without_principles_is_an_error() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let error = Collection::read(&[folder.path().to_owned()]).expect_err("empty");
    assert!(matches!(error, PrinciplesError::Io(_)));
    let error = Collection::read(&[Path::new("no/such.toml").to_owned()]).expect_err("missing");
    assert_eq!(error.to_string(), "cannot read no/such.toml");
}
