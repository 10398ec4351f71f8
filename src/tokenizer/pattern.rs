//! Patterns of a tokenizer's files: regular expressions with bounds on their size and on the time they take.

use std::ops::Range;
use std::time::{Duration, Instant};

use fancy_regex::{Regex, RegexBuilder};

use super::TextError;

/// Most bytes of one pattern; the longest in use has under two thousand.
const MAX_PATTERN_BYTES: usize = 1 << 13;

/// Most repetitions that one pattern may count out, as in `\s{512}`: each one is compiled.
const MAX_COUNTED: u64 = 4096;

/// Bytes that one part of a compiled pattern may take.
const MAX_COMPILED_BYTES: usize = 1 << 21;

/// The time that an encoding may take: this much, and as much again for each [`BYTES_A_TURN`] of text. It is far
/// more than any sound tokenizer takes.
const TURN: Duration = Duration::from_secs(5);
const BYTES_A_TURN: usize = 1 << 18;

/// A limit on the time of one encoding. The regular expressions of a file from outside can take any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    until: Instant,
}

impl Meter {
    /// The limit for a text of `bytes` bytes, from now on.
    pub(super) fn start(bytes: usize) -> Self {
        let turns = u32::try_from(bytes / BYTES_A_TURN).unwrap_or(u32::MAX - 1) + 1;
        Self { until: Instant::now() + TURN.saturating_mul(turns) }
    }

    /// # Errors
    ///
    /// [`TextError::Encode`] if the time is over.
    pub(super) fn check(&self) -> Result<(), TextError> {
        if Instant::now() < self.until {
            return Ok(());
        }
        let reason = "the tokenizer's own rules take far too long for it; use another tokenizer".to_owned();
        Err(TextError::Encode { reason })
    }
}

/// A text to search for, or a regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
}

/// What happens to the matches of a pattern at which a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub(super) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

impl Pattern {
    /// Compiles a regular expression.
    ///
    /// # Errors
    ///
    /// The broken rule, with the beginning of the pattern.
    pub(super) fn regex(pattern: &str) -> Result<Self, String> {
        let shown: String = pattern.chars().take(60).collect();
        if pattern.len() > MAX_PATTERN_BYTES {
            let count = pattern.len();
            return Err(format!("the pattern `{shown}...` has {count} bytes, more than {MAX_PATTERN_BYTES}"));
        }
        if counted(pattern) > MAX_COUNTED {
            return Err(format!("the pattern `{shown}` counts out more than {MAX_COUNTED} repetitions"));
        }
        let built = RegexBuilder::new(pattern)
            .delegate_size_limit(MAX_COMPILED_BYTES)
            .delegate_dfa_size_limit(MAX_COMPILED_BYTES)
            .build();
        match built {
            Ok(regex) => Ok(Self { regex }),
            Err(error) => Err(format!("the pattern `{shown}` does not compile: {error}")),
        }
    }

    /// A pattern that matches exactly `text`.
    ///
    /// # Errors
    ///
    /// The broken rule if the text is empty or too long.
    pub(super) fn text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a pattern is empty, so it matches everywhere".to_owned());
        }
        Self::regex(&fancy_regex::escape(text))
    }

    /// The places that match, from left to right; none overlap.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] if matching takes too long.
    pub(super) fn matches(&self, text: &str, meter: &Meter) -> Result<Vec<Range<usize>>, TextError> {
        let mut places = Vec::new();
        for found in self.regex.find_iter(text) {
            meter.check()?;
            let found = found.map_err(|error| {
                let pattern: String = self.regex.as_str().chars().take(60).collect();
                TextError::Encode {
                    reason: format!("the tokenizer's pattern `{pattern}` fails on it: {error}"),
                }
            })?;
            places.push(found.range());
        }
        Ok(places)
    }

    /// `text` cut at the matches, or with `invert` at what does not match. No part is empty.
    ///
    /// # Errors
    ///
    /// As [`Pattern::matches`].
    pub(super) fn split(
        &self,
        text: &str,
        behavior: Behavior,
        invert: bool,
        meter: &Meter,
    ) -> Result<Vec<Range<usize>>, TextError> {
        Ok(cut(text.len(), self.matches(text, meter)?, behavior, invert))
    }
}

