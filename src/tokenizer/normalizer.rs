//! The normalizers of a `tokenizer.json`, with a bound on what they may write.

use serde::Deserialize;
use tokenizers::normalizers::Precompiled;
use tokenizers::normalizers::unicode::{NFC, NFD, NFKC, NFKD};
use tokenizers::{NormalizedString, Normalizer as _};

use super::TextError;
use super::charsmap;
use super::pattern::{Meter, Pattern};
use super::pieces::byte_alphabet;

/// A normalized text may be this many times as long as the text, and [`MAX_MORE_BYTES`] longer. Most normalizers
/// write three bytes for a space; the longest decomposition of a character is eleven times as long.
const MAX_GROWTH: usize = 16;
const MAX_MORE_BYTES: usize = 1 << 12;

/// Most bytes of a text that a normalizer puts into another text.
const MAX_CONTENT_BYTES: usize = 256;

/// Most normalizers of a tokenizer.
const MAX_STEPS: usize = 64;

/// The names of all normalizers that are known.
const KNOWN: &str = "Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, ByteLevel, \
                     Precompiled";

/// A normalizer as a file describes it.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Outline {
    Sequence {
        normalizers: Vec<serde_json::Value>,
    },
    Prepend {
        prepend: String,
    },
    Replace {
        pattern: PatternOutline,
        content: String,
    },
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFD")]
    Nfd,
    #[serde(rename = "NFKC")]
    Nfkc,
    #[serde(rename = "NFKD")]
    Nfkd,
    Lowercase,
    Strip {
        strip_left: bool,
        strip_right: bool,
    },
    StripAccents,
    ByteLevel,
    Precompiled,
}

/// A pattern as a file describes it.
#[derive(Debug, Deserialize)]
pub(super) enum PatternOutline {
    String(String),
    Regex(String),
}

impl PatternOutline {
    /// # Errors
    ///
    /// The broken rule.
    pub(super) fn compile(&self) -> Result<Pattern, String> {
        match self {
            Self::String(text) => Pattern::text(text),
            Self::Regex(pattern) => Pattern::regex(pattern),
        }
    }
}

#[derive(Debug)]
enum Step {
    Prepend(String),
    Replace(Pattern, String),
    Unicode(Form),
    Lowercase,
    Strip { left: bool, right: bool },
    StripAccents,
    ByteLevel,
    Table(Box<Precompiled>),
}

/// A normal form of Unicode.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    C,
    D,
    Kc,
    Kd,
}

/// Normalizers, applied one after the other.
#[derive(Debug, Default)]
pub(super) struct Normalizer {
    steps: Vec<Step>,
}

impl Normalizer {
    /// Only the normal form C, which GGUF vocabularies of Qwen need.
    pub(super) fn composing() -> Self {
        Self { steps: vec![Step::Unicode(Form::C)] }
    }

    /// Reads the normalizer of a file; none changes nothing.
    ///
    /// # Errors
    ///
    /// * [`TextError::Unsupported`] for a kind that is not known.
    /// * [`TextError::Malformed`] if it is senseless or has no bounds.
    pub(super) fn read(value: &serde_json::Value, origin: &str) -> Result<Self, TextError> {
        let mut steps = Vec::new();
        collect(value, origin, &mut steps)?;
        Ok(Self { steps })
    }

    /// The normalized text.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] if the normalizers write too much or take too long.
    pub(super) fn run(&self, text: &str, meter: &Meter) -> Result<String, TextError> {
        let limit = text.len().saturating_mul(MAX_GROWTH).saturating_add(MAX_MORE_BYTES);
        let mut text = text.to_owned();
        for step in &self.steps {
            meter.check()?;
            text = step.run(text, limit, meter)?;
            if text.len() > limit {
                return Err(grows(limit));
            }
        }
        Ok(text)
    }
}

fn grows(limit: usize) -> TextError {
    let reason = format!(
        "the tokenizer's normalizers write more than {limit} bytes for it; real ones write far less, so use another \
         tokenizer"
    );
    TextError::Encode { reason }
}

