"""Makes text_pre_tokenizers.json: what each pre-tokenizer that a GGUF file can name does to difficult texts.

    pip install tokenizers
    python make_pre_tokenizers.py

The reference is the `tokenizers` library with the patterns of the models' own tokenizers; it matches with Oniguruma,
not with the engine of this crate. The vocabulary is trained on the texts without any cutting, so its tokens reach
over the places where words end. A word that is cut elsewhere therefore gets other ids.
"""

import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
TOKENS = 2200
CONTROL = ["<|end|>", "<|start|>"]

TEXTS = [
    # White space.
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r\r\n\n", " \n \n", "\t\t x", "a\n", "a \n b", "a\n\n\n\nb",
    "  lead", "trail  ", "a    b     c", "x\u00a0y", "x\u3000\u3000y", "a\u2028b\u2029c",
    "\u200bzero\u200bwidth\u200d",
    "a \t \n\t b", "tabs\t\t\there", " " * 17 + "deep", "if x:\n    y = 1\n        z\n", "a\x0b\x0cb\x85c",
    "\ufeffbom",
    "end.\n\n", "end!!\r\n\r\nnext", "?\n", " ?\n", "/\n//\n", "a/b/c\n/d", "\n =\n  =", " \u00a0 \u2003x",
    "x" + " " * 70 + "y",
    # Contractions.
    "I'm he's we'll they've don't you'd", "I'M HE'S WE'LL THEY'VE DON'T YOU'D", "'s 't 're 've 'm 'll 'd",
    "'Twas 'tis",
    "we\u2019re it\u2019s", "o'clock rock'n'roll", "''s '''t", "x's1's", "it'\u017f 'LLama", "y'all'd've",
    "l'\u00e9t\u00e9 d'Or",
    "DON'Tstop", "a'S'b", "\u0130stanbul'da", " 'S 'sS",
    # Digits.
    "1", "12", "123", "1234", "12345", "1234567890", "a1b22c333d4444", "3.14159 1,000,000 1e-9",
    "2024-11-30T17:09:59Z",
    " 7 77 777 7777", "\u00b2\u00b3 \u00bd\u00be \u2460\u2468 \u2167", "\u0663\u0664\u0665\u0666",
    "\u0967\u0968\u0969\u096a\u096b",
    "\uff11\uff12\uff13\uff14", "\u4e00\u4e8c\u4e09 12\u670831\u65e5", "0x1F600 0b1010", "$5 5% 5th", "v1.2.3-rc4",
    "1 234 567", "12a345",
    "1234567 12345678 123456789", "a1234567b", "x  12   345\t6", "!\n\n12\n\n3",
    # Letters.
    "Hello World", "HelloWorld helloWORLD HTTPServer iOS", "McDonald ABCdef",
    "na\u00efve caf\u00e9 \u00dcber \u00df \u1e9e", "nai\u0308ve cafe\u0301",
    "\u01c5 \u01c8ubav \u1fbc", "\u1f45\u03c3\u03c3\u03b5 \u039f\u0394\u039f\u03a3",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0420\u043e\u0441\u0421\u0418\u042f",
    "\u10e5\u10d0\u10e0\u10d7 \u1c90\u10d0",
    "\u02b0\u02b2 \u00aa\u00ba \u2071\u207f", "e\u0301\u0302\u0303 \u0301alone",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e\u0964",
    "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627\u060c \u06a9\u06cc\u0627\u06d4",
    "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "Ti\u1ebfng Vi\u1ec7t r\u1ea5t kh\u00f3", "Tie\u0302\u0301ng Vie\u0323\u0302t", "\u1781\u17d2\u1789\u17bb\u17c6",
    "\u0b95\u0bcd\u0bb7 \u0b95\u0bbe", "fi \ufb01 \ufb02 \ufb03",
    "\uff28\uff45\uff4c\uff4c\uff4f\u3000\uff37", "\u13a0\u13b9 \uab70", "\U00010400\U00010428 \U0001d400\U0001d41a",
    "a\u00adb", "\u2126 \u212a \u212b",
    # East Asia.
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u6211\u6709 3 \u53ea\u732b\u3002OK",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c\u3001\u30ab\u30bf\u30ab\u30ca\u30fc",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4", "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "\uff76\uff9e\uff77\uff9e \u3007\u3005", "\u9fa6\u9fff\u3400\U00020000\u4e00",
    "\u3105\u3106\u3107 \uff1a\uff1b\u300c\u300d", "\u6f22\u5b57kanji\u6f22\u5b57",
    "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8 a \ub098",
    "\u7b2c12\u9875\u3002\u300a\u4e66\u300b", "\u3042a\u30a21\u4e00\u3002",
    # Punctuation and symbols.
    "!!!", "?!?! ...", "\u2026\u2014\u2013\u201cquotes\u201d \u2018x\u2019", "(a) [b] {c} <d>", "a+b=c a==b a!=b ~x",
    "$x ^y `z` |w|", "@user #tag", "\u20ac5 \u00a35 \u20bf", "x\u00b2+y\u00b2",
    "http://example.com/a?b=c&d=%20#e", "me@mail.org", "*bold* _it_ __init__", "\\n \\t \\\\", "a,b;c:d.e",
    "\u2192 \u21d2 \u2200x\u2208\u211d", "\u00ab\u00a0oui\u00a0\u00bb", "--- === ***",
    "`12345`", "a\u0301! \u0301!", "\u060c \u06d4 \u0964x", "(\u4e2d)", "\u3001\u3002\uff01\uff1f", "!abc ?Def .gh",
    " \"quoted\" 'single'", "...word ,word",
    # Emoji, private and unassigned characters.
    "\U0001f642\U0001f642", "\U0001f468\u200d\U0001f469\u200d\U0001f467 ok", "\u2764\ufe0f \U0001f1e9\U0001f1ea",
    "\U0001f44d\U0001f3fd!", "a\U0001f600b 1\U0001f6002", "\ue000\U000f0000", "\ufffd\ufffe", "\U0003ffff\u0378",
    "\x00\x01\x7f", "\u2660\u2663 \u266b",
    # Code.
    "fn main() {\n    println!(\"hi\");\n}\n", "def f(x):\n\treturn x**2  # sq\n",
    "<div class=\"a\">\n  <b>x</b>\n</div>", "SELECT * FROM t WHERE a>=10;",
    "{\"k\": [1, 22, 333], \"s\": \"\\u00e9\"}",
    "a_b camelCase XMLHttpRequest2", "let r#type = 'a';", "i++; j--; x ||= y && z", "// TODO: fix\n/* x */",
    "\u00e0\tb\r\nc\r\n\r\n", "<|end|>text<|start|>", "IMGIMGABCZ <sentinel:12>",
    "Vie\u0323\u0302t\u0301 \u0e01\u0e34\u0e34 e\u0301E\u0301", "don't\u0301 re\u0301's", "x \u0301y",
]

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = [rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"]
CASED_CONTRACTED = [rf"{word}{CONTRACTIONS}?" for word in CASED]
CASED_END = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = "|".join([CONTRACTIONS, WORD, r"\p{N}{1,3}", SYMBOLS, SPACES])
QWEN2 = "|".join([CONTRACTIONS, WORD, r"\p{N}", SYMBOLS, SPACES])
QWEN35 = "|".join([
    CONTRACTIONS, r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", r"\p{N}", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*", SPACES])
GPT4O = "|".join([*CASED_CONTRACTED, r"\p{N}{1,3}", CASED_END])
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
IDEOGRAPHS = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
ASCII_MARKS = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
MARKED_WORD = r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
DEEPSEEK3 = [
    r"\p{N}{1,3}", IDEOGRAPHS,
    "|".join([ASCII_MARKS, MARKED_WORD, r" ?[\p{P}\p{S}]+[\r\n]*", SPACES])]
# The letters that have a case, by block, as DeepSeek's file lists them.
DEEPSEEK_LETTERS = (
    "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-"
    "\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-"
    "\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3"
    "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17"
    "\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-"
    "\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]+")
DEEPSEEK_IDEOGRAPHS = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"

# Names, patterns, and what else the rule needs. Names of one rule share it in the models' own files.
RULES = [
    (["default"], [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
    (["gpt-2", "phi-2", "exaone4", "jais", "trillion", "granite-docling", "gigachat", "a.x-4.0", "mellum",
      "roberta-bpe"], [GPT2]),
    (["olmo", "mpt", "modern-bert"], [GPT2], "nfc"),
    (["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"], [r"\p{N}", GPT2]),
    (["command-r"], [r"\p{N}", GPT2], "nfc"),
    (["falcon"], [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"]),
    (["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", "glm4",
      "glm5"], [LLAMA3], "whole"),
    (["dbrx", "smaug-bpe", "chatglm-bpe"], [LLAMA3]),
    (["qwen2", "f2llmv2"], [QWEN2], "nfc"),
    (["stablelm2", "deepseek-r1-qwen", "kormo", "megrez", "hunyuan", "solar-open", "grok-2"], [QWEN2]),
    (["qwen35"], [QWEN35], "nfc"),
    (["ufakzeka"], ["|".join([WORD, r"\p{N}", SYMBOLS, SPACES])]),
    (["laguna"], [r"[^\n]+|[\n]+", QWEN2]),
    (["minicpm5"], [r"\p{N}{1,3}", "|".join([CONTRACTIONS, WORD, r"\p{N}+", SYMBOLS, SPACES])], "whole"),
    (["seed-coder"], ["|".join([CONTRACTIONS, WORD, r"\p{N}{1}", r" ?[^\s\p{L}\p{N}\r\n]+", SPACES])]),
    (["bailingmoe", "bailingmoe2", "llada-moe"], ["|".join([
        r"'(?i:[sdmt]|ll|ve|re)", r"[^\r\n\p{L}\p{N}]?+\p{L}+", r"\p{N}", r" ?[^\s\p{L}\p{N}]++[\r\n]*", r"\s*[\r\n]",
        r"\s+(?!\S)|\s+"])]),
    (["exaone-moe"], ["|".join([
        CONTRACTIONS, r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+", r"\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n/]?",
        r"\s*[\r\n]", r"\s+(?!\S)|\s+"])]),
    (["jais-2"], ["|".join([
        CONTRACTIONS, WORD, r"\p{N}{1,3}", SYMBOLS, r"\s*[\r\n]+",
        *[rf"\s{{{count}}}(?!\S)" for count in (512, 256, 128, 64, 32, 16, 8, 4)], r"\s{1,2}(?!\S)", r"\s{1}"])]),
    (["bloom", "poro-chat", "gpt3-finnish"], [BLOOM]),
    (["viking"], [BLOOM, r"\p{N}"]),
    (["deepseek-llm"], [
        "[\r\n]", DEEPSEEK_LETTERS, "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$",
        DEEPSEEK_IDEOGRAPHS, r"\p{N}+"]),
    (["deepseek-coder"], ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_IDEOGRAPHS, r"\p{N}"]),
    (["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], DEEPSEEK3),
    (["spark2_5"], [
        r"\p{N}{1,3}", IDEOGRAPHS,
        "|".join([ASCII_MARKS, MARKED_WORD, r" ?[\p{P}\p{S}]+", r"[\r\n]", r"\s+(?!\S)|\s+"]), r"\p{N}"]),
    (["youtu"], [
        "[\uac00-\ud7a3\u3131-\u318e]+"
        "|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
        "|[\u3105-\u312f]+|" + IDEOGRAPHS,
        "|".join([*CASED_CONTRACTED, r"\p{N}", CASED_END])], "whole"),
    (["tekken"], ["|".join([*CASED, r"\p{N}", CASED_END])], "whole"),
    (["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], [GPT4O]),
    (["kimi-k2"], ["|".join([
        r"[\p{Han}]+", *[word.replace(r"\p{M}]", r"\p{M}&&[^\p{Han}]]") for word in CASED_CONTRACTED], r"\p{N}{1,3}",
        SYMBOLS, SPACES])], "whole"),
    (["tiny_aya", "cohere2moe"], [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O]),
    (["superbpe"], [r"\p{N}+", r"(?=(\d{3})+(?!\d))"]),
    (["chameleon"], [
        "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]", GPT2]),
]


def train():
    """A vocabulary whose tokens reach over all cuts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS, show_progress=False, max_token_length=14,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    # A control token must not be a word of the vocabulary too.
    plain = [text for text in TEXTS if CONTROL[0] not in text]
    tokenizer.train_from_iterator(plain * 2, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [tuple(merge) for merge in model["merges"]]


def encoder(tokens, merges, patterns, extra):
    ids = {token: id for id, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges="whole" in extra))
    tokenizer.normalizer = normalizers.NFC() if "nfc" in extra else None
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in CONTROL])
    return tokenizer


def main():
    tokens, merges = train()
    # Words without the merges that make them: only a tokenizer that looks up whole words finds them.
    plain = encoder(tokens, merges, [LLAMA3], [])
    words = {word for text in TEXTS for word, _ in plain.pre_tokenizer.pre_tokenize_str(text)}
    several = sorted(word for word in words if len(word) < 20 and len(plain.model.tokenize(word)) > 1)
    tokens += several[::4] + CONTROL
    rules = []
    for names, patterns, *extra in RULES:
        tokenizer = encoder(tokens, merges, patterns, extra)
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        rules.append({"names": names, "ids": [" ".join(map(str, row)) for row in ids]})
    vocab = {
        "model": "gpt2", "pre": "", "tokens": tokens, "types": [3 if token in CONTROL else 1 for token in tokens],
        "merges": [" ".join(merge) for merge in merges],
    }
    golden = {"vocab": vocab, "texts": TEXTS, "rules": rules}
    (HERE / "text_pre_tokenizers.json").write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
