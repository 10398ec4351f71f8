//! The pre-tokenizers that GGUF files name: how text is cut into words before merging.

use serde_json::{Value, json};

use super::TextError;
use super::cuts::{Cut, Cuts, GPT2};
use super::pattern::{Behavior, Pattern};

/// One way of cutting text into words, with its names.
pub(super) struct Recipe {
    names: &'static [&'static str],
    /// Regular expressions, applied one after the other. Every match is a word, and so is the text between two.
    cuts: &'static [&'static str],
    /// Whether a word that is a token is encoded directly, without merges.
    pub(super) ignore_merges: bool,
    /// Whether a raw text begins with the beginning-of-text token unless the file sets this.
    pub(super) add_bos: bool,
    /// Whether text is brought to composed form (NFC) first, as in the models' own files. llama.cpp does not do it.
    pub(super) compose: bool,
}

/// Every digit is a word.
const DIGITS: &str = r"\p{N}";

const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const QWEN35: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
/// Qwen2's without English contractions.
const UFAKZEKA: &str =
    concat!(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",);
const MINICPM5: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const SEED_CODER: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const BAILING: &str = concat!(
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
);
const EXAONE_MOE: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
);
const JAIS2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)",
    r"|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}",
);
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
/// GPT-4o's, with Chinese characters as words of their own.
const KIMI: &str = concat!(
    r"[\p{Han}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const BLOOM: &str = r" ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+";
/// The letters that have a case.
const DEEPSEEK_LETTERS: &str = concat!(
    r"\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}",
    r"\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}",
    r"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}",
    r"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}",
    r"\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}",
    r"\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}",
    r"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}",
    r"\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}",
    r"\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}",
    r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}",
    r"\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}",
    r"\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}",
    r"\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+",
);
const DEEPSEEK_IDEOGRAPHS: &str = r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+";
/// Chinese and Japanese.
const IDEOGRAPHS: &str = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";
const DEEPSEEK3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const SPARK: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+",
);
const YOUTU_SCRIPTS: &str = concat!(
    r"[\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+",
    r"|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}",
    r"\x{FE30}-\x{FE4F}]+|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+",
);
const YOUTU: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// The first name of every pre-tokenizer, those of many models first.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    const USUAL: [&str; 4] = ["llama-bpe", "qwen2", "smollm", "gpt-2"];
    let others = RECIPES.iter().filter_map(|recipe| recipe.names.first().copied());
    USUAL.into_iter().chain(others.filter(|name| !USUAL.contains(name)))
}

const PLAIN: Recipe = Recipe { names: &[], cuts: &[], ignore_merges: false, add_bos: false, compose: false };