/// Appends the steps of `value`.
fn collect(value: &serde_json::Value, origin: &str, steps: &mut Vec<Step>) -> Result<(), TextError> {
    let malformed = |rule: String| TextError::Malformed {
        origin: origin.to_owned(),
        rule: format!("normalizer: {rule}"),
    };
    if value.is_null() {
        return Ok(());
    }
    let name = value["type"].as_str().unwrap_or("without a type");
    if !KNOWN.split(", ").any(|known| known == name) {
        return Err(TextError::Unsupported {
            what: "tokenizer normalizer",
            name: name.to_owned(),
            known: KNOWN.to_owned(),
        });
    }
    let outline = Outline::deserialize(value).map_err(|error| malformed(error.to_string()))?;
    let short = |content: String| match content.len() {
        len if len > MAX_CONTENT_BYTES => {
            Err(malformed(format!("{name} writes {len} bytes each time, more than {MAX_CONTENT_BYTES}")))
        }
        _ => Ok(content),
    };
    steps.push(match outline {
        Outline::Sequence { normalizers } => {
            return normalizers.iter().try_for_each(|inner| collect(inner, origin, steps));
        }
        Outline::Prepend { prepend } => Step::Prepend(short(prepend)?),
        Outline::Replace { pattern, content } => {
            let pattern = pattern.compile().map_err(malformed)?;
            let anywhere = pattern.matches("", &Meter::start(0));
            if !anywhere.map_err(|error| malformed(error.to_string()))?.is_empty() {
                return Err(malformed(
                    "a pattern of Replace matches the empty text, so it matches everywhere".to_owned(),
                ));
            }
            Step::Replace(pattern, short(content)?)
        }
        Outline::Nfc => Step::Unicode(Form::C),
        Outline::Nfd => Step::Unicode(Form::D),
        Outline::Nfkc => Step::Unicode(Form::Kc),
        Outline::Nfkd => Step::Unicode(Form::Kd),
        Outline::Lowercase => Step::Lowercase,
        Outline::Strip { strip_left, strip_right } => Step::Strip { left: strip_left, right: strip_right },
        Outline::StripAccents => Step::StripAccents,
        Outline::ByteLevel => Step::ByteLevel,
        Outline::Precompiled => Step::Table(Box::new(charsmap::read(value).map_err(malformed)?)),
    });
    if steps.len() > MAX_STEPS {
        return Err(malformed(format!("there are more than {MAX_STEPS} steps")));
    }
    Ok(())
}

impl Step {
    fn run(&self, text: String, limit: usize, meter: &Meter) -> Result<String, TextError> {
        Ok(match self {
            Self::Prepend(prefix) if !text.is_empty() => format!("{prefix}{text}"),
            Self::Prepend(_) => text,
            Self::Replace(pattern, content) => replace(&text, pattern, content, limit, meter)?,
            Self::Unicode(_) if text.is_ascii() => text,
            Self::Unicode(form) => compose(&text, *form, limit)?,
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
            Self::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { &text };
                (if *right { text.trim_end() } else { text }).to_owned()
            }
            Self::StripAccents => strip_accents(&text, limit)?,
            Self::Table(table) => {
                in_stretches(&text, limit, parts_graphemes, |stretch| table.normalize(stretch))?
            }
            Self::ByteLevel => {
                let alphabet = byte_alphabet();
                text.bytes().map(|byte| alphabet[usize::from(byte)]).collect()
            }
        })
    }
}

fn replace(
    text: &str,
    pattern: &Pattern,
    content: &str,
    limit: usize,
    meter: &Meter,
) -> Result<String, TextError> {
    let places = pattern.matches(text, meter)?;
    let removed: usize = places.iter().map(|place| place.len()).sum();
    let size = (text.len() - removed).saturating_add(content.len().saturating_mul(places.len()));
    if size > limit {
        return Err(grows(limit));
    }
    let mut replaced = String::with_capacity(size);
    let mut done = 0;
    for place in places {
        replaced.push_str(&text[done..place.start]);
        replaced.push_str(content);
        done = place.end;
    }
    replaced.push_str(&text[done..]);
    Ok(replaced)
}

/// Bytes that are normalized at a time, at least; the library keeps twenty bytes for each.
const STRETCH_BYTES: usize = 1 << 16;

/// The normal form of `text`.
fn compose(text: &str, form: Form, limit: usize) -> Result<String, TextError> {
    in_stretches(text, limit, parts_sequences, |stretch| match form {
        Form::C => NFC.normalize(stretch),
        Form::D => NFD.normalize(stretch),
        Form::Kc => NFKC.normalize(stretch),
        Form::Kd => NFKD.normalize(stretch),
    })
}

fn strip_accents(text: &str, limit: usize) -> Result<String, TextError> {
    let strip = tokenizers::normalizers::strip::StripAccents;
    in_stretches(text, limit, parts_sequences, |stretch| strip.normalize(stretch))
}

/// Whether the byte `at` is ASCII: such a character never joins with what is before it.
fn parts_sequences(bytes: &[u8], at: usize) -> bool {
    bytes[at].is_ascii()
}

/// Whether a grapheme ends before the byte `at`: two ASCII characters share none, except the end of a line.
fn parts_graphemes(bytes: &[u8], at: usize) -> bool {
    let before = bytes[at - 1];
    bytes[at].is_ascii() && before.is_ascii() && (before, bytes[at]) != (b'\r', b'\n')
}

