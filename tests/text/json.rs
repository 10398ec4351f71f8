//! `tokenizer.json` as model directories carry it, whole and broken.

use std::sync::LazyLock;

use parr::tokenizer::{Specials, TextError, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The layout of LLaMA 2: SentencePiece rebuilt from merges, bytes as fallback.
fn llama2() -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [
            special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"),
        ],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {
            "type": "BPE", "dropout": 0.5, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
            "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<0xC3>": 3, "<0xA9>": 4, "▁": 5, "a": 6,
                "b": 7, "▁a": 8, "ab": 9},
            "merges": ["▁ a", "a b"],
        },
    })
}

/// A small Unigram model with SentencePiece's own normalizer.
fn unigram() -> Value {
    static GOLDEN: LazyLock<Value> = LazyLock::new(|| super::read_golden("text_unigram.json"));
    let mut file = llama2();
    file["normalizer"] = GOLDEN["xlm"]["tokenizer"]["normalizer"].clone();
    file["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"});
    file["model"] = json!({"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": [
        ["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0], ["<0xC3>", -9.0], ["<0xA9>", -9.0], ["▁", -3.0], ["a", -3.0],
        ["b", -3.0], ["▁a", -2.0], ["ab", -2.5],
    ]});
    file
}

fn special(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true})
}

fn read(value: &Value) -> Result<Tokenizer, TextError> {
    Tokenizer::from_json(value.to_string().as_bytes())
}

#[test]
fn the_layout_of_llama_2_is_read() {
    let tokenizer = read(&llama2()).expect("a whole file");
    let encode = |text| tokenizer.encode(text, Specials::Parse).expect("encodes");
    assert_eq!(encode("ab aé"), [8, 7, 8, 3, 4]);
    assert_eq!(encode("<s>b"), [1, 5, 7]);
    assert_eq!(tokenizer.decode(&[1, 8, 7, 8, 3, 4, 2], true), "ab aé");
    assert_eq!(tokenizer.decode(&[8, 3], true), "a\u{fffd}");
    assert_eq!((tokenizer.bos(), tokenizer.add_bos(), tokenizer.vocab_len()), (Some(1), true, 10));
    let tokenizer = tokenizer.with_bos(Some(1), false).with_eos(Some(2));
    assert_eq!((tokenizer.add_bos(), tokenizer.eos()), (false, Some(2)));
}

#[test]
fn encoding_is_the_same_every_time_although_the_file_asks_for_dropout() {
    let tokenizer = read(&llama2()).expect("a whole file");
    let text = "ab ab a ab ab";
    let first = tokenizer.encode(text, Specials::Parse).expect("encodes");
    for _ in 0..20 {
        assert_eq!(tokenizer.encode(text, Specials::Parse).expect("encodes"), first);
    }
}

#[test]
fn merges_may_be_pairs_and_tokens_may_be_added_later() {
    let mut file = llama2();
    file["model"]["merges"] = json!([["▁", "a"], ["a", "b"]]);
    let mut late = special(12, "<|eot|>");
    file["added_tokens"].as_array_mut().expect("a list").push(special(10, "<pad>"));
    late["id"] = json!(11);
    file["added_tokens"].as_array_mut().expect("a list").push(late);
    let tokenizer = read(&file).expect("a whole file");
    assert_eq!(tokenizer.encode("ab<|eot|>", Specials::Parse).expect("encodes"), [8, 7, 11]);
    assert_eq!(tokenizer.vocab_len(), 12);
}

