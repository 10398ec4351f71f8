//! Pre-tokenizers: how a text is cut into words before merging, with a bound on what they may write.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _, PreTokenizerWrapper};

use super::TextError;
use super::normalizer::PatternOutline;
use super::pattern::{Behavior, Meter, Pattern, cut};
use super::pieces::byte_alphabet;

/// Most pre-tokenizers of a tokenizer.
const MAX_STEPS: usize = 64;

/// The expression of GPT-2, with which `ByteLevel` cuts unless the file has `use_regex` off.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Those that the library applies.
const BY_LIBRARY: &[&str] = &[
    "BertPreTokenizer",
    "CharDelimiterSplit",
    "Delimiter",
    "FixedLength",
    "Punctuation",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
];

/// Those that this module applies.
const HERE: &str = "Sequence, Split, ByteLevel, Digits, Metaspace";

/// A pre-tokenizer as a file describes it.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Outline {
    Sequence {
        pretokenizers: Vec<Value>,
    },
    Split {
        pattern: PatternOutline,
        behavior: Behavior,
        #[serde(default)]
        invert: bool,
    },
    ByteLevel {
        #[serde(default)]
        add_prefix_space: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    Metaspace {
        #[serde(default = "underline")]
        replacement: char,
        #[serde(default)]
        prepend_scheme: Option<Prepend>,
        #[serde(default)]
        add_prefix_space: Option<bool>,
        #[serde(default = "yes")]
        split: bool,
    },
}

/// Where `Metaspace` writes a space that the text has not: before each stretch, before the first, or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Prepend {
    Always,
    First,
    Never,
}

fn yes() -> bool {
    true
}

fn underline() -> char {
    '▁'
}

/// One way of cutting words.
#[derive(Debug)]
pub(super) enum Cut {
    /// At the matches of a pattern.
    Split { pattern: Pattern, behavior: Behavior, invert: bool },
    /// At numbers: each digit is a word, or each run of digits.
    Digits { individual: bool },
    /// Into nothing: a space is written first, if none is there.
    Space,
    /// Into nothing: every byte is written as its letter.
    Bytes,
    /// At spaces, which are written as another character.
    Metaspace { replacement: char, prepend: Prepend, split: bool },
    /// As the library does.
    Library(Box<PreTokenizerWrapper>),
}

/// A list of cuts, applied one after the other.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    steps: Vec<Cut>,
}

impl Cuts {
    pub(super) fn new(steps: Vec<Cut>) -> Self {
        Self { steps }
    }

    /// Reads the pre-tokenizer of a file; none leaves texts whole.
    ///
    /// # Errors
    ///
    /// * [`TextError::Unsupported`] for a kind that is not known.
    /// * [`TextError::Malformed`] if it is senseless or has no bounds.
    pub(super) fn read(value: &Value, origin: &str) -> Result<Self, TextError> {
        let mut steps = Vec::new();
        collect(value, origin, &mut steps)?;
        let malformed = |rule: &str| {
            Err(TextError::Malformed { origin: origin.to_owned(), rule: format!("pre_tokenizer: {rule}") })
        };
        // Each of them makes a text longer, and none makes sense twice.
        if steps.iter().filter(|step| matches!(step, Cut::Bytes)).count() > 1 {
            return malformed("ByteLevel occurs twice");
        }
        if steps.iter().filter(|step| matches!(step, Cut::Metaspace { .. })).count() > 1 {
            return malformed("Metaspace occurs twice");
        }
        if steps.len() > MAX_STEPS {
            return malformed("there are more than 64 steps");
        }
        Ok(Self { steps })
    }

    /// Calls `each` for each word of `text`, from left to right. `first` is whether the text is the beginning of
    /// what is encoded.
    ///
    /// # Errors
    ///
    /// * [`TextError::Encode`] if a pattern takes too long.
    /// * The errors of `each`.
    pub(super) fn run(
        &self,
        text: &str,
        first: bool,
        meter: &Meter,
        each: &mut dyn FnMut(&str) -> Result<(), TextError>,
    ) -> Result<(), TextError> {
        if text.is_empty() { Ok(()) } else { apply(&self.steps, text, first, meter, each) }
    }
}

