//! Which answers are kept, and why the others are not.

use parr::self_align::{Filter, FilterOptions, Filtered, InContext, Reason, Unfinished, Wanted};

use super::shipped;
use crate::text::byte_level;

const OPENER: &str = "Before I answer, let me see which of my rules matter here.";
const REQUEST: &str = "Why does bread go stale?";

fn filter(options: FilterOptions) -> Filter {
    let (rules, exemplars) = shipped();
    let prompt = InContext::fit(&byte_level(), &rules, &exemplars, Wanted::default(), usize::MAX);
    Filter::new(&prompt.expect("there is room"), options)
}

fn written(answer: &str) -> String {
    format!(" {OPENER} By (recall) I think.\n\nAssistant: {answer}")
}

fn answer(options: FilterOptions, text: &str, finished: bool) -> Result<String, Reason> {
    filter(options).apply(REQUEST, text, finished).answer
}

#[test]
fn a_good_answer_is_parted_from_its_thoughts() {
    let text = written("Starch takes up water again, and gets firm.\n\nKeep it in paper.\n");
    let expected = Filtered {
        thoughts: Some("By (recall) I think.".to_owned()),
        answer: Ok("Starch takes up water again, and gets firm.\n\nKeep it in paper.".to_owned()),
        shortened: false,
    };
    assert_eq!(filter(FilterOptions::default()).apply(REQUEST, &text, true), expected);
}

#[test]
fn without_thoughts_all_of_the_text_is_the_answer() {
    let (rules, exemplars) = shipped();
    let wanted = Wanted { thoughts: false, ..Wanted::default() };
    let prompt =
        InContext::fit(&byte_level(), &rules, &exemplars, wanted, usize::MAX).expect("there is room");
    let filter = Filter::new(&prompt, FilterOptions::default());
    let found = filter.apply(REQUEST, " Starch takes up water again.\n", true);
    assert_eq!((found.thoughts, found.answer), (None, Ok("Starch takes up water again.".to_owned())));
    let leaked = filter.apply(REQUEST, " Starch gets firm.\n\nAssistant: It does.", true);
    assert_eq!(leaked.answer, Err(Reason::Leak));
}

#[test]
fn every_fault_has_its_reason() {
    let default = FilterOptions::default();
    let good = "Starch takes up water again, and gets firm.";
    for (text, finished, expected) in [
        ("By (recall) I think.\n\nAssistant: Starch gets firm with time.".to_owned(), true, Reason::NoOpener),
        (format!("{OPENER} By (recall) I think, and think."), true, Reason::NoAnswer),
        (written(good), false, Reason::Unfinished),
        (written("Starch, starch of the carotenoids, gets firm."), true, Reason::Leak),
        (written("Starch gets firm.\nAssistant (thoughts): more, and so on"), true, Reason::Leak),
        (written("Starch gets firm. Understood.  I will start afresh."), true, Reason::Leak),
        (written(&format!("You ask: {REQUEST} It is the starch.")), true, Reason::Echo),
        (written("Starch."), true, Reason::TooShort),
        (written(""), true, Reason::TooShort),
    ] {
        assert_eq!(answer(default, &text, finished), Err(expected), "{text}");
    }
    // An exemplar's word that the request has itself is no leak; nor is a short request an echo.
    let leak =
        filter(default).apply("Tell me of carotenoids.", &written("Carotenoids are orange pigments."), true);
    assert!(leak.answer.is_ok(), "{leak:?}");
    let short = filter(default).apply("Stale bread?", &written("Stale bread? It is the starch in it."), true);
    assert!(short.answer.is_ok(), "{short:?}");
}

#[test]
fn options_decide_on_apologies_echoes_and_what_ran_out() {
    let sorry = written("I\u{2019}m sorry, I do not know about bread.");
    assert!(answer(FilterOptions::default(), &sorry, true).is_ok());
    let strict = FilterOptions { drop_apologies: true, ..FilterOptions::default() };
    assert_eq!(answer(strict, &sorry, true), Err(Reason::Apology));

    let echo = written(&format!("{REQUEST} It is the starch."));
    assert!(answer(FilterOptions { drop_echoes: false, ..FilterOptions::default() }, &echo, true).is_ok());

    let cut = FilterOptions { unfinished: Unfinished::Cut, ..FilterOptions::default() };
    let broken = written("Starch takes up water again. That makes it");
    assert_eq!(answer(cut, &broken, false).as_deref(), Ok("Starch takes up water again."));
    assert_eq!(answer(cut, &written("Starch takes up"), false), Err(Reason::Unfinished));
    // What came to its end by itself needs no full stop.
    assert!(answer(cut, &written("Because of the starch in it"), true).is_ok());
}

#[test]
fn what_goes_round_in_circles_is_cut_before_it_does() {
    let circles =
        written("Starch gets firm with time. Keep it dry. Starch gets firm with time. Keep it dry.");
    for finished in [true, false] {
        let filtered = filter(FilterOptions::default()).apply(REQUEST, &circles, finished);
        assert_eq!(filtered.answer.as_deref(), Ok("Starch gets firm with time. Keep it dry."));
        assert!(filtered.shortened);
    }
}
