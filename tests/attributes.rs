//! The attributes that ship with Parr, and what the factory makes of them.

use std::collections::{BTreeSet, HashSet};

use parr::attributes::{
    AttributeSet, CaseOptions, Factory, FactoryConfig, ListCase, Parameter, PlainReply, Reserved, Seen,
    Split, everyday, lists,
};
use parr::preferences::LabelledReply;

const REPLIES: [&str; 5] = [
    "Bread rises because yeast makes gas. The dough needs warmth and time, and a covered bowl helps. Bake it until the \
     crust is golden.",
    "A library card is free in most towns. Bring something with your address. The staff will print it at once.",
    "Start with the largest task. Write it down, and give it an hour before lunch.",
    "Plants turn towards the light, since their stems grow faster on the dark side.",
    "Old maps show towns that no longer exist. Some were drowned by lakes, others were only a mistake of the printer.",
];

fn plain() -> Vec<PlainReply> {
    let prompts = [
        "Why does bread rise?",
        "How do I join a library?",
        "How do I plan a day?",
        "Why do plants bend?",
        "Are old maps wrong?",
    ];
    let pair =
        |(prompt, reply): (&str, &str)| PlainReply { prompt: prompt.to_owned(), reply: reply.to_owned() };
    prompts.into_iter().zip(REPLIES).map(pair).collect()
}

#[test]
fn there_are_many_from_many_domains() {
    let set = AttributeSet::shipped();
    let domains: BTreeSet<&str> = set.trained().map(|one| &one.domain[..]).collect();
    assert!(set.trained().count() >= 150, "{} attributes", set.trained().count());
    assert!(domains.len() >= 10, "{domains:?}");
    assert!(set.held_out().count() >= 30, "{} held out", set.held_out().count());
    assert_eq!(set.held_out_domains().len(), 2, "{:?}", set.held_out_domains());
    let written: usize =
        set.trained().flat_map(|one| [true, false].map(|wants| one.sentences(wants).len())).sum();
    assert!(written >= 2000, "{written} sentences");
}

#[test]
fn no_sentence_of_an_evaluation_is_in_the_training() {
    let set = AttributeSet::shipped();
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric() || *c == ' ').collect::<String>().to_lowercase()
    };
    let sentences = |one: &parr::attributes::Attribute| -> Vec<String> {
        [true, false].iter().flat_map(|&wants| one.sentences(wants)).map(|text| plain(text)).collect()
    };
    let taught: HashSet<String> = set.trained().flat_map(sentences).collect();
    let ifbench = AttributeSet::ifbench();
    assert!(ifbench.iter().count() >= 25 && ifbench.trained().count() == 0);
    for one in set.held_out().chain(ifbench.held_out()) {
        assert!(Reserved::shipped().has_attribute(&one.id), "{}", one.id);
        let seen: Vec<String> = sentences(one).into_iter().filter(|text| taught.contains(text)).collect();
        assert!(seen.is_empty(), "{}: {seen:?}", one.id);
    }
    let written = everyday();
    assert!(written.len() >= 300, "{} sentences", written.len());
    let mut once = HashSet::new();
    for sentence in &written {
        let attribute =
            set.get(&sentence.attribute).unwrap_or_else(|| panic!("`{}` is unknown", sentence.attribute));
        assert!(!attribute.held_out, "{}", attribute.id);
        assert!(!taught.contains(&plain(&sentence.text)), "{:?} is taught", sentence.text);
        assert!(once.insert(plain(&sentence.text)), "{:?} comes twice", sentence.text);
    }
}