/// Cuts `text` by the first step and each part by the rest.
fn apply(
    steps: &[Cut],
    text: &str,
    first: bool,
    meter: &Meter,
    each: &mut dyn FnMut(&str) -> Result<(), TextError>,
) -> Result<(), TextError> {
    let Some((step, rest)) = steps.split_first() else {
        meter.check()?;
        return each(text);
    };
    let mut parts = |text: &str, ranges: Vec<Range<usize>>| {
        for range in ranges {
            let first = first && range.start == 0;
            apply(rest, &text[range], first, meter, each)?;
        }
        Ok(())
    };
    let digits = |behavior| {
        let numbers = text.char_indices().filter(|(_, letter)| letter.is_numeric());
        cut(text.len(), numbers.map(|(at, letter)| at..at + letter.len_utf8()), behavior, false)
    };
    match step {
        Cut::Split { pattern, behavior, invert } => {
            parts(text, pattern.split(text, *behavior, *invert, meter)?)
        }
        Cut::Digits { individual: true } => parts(text, digits(Behavior::Isolated)),
        Cut::Digits { individual: false } => parts(text, digits(Behavior::Contiguous)),
        Cut::Space if text.starts_with(' ') => apply(rest, text, first, meter, each),
        Cut::Space => apply(rest, &format!(" {text}"), first, meter, each),
        Cut::Bytes => {
            let alphabet = byte_alphabet();
            let written: String = text.bytes().map(|byte| alphabet[usize::from(byte)]).collect();
            apply(rest, &written, first, meter, each)
        }
        Cut::Metaspace { replacement, prepend, split } => {
            let mut written = String::with_capacity(text.len() + replacement.len_utf8());
            let wanted = match prepend {
                Prepend::Always => true,
                Prepend::First => first,
                Prepend::Never => false,
            };
            if wanted && !text.starts_with([' ', *replacement]) {
                written.push(*replacement);
            }
            written.extend(text.chars().map(|letter| if letter == ' ' { *replacement } else { letter }));
            let places = written.match_indices(*replacement).map(|(at, place)| at..at + place.len());
            if *split {
                parts(&written, cut(written.len(), places, Behavior::MergedWithNext, false))
            } else {
                apply(rest, &written, first, meter, each)
            }
        }
        Cut::Library(step) => {
            let mut pieces = PreTokenizedString::from(text);
            let failed = |error: tokenizers::Error| TextError::Encode { reason: error.to_string() };
            step.pre_tokenize(&mut pieces).map_err(failed)?;
            for (word, offsets, _) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                apply(rest, word, first && offsets.0 == 0, meter, each)?;
            }
            Ok(())
        }
    }
}