#[test]
fn broken_files_are_refused_by_rule() {
    let change = |path: &str, value: Value| {
        let mut file = llama2();
        *file.pointer_mut(path).expect("a path of the file") = value;
        file
    };
    let cases = [
        ("model.merges entry 0 needs the token `▁b`", change("/model/merges/0", json!("▁ b"))),
        ("model.merges entry 1, `ab`, is not two", change("/model/merges/1", json!("ab"))),
        ("token `b` has id 4000000000", change("/model/vocab/b", json!(4_000_000_000_u32))),
        ("tokenizer model `WordPiece`", change("/model/type", json!("WordPiece"))),
        ("model: invalid type: map, expected a sequence", change("/model/type", json!("Unigram"))),
        ("tokenizer decoder `null`", change("/decoder", Value::Null)),
        ("tokenizer decoder `WordPiece`", change("/decoder", json!({"type": "WordPiece"}))),
        ("model.continuing_subword_prefix is set", change("/model/continuing_subword_prefix", json!("##"))),
        ("gives `</s>` the id 7", change("/added_tokens/2/id", json!(7))),
        ("invalid type: sequence, expected a map", change("/model/vocab", json!([]))),
        ("tokenizer normalizer `Nonsense`", change("/normalizer", json!({"type": "Nonsense"}))),
        (
            "the precompiled_charsmap of Precompiled ends within its tree",
            change(
                "/normalizer/normalizers/0",
                json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            ),
        ),
        ("is malformed", change("/model/vocab/a", json!(-1))),
        ("the tokens `a` and `b` have the same id 6", change("/model/vocab/b", json!(6))),
        ("model.unk_token `x` is not in model.vocab", change("/model/unk_token", json!("x"))),
        ("model.merges entry 0 has an empty side", change("/model/merges/0", json!(["", "a"]))),
        ("a pattern is empty", change("/normalizer/normalizers/1/pattern", json!({"String": ""}))),
        ("matches the empty text", change("/normalizer/normalizers/1/pattern", json!({"Regex": "x*"}))),
        ("Sequence with Replace in it", change("/decoder/decoders/0/content", json!("xxxxxxxx"))),
        ("Sequence with Strip in it", change("/decoder/decoders/3/stop", json!(2))),
        ("length 0", change("/pre_tokenizer", json!({"type": "FixedLength", "length": 0}))),
        ("pre-tokenizer `Jieba`", change("/pre_tokenizer", json!({"type": "Jieba"}))),
        ("the largest id is 4000000, but there are only 10", change("/model/vocab/b", json!(4_000_000))),
    ];
    for (expected, file) in cases {
        let message = read(&file).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
    for text in ["", "{}", "[]", "{\"model\": {}}", "\u{0}"] {
        read(&json!(text)).expect_err("no tokenizer");
        Tokenizer::from_json(text.as_bytes()).expect_err("no tokenizer");
    }
    let whole = llama2().to_string();
    for end in (0..whole.len()).step_by(7) {
        Tokenizer::from_json(&whole.as_bytes()[..end]).expect_err("a cut file");
    }
}

#[test]
fn rules_that_grow_or_never_end_stop_in_an_error() {
    let doubling = json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "xxxxxxxx"});
    let mut file = llama2();
    file["normalizer"] = json!({"type": "Sequence", "normalizers": vec![doubling; 8]});
    let tokenizer = read(&file).expect("each step alone is sound");
    let error = tokenizer.encode("hello world", Specials::Parse).expect_err("grows").to_string();
    assert!(error.contains("write more than"), "{error}");
    // An added token that is matched in the normalized text meets the normalizers when the file is read.
    file["added_tokens"].as_array_mut().expect("a list").push(json!({
        "id": 10, "content": "late late", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true,
        "special": false}));
    assert!(read(&file).expect_err("grows").to_string().contains("write more than"));
    let mut file = llama2();
    file["pre_tokenizer"] =
        json!({"type": "Split", "pattern": {"Regex": "(?:a|a|(?=a)a)*(?=b)"}, "behavior": "Isolated"});
    let tokenizer = read(&file).expect("a pattern that compiles");
    let error = tokenizer.encode(&"a".repeat(300), Specials::Parse).expect_err("never ends").to_string();
    assert!(error.contains("fails on it"), "{error}");
}

#[test]
fn added_tokens_that_are_not_special_are_decoded_by_the_decoder() {
    let mut file = llama2();
    file["added_tokens"].as_array_mut().expect("a list").push(json!({
        "id": 10, "content": "▁▁▁", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": false}));
    let tokenizer = read(&file).expect("a whole file");
    assert_eq!(tokenizer.decode(&[6, 10, 7], true), "a   b");
    let mut stream = tokenizer.stream();
    assert_eq!([6, 10, 7].map(|id| stream.push(id)).concat(), "a   b");
}

#[test]
fn a_missing_file_is_named() {
    let missing = super::golden("no-such-tokenizer.json");
    let error = Tokenizer::from_json_file(&missing).expect_err("no file");
    assert!(matches!(error, TextError::Io(_)));
    assert!(error.to_string().contains("no-such-tokenizer.json"), "{error}");
}

/// The ways a value of the file can go wrong.
fn damage() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(-1)),
        Just(json!(4_294_967_296_u64)),
        Just(json!([])),
        Just(json!({})),
        Just(json!("")),
        Just(json!("a")),
        Just(json!("<s>")),
        Just(json!(true)),
        (0..12u32).prop_map(|number| json!(number)),
        "[a-b▁\u{0}é ]{0,3}".prop_map(Value::from),
    ]
}

/// JSON pointers to `value` and every value below it.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    if let Value::Object(fields) = value {
        for (key, inner) in fields {
            let key = key.replace('~', "~0").replace('/', "~1");
            pointers(inner, &format!("{at}/{key}"), all);
        }
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        pointers(inner, &format!("{at}/{index}"), all);
    }
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn damaged_files_are_refused_or_survived(
        is_unigram: bool,
        wounds in prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4),
        text in "[ab é<s>/]{0,12}",
        ids in prop::collection::vec(0..20u32, 0..12),
    ) {
        let mut file = if is_unigram { unigram() } else { llama2() };
        for (which, value) in wounds {
            let mut all = Vec::new();
            pointers(&file, "", &mut all);
            *file.pointer_mut(which.get::<String>(&all)).expect("a path of the file") = value;
        }
        if let Ok(tokenizer) = read(&file) {
            for specials in [Specials::Parse, Specials::AsText] {
                for id in tokenizer.encode(&text, specials).unwrap_or_default() {
                    prop_assert!((id as usize) < tokenizer.vocab_len());
                }
            }
            tokenizer.decode(&ids, true);
        }
    }
}