/// Every pre-tokenizer that is known, one entry for all names with the same rules.
const RECIPES: &[Recipe] = &[
    // The pre-tokenizer of files that name none, by llama.cpp's convention.
    Recipe {
        names: &["default"],
        cuts: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        ..PLAIN
    },
    Recipe {
        names: &[
            "gpt-2",
            "phi-2",
            "roberta-bpe",
            "exaone4",
            "jais",
            "trillion",
            "granite-docling",
            "gigachat",
            "a.x-4.0",
            "mellum",
        ],
        cuts: &[GPT2],
        ..PLAIN
    },
    // The tokenizer of GPT-NeoX, and those made from it.
    Recipe { names: &["olmo", "mpt", "modern-bert"], cuts: &[GPT2], compose: true, ..PLAIN },
    Recipe {
        names: &["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        cuts: &[DIGITS, GPT2],
        ..PLAIN
    },
    Recipe { names: &["command-r"], cuts: &[DIGITS, GPT2], compose: true, ..PLAIN },
    Recipe { names: &["falcon"], cuts: &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"], ..PLAIN },
    Recipe {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        cuts: &[LLAMA3],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    Recipe { names: &["dbrx", "smaug-bpe", "chatglm-bpe"], cuts: &[LLAMA3], ..PLAIN },
    Recipe { names: &["glm4", "glm5"], cuts: &[LLAMA3], ignore_merges: true, ..PLAIN },
    Recipe { names: &["qwen2", "f2llmv2"], cuts: &[QWEN2], compose: true, ..PLAIN },
    Recipe {
        names: &["stablelm2", "deepseek-r1-qwen", "kormo", "megrez", "hunyuan", "solar-open", "grok-2"],
        cuts: &[QWEN2],
        ..PLAIN
    },
    Recipe { names: &["qwen35"], cuts: &[QWEN35], compose: true, ..PLAIN },
    Recipe { names: &["ufakzeka"], cuts: &[UFAKZEKA], ..PLAIN },
    Recipe { names: &["laguna"], cuts: &[r"[^\n]+|[\n]+", QWEN2], ..PLAIN },
    Recipe { names: &["minicpm5"], cuts: &[r"\p{N}{1,3}", MINICPM5], ignore_merges: true, ..PLAIN },
    Recipe { names: &["seed-coder"], cuts: &[SEED_CODER], ..PLAIN },
    Recipe { names: &["bailingmoe", "bailingmoe2", "llada-moe"], cuts: &[BAILING], ..PLAIN },
    Recipe { names: &["exaone-moe"], cuts: &[EXAONE_MOE], ..PLAIN },
    Recipe { names: &["jais-2"], cuts: &[JAIS2], ..PLAIN },
    Recipe { names: &["bloom", "poro-chat", "gpt3-finnish"], cuts: &[BLOOM], ..PLAIN },
    Recipe { names: &["viking"], cuts: &[BLOOM, DIGITS], ..PLAIN },
    Recipe {
        names: &["deepseek-llm"],
        cuts: &[
            r"[\r\n]",
            DEEPSEEK_LETTERS,
            r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+",
            r"\s+$",
            DEEPSEEK_IDEOGRAPHS,
            r"\p{N}+",
        ],
        ..PLAIN
    },
    Recipe {
        names: &["deepseek-coder"],
        cuts: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_IDEOGRAPHS, DIGITS],
        ..PLAIN
    },
    Recipe {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        cuts: &[r"\p{N}{1,3}", IDEOGRAPHS, DEEPSEEK3],
        ..PLAIN
    },
    Recipe { names: &["spark2_5"], cuts: &[r"\p{N}{1,3}", IDEOGRAPHS, SPARK, DIGITS], ..PLAIN },
    Recipe { names: &["youtu"], cuts: &[YOUTU_SCRIPTS, YOUTU], ignore_merges: true, ..PLAIN },
    Recipe { names: &["tekken"], cuts: &[TEKKEN], ignore_merges: true, add_bos: true, ..PLAIN },
    Recipe { names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], cuts: &[GPT4O], ..PLAIN },
    Recipe { names: &["kimi-k2"], cuts: &[KIMI], ignore_merges: true, ..PLAIN },
    Recipe { names: &["tiny_aya", "cohere2moe"], cuts: &[r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O], ..PLAIN },
    Recipe { names: &["superbpe"], cuts: &[r"\p{N}+", r"(?=(\d{3})+(?!\d))"], ..PLAIN },
    Recipe {
        names: &["chameleon"],
        cuts: &[
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            r"([\t\n]|    |  )",
            DIGITS,
            r"[\p{P}!-/:-@\[-`{-~]",
            GPT2,
        ],
        add_bos: true,
        ..PLAIN
    },
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
    ///
    /// # Errors
    ///
    /// The reason why a pattern does not compile.
    pub(super) fn build(&self) -> Result<Cuts, String> {
        let mut steps = Vec::with_capacity(self.cuts.len() + 1);
        for cut in self.cuts {
            steps.push(Cut::Split {
                pattern: Pattern::regex(cut)?,
                behavior: Behavior::Isolated,
                invert: false,
            });
        }
        steps.push(Cut::Bytes);
        Ok(Cuts::new(steps))
    }

    /// The same as the components of a `tokenizer.json`.
    pub(super) fn components(&self) -> Value {
        let split = |cut: &&str| json!({"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": false});
        let byte_level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
        let mut steps: Vec<Value> = self.cuts.iter().map(split).collect();
        steps.push(byte_level(false));
        json!({
            "normalizer": self.compose.then(|| json!({"type": "NFC"})),
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
            "post_processor": null,
            "decoder": byte_level(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Meter;
    use super::*;

    /// The words of `text`, in the byte alphabet.
    fn words(name: &str, text: &str) -> Vec<String> {
        let cuts = find(name).expect("a known name").build().expect("valid patterns");
        let mut words = Vec::new();
        let mut each = |word: &str| {
            words.push(word.to_owned());
            Ok(())
        };
        cuts.run(text, true, &Meter::start(text.len()), &mut each).expect("cutting cannot fail");
        words
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

    #[test]
    fn other_names_of_known_rules_are_known() {
        let text = "I'M 12345 x's\n\n日本!! end  ";
        for (name, same) in [
            ("mellum", "gpt-2"),
            ("a.x-4.0", "gpt-2"),
            ("trillion", "gpt-2"),
            ("midm-2.0", "llama-bpe"),
            ("megrez", "qwen2"),
            ("f2llmv2", "qwen2"),
            ("glm4", "llama-bpe"),
            ("mellum2", "smollm"),
        ] {
            assert_eq!(words(name, text), words(same, text), "{name}");
        }
        assert!(find("midm-2.0").expect("known").add_bos && find("midm-2.0").expect("known").ignore_merges);
    }

    #[test]
    fn rules_of_their_own_cut_as_llama_cpp_does() {
        assert_eq!(words("deepseek-llm", "a 1234, b"), ["a", "Ġ", "1234", ",", "Ġb"]);
        assert_eq!(words("deepseek-v3", "Ab 1234x"), ["Ab", "Ġ", "123", "4", "x"]);
        assert_eq!(words("seed-coder", "x!!\ny"), ["x", "!!", "Ċ", "y"]);
        assert_eq!(words("viking", "ab, c12"), ["ab", ",", "Ġc", "1", "2"]);
        assert_eq!(words("bloom", "ab, c12"), ["ab", ",", "Ġc12"]);
        assert_eq!(words("superbpe", "a 1234567"), ["aĠ", "1", "234", "567"]);
        assert_eq!(words("gpt-4o", "helloWorld's 1234"), ["hello", "World's", "Ġ", "123", "4"]);
        assert_eq!(words("falcon", "a `12345`"), ["a", "Ġ", "`", "123", "45", "`"]);
        assert_eq!(words("bailingmoe", "a\n\nb"), ["a", "ĊĊ", "b"]);
    }
}
