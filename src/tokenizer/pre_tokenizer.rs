//! The pre-tokenizers that GGUF files name: how text is cut into words before merging.

use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use super::TextError;

/// One way of cutting text into words, with its names.
pub(super) struct Recipe {
    names: &'static [&'static str],
    cuts: &'static [Cut],
    /// Whether a word that is a token is encoded directly, without merges.
    pub(super) ignore_merges: bool,
    /// Whether a raw text begins with the beginning-of-text token unless the file sets this.
    pub(super) add_bos: bool,
    /// Whether text is brought to composed form (NFC) first.
    pub(super) compose: bool,
}

enum Cut {
    /// Every digit is a word.
    Digits,
    /// Every match is a word, and so is the text between two matches.
    Pattern(&'static str),
}

const GPT2: Cut = Cut::Pattern(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+");
const LLAMA3: Cut = Cut::Pattern(concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
));
const QWEN2: Cut = Cut::Pattern(concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
));
const TEKKEN: Cut = Cut::Pattern(concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
));

const PLAIN: Recipe = Recipe { names: &[], cuts: &[], ignore_merges: false, add_bos: false, compose: false };

/// Every pre-tokenizer that is known, one entry for all names with the same rules.
const RECIPES: &[Recipe] = &[
    // The pre-tokenizer of files that name none, by llama.cpp's convention.
    Recipe {
        names: &["default"],
        cuts: &[
            Cut::Pattern(r"[\p{P}\$\+<=>\^~\|]+"),
            GPT2,
            Cut::Pattern(r"\p{N}+"),
            Cut::Pattern("[0-9][0-9][0-9]"),
        ],
        ..PLAIN
    },
    Recipe { names: &["gpt-2", "phi-2", "olmo", "mpt", "exaone4"], cuts: &[GPT2], ..PLAIN },
    Recipe {
        names: &["smollm", "starcoder", "refact", "codeshell", "command-r", "exaone", "minerva-7b"],
        cuts: &[Cut::Digits, GPT2],
        ..PLAIN
    },
    Recipe {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"],
        cuts: &[LLAMA3],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    Recipe { names: &["dbrx", "smaug-bpe"], cuts: &[LLAMA3], ..PLAIN },
    Recipe { names: &["qwen2"], cuts: &[QWEN2], compose: true, ..PLAIN },
    Recipe { names: &["stablelm2", "deepseek-r1-qwen"], cuts: &[QWEN2], ..PLAIN },
    Recipe {
        names: &["deepseek-coder"],
        cuts: &[
            Cut::Pattern(r"[\r\n]"),
            Cut::Pattern(r"\s?\p{L}+"),
            Cut::Pattern(r"\s?\p{P}+"),
            Cut::Pattern("[一-龥ࠀ-一가-퟿]+"),
            Cut::Digits,
        ],
        ..PLAIN
    },
    Recipe { names: &["tekken"], cuts: &[TEKKEN], ignore_merges: true, add_bos: true, ..PLAIN },
];

/// The recipe called `name`; an empty name is `default`.
pub(super) fn find(name: &str) -> Result<&'static Recipe, TextError> {
    let name = if name.is_empty() { "default" } else { name };
    let found = RECIPES.iter().find(|recipe| recipe.names.contains(&name));
    found.ok_or_else(|| TextError::Unsupported {
        what: "pre-tokenizer",
        name: name.to_owned(),
        known: RECIPES.iter().flat_map(|recipe| recipe.names).copied().collect::<Vec<_>>().join(", "),
    })
}

impl Recipe {
    /// The cuts in order, then every byte as its letter.
    pub(super) fn build(&self) -> Result<PreTokenizerWrapper, tokenizers::Error> {
        let mut steps = Vec::with_capacity(self.cuts.len() + 1);
        for cut in self.cuts {
            steps.push(match cut {
                Cut::Digits => PreTokenizerWrapper::Digits(Digits::new(true)),
                Cut::Pattern(pattern) => PreTokenizerWrapper::Split(Split::new(
                    SplitPattern::Regex((*pattern).to_owned()),
                    SplitDelimiterBehavior::Isolated,
                    false,
                )?),
            });
        }
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)));
        Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    /// The words of `text`, in the byte alphabet.
    fn words(name: &str, text: &str) -> Vec<String> {
        let recipe = find(name).expect("a known name").build().expect("valid patterns");
        let mut pieces = PreTokenizedString::from(text);
        recipe.pre_tokenize(&mut pieces).expect("cutting cannot fail");
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(word, _, _)| word.to_owned()).collect()
    }

    #[test]
    fn every_recipe_builds_and_loses_nothing() {
        let text = "I'M 12345 x's  naïve\r\n\r\n日本!! <|a|> \t end  ";
        let alphabet = super::super::pieces::byte_alphabet();
        let whole: String = text.bytes().map(|byte| alphabet[byte as usize]).collect();
        for name in RECIPES.iter().flat_map(|recipe| recipe.names) {
            assert_eq!(words(name, text).concat(), whole, "{name}");
        }
    }

    #[test]
    fn digits_are_cut_as_each_name_says() {
        assert_eq!(words("smollm", "a 1234"), ["a", "Ġ", "1", "2", "3", "4"]);
        assert_eq!(words("gpt-2", "a 1234"), ["a", "Ġ1234"]);
        assert_eq!(words("llama-bpe", "a 1234"), ["a", "Ġ", "123", "4"]);
        assert_eq!(words("qwen2", "a 1234"), ["a", "Ġ", "1", "2", "3", "4"]);
        assert_eq!(words("", "a 1234"), ["a", "Ġ", "123", "4"]);
        assert_eq!(words("tekken", "HelloWorld 12"), ["Hello", "World", "Ġ", "1", "2"]);
    }

    #[test]
    fn contractions_and_line_ends_follow_the_generation() {
        assert_eq!(words("gpt-2", "I'M\n\nx"), ["I", "'", "M", "Ċ", "Ċ", "x"]);
        assert_eq!(words("llama3", "I'M\n\nx"), ["I", "'M", "ĊĊ", "x"]);
        assert_eq!(words("deepseek-coder", "a, b"), ["a", ",", "Ġb"]);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = find("nonsense").err().expect("unknown").to_string();
        assert!(error.contains("`nonsense`") && error.contains("smollm, starcoder"), "{error}");
    }
}