/// How many of the tries give the attribute: most of them, for every attribute that has an edit.
#[test]
fn every_edit_gives_what_its_program_sees() {
    let set = AttributeSet::shipped();
    let mut weak = Vec::new();
    let ifbench = AttributeSet::ifbench();
    for attribute in set.iter().chain(ifbench.iter()) {
        assert!(set.get(&attribute.id).is_none() || ifbench.get(&attribute.id).is_none(), "{}", attribute.id);
        let (mut tried, mut given) = (0, 0);
        for (at, reply) in plain().iter().enumerate() {
            let seen = Seen { prompt: &reply.prompt, reply: &reply.reply };
            for (nth, parameter) in attribute.parameters().iter().take(3).enumerate() {
                if attribute.holds(seen, parameter) != Some(false) {
                    continue;
                }
                for pick in 0..4u64 {
                    tried += 1;
                    let pick = pick * 7919 + 31 * at as u64 + nth as u64;
                    let Some(text) = attribute.give(seen, parameter, pick) else { continue };
                    given += 1;
                    assert_eq!(attribute.give(seen, parameter, pick), Some(text), "the same every time");
                }
            }
        }
        if attribute.can_give() && given * 2 < tried {
            weak.push(format!("{}: {given} of {tried}", attribute.id));
        }
    }
    assert!(weak.len() <= 12, "{} edits seldom work: {weak:#?}", weak.len());
}

#[test]
fn a_pair_depends_on_its_number_alone() {
    let (set, replies) = (AttributeSet::shipped(), plain());
    let factory = || Factory::new(set.trained(), &replies, FactoryConfig::default()).expect("sound settings");
    let first: Vec<_> = (0..12).map(|number| factory().make(number)).collect();
    let whole = factory();
    assert!((0..12).rev().all(|number| whole.make(number) == first[number as usize]));
    let all: Vec<_> = first.iter().flatten().cloned().collect();
    assert!(whole.make_all(0..12) == all && whole.make_all(3..3).is_empty(), "on several cores");
    let config = FactoryConfig { seed: 1, ..FactoryConfig::default() };
    assert_ne!(Factory::new(set.trained(), &replies, config).expect("sound settings").make(0), first[0]);
}

#[test]
fn only_sentence_and_reply_together_give_a_label_away() {
    let (set, replies) = (AttributeSet::shipped(), plain());
    let config = FactoryConfig { warm_up: 0, ..FactoryConfig::default() };
    let factory = Factory::new(set.trained(), &replies, config).expect("sound settings");
    let pairs: Vec<[LabelledReply; 2]> = (0..60).filter_map(|number| factory.make(number)).collect();
    assert_eq!(pairs.len(), 60);
    let held: HashSet<&str> = set.held_out().map(|one| &one.id[..]).collect();
    let (mut all, mut yes, mut differing, mut words) = (0.0, 0.0, 0.0, 0.0);
    for [one, other] in &pairs {
        assert_eq!(one.prompt, other.prompt);
        assert_eq!(one.labels.len(), other.labels.len());
        let mut principles = HashSet::new();
        for (label, beside) in one.labels.iter().zip(&other.labels) {
            assert_eq!((&label.principle, &label.attribute), (&beside.principle, &beside.attribute));
            assert!(principles.insert(&label.principle), "{:?} comes twice", label.principle);
            assert!(!Reserved::shipped().has_sentence(&label.principle), "{:?}", label.principle);
            let ids = label.attribute.as_deref().expect("the factory names attributes");
            assert!(ids.split('+').all(|id| set.get(id).is_some() && !held.contains(id)), "{ids}");
            assert!(!label.principle.contains(['{', '}']), "{:?} has an open place", label.principle);
            all += 1.0;
            yes += f64::from(u8::from(label.keeps)) / 2.0 + f64::from(u8::from(beside.keeps)) / 2.0;
            differing += f64::from(u8::from(label.keeps != beside.keeps));
            words += f64::from(u8::from(set.get(ids).is_some_and(|one| one.domain == "word")));
        }
    }
    assert!(all > 60.0 * 15.0, "{all} labels");
    assert!((0.45..0.55).contains(&(yes / all)), "{} are yes", yes / all);
    assert!(differing / all > 0.6, "{} differ", differing / all);
    assert!((0.1..0.2).contains(&(words / all)), "{} are about single words", words / all);
    let texts: BTreeSet<&str> = pairs.iter().flatten().map(|reply| &reply.reply[..]).collect();
    assert!(texts.len() > 110, "{} different replies", texts.len());
}