/// Normalizes `text` in stretches, which begin where `parts` allows it.
fn in_stretches(
    text: &str,
    limit: usize,
    parts: fn(&[u8], usize) -> bool,
    normalize: impl Fn(&mut NormalizedString) -> tokenizers::Result<()>,
) -> Result<String, TextError> {
    let mut normalized = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = (STRETCH_BYTES..rest.len()).find(|&at| parts(rest.as_bytes(), at)).unwrap_or(rest.len());
        let (stretch, after) = rest.split_at(end);
        let mut stretch = NormalizedString::from(stretch);
        normalize(&mut stretch).map_err(|error| TextError::Encode { reason: error.to_string() })?;
        normalized.push_str(stretch.get());
        if normalized.len() > limit {
            return Err(grows(limit));
        }
        rest = after;
    }
    Ok(normalized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn run(value: &Value, text: &str) -> Result<String, TextError> {
        Normalizer::read(value, "tokenizer.json")?.run(text, &Meter::start(text.len()))
    }

    #[test]
    fn normalizers_work_in_their_order() {
        let llama = json!({"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]});
        assert_eq!(run(&llama, "a b").expect("sound"), "▁a▁b");
        assert_eq!(run(&llama, "").expect("sound"), "");
        assert_eq!(run(&json!({"type": "NFC"}), "e\u{301}x").expect("sound"), "éx");
        assert_eq!(run(&json!({"type": "NFKD"}), "ﬁé").expect("sound"), "fie\u{301}");
        assert_eq!(run(&json!({"type": "Lowercase"}), "ΑΣ").expect("sound"), "ασ");
        let strip = json!({"type": "Strip", "strip_left": true, "strip_right": false});
        assert_eq!(run(&strip, " a ").expect("sound"), "a ");
        assert_eq!(run(&json!({"type": "StripAccents"}), "e\u{301}x").expect("sound"), "ex");
        assert_eq!(run(&json!({"type": "ByteLevel"}), " é").expect("sound"), "ĠÃ©");
        assert_eq!(run(&Value::Null, " é").expect("sound"), " é");
    }

    #[test]
    fn long_texts_are_composed_as_short_ones_are() {
        let text = "e\u{301}ﬁ x".repeat(STRETCH_BYTES / 3);
        let whole = run(&json!({"type": "NFKC"}), &text).expect("sound");
        assert_eq!(whole, "éfi x".repeat(STRETCH_BYTES / 3));
    }

    #[test]
    fn graphemes_are_not_cut_apart() {
        let at = |text: &str, at| parts_graphemes(text.as_bytes(), at);
        assert!(at("ab", 1) && at("a\n", 1) && at("\n\r", 1));
        assert!(!at("\r\n", 1) && !at("éa", 2) && !at("e\u{301}", 1));
    }

    #[test]
    fn what_matches_everywhere_or_writes_without_bound_is_refused() {
        for (step, told) in [
            (json!({"type": "Replace", "pattern": {"String": ""}, "content": "x"}), "empty"),
            (json!({"type": "Replace", "pattern": {"Regex": "a*"}, "content": "x"}), "empty text"),
            (json!({"type": "Replace", "pattern": {"Regex": ""}, "content": "x"}), "empty text"),
            (json!({"type": "Replace", "pattern": {"Regex": "("}, "content": "x"}), "does not compile"),
            (json!({"type": "Replace", "pattern": {"String": "a"}, "content": "x".repeat(300)}), "300 bytes"),
            (json!({"type": "Prepend", "prepend": "x".repeat(300)}), "300 bytes"),
            (json!({"type": "Prepend"}), "prepend"),
            (json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "within its tree"),
            (json!({"type": "Precompiled"}), "has no precompiled_charsmap"),
            (json!({"type": "BertNormalizer"}), "BertNormalizer"),
            (json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 65]}), "64 steps"),
        ] {
            let error = run(&step, "a").expect_err("no bound").to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn normalizers_that_double_a_text_again_and_again_end_in_an_error() {
        let double = json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "xxxxxxxx"});
        for step in
            [double, json!({"type": "ByteLevel"}), json!({"type": "Prepend", "prepend": "x".repeat(256)})]
        {
            let all = json!({"type": "Sequence", "normalizers": vec![step; 40]});
            let error = run(&all, &"\u{fdfa}".repeat(50)).expect_err("grows").to_string();
            assert!(error.contains("more than"), "{error}");
        }
        // A pattern of zero width is not refused when the file is read, but it is bounded.
        let ahead = json!({"type": "Replace", "pattern": {"Regex": "(?=a)"}, "content": "x"});
        assert_eq!(run(&ahead, "aba").expect("bounded"), "xabxa");
    }
}
