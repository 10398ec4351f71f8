//! `tokenizer.model`: SentencePiece's own file, a protocol buffer with the pieces and their scores.

use std::path::Path;

use super::ConvertError;

/// A piece of the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub text: String,
    pub score: f32,
    /// As in GGUF: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub kind: i32,
}

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SentencePieceFile {
    pub pieces: Vec<Piece>,
    /// Whether a space is put before a text.
    pub space_prefix: bool,
}

/// Reads the fields of a message: number, wire type, and the bytes of the value.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A field's value.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    /// `None` inside: the message breaks off.
    type Item = Option<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let field = (|| {
            let tag = self.varint()?;
            let value = match tag & 7 {
                0 => Field::Number(self.varint()?),
                1 => Field::Bytes(self.take(8)?),
                2 => {
                    let len = usize::try_from(self.varint()?).ok()?;
                    Field::Bytes(self.take(len)?)
                }
                5 => Field::Bytes(self.take(4)?),
                _ => return None,
            };
            Some((tag >> 3, value))
        })();
        if field.is_none() {
            self.at = self.bytes.len();
        }
        Some(field)
    }
}

/// Parses the bytes of `tokenizer.model`. `path` is for messages.
///
/// # Errors
///
/// [`ConvertError::NoPlace`] if they are not such a file.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<SentencePieceFile, ConvertError> {
    let damaged = || ConvertError::no_place(path, "it is no SentencePiece file", "download it again");
    let mut file = SentencePieceFile { pieces: Vec::new(), space_prefix: true };
    for field in (Fields { bytes, at: 0 }) {
        match field.ok_or_else(damaged)? {
            (1, Field::Bytes(piece)) => file.pieces.push(self::piece(piece).ok_or_else(damaged)?),
            // The normalizer; its field 3 is `add_dummy_prefix`.
            (3, Field::Bytes(normalizer)) => {
                for field in (Fields { bytes: normalizer, at: 0 }) {
                    if let (3, Field::Number(flag)) = field.ok_or_else(damaged)? {
                        file.space_prefix = flag != 0;
                    }
                }
            }
            _ => {}
        }
    }
    if file.pieces.is_empty() { Err(damaged()) } else { Ok(file) }
}

fn piece(bytes: &[u8]) -> Option<Piece> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: 1 };
    for field in (Fields { bytes, at: 0 }) {
        match field? {
            (1, Field::Bytes(text)) => piece.text = String::from_utf8(text.to_vec()).ok()?,
            (2, Field::Bytes(score)) => piece.score = f32::from_le_bytes(score.try_into().ok()?),
            (3, Field::Number(kind)) => {
                piece.kind = i32::try_from(kind).ok().filter(|kind| (1..=6).contains(kind))?
            }
            _ => {}
        }
    }
    Some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of fields: number, wire type, content.
    fn message(fields: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, wire, content) in fields {
            bytes.push(number << 3 | wire);
            if *wire == 2 {
                bytes.push(content.len() as u8);
            }
            bytes.extend(content);
        }
        bytes
    }

    #[test]
    fn pieces_scores_and_the_space_before_a_text_are_read() {
        let unknown =
            message(&[(1, 2, b"<unk>".to_vec()), (2, 5, 0f32.to_le_bytes().to_vec()), (3, 0, vec![2])]);
        let piece =
            message(&[(1, 2, "\u{2581}a".as_bytes().to_vec()), (2, 5, (-3f32).to_le_bytes().to_vec())]);
        let normalizer = message(&[(3, 0, vec![0])]);
        let file = message(&[(1, 2, unknown), (1, 2, piece), (2, 2, vec![8, 1]), (3, 2, normalizer)]);
        let found = parse("m".as_ref(), &file).expect("a sound file");
        let expected = [("<unk>", 0.0, 2), ("\u{2581}a", -3.0, 1)];
        let expected = expected.map(|(text, score, kind)| Piece { text: text.to_owned(), score, kind });
        assert_eq!(found, SentencePieceFile { pieces: expected.to_vec(), space_prefix: false });
        // Every shorter file is refused or shorter, and none panics.
        for len in 0..file.len() {
            let _ = parse("m".as_ref(), &file[..len]);
        }
        assert!(parse("m".as_ref(), b"not a protocol buffer").is_err() && parse("m".as_ref(), b"").is_err());
    }
}
