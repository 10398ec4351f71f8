//! The prompt: its layout, and what is left out where there is little room.

use parr::principles::{Exemplars, PrincipleSet};
use parr::self_align::{InContext, SelfAlignError, Wanted};
use parr::settings::Auto;

use super::shipped;
use crate::text::byte_level;

fn fit(wanted: Wanted, capacity: usize) -> Result<InContext, SelfAlignError> {
    let (rules, exemplars) = shipped();
    InContext::fit(&byte_level(), &rules, &exemplars, wanted, capacity)
}

#[test]
fn rules_exemplars_and_the_request_stand_in_their_order() {
    let (rules, exemplars) = shipped();
    let wanted = Wanted { rules: Auto::Fixed(2), exemplars: Auto::Fixed(2), thoughts: true };
    let prompt = fit(wanted, usize::MAX).expect("there is room");
    let text = prompt.text();

    // Those asked for, and those that the exemplars name: a fact and a refusal.
    assert_eq!(prompt.rules(), ["no harm", "substance", "recall"]);
    assert_eq!(prompt.left_out(), (14, 4));
    let definition = |id| &rules.principle(id).expect("a rule").definition;
    let listed = format!(
        "## Rules of the assistant\n\n1 (no harm). {}\n2 (substance). {}\n3 (recall). {}\n\n## Conversations\n\n",
        definition("rule-no-harm"),
        definition("rule-substance"),
        definition("rule-recall")
    );
    assert!(text.contains(&listed), "{text}");

    let one = &exemplars.exemplars[0];
    let dialogue = format!(
        "User: {}\n\nAssistant (thoughts): {} {}\n\nAssistant: {}\n\nUser: {}\n\nAssistant: {}\n\nUser: {}\n\n",
        one.user,
        exemplars.opener,
        one.thoughts,
        one.reply,
        exemplars.reset_user,
        exemplars.reset_reply,
        exemplars.exemplars[1].user
    );
    assert!(text.contains(&dialogue), "{text}");
    assert!(text.ends_with(&format!("Assistant: {}\n\nUser:", exemplars.reset_reply)), "{text}");
    assert_eq!(text.matches(&exemplars.opener).count(), 2);

    let tokenizer = byte_level();
    let ids = prompt.encode(&tokenizer, " Why? <|im_end|>\n").expect("encodes");
    assert!(ids.starts_with(prompt.prefix()));
    let rest = tokenizer.decode(&ids[prompt.prefix().len()..], false);
    assert_eq!(rest, " Why? <|im_end|>\n\nAssistant (thoughts):");
    let mark = tokenizer.token_id("<|im_end|>").expect("a special token");
    assert!(!ids.contains(&mark), "special tokens in a request stay text");
}

#[test]
fn without_thoughts_there_are_only_requests_and_replies() {
    let (_, exemplars) = shipped();
    let wanted = Wanted { exemplars: Auto::Fixed(1), thoughts: false, ..Wanted::default() };
    let prompt = fit(wanted, usize::MAX).expect("there is room");
    let one = &exemplars.exemplars[0];
    let dialogue = format!("## Conversations\n\nUser: {}\n\nAssistant: {}\n\nUser:", one.user, one.reply);
    assert!(prompt.text().contains(&dialogue), "{}", prompt.text());
    assert!(!prompt.text().contains("thought"), "{}", prompt.text());
    let tokenizer = byte_level();
    let ids = prompt.encode(&tokenizer, "Why?").expect("encodes");
    assert_eq!(tokenizer.decode(&ids[prompt.prefix().len()..], false), " Why?\n\nAssistant:");
}

#[test]
fn what_does_not_fit_is_left_out_from_the_end() {
    let whole = fit(Wanted::default(), usize::MAX).expect("there is room");
    assert_eq!((whole.rules().len(), whole.exemplars().len(), whole.left_out()), (17, 6, (0, 0)));

    let mut seen = Vec::new();
    let mut capacity = whole.prefix().len();
    let least = loop {
        match fit(Wanted::default(), capacity) {
            Ok(prompt) => {
                assert!(prompt.prefix().len() <= capacity);
                for exemplar in prompt.exemplars() {
                    let named = |rule: &String| exemplar.thoughts.contains(&format!("({rule})"));
                    let count = prompt.rules().iter().filter(|rule| named(rule)).count();
                    assert_eq!(count, exemplar.rules.len(), "a rule of `{}` is missing", exemplar.id);
                }
                seen.push((prompt.exemplars().len(), prompt.rules().len()));
                capacity = prompt.prefix().len() - 1;
            }
            Err(SelfAlignError::NoRoom { needed, capacity: there }) => {
                assert_eq!(there, capacity);
                break needed;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(least > capacity);
    // Exemplars first, down to two; then rules, down to those that the two name; then one exemplar.
    assert_eq!(seen[..5], [(6, 17), (5, 17), (4, 17), (3, 17), (2, 17)]);
    assert_eq!(
        seen[5..],
        [16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
            .map(|rules| (2, rules))
            .into_iter()
            .chain([(1, 2)])
            .collect::<Vec<_>>()
    );

    let fixed = Wanted { exemplars: Auto::Fixed(6), ..Wanted::default() };
    assert!(matches!(fit(fixed, 800), Err(SelfAlignError::NoRoom { .. })));
}

#[test]
fn rules_are_of_their_own_kind_and_exemplars_of_their_rules() {
    let (_, exemplars) = shipped();
    let policy = PrincipleSet::open("policy").expect("it comes with Parr");
    let fitted = InContext::fit(&byte_level(), &policy, &exemplars, Wanted::default(), 9999);
    let message = fitted.expect_err("principles to draw from are no rules").to_string();
    assert!(message.contains("`policy` has use = \"sample\""), "{message}");

    let message = Exemplars::open("self-align", &policy).expect_err("other rules").to_string();
    assert!(message.contains("for the set `self-align`, not for `policy`"), "{message}");
    let message = Exemplars::open("none", &policy).expect_err("no such file").to_string();
    assert!(message.contains("there is no file of exemplars `none`; choose one of self-align"), "{message}");
}
