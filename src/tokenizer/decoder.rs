//! The decoder of a `tokenizer.json`: the bytes that each token stands for.

use serde_json::Value;

use super::TextError;
use super::pieces::{ByteLevel, byte_token};

/// How tokens become text. A decoder of a file is read as a whole, because tokens are decoded one by one here:
/// what depends on the neighbours of a token is refused.
pub(super) enum Decoding {
    /// Every letter is a byte.
    ByteLevel(Box<ByteLevel>),
    /// One character stands for a space.
    Spaces {
        space: char,
        /// Whether tokens such as `<0x0A>` are bytes.
        bytes: bool,
        /// Whether the space at the beginning of a text is not part of it.
        leading_space: bool,
    },
}

/// All that is known.
const KNOWN: &str =
    "ByteLevel, Metaspace, a Sequence of Replace, ByteFallback, Fuse and Strip with ByteFallback in it";

impl Decoding {
    /// Reads the decoder of a file.
    ///
    /// # Errors
    ///
    /// [`TextError::Unsupported`] for a decoder that is not known.
    pub(super) fn read(decoder: &Value) -> Result<Self, TextError> {
        let name = decoder["type"].as_str().unwrap_or("null");
        let steps = match name {
            "Sequence" => decoder["decoders"].as_array().map_or(&[][..], Vec::as_slice),
            _ => std::slice::from_ref(decoder),
        };
        let mut space = None;
        let (mut bytes, mut letters, mut fused, mut leading_space) = (false, false, false, false);
        for step in steps {
            let kind = step["type"].as_str().unwrap_or("null");
            let known = match kind {
                "ByteLevel" => !std::mem::replace(&mut letters, true) && space.is_none() && !bytes,
                "Metaspace" => {
                    leading_space = step["prepend_scheme"].as_str() != Some("never")
                        && step["add_prefix_space"].as_bool() != Some(false);
                    let letter = step["replacement"].as_str().map_or(Some('▁'), single);
                    letter.is_some_and(|letter| space.replace(letter).is_none()) && !fused && !letters
                }
                // Only what a Metaspace would do.
                "Replace" => {
                    let letter = step["pattern"]["String"].as_str().and_then(single);
                    let to_space = step["content"].as_str() == Some(" ");
                    to_space
                        && letter.is_some_and(|letter| space.replace(letter).is_none())
                        && !fused
                        && !letters
                }
                "ByteFallback" => !std::mem::replace(&mut bytes, true) && !fused && !letters,
                "Fuse" => {
                    fused = true;
                    true
                }
                // One space at the beginning of the whole text.
                "Strip" => {
                    leading_space = true;
                    let count = |key: &str| step[key].as_u64();
                    fused
                        && !letters
                        && (step["content"].as_str(), count("start"), count("stop"))
                            == (Some(" "), Some(1), Some(0))
                }
                _ => false,
            };
            if !known {
                let name = if kind == name { kind.to_owned() } else { format!("{name} with {kind} in it") };
                return Err(unsupported(&name));
            }
        }
        let byte_level = letters.then(|| Self::ByteLevel(Box::new(ByteLevel::new())));
        // A Replace alone could be anything, so ByteFallback or Metaspace must be there too.
        let metaspace = steps.iter().any(|step| step["type"] == "Metaspace");
        let spaces =
            (bytes || metaspace)
                .then(|| Self::Spaces { space: space.unwrap_or('▁'), bytes, leading_space });
        byte_level.or(spaces).ok_or_else(|| unsupported(name))
    }

    /// The bytes of a token, added or not.
    pub(super) fn spell(&self, token: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel(letters) => letters.spell(token),
            Self::Spaces { bytes: true, .. } if byte_token(token).is_some() => {
                byte_token(token).into_iter().collect()
            }
            Self::Spaces { space, .. } => token.replace(*space, " ").into_bytes(),
        }
    }

    /// Whether the space at the beginning of a text is not part of it.
    pub(super) fn leading_space(&self) -> bool {
        matches!(self, Self::Spaces { leading_space: true, .. })
    }
}

fn single(text: &str) -> Option<char> {
    let mut letters = text.chars();
    letters.next().filter(|_| letters.next().is_none())
}

fn unsupported(name: &str) -> TextError {
    TextError::Unsupported { what: "tokenizer decoder", name: name.to_owned(), known: KNOWN.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sequence(decoders: Value) -> Value {
        json!({"type": "Sequence", "decoders": decoders})
    }

    #[test]
    fn decoders_in_use_are_known() {
        let llama = sequence(json!([
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]));
        let decoding = Decoding::read(&llama).expect("known");
        assert_eq!((decoding.spell("▁a"), decoding.spell("<0x0A>")), (b" a".to_vec(), b"\n".to_vec()));
        assert!(decoding.leading_space());
        let metaspace = Decoding::read(&json!({"type": "Metaspace", "replacement": "_"})).expect("known");
        assert_eq!((metaspace.spell("_a"), metaspace.spell("<0x0A>")), (b" a".to_vec(), b"<0x0A>".to_vec()));
        let letters = Decoding::read(&sequence(json!([{"type": "ByteLevel"}]))).expect("known");
        assert_eq!((letters.spell("Ġa"), letters.spell("▁a")), (b" a".to_vec(), "▁a".as_bytes().to_vec()));
        assert!(!letters.leading_space());
    }

    #[test]
    fn decoders_that_cannot_work_token_by_token_are_refused() {
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        let fallback = json!({"type": "ByteFallback"});
        for (decoder, told) in [
            (Value::Null, "null"),
            (json!({"type": "WordPiece"}), "WordPiece"),
            (sequence(json!([])), "Sequence"),
            (sequence(json!([strip, fallback])), "Strip"),
            (
                sequence(
                    json!([fallback, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 9, "stop": 0}]),
                ),
                "Strip",
            ),
            (
                sequence(
                    json!([fallback, {"type": "Replace", "pattern": {"String": "a"}, "content": "xxxx"}]),
                ),
                "Replace",
            ),
            (
                sequence(json!([{"type": "Replace", "pattern": {"Regex": "▁"}, "content": " "}, fallback])),
                "Replace",
            ),
            (sequence(json!([{"type": "ByteLevel"}, fallback])), "ByteFallback"),
            (sequence(json!([{"type": "ByteLevel"}, {"type": "ByteLevel"}])), "ByteLevel"),
        ] {
            let error = Decoding::read(&decoder).err().expect("refused").to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
