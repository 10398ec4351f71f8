//! Added tokens: those that are matched in a text as a whole, before any merging.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{TextError, TokenId};

/// The spellings of all added tokens together may have this many bytes: the automaton that finds them takes some
/// fifty times as much memory.
const MAX_SPELLINGS_BYTES: usize = 1 << 22;

/// The most matches that are kept for one text.
const MAX_MATCHES: usize = 1 << 25;

/// A token that is matched as a whole.
#[derive(Debug, Clone, Default)]
pub(super) struct AddedToken {
    /// The text to search for.
    pub(super) text: String,
    pub(super) id: TokenId,
    /// Whether it is matched only where special tokens are parsed.
    pub(super) special: bool,
    /// Whether it matches only between characters that belong to no word.
    pub(super) single_word: bool,
    /// Whether it takes the white space before it.
    pub(super) takes_left: bool,
    /// Whether it takes the white space after it.
    pub(super) takes_right: bool,
}

/// Which token wins where two overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The one that begins first, then the longer: the rule of the `tokenizers` library.
    Leftmost,
    /// The longer one, then the one that begins first: the rule of llama.cpp.
    Longest,
}

/// A part of a text: an added token, or the text between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// An added token.
    Token(TokenId),
    /// A text, never empty.
    Text(&'a str),
}

/// Added tokens, and the automaton that finds them.
#[derive(Debug)]
pub(super) struct Added {
    tokens: Vec<AddedToken>,
    order: Order,
    finder: Option<AhoCorasick>,
}

impl Added {
    /// Tokens with an empty spelling are left out.
    ///
    /// # Errors
    ///
    /// The broken rule if the spellings are too long.
    pub(super) fn new(mut tokens: Vec<AddedToken>, order: Order) -> Result<Self, String> {
        tokens.retain(|token| !token.text.is_empty());
        if order == Order::Longest {
            tokens.sort_by_key(|token| std::cmp::Reverse(token.text.len()));
        }
        let bytes: usize = tokens.iter().map(|token| token.text.len()).sum();
        if bytes > MAX_SPELLINGS_BYTES {
            return Err(format!("the added tokens have {bytes} bytes, more than {MAX_SPELLINGS_BYTES}"));
        }
        let kind = match order {
            Order::Leftmost => MatchKind::LeftmostLongest,
            Order::Longest => MatchKind::Standard,
        };
        let finder = if tokens.is_empty() {
            None
        } else {
            let built = AhoCorasick::builder().match_kind(kind).build(tokens.iter().map(|token| &token.text));
            Some(built.map_err(|error| error.to_string())?)
        };
        Ok(Self { tokens, order, finder })
    }

    /// All tokens; with [`Order::Longest`] the longest first.
    pub(super) fn tokens(&self) -> &[AddedToken] {
        &self.tokens
    }

    /// Cuts `text` at those added tokens that are `wanted`.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] if far more tokens overlap than in any real text.
    pub(super) fn split<'a>(
        &self,
        text: &'a str,
        wanted: impl Fn(&AddedToken) -> bool,
    ) -> Result<Vec<Part<'a>>, TextError> {
        let Some(finder) = &self.finder else {
            return Ok((!text.is_empty()).then_some(Part::Text(text)).into_iter().collect());
        };
        let found = match self.order {
            Order::Leftmost => {
                let all = finder.find_iter(text).map(|found| (found.range(), found.pattern().as_usize()));
                all.filter(|&(_, token)| wanted(&self.tokens[token])).collect()
            }
            Order::Longest => self.longest(finder, text, wanted)?,
        };
        let mut parts = Vec::with_capacity(2 * found.len() + 1);
        let mut done = 0;
        for (range, index) in found {
            let token = &self.tokens[index];
            let (before, after) = (&text[..range.start], &text[range.end..]);
            let inside_a_word =
                before.chars().next_back().is_some_and(is_word) || after.chars().next().is_some_and(is_word);
            if token.single_word && inside_a_word {
                continue;
            }
            let start = if token.takes_left { before.trim_end().len().max(done) } else { range.start };
            let taken = if token.takes_right { after.len() - after.trim_start().len() } else { 0 };
            if done < start {
                parts.push(Part::Text(&text[done..start]));
            }
            parts.push(Part::Token(token.id));
            done = done.max(range.end + taken);
        }
        if done < text.len() {
            parts.push(Part::Text(&text[done..]));
        }
        Ok(parts)
    }

    /// The places of the tokens in `text` by [`Order::Longest`], from left to right.
    fn longest(
        &self,
        finder: &AhoCorasick,
        text: &str,
        wanted: impl Fn(&AddedToken) -> bool,
    ) -> Result<Vec<(Range<usize>, usize)>, TextError> {
        let mut matches = Vec::new();
        for found in finder.find_overlapping_iter(text) {
            let token = found.pattern().as_usize();
            if !wanted(&self.tokens[token]) {
                continue;
            }
            if matches.len() == MAX_MATCHES {
                let reason =
                    "it holds too many added tokens that overlap; cut it into shorter texts".to_owned();
                return Err(TextError::Encode { reason });
            }
            matches.push((token, found.range()));
        }
        // Tokens are sorted by length.
        matches.sort_unstable_by_key(|(token, range)| (*token, range.start));
        let mut taken = vec![false; text.len()];
        let mut chosen = Vec::new();
        for (token, range) in matches {
            // No taken stretch is shorter than this one, so it cannot lie inside.
            if taken[range.start] || taken[range.end - 1] {
                continue;
            }
            taken[range.clone()].fill(true);
            chosen.push((range, token));
        }
        chosen.sort_unstable_by_key(|(range, _)| range.start);
        Ok(chosen)
    }
}

