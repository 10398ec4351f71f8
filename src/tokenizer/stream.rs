//! Streaming decoding: text from tokens as they arrive, never half a character.

use super::{TokenId, Tokenizer};

/// Turns a growing sequence of token ids into text, piece by piece.
///
/// The joined pieces equal the result of [`Tokenizer::decode`] for the whole sequence. Bytes that end
/// within a character wait for the next token; bytes that can never become a character turn
/// into U+FFFD.
#[derive(Debug, Clone)]
pub struct DecodeStream<'t> {
    tokenizer: &'t Tokenizer,
    state: DecodeState,
}

impl<'t> DecodeStream<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer, skip_special: bool, at_start: bool) -> Self {
        Self { tokenizer, state: DecodeState::new(tokenizer, skip_special, at_start) }
    }

    pub(super) fn after(tokenizer: &'t Tokenizer, before: &[TokenId]) -> Self {
        Self { tokenizer, state: DecodeState::after(tokenizer, before) }
    }

    /// Takes the next token and returns the text that is complete so far, often empty.
    ///
    /// An id outside the vocabulary adds no text.
    pub fn push(&mut self, id: TokenId) -> String {
        self.state.push(self.tokenizer, id)
    }

    /// Ends the text: bytes of an incomplete character become U+FFFD.
    pub fn finish(self) -> String {
        self.state.finish()
    }
}

/// What a [`DecodeStream`] remembers between tokens, without its tokenizer.
#[derive(Debug, Clone)]
pub(crate) struct DecodeState {
    skip_special: bool,
    text: Utf8Stream,
}

impl DecodeState {
    fn new(tokenizer: &Tokenizer, skip_special: bool, at_start: bool) -> Self {
        let drop_space = at_start && tokenizer.pieces.leading_space;
        Self { skip_special, text: Utf8Stream { drop_space, ..Utf8Stream::default() } }
    }

    /// The state in which text after the tokens `before` is decoded: see [`Tokenizer::stream_after`].
    pub(crate) fn after(tokenizer: &Tokenizer, before: &[TokenId]) -> Self {
        let at_start = before.last().is_none_or(|&id| tokenizer.is_special(id));
        Self::new(tokenizer, true, at_start)
    }

    /// As [`DecodeStream::push`].
    pub(crate) fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) -> String {
        let pieces = &tokenizer.pieces;
        if self.skip_special && pieces.is_special(id) {
            return String::new();
        }
        self.text.push(pieces.bytes(id))
    }

    /// As [`DecodeStream::finish`].
    pub(crate) fn finish(self) -> String {
        self.text.finish()
    }
}

/// Assembles whole characters from bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Utf8Stream {
    /// The start of a character, at most three bytes.
    pending: Vec<u8>,
    /// Whether the very first byte is removed if it is a space.
    pub(super) drop_space: bool,
}

impl Utf8Stream {
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let Some(&first) = bytes.first() else {
            return String::new();
        };
        let drop = usize::from(self.drop_space && first == b' ');
        self.drop_space = false;
        self.pending.extend_from_slice(&bytes[drop..]);

        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, tail) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).expect("valid up to here"));
                    rest = tail;
                    let Some(broken) = error.error_len() else {
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[broken..];
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    pub(super) fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streamed_bytes_read_as_the_whole_does(chunks in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..6), 0..40))
        {
            let mut stream = Utf8Stream::default();
            let mut streamed: String = chunks.iter().map(|chunk| stream.push(chunk)).collect();
            streamed.push_str(&stream.finish());
            let whole = String::from_utf8_lossy(&chunks.concat()).into_owned();
            prop_assert_eq!(streamed, whole);
        }

        #[test]
        fn characters_survive_any_cut(text in ".{0,40}", cut in 1..4usize) {
            let mut stream = Utf8Stream::default();
            let mut streamed = String::new();
            for chunk in text.as_bytes().chunks(cut) {
                let piece = stream.push(chunk);
                prop_assert!(text.contains(&piece), "half a character in {:?}", piece);
                streamed.push_str(&piece);
            }
            prop_assert_eq!(stream.finish(), "");
            prop_assert_eq!(streamed, text);
        }
    }

    #[test]
    fn only_the_very_first_space_is_dropped() {
        let mut stream = Utf8Stream { drop_space: true, ..Utf8Stream::default() };
        assert_eq!(stream.push(b""), "");
        assert_eq!(stream.push(b"  a"), " a");
        assert_eq!(stream.push(b" b"), " b");
    }
}
