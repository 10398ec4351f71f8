//! Checks of a reply's words and their positions. English, except for the checks of question marks.

use super::marks::ends_with_question;
use super::text::{blocks, folded, has_words, lookups, sentences};

/// The words that may close an answer.
const SUMMARIES: &[&str] = &[
    "in summary",
    "to sum up",
    "to summarize",
    "to summarise",
    "in conclusion",
    "in short",
    "overall",
    "all in all",
];
const OFFERS: &[&str] =
    &["let me know", "feel free", "happy to help", "glad to help", "can i help", "reach out"];
const GREETINGS: &[&str] = &["hello", "hi", "hey", "greetings", "welcome", "dear"];
const TIMES_OF_DAY: &[&str] = &["morning", "afternoon", "evening", "day"];
const FIRST_PERSON: &[&str] = &["i", "me", "my", "mine", "myself"];
const SECOND_PERSON: &[&str] = &["you", "your", "yours", "yourself", "yourselves"];
const EXAMPLES: &[&str] = &["for example", "for instance", "e.g.", "such as"];
const HEDGES: &[&str] = &[
    "perhaps",
    "maybe",
    "probably",
    "possibly",
    "might",
    "could",
    "likely",
    "seems",
    "apparently",
    "presumably",
];
const CONTRACTED_ENDS: &[&str] = &["n't", "'re", "'ve", "'ll", "'d", "'m"];
const CONTRACTED: &[&str] =
    &["it's", "that's", "there's", "here's", "what's", "who's", "let's", "he's", "she's"];

pub(super) fn ends_with_summary(text: &str) -> bool {
    let sentences = sentences(text);
    let begins = |text: &String| {
        let text = folded(text);
        let text = text.trim_start_matches(|c: char| !c.is_alphanumeric());
        SUMMARIES.iter().any(|phrase| {
            let rest = text.strip_prefix(phrase);
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        })
    };
    let blocks = blocks(text);
    // The start of a single block is its opening.
    let closing = blocks.last().filter(|_| blocks.len() > 1);
    sentences.len() > 1 && (sentences.last().is_some_and(begins) || closing.is_some_and(begins))
}

pub(super) fn ends_with_offer(text: &str) -> bool {
    sentences(text).iter().rev().take(2).any(|sentence| {
        let sentence = folded(sentence);
        OFFERS.iter().any(|phrase| has_words(&sentence, phrase)) || offers_answers(&sentence)
    })
}

/// `if you have any questions`, or the same with `more`, `further` or `other`.
fn offers_answers(sentence: &str) -> bool {
    sentence.match_indices("if you have ").any(|(at, found)| {
        let rest: Vec<&str> = sentence[at + found.len()..].split(' ').collect();
        let kinds = rest.iter().take_while(|word| ["any", "more", "further", "other"].contains(word)).count();
        kinds > 0 && rest.get(kinds).is_some_and(|word| word.starts_with("questions"))
    })
}

pub(super) fn opens_with_greeting(text: &str) -> bool {
    let words = lookups(text);
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    GREETINGS.contains(&word(0)) || word(0) == "good" && TIMES_OF_DAY.contains(&word(1))
}

pub(super) fn opens_with_question(text: &str) -> bool {
    sentences(text).first().is_some_and(|sentence| ends_with_question(sentence))
}

pub(super) fn opens_with_in_short(text: &str) -> bool {
    lookups(text).starts_with(&["in".to_owned(), "short".to_owned()])
}

pub(super) fn first_person(text: &str) -> bool {
    lookups(text).iter().any(|word| FIRST_PERSON.contains(&word.as_str()) || word.starts_with("i'"))
}

pub(super) fn second_person(text: &str) -> bool {
    lookups(text).iter().any(|word| SECOND_PERSON.contains(&word.as_str()) || word.starts_with("you'"))
}

pub(super) fn contains_example(text: &str) -> bool {
    let text = folded(&text.replace("**", "").replace("__", ""));
    EXAMPLES.iter().any(|phrase| has_words(&text, phrase)) || has_words(&text, "example:")
}

pub(super) fn hedged(text: &str) -> bool {
    lookups(text).iter().any(|word| HEDGES.contains(&word.as_str()))
}

pub(super) fn contractions(text: &str) -> bool {
    lookups(text).iter().any(|word| {
        CONTRACTED.contains(&word.as_str()) || CONTRACTED_ENDS.iter().any(|end| word.ends_with(end))
    })
}
