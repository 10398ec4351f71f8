//! Which of the model's answers are worth learning from, and what of them.

use serde::{Deserialize, Serialize};

use super::InContext;
use super::prompt::{ANSWER, THOUGHTS, USER};
use super::repeats::{whole_sentences, without_repeats};
use crate::principles::contains_phrase;

/// Why an answer was dropped. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The request was too long to be asked.
    LongPrompt,
    /// The thoughts do not begin with the opener: the model did not follow the exemplars.
    NoOpener,
    /// Nothing says where the thoughts end and the answer begins.
    NoAnswer,
    /// It broke off at the limit of tokens, or has no whole sentence before that.
    Unfinished,
    /// It says something that only the prompt can have put there: words of an exemplar, a speaker's label,
    /// the talk between exemplars.
    Leak,
    /// It repeats the request.
    Echo,
    /// It opens with an apology.
    Apology,
    /// Too little is left of it.
    TooShort,
}

impl Reason {
    /// All there are, in the order in which they are looked for, but for the first.
    pub const ALL: [Reason; 8] = [
        Reason::LongPrompt,
        Reason::NoOpener,
        Reason::NoAnswer,
        Reason::Unfinished,
        Reason::Leak,
        Reason::Echo,
        Reason::Apology,
        Reason::TooShort,
    ];

    /// The word that records say.
    pub fn name(self) -> &'static str {
        match self {
            Reason::LongPrompt => "long_prompt",
            Reason::NoOpener => "no_opener",
            Reason::NoAnswer => "no_answer",
            Reason::Unfinished => "unfinished",
            Reason::Leak => "leak",
            Reason::Echo => "echo",
            Reason::Apology => "apology",
            Reason::TooShort => "too_short",
        }
    }
}

/// What becomes of an answer that ran out of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfinished {
    /// It is dropped, so that nothing is learned that does not come to its end.
    #[default]
    Drop,
    /// It is cut to its whole sentences: more rows where few tokens are drawn.
    Cut,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterOptions {
    /// Answers that ran out of tokens.
    pub unfinished: Unfinished,
    /// Characters that an answer has to have, at least. Dromedary asked for 160; a good answer may be one line.
    pub least_characters: usize,
    /// Whether an answer that contains all of a request of more than 16 characters is dropped.
    pub drop_echoes: bool,
    /// Whether an answer that opens with an apology is dropped. The first Dromedary did so, the second not.
    pub drop_apologies: bool,
}

impl Default for FilterOptions {
    fn default() -> Self {
        FilterOptions {
            unfinished: Unfinished::Drop,
            least_characters: 24,
            drop_echoes: true,
            drop_apologies: false,
        }
    }
}

/// Requests of so many characters or fewer may well stand in an answer.
const SHORT_REQUEST: usize = 16;

/// How apologies begin, in lower case.
const APOLOGIES: [&str; 6] =
    ["sorry", "i'm sorry", "i am sorry", "i apologize", "i apologise", "my apologies"];

/// What is left of what the model wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// The thoughts behind the opener, if there are any.
    pub thoughts: Option<String>,
    /// The answer, or why it was dropped.
    pub answer: Result<String, Reason>,
    /// Whether the answer lost something: what it said twice, or a sentence that broke off.
    pub shortened: bool,
}

/// Tells good answers from others: a pure function of texts.
#[derive(Clone, Debug)]
pub struct Filter {
    options: FilterOptions,
    opener: String,
    leaks: Vec<String>,
}

impl Filter {
    /// The filter for answers to `prompt`.
    pub fn new(prompt: &InContext, options: FilterOptions) -> Filter {
        let labels = [USER, THOUGHTS, ANSWER, prompt.opener()].map(str::to_owned);
        let words = prompt.exemplars().iter().flat_map(|exemplar| exemplar.leaks.iter().cloned());
        let leaks = labels.into_iter().chain(prompt.resets().iter().cloned()).chain(words).collect();
        Filter { options, opener: prompt.opener().to_owned(), leaks }
    }

    /// Parts what the model wrote after [`InContext::encode`] of `request` into thoughts and answer, and judges
    /// the answer; `finished` says that the model came to an end by itself.
    pub fn apply(&self, request: &str, text: &str, finished: bool) -> Filtered {
        let dropped = |reason, thoughts| Filtered { thoughts, answer: Err(reason), shortened: false };
        let Some(behind) = text.trim_start().strip_prefix(&self.opener) else {
            return dropped(Reason::NoOpener, None);
        };
        let Some((thoughts, written)) = behind.split_once(&format!("\n{ANSWER}")) else {
            return dropped(Reason::NoAnswer, Some(behind.trim().to_owned()));
        };
        let written = written.trim();
        let mut answer = without_repeats(written);
        let circles = answer.len() < written.len();
        let mut reason = None;
        if !finished && !circles && self.options.unfinished == Unfinished::Drop {
            reason = Some(Reason::Unfinished);
        } else if !finished || circles {
            // What circles stops in the middle of anything, as does what ran out of tokens.
            answer = whole_sentences(answer);
            reason = answer.is_empty().then_some(Reason::Unfinished);
        }
        let reason = reason.or_else(|| self.fault(request, answer));
        Filtered {
            thoughts: Some(thoughts.trim().to_owned()),
            answer: reason.map_or_else(|| Ok(answer.to_owned()), Err),
            shortened: reason.is_none() && answer.len() < written.len(),
        }
    }

    /// What is wrong with an answer that came to its end.
    fn fault(&self, request: &str, answer: &str) -> Option<Reason> {
        let FilterOptions { least_characters, drop_echoes, drop_apologies, .. } = self.options;
        let copied = |words: &String| contains_phrase(answer, words) && !contains_phrase(request, words);
        let long = request.trim().chars().count() > SHORT_REQUEST;
        let opening = answer.to_lowercase().replace('\u{2019}', "'");
        if self.leaks.iter().any(copied) {
            Some(Reason::Leak)
        } else if drop_echoes && long && contains_phrase(answer, request) {
            Some(Reason::Echo)
        } else if drop_apologies && APOLOGIES.iter().any(|words| opening.starts_with(words)) {
            Some(Reason::Apology)
        } else if answer.chars().count() < least_characters {
            Some(Reason::TooShort)
        } else {
            None
        }
    }
}
