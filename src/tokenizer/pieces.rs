//! The bytes of each token id: the decoding half of a tokenizer.

use super::TokenId;

/// Ids at or above this are refused: no vocabulary is that large, and the table has a slot for every id.
pub(super) const MAX_TOKENS: usize = 1 << 22;

/// The bytes of every token, and which tokens are special.
///
/// Decoding works on bytes, not on characters, because a character may be split over tokens;
/// only the joined bytes are text.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The bytes of all tokens, one after the other.
    bytes: Vec<u8>,
    /// Where token `id` ends in `bytes`; it starts where the one before it ends.
    ends: Vec<usize>,
    special: Vec<bool>,
    /// Whether the encoder puts a space before a text; decoding then removes it.
    pub(super) leading_space: bool,
}

impl Pieces {
    pub(super) fn new(leading_space: bool) -> Self {
        Self { leading_space, ..Self::default() }
    }

    pub(super) fn push(&mut self, bytes: &[u8], special: bool) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.special.push(special);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of `id`; none for an id outside the vocabulary.
    pub(super) fn bytes(&self, id: TokenId) -> &[u8] {
        let index = id as usize;
        let Some(&end) = self.ends.get(index) else {
            return &[];
        };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    pub(super) fn is_special(&self, id: TokenId) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }
}

/// The character for each byte in a byte-level vocabulary (GPT-2's alphabet): printable Latin-1
/// characters map to themselves, the other bytes to characters from U+0100 on.
pub(super) fn byte_alphabet() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let shown = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if shown {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).expect("codes below U+0200 are characters")
    })
}

/// Spells out byte-level tokens.
pub(super) struct ByteLevel {
    /// Indexed by the character's code; the alphabet ends below U+0144.
    bytes: [Option<u8>; 0x144],
}

impl ByteLevel {
    pub(super) fn new() -> Self {
        let mut bytes = [None; 0x144];
        for (byte, letter) in byte_alphabet().into_iter().enumerate() {
            bytes[letter as usize] = Some(byte as u8);
        }
        Self { bytes }
    }

    /// The bytes of `token`; a token with a letter outside the alphabet is an added token, whose bytes
    /// are its spelling.
    pub(super) fn spell(&self, token: &str) -> Vec<u8> {
        token
            .chars()
            .map(|letter| self.bytes.get(letter as usize).copied().flatten())
            .collect::<Option<Vec<u8>>>()
            .unwrap_or_else(|| token.as_bytes().to_vec())
    }
}

/// The byte of a SentencePiece byte token such as `<0x0A>`.
pub(super) fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The bytes of a SentencePiece token: `▁` is a space.
pub(super) fn spell_sentence_piece(token: &str) -> Vec<u8> {
    match byte_token(token) {
        Some(byte) => vec![byte],
        None => token.replace('▁', " ").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_names_every_byte_once() {
        let alphabet = byte_alphabet();
        let unique: std::collections::BTreeSet<char> = alphabet.into_iter().collect();
        assert_eq!(unique.len(), 256);
        assert_eq!(alphabet[b' ' as usize], 'Ġ');
        assert_eq!(alphabet[b'\n' as usize], 'Ċ');
        let spelling = ByteLevel::new();
        for (byte, letter) in alphabet.into_iter().enumerate() {
            assert_eq!(spelling.spell(&letter.to_string()), [byte as u8]);
        }
        assert_eq!(spelling.spell("▁x"), "▁x".as_bytes());
    }

    #[test]
    fn byte_tokens_are_two_hex_digits() {
        assert_eq!(byte_token("<0x0A>"), Some(10));
        assert_eq!(byte_token("<0xfF>"), Some(255));
        for other in ["<0x+1>", "<0x123>", "<0xé>", "0x0A", "<0x>"] {
            assert_eq!(byte_token(other), None, "{other}");
        }
    }

    #[test]
    fn ids_outside_the_vocabulary_have_no_bytes() {
        let mut pieces = Pieces::default();
        pieces.push(b"a", false);
        pieces.push(b"", true);
        pieces.push(b"bc", false);
        assert_eq!(pieces.bytes(0), b"a");
        assert_eq!(pieces.bytes(1), b"");
        assert_eq!(pieces.bytes(2), b"bc");
        assert_eq!(pieces.bytes(3), b"");
        assert!(pieces.is_special(1) && !pieces.is_special(3));
    }
}