/// The stretches between 0 and `len` that are left when it is cut at `places`.
pub(super) fn cut(
    len: usize,
    places: impl IntoIterator<Item = Range<usize>>,
    behavior: Behavior,
    invert: bool,
) -> Vec<Range<usize>> {
    let mut stretches: Vec<(Range<usize>, bool)> = Vec::new();
    let mut done = 0;
    for place in places {
        if done < place.start {
            stretches.push((done..place.start, invert));
        }
        done = place.end;
        stretches.push((place, !invert));
    }
    if done < len {
        stretches.push((done..len, invert));
    }
    let mut parts: Vec<Range<usize>> = Vec::with_capacity(stretches.len());
    let mut before = false;
    match behavior {
        Behavior::Isolated => parts.extend(stretches.into_iter().map(|(range, _)| range)),
        Behavior::Removed => {
            parts.extend(stretches.into_iter().filter(|(_, matched)| !matched).map(|(range, _)| range));
        }
        Behavior::Contiguous | Behavior::MergedWithPrevious => {
            for (range, matched) in stretches {
                let joins = match behavior {
                    Behavior::Contiguous => matched == before,
                    _ => matched && !before,
                };
                match parts.last_mut() {
                    Some(last) if joins => last.end = range.end,
                    _ => parts.push(range),
                }
                before = matched;
            }
        }
        Behavior::MergedWithNext => {
            for (range, matched) in stretches.into_iter().rev() {
                match parts.last_mut() {
                    Some(last) if matched && !before => last.start = range.start,
                    _ => parts.push(range),
                }
                before = matched;
            }
            parts.reverse();
        }
    }
    parts.retain(|range| !range.is_empty());
    parts
}

/// The sum of the numbers in braces, those of characters such as `\x{2026}` left out.
fn counted(pattern: &str) -> u64 {
    let opened = pattern.match_indices('{').filter(|(at, _)| {
        let before = &pattern[..*at];
        !["\\x", "\\u", "\\U"].iter().any(|escape| before.ends_with(escape))
    });
    let braced = opened.filter_map(|(at, _)| pattern[at + 1..].split_once('}'));
    let numbers = braced.flat_map(|(inside, _)| inside.split(',')).filter_map(|number| {
        let number = number.trim();
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| number.parse::<u64>().unwrap_or(u64::from(u32::MAX)))
    });
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pattern: &str, text: &str, behavior: Behavior, invert: bool) -> Vec<String> {
        let pattern = Pattern::regex(pattern).expect("compiles");
        let ranges = pattern.split(text, behavior, invert, &Meter::start(text.len())).expect("is quick");
        ranges.into_iter().map(|range| text[range].to_owned()).collect()
    }

    /// What the `tokenizers` library documents for each behaviour.
    #[test]
    fn each_behaviour_cuts_as_the_library_does() {
        let text = "the-final--countdown";
        assert_eq!(split("-", text, Behavior::Removed, false), ["the", "final", "countdown"]);
        assert_eq!(split("-", text, Behavior::Isolated, false), ["the", "-", "final", "-", "-", "countdown"]);
        let previous = ["the-", "final-", "-", "countdown"];
        assert_eq!(split("-", text, Behavior::MergedWithPrevious, false), previous);
        let next = ["the", "-final", "-", "-countdown"];
        assert_eq!(split("-", text, Behavior::MergedWithNext, false), next);
        let contiguous = ["the", "-", "final", "--", "countdown"];
        assert_eq!(split("-", text, Behavior::Contiguous, false), contiguous);
        assert_eq!(split("[a-z]+", text, Behavior::Removed, true), ["the", "final", "countdown"]);
        assert_eq!(split("(?=[A-Z])", "aBcD", Behavior::Isolated, false), ["a", "Bc", "D"]);
        assert_eq!(split("-", "", Behavior::Isolated, false), [""; 0]);
    }

    #[test]
    fn patterns_without_bounds_are_refused() {
        for (pattern, told) in [
            ("a".repeat(MAX_PATTERN_BYTES + 1), "bytes"),
            (r"\w{5000}".to_owned(), "repetitions"),
            (r"(\w{60}){60}".to_owned(), "does not compile"),
            ("(".to_owned(), "does not compile"),
        ] {
            let error = Pattern::regex(&pattern).expect_err("no bound");
            assert!(error.contains(told), "{error}");
        }
        assert!(Pattern::text("").is_err());
        assert!(Pattern::regex(r"\s{512}(?!\S)|\s{256}(?!\S)|\p{L}{2,}").is_ok());
    }

    #[test]
    fn a_pattern_that_takes_for_ever_ends_in_an_error() {
        let pattern = Pattern::regex(r"(?:a|a|(?=a)a)*(?=b)").expect("compiles");
        let text = "a".repeat(200);
        let error = pattern.matches(&text, &Meter::start(text.len())).expect_err("does not end");
        assert!(error.to_string().contains("fails on it"), "{error}");
        let late = Meter { until: Instant::now() };
        let plain = Pattern::regex("a").expect("compiles");
        assert!(plain.matches("a", &late).expect_err("late").to_string().contains("too long"));
    }
}
