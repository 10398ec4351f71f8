//! The programs that decide whether a reply has an attribute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fancy_regex::{Regex, RegexBuilder};

use super::{Parameter, Seen};

/// Steps that a match may go back before it is stopped: patterns come from files.
const MOST_BACKTRACKS: usize = 100_000;

/// Words of one pattern that stay compiled.
const MOST_COMPILED: usize = 256;

/// A program that decides whether a reply has an attribute.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// The pattern is found.
    Found(Pattern),
    /// The pattern is found at least `{n}` times, or at most if `most`.
    Counted { pattern: Pattern, most: bool },
    /// A program of this name.
    Program(Program),
}

/// Programs that also read the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// Reply and request have an unusual word in common.
    OnTopic,
    /// The reply contains the request.
    RepeatsRequest,
}

impl Program {
    pub fn from_name(name: &str) -> Option<Program> {
        match name {
            "on-topic" => Some(Program::OnTopic),
            "repeats-request" => Some(Program::RepeatsRequest),
            _ => None,
        }
    }

    fn holds(self, seen: Seen<'_>) -> Option<bool> {
        match self {
            Program::OnTopic => on_topic(seen),
            Program::RepeatsRequest => {
                let request = words(seen.prompt);
                let reply = words(seen.reply);
                let found = reply.windows(request.len().max(1)).any(|part| part == request);
                Some(found && !request.is_empty())
            }
        }
    }
}

/// Words in lower case.
pub(super) fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Words of a request that say nothing about its subject.
const USUAL: &str = " about after again always another anything because before being between could does doing \
    every everyone explain first from give good have help into just know like little long make many more most much \
    need only other people please really right should some someone something than that their them then there these \
    they thing things think this time want well were what when where which while will with without word words would \
    write year your yourself ";

/// Whether a word of the request's subject, by its first five letters, is in the reply. A request without such a word
/// cannot be decided.
fn on_topic(seen: Seen<'_>) -> Option<bool> {
    let stem = |word: &String| word.chars().take(5).collect::<String>();
    let unusual = |word: &String| word.chars().count() >= 4 && !USUAL.contains(&format!(" {word} "));
    let subject: Vec<String> = words(seen.prompt).iter().filter(|word| unusual(word)).map(stem).collect();
    if subject.is_empty() {
        return None;
    }
    let reply: Vec<String> = words(seen.reply).iter().map(stem).collect();
    Some(subject.iter().any(|word| reply.contains(word)))
}

impl Test {
    pub fn holds(&self, seen: Seen<'_>, parameter: &Parameter) -> Option<bool> {
        match self {
            Test::Found(pattern) => pattern.is_in(seen.reply, parameter),
            Test::Counted { pattern, most } => {
                let Parameter::Number(bound) = parameter else { return None };
                let count = pattern.count(seen.reply)?;
                Some(if *most { count <= *bound } else { count >= *bound })
            }
            Test::Program(program) => program.holds(seen),
        }
    }
}

/// A regular expression in which `{w}` may stand for a word. Clones share what is compiled.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    /// The expression by word; only one without a parameter.
    compiled: Arc<Mutex<HashMap<String, Regex>>>,
}

impl Pattern {
    /// # Errors
    ///
    /// What is wrong with the expression.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let pattern = Pattern { text: text.to_owned(), compiled: Arc::default() };
        pattern.regex("word")?;
        Ok(pattern)
    }

    fn regex(&self, word: &str) -> Result<Regex, String> {
        let mut compiled = self.compiled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = if self.text.contains("{w}") { word } else { "" };
        if let Some(found) = compiled.get(key) {
            return Ok(found.clone());
        }
        if compiled.len() == MOST_COMPILED {
            compiled.clear();
        }
        let text = self.text.replace("{w}", &fancy_regex::escape(key));
        let built = RegexBuilder::new(&text).backtrack_limit(MOST_BACKTRACKS).build();
        let built = built.map_err(|error| format!("`{}` is no regular expression: {error}", self.text))?;
        compiled.insert(key.to_owned(), built.clone());
        Ok(built)
    }

    /// `None` if the match is stopped.
    fn is_in(&self, text: &str, parameter: &Parameter) -> Option<bool> {
        let word = if let Parameter::Word(word) = parameter { word } else { "" };
        self.regex(word).ok()?.is_match(text).ok()
    }

    fn count(&self, text: &str) -> Option<usize> {
        let regex = self.regex("").ok()?;
        let mut count = 0;
        for found in regex.find_iter(text) {
            found.ok()?;
            count += 1;
        }
        Some(count)
    }

    /// All matches replaced; `None` if the match is stopped.
    pub fn replace(&self, text: &str, with: &str) -> Option<String> {
        self.regex("").ok()?.try_replacen(text, 0, with).ok().map(std::borrow::Cow::into_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_parameters() {
        let seen = |reply| Seen { prompt: "Why is bread soft?", reply };
        let keyword = Test::Found(Pattern::new(r"(?i)\b{w}\b").expect("sound"));
        let word = |word: &str| Parameter::Word(word.to_owned());
        assert_eq!(keyword.holds(seen("The Ocean."), &word("ocean")), Some(true));
        assert_eq!(keyword.holds(seen("The oceans."), &word("ocean")), Some(false));
        let words = |most| Test::Counted { pattern: Pattern::new(r"\S+").expect("sound"), most };
        assert_eq!(words(false).holds(seen("one two three"), &Parameter::Number(3)), Some(true));
        assert_eq!(words(true).holds(seen("one two three"), &Parameter::Number(2)), Some(false));
        assert_eq!(words(true).holds(seen("one"), &Parameter::None), None);
        assert!(Pattern::new("(").expect_err("no expression").contains("`(` is no regular expression"));
    }

    #[test]
    fn a_pattern_that_goes_back_too_often_decides_nothing() {
        let slow = Test::Found(Pattern::new(r"^(?:(?=a)a+)+(?<!a)$").expect("sound"));
        let text = "a".repeat(60) + "b";
        assert_eq!(slow.holds(Seen { prompt: "", reply: &text }, &Parameter::None), None);
    }

    #[test]
    fn the_subject_of_a_request_is_its_unusual_words() {
        let seen = |prompt, reply| Seen { prompt, reply };
        let prompt = "What should I know about baking bread?";
        assert_eq!(on_topic(seen(prompt, "Bake it long.")), Some(false), "four letters are not five");
        assert_eq!(on_topic(seen(prompt, "Breads need heat.")), Some(true));
        assert_eq!(on_topic(seen("What is it?", "Bread.")), None);
        let repeats = Program::RepeatsRequest;
        assert_eq!(repeats.holds(seen("Why so?", "You ask: why so? Well.")), Some(true));
        assert_eq!(repeats.holds(seen("Why so?", "So why?")), Some(false));
    }
}
