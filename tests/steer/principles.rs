//! Which principles are used, who is told them, and files that change while they are used.

use std::fs;

use parr::principles::{PrincipleSet, PrinciplesError, Selection};
use parr::steer::{Search, SteerError, Steering, Tell, WatchedSet};
use parr::tokenizer::Message;

use crate::reward::rules;

/// The two rules, the second heavier.
fn weighted() -> PrincipleSet {
    let mut set = rules();
    set.principles[1].weight = 3.0;
    set
}

#[test]
fn the_heaviest_come_first_and_equal_ones_as_they_stand() {
    let ids = |steering: &Steering| steering.used().iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&Steering::new(rules())), ["agrees", "loud"]);
    let mut steering = Steering::new(weighted());
    assert_eq!(ids(&steering), ["loud", "agrees"]);
    steering.most = 1;
    assert_eq!(ids(&steering), ["loud"]);
    let mut style = Steering::new(PrincipleSet::open("style").expect("it is shipped"));
    let all = style.principles.principles.len();
    assert!(all > Steering::MOST);
    assert_eq!(style.used().len(), Steering::MOST);
    style.most = 0;
    assert_eq!(style.used().len(), all);
}

#[test]
fn the_model_is_told_principles_behind_its_system_message() {
    let steering = Steering::new(weighted());
    let told = steering.messages(&[Message::new("system", "Be a pirate.\n"), Message::new("user", "Hello")]);
    assert_eq!(told.len(), 2);
    assert!(told[0].content.starts_with("Be a pirate.\n\n"), "{}", told[0].content);
    assert!(told[0].content.ends_with(":\n- Be loud!\n- Say yes."), "{}", told[0].content);
    let alone = steering.messages(&told[1..]);
    assert_eq!((alone.len(), alone[0].role.as_str()), (2, "system"));
    assert!(alone[0].content.ends_with(":\n- Be loud!\n- Say yes."), "{}", alone[0].content);

    let before = [Message::new("user", "One"), Message::new("assistant", "Two"), told[1].clone()];
    let asked = Steering { tell: Tell::Question, ..steering.clone() }.messages(&before);
    assert_eq!(asked[..2], before[..2], "earlier questions are what they were");
    let question = &asked[2].content;
    assert!(question.ends_with(":\n- Be loud!\n- Say yes.\n\nHello") && asked.len() == 3, "{question}");

    let silent = Steering { tell: Tell::Nobody, ..steering };
    assert_eq!(silent.messages(&told), told);
    assert_eq!(Steering::default().messages(&told), told, "without principles nobody is told of any");
    for tell in Tell::ALL {
        assert_eq!(Tell::from_name(tell.name()), Some(tell));
        assert_eq!(
            Steering { tell, ..Steering::default() }.messages(&told),
            told,
            "there is nothing to tell"
        );
    }
}

#[test]
fn the_reward_model_reads_interventions_first() {
    let interventions = PrincipleSet::open("interventions").expect("they are shipped");
    let count = interventions.principles.len();
    let steering = Steering { interventions: Some(interventions.clone()), ..Steering::new(weighted()) };
    let read = steering.guidelines();
    assert_eq!(
        read[..count],
        interventions.principles.iter().map(|one| &*one.definition).collect::<Vec<_>>()
    );
    assert_eq!(read[count..], ["Be loud!", "Say yes."]);
    let told = steering.messages(&[Message::new("user", "Hello")]);
    assert!(!told[0].content.contains(read[0]), "the model that answers is not told of habits: {told:?}");
}

#[test]
fn some_principles_of_a_set_are_a_set() {
    let picked = Selection::open("style:style-bulleted,!style-concise").expect("it is shipped").into_set();
    let texts: Vec<_> = picked.principles.iter().map(|one| (&*one.id, &*one.definition)).collect();
    let style = PrincipleSet::open("style").expect("it is shipped");
    let [bulleted, concise] =
        ["style-bulleted", "style-concise"].map(|id| style.principle(id).expect("there"));
    let negative = concise.negative.as_deref().expect("it has one");
    assert_eq!(texts, [("style-bulleted", &*bulleted.definition), ("!style-concise", negative)]);
    assert_eq!(picked.principles[1].negative.as_ref(), Some(&concise.definition));
    assert!(picked.principles[0].check.is_some() && picked.principles[1].check.is_none());
    for (spec, reason) in [
        ("style:style-brief", "there is no principle `style-brief`"),
        ("interventions:!never-praise-itself", "principle `never-praise-itself` has no negative"),
        ("style:style-bold,style-bold", "principle `style-bold` is in style and in style"),
        ("stile:one", "there is no set of principles `stile`"),
    ] {
        let error = Selection::open(spec).expect_err("nothing of that name").to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let of = |search| Steering { search, ..Steering::new(rules()) };
    for (search, setting) in [
        (Search::BestOf { n: 0 }, "candidates"),
        (Search::Guided { n: 0, block: 4 }, "candidates"),
        (Search::Guided { n: 4, block: 0 }, "block"),
    ] {
        let error = of(search).check(true).expect_err("nothing to choose from").to_string();
        assert!(error.contains(setting), "{error}");
    }
    for steering in [
        of(Search::BestOf { n: 2 }),
        of(Search::Guided { n: 2, block: 4 }),
        Steering { scores: true, ..of(Search::Sample) },
    ] {
        assert!(matches!(steering.check(false), Err(SteerError::NoReward { .. })));
        assert!(steering.check(true).is_ok());
    }
    assert!(of(Search::Sample).check(false).is_ok());
}

fn file(definition: &str) -> String {
    format!(
        "id = \"mine\"\ntitle = \"Mine\"\ndescription = \"For a test.\"\nuse = \"judge\"\n\n[[principle]]\n\
         id = \"one\"\ndimension = \"One\"\ndefinition = {definition}\nnegative = \"Not so.\"\nweight = 1\n"
    )
}

#[test]
fn an_edited_line_is_read_and_a_broken_one_keeps_the_old_set() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let path = folder.path().join("mine.toml");
    let write = |text: &str| fs::write(&path, text).expect("a scratch directory is writable");
    let definition = |watched: &WatchedSet| watched.set().principles[0].definition.clone();
    write(&file("\"Be brief.\""));
    let mut watched = WatchedSet::open(path.to_str().expect("UTF-8")).expect("a sound file");
    assert!(!watched.poll().expect("nothing happened"));

    write(&file("\"Be briefer.\""));
    assert!(watched.poll().expect("a sound file"));
    assert_eq!(definition(&watched), "Be briefer.");
    assert!(!watched.poll().expect("nothing happened since"));

    write(&file("7"));
    let faults = match watched.poll() {
        Err(PrinciplesError::Faults(faults)) => faults,
        other => panic!("a number is no definition: {other:?}"),
    };
    assert_eq!((faults[0].line, faults[0].column), (9, 14), "{faults:?}");
    assert_eq!(definition(&watched), "Be briefer.");
    assert!(!watched.poll().expect("the same mistake is told once"));
    write("id = \"mine");
    assert!(watched.poll().is_err(), "another mistake");
    fs::remove_file(&path).expect("it is there");
    assert!(watched.poll().is_err());
    assert_eq!(definition(&watched), "Be briefer.");

    write(&file("\"Be briefer.\""));
    assert!(!watched.poll().expect("a sound file"), "it is what it was");
    write(&file("\"Be long.\""));
    assert!(watched.poll().expect("a sound file"));
}