/// A label about a single word is right, and the first pairs have hardly any others.
#[test]
fn the_first_pairs_are_about_words() {
    let (set, replies) = (AttributeSet::shipped(), plain());
    let factory = Factory::new(set.trained(), &replies, FactoryConfig::default()).expect("sound settings");
    let (mut words, mut all) = (0, 0);
    for number in 0..20 {
        for reply in factory.make(number).expect("the replies have text") {
            let lower = reply.reply.to_lowercase();
            let own: HashSet<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
            for label in &reply.labels {
                all += 1;
                if label.attribute.as_deref() == Some("any-word") {
                    words += 1;
                    let said = label.principle.to_lowercase();
                    let about = said.split(|c: char| !c.is_alphanumeric()).any(|word| own.contains(word));
                    assert!(about || !label.principle.contains("Use the word") || !label.keeps, "{label:?}");
                }
            }
        }
    }
    assert!(words * 10 > all * 8, "{words} of {all}");
    let whole = factory.make(500).expect("the replies have text");
    let later = whole[0].labels.iter().filter(|label| label.attribute.as_deref() == Some("any-word")).count();
    assert!(later <= 4, "{later}");
}

/// Four replies that keep different numbers of the sentences of a list.
#[test]
fn lists_rank_replies_by_what_they_keep() {
    let (set, replies) = (AttributeSet::shipped(), plain());
    let options = CaseOptions { lists: 3, ..CaseOptions::default() };
    let cases = lists(&set, &everyday(), &replies, &options);
    assert!(cases.len() > 30, "{} of 42", cases.len());
    for case in &cases {
        let ListCase { principles, replies, kept, attributes, .. } = case;
        assert!((2..=8).contains(&principles.len()) && attributes.len() == principles.len());
        assert!(replies.len() == 4 && kept.len() == 4);
        assert!(
            kept.iter().all(|n| *n <= principles.len()) && kept.iter().any(|n| n != &kept[0]),
            "{kept:?}"
        );
        let held_out = case.split == Split::NewAttribute;
        assert!(attributes.iter().all(|one| one.held_out == held_out), "{case:?}");
    }
    let again = lists(&set, &everyday(), &replies, &options);
    assert_eq!(
        again.iter().map(|case| &case.replies).collect::<Vec<_>>(),
        cases.iter().map(|case| &case.replies).collect::<Vec<_>>()
    );
    let lengths: BTreeSet<usize> = cases.iter().map(|case| case.principles.len()).collect();
    assert_eq!(lengths.len(), 7, "{lengths:?}");
}

#[test]
fn a_word_that_is_asked_for_is_the_one_that_counts() {
    let set = AttributeSet::shipped();
    let keyword = set.get("keyword").expect("it ships");
    let parameters = keyword.parameters();
    assert!(parameters.len() >= 12);
    let [Parameter::Word(first), Parameter::Word(second), ..] = &parameters[..] else { panic!("words") };
    let text = format!("It was the {first}.");
    let seen = Seen { prompt: "What was it?", reply: &text };
    assert_eq!(keyword.holds(seen, &parameters[0]), Some(true));
    assert_eq!(keyword.holds(seen, &parameters[1]), Some(false), "{second}");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let (set, replies) = (AttributeSet::shipped(), plain());
    let fault = |attributes: usize, replies: &[PlainReply], config| {
        Factory::new(set.trained().take(attributes), replies, config)
            .expect_err("nothing to make")
            .to_string()
    };
    assert!(fault(0, &replies, FactoryConfig::default()).contains("no attribute"));
    assert!(fault(5, &[], FactoryConfig::default()).contains("no plain reply"));
    let config = FactoryConfig { written: 1.5, ..FactoryConfig::default() };
    assert!(fault(5, &replies, config).contains("shares between 0 and 1"));
}