/// Appends the steps of `value`.
fn collect(value: &Value, origin: &str, steps: &mut Vec<Cut>) -> Result<(), TextError> {
    let malformed = |rule: String| TextError::Malformed {
        origin: origin.to_owned(),
        rule: format!("pre_tokenizer: {rule}"),
    };
    if value.is_null() {
        return Ok(());
    }
    let name = value["type"].as_str().unwrap_or("without a type");
    if BY_LIBRARY.contains(&name) {
        if name == "FixedLength" && value["length"].as_u64() == Some(0) {
            return Err(malformed("FixedLength cuts words of length 0".to_owned()));
        }
        let step = PreTokenizerWrapper::deserialize(value).map_err(|error| malformed(error.to_string()))?;
        steps.push(Cut::Library(Box::new(step)));
        return Ok(());
    }
    if !HERE.split(", ").any(|known| known == name) {
        return Err(TextError::Unsupported {
            what: "pre-tokenizer",
            name: name.to_owned(),
            known: format!("{HERE}, {}", BY_LIBRARY.join(", ")),
        });
    }
    match Outline::deserialize(value).map_err(|error| malformed(error.to_string()))? {
        Outline::Sequence { pretokenizers } => {
            pretokenizers.iter().try_for_each(|inner| collect(inner, origin, steps))?;
        }
        Outline::Split { pattern, behavior, invert } => {
            let pattern = match &pattern {
                // The library cuts nowhere at an empty text.
                PatternOutline::String(text) if text.is_empty() => return Ok(()),
                pattern => pattern.compile().map_err(malformed)?,
            };
            steps.push(Cut::Split { pattern, behavior, invert });
        }
        Outline::ByteLevel { add_prefix_space, use_regex } => {
            steps.extend(add_prefix_space.then_some(Cut::Space));
            if use_regex {
                let pattern = Pattern::regex(GPT2).map_err(malformed)?;
                steps.push(Cut::Split { pattern, behavior: Behavior::Isolated, invert: false });
            }
            steps.push(Cut::Bytes);
        }
        Outline::Digits { individual_digits } => steps.push(Cut::Digits { individual: individual_digits }),
        Outline::Metaspace { replacement, prepend_scheme, add_prefix_space, split } => {
            let prepend = match (prepend_scheme, add_prefix_space) {
                (Some(Prepend::Never), _) | (None, Some(false)) => Prepend::Never,
                (Some(_), Some(false)) => {
                    return Err(malformed(
                        "Metaspace's add_prefix_space contradicts its prepend_scheme".to_owned(),
                    ));
                }
                (Some(Prepend::First), _) => Prepend::First,
                (Some(Prepend::Always) | None, _) => Prepend::Always,
            };
            steps.push(Cut::Metaspace { replacement, prepend, split });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(value: &Value, text: &str) -> Result<Vec<String>, TextError> {
        let cuts = Cuts::read(value, "tokenizer.json")?;
        let mut words = Vec::new();
        cuts.run(text, true, &Meter::start(text.len()), &mut |word| {
            words.push(word.to_owned());
            Ok(())
        })?;
        Ok(words)
    }

    /// The same by the library.
    fn by_library(value: &Value, text: &str) -> Vec<String> {
        let step = PreTokenizerWrapper::deserialize(value).expect("a known kind");
        let mut pieces = PreTokenizedString::from(text);
        step.pre_tokenize(&mut pieces).expect("cuts");
        let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::None);
        splits.into_iter().map(|(word, _, _)| word.to_owned()).collect()
    }

    fn kinds() -> Vec<Value> {
        let mut kinds = vec![
            json!({"type": "Digits", "individual_digits": true}),
            json!({"type": "Digits", "individual_digits": false}),
            json!({"type": "Whitespace"}),
            json!({"type": "WhitespaceSplit"}),
            json!({"type": "Punctuation", "behavior": "Isolated"}),
            json!({"type": "BertPreTokenizer"}),
            json!({"type": "UnicodeScripts"}),
            json!({"type": "FixedLength", "length": 3}),
            json!({"type": "CharDelimiterSplit", "delimiter": "-"}),
            json!({"type": "Sequence", "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}]}),
            json!({"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]}),
        ];
        for flag in [true, false] {
            for more in [true, false] {
                kinds.push(json!({"type": "ByteLevel", "add_prefix_space": flag, "trim_offsets": true,
                    "use_regex": more}));
            }
            for scheme in ["always", "first", "never"] {
                kinds.push(
                    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": flag}),
                );
            }
            for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] {
                kinds.push(json!({"type": "Split", "pattern": {"Regex": "\\s+|[0-9]"}, "behavior": behavior,
                    "invert": flag}));
                kinds.push(json!({"type": "Split", "pattern": {"String": " "}, "behavior": behavior,
                    "invert": flag}));
            }
        }
        kinds
    }

    #[test]
    fn every_kind_cuts_as_the_library_does() {
        let texts = ["", " ", "a", "Hello  world!", " it's 1234  x-y\n\n日本 é 5", "▁a ▁ b", "\t\r\n  end  "];
        for kind in kinds() {
            for text in texts {
                let ours: Vec<String> =
                    words(&kind, text).expect("known").into_iter().filter(|w| !w.is_empty()).collect();
                assert_eq!(ours, by_library(&kind, text), "{kind} {text:?}");
            }
        }
    }

    #[test]
    fn what_is_senseless_or_unknown_is_refused() {
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
        let metaspace = json!({"type": "Metaspace", "replacement": "▁"});
        let digits = json!({"type": "Digits"});
        for (step, told) in [
            (json!({"type": "FixedLength", "length": 0}), "length 0"),
            (
                json!({"type": "Sequence", "pretokenizers": [byte_level, byte_level]}),
                "ByteLevel occurs twice",
            ),
            (json!({"type": "Sequence", "pretokenizers": [metaspace, metaspace]}), "Metaspace occurs twice"),
            (json!({"type": "Sequence", "pretokenizers": vec![digits; 65]}), "64 steps"),
            (json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}), "does not compile"),
            (json!({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Nothing"}), "Nothing"),
            (json!({"type": "Jieba"}), "Jieba"),
        ] {
            let error = words(&step, "a").expect_err("senseless").to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