/// Whether a character belongs to a word: letters, digits, marks and connectors.
fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(tokens: &[(&str, bool)], order: Order) -> Added {
        let token = |(id, (text, special)): (usize, &(&str, bool))| AddedToken {
            text: (*text).to_owned(),
            id: id as TokenId,
            special: *special,
            ..AddedToken::default()
        };
        Added::new(tokens.iter().enumerate().map(token).collect(), order).expect("short spellings")
    }

    #[test]
    fn overlaps_end_as_each_library_ends_them() {
        let tokens = [("ab", false), ("bcd", false)];
        let split = |order| added(&tokens, order).split("xabcdx", |_| true).expect("few matches");
        assert_eq!(split(Order::Leftmost), [Part::Text("x"), Part::Token(0), Part::Text("cdx")]);
        assert_eq!(split(Order::Longest), [Part::Text("xa"), Part::Token(1), Part::Text("x")]);
    }

    #[test]
    fn special_tokens_are_text_unless_they_are_parsed() {
        for order in [Order::Leftmost, Order::Longest] {
            let added = added(&[("<s>", true), ("ab", false), ("", false)], order);
            let split = |parse| added.split("<s>ab", |token| parse || !token.special).expect("few matches");
            assert_eq!(split(true), [Part::Token(0), Part::Token(1)]);
            assert_eq!(split(false), [Part::Text("<s>"), Part::Token(1)]);
        }
    }

    #[test]
    fn white_space_and_words_are_respected() {
        let mut token = AddedToken { text: "m".to_owned(), takes_left: true, ..AddedToken::default() };
        token.takes_right = true;
        let added = Added::new(vec![token.clone()], Order::Leftmost).expect("short");
        let split = added.split("a  m  b m", |_| true).expect("few matches");
        assert_eq!(split, [Part::Text("a"), Part::Token(0), Part::Text("b"), Part::Token(0)]);
        let words =
            Added::new(vec![AddedToken { single_word: true, ..token }], Order::Leftmost).expect("short");
        assert_eq!(words.split("am", |_| true).expect("few matches"), [Part::Text("am")]);
    }

    #[test]
    fn runs_of_spaces_are_cut_from_the_left_and_longest_first() {
        let spaces: Vec<String> = (2..6).map(|count| " ".repeat(count)).collect();
        let tokens: Vec<(&str, bool)> = spaces.iter().map(|text| (text.as_str(), false)).collect();
        let added = added(&tokens, Order::Longest);
        let split = added.split("a        b", |_| true).expect("few matches");
        assert_eq!(split, [Part::Text("a"), Part::Token(3), Part::Token(1), Part::Text("b")]);
    }

    #[test]
    fn spellings_beyond_the_bound_are_refused() {
        let token = AddedToken { text: "x".repeat(MAX_SPELLINGS_BYTES + 1), ..AddedToken::default() };
        let error = Added::new(vec![token], Order::Longest).expect_err("too long");
        assert!(error.contains("4194305 bytes"), "{error}");
    }
}
