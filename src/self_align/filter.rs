//! Selects the answers to train on, and the part of each that is kept.

use serde::{Deserialize, Serialize};

use super::InContext;
use super::prompt::{ANSWER, THOUGHTS, USER};
use super::repeats::{whole_sentences, without_repeats};
use crate::principles::contains_phrase;

/// Why an answer was dropped: the first reason that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The request was too long, so the model did not answer it.
    LongPrompt,
    /// The thoughts do not begin with the opener: the model did not follow the exemplars.
    NoOpener,
    /// The label between thoughts and answer is missing.
    NoAnswer,
    /// The answer was cut off at the token limit, or has no whole sentence before the cut.
    Unfinished,
    /// The answer copies text that is only in the prompt: words of an exemplar, a speaker's label, or the
    /// lines between exemplars.
    Leak,
    /// The answer repeats the request.
    Echo,
    /// The answer begins with an apology.
    Apology,
    /// The answer is too short after repeats and unfinished sentences are cut.
    TooShort,
}

impl Reason {
    /// All reasons. The filter checks them in this order, except the first, which is known before it runs.
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

    /// The reason's name in records.
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

/// Treatment of an answer that ran out of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfinished {
    /// It is dropped, so that all training answers are complete.
    #[default]
    Drop,
    /// It is cut to its whole sentences. This keeps more rows if `max_tokens` is small.
    Cut,
}

/// Options of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterOptions {
    /// Treatment of answers that ran out of tokens.
    pub unfinished: Unfinished,
    /// Minimum number of characters in an answer. 160 in Dromedary. The default is lower, because a good
    /// answer may be one line.
    pub least_characters: usize,
    /// Whether to drop answers that contain the whole request, if the request has more than 16 characters.
    pub drop_echoes: bool,
    /// Whether to drop answers that begin with an apology. Dromedary drops them, Dromedary-2 does not.
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

/// A good answer may contain a request of up to this many characters.
const SHORT_REQUEST: usize = 16;

/// Beginnings of apologies, in lower case.
const APOLOGIES: [&str; 6] =
    ["sorry", "i'm sorry", "i am sorry", "i apologize", "i apologise", "my apologies"];

/// The result of the filter for one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// The thoughts after the opener, if there are any.
    pub thoughts: Option<String>,
    /// The answer, or why it was dropped.
    pub answer: Result<String, Reason>,
    /// Whether the answer was shortened, because it repeated itself or ended in an unfinished sentence.
    pub shortened: bool,
}

/// Selects answers by their texts alone.
#[derive(Clone, Debug)]
pub struct Filter {
    options: FilterOptions,
    /// `None` if the prompt asks for no thoughts.
    opener: Option<String>,
    leaks: Vec<String>,
}

impl Filter {
    /// The filter for answers to `prompt`.
    pub fn new(prompt: &InContext, options: FilterOptions) -> Filter {
        let labels = [USER, THOUGHTS, ANSWER, prompt.opener()].map(str::to_owned);
        let words = prompt.exemplars().iter().flat_map(|exemplar| exemplar.leaks.iter().cloned());
        let leaks = labels.into_iter().chain(prompt.resets().iter().cloned()).chain(words).collect();
        Filter { options, opener: prompt.has_thoughts().then(|| prompt.opener().to_owned()), leaks }
    }

    /// Splits `text` into thoughts, if the prompt asks for them, and answer, and checks the answer. `text` is the model's output after
    /// [`InContext::encode`] of `request`. `finished` is true if the output ended before the token limit.
    pub fn apply(&self, request: &str, text: &str, finished: bool) -> Filtered {
        let dropped = |reason, thoughts| Filtered { thoughts, answer: Err(reason), shortened: false };
        let (thoughts, written) = match &self.opener {
            None => (None, text),
            Some(opener) => {
                let Some(behind) = text.trim_start().strip_prefix(opener) else {
                    return dropped(Reason::NoOpener, None);
                };
                let Some((thoughts, written)) = behind.split_once(&format!("\n{ANSWER}")) else {
                    return dropped(Reason::NoAnswer, Some(behind.trim().to_owned()));
                };
                (Some(thoughts.trim().to_owned()), written)
            }
        };
        let written = written.trim();
        let mut answer = without_repeats(written);
        let circles = answer.len() < written.len();
        let mut reason = None;
        if !finished && !circles && self.options.unfinished == Unfinished::Drop {
            reason = Some(Reason::Unfinished);
        } else if !finished || circles {
            // A repeating answer is cut at any point, like one that ran out of tokens.
            answer = whole_sentences(answer);
            reason = answer.is_empty().then_some(Reason::Unfinished);
        }
        let reason = reason.or_else(|| self.fault(request, answer));
        Filtered {
            thoughts,
            answer: reason.map_or_else(|| Ok(answer.to_owned()), Err),
            shortened: reason.is_none() && answer.len() < written.len(),
        }
    }

    /// The reason to drop a finished answer, if there is one.
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
