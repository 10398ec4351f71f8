//! Unigram models in a `tokenizer.json`, against the `tokenizers` library.

use std::sync::Arc;

use parr::tokenizer::{ChatFormat, ChatTemplate, Message, Specials, TextError, TokenId, Tokenizer};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read_golden;

/// What `tests/golden/make_sentence_pieces.py` writes for each kind of model.
#[derive(Deserialize)]
struct Golden {
    tokenizer: Value,
    cases: Vec<Decoded>,
}

#[derive(Deserialize)]
struct Decoded {
    text: String,
    ids: Vec<TokenId>,
    decoded: String,
}

#[derive(Deserialize)]
struct Kinds {
    xlm: Golden,
    japanese: Golden,
}

fn kinds() -> [Golden; 2] {
    let Kinds { xlm, japanese } = read_golden("text_unigram.json");
    [xlm, japanese]
}

fn read(value: &Value) -> Result<Tokenizer, TextError> {
    Tokenizer::from_json(value.to_string().as_bytes())
}

#[test]
fn ids_and_texts_are_those_of_the_library() {
    for Golden { tokenizer, cases } in kinds() {
        let tokenizer = read(&tokenizer).expect("a whole file");
        assert_eq!(cases.len(), 167);
        for Decoded { text, ids, decoded } in cases {
            assert_eq!(tokenizer.encode(&text, Specials::Parse).expect("encodes"), ids, "{text:?}");
            assert_eq!(tokenizer.decode(&ids, false), decoded, "{text:?}");
        }
    }
}

#[test]
fn written_as_json_and_read_back_it_encodes_the_same() {
    for Golden { tokenizer, cases } in kinds() {
        let json = read(&tokenizer).expect("a whole file").to_json().expect("it has a json form");
        let again = Tokenizer::from_json(json.as_bytes()).expect("it can be read again");
        for Decoded { text, ids, .. } in cases {
            assert_eq!(again.encode(&text, Specials::Parse).expect("encodes"), ids, "{text:?}");
        }
    }
}

#[test]
fn tokens_can_be_looked_up_and_added_beyond_the_vocabulary() {
    let [xlm, _] = kinds();
    let count = xlm.tokenizer["model"]["vocab"].as_array().expect("a list").len() as TokenId;
    let tokenizer = read(&xlm.tokenizer).expect("a whole file");
    assert_eq!((tokenizer.token_text(0).as_deref(), tokenizer.token_id("</s>")), (Some("<unk>"), Some(2)));
    assert_eq!((tokenizer.token_id("<late>"), tokenizer.vocab_len()), (Some(count), count as usize + 1));
    assert!(tokenizer.is_special(2) && tokenizer.is_added(count) && !tokenizer.is_special(10));
    assert_eq!(tokenizer.token_text(count + 1), None);
}

/// What a changed file is refused with.
fn refusal(path: &str, value: Value) -> String {
    let [_, mut japanese] = kinds();
    *japanese.tokenizer.pointer_mut(path).expect("a path of the file") = value;
    read(&japanese.tokenizer).expect_err(path).to_string()
}

#[test]
fn broken_files_are_refused_by_rule() {
    for (expected, message) in [
        ("model.unk_id is 70000", refusal("/model/unk_id", json!(70_000))),
        ("the entries 10 and 11 of model.vocab", {
            let twice = json!([["twice", -1.0], ["twice", -2.0]]);
            let [_, mut japanese] = kinds();
            for (place, entry) in (10..).zip(twice.as_array().expect("a list")) {
                japanese.tokenizer["model"]["vocab"][place] = entry.clone();
            }
            read(&japanese.tokenizer).expect_err("twice").to_string()
        }),
        ("257 bytes, more than 256", refusal("/model/vocab/9/0", json!("x".repeat(257)))),
        ("model: invalid type: string", refusal("/model/vocab/9/1", json!("much"))),
        ("model: invalid value", refusal("/model/unk_id", json!(-1))),
        ("tokenizer decoder `null`", refusal("/decoder", Value::Null)),
        ("`WordLevel` is not supported; known are: BPE, Unigram", refusal("/model/type", json!("WordLevel"))),
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_character_without_a_token_is_named() {
    let [mut xlm, _] = kinds();
    xlm.tokenizer["model"]["unk_id"] = Value::Null;
    let tokenizer = read(&xlm.tokenizer).expect("a whole file");
    let error = tokenizer.encode("a\u{10ffff}", Specials::Parse).expect_err("no token").to_string();
    assert!(error.contains("no piece for") && error.contains("no unknown token"), "{error}");
}

#[test]
fn the_text_of_a_message_becomes_no_special_token() {
    for Golden { tokenizer, .. } in kinds() {
        let tokenizer = Arc::new(read(&tokenizer).expect("a whole file"));
        let source = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}";
        let template = ChatTemplate::compile(source, "<s>", "</s>").expect("compiles");
        let chat = ChatFormat::new(Arc::clone(&tokenizer), template, &[]);
        let ids = chat.encode_chat(&[Message::new("user", "a</s><s>b<late>")], false).expect("encodes");
        let specials = |id: TokenId| ids.iter().filter(|&&other| other == id).count();
        let late = tokenizer.token_id("<late>").expect("known");
        assert_eq!((specials(1), specials(2), specials(late)), (1, 1, 0), "{ids:?}");
        assert!(tokenizer.decode(&ids, false).contains("a</s><s>b<late>"));
    }
}

proptest! {
    #![proptest_config(crate::support::cases(128))]

    #[test]
    fn text_survives_the_round_trip(text in "[^▁]{0,60}") {
        let [_, japanese] = kinds();
        let tokenizer = read(&japanese.tokenizer)?;
        let ids = tokenizer.encode(&text, Specials::AsText)?;
        prop_assert_eq!(tokenizer.decode(&ids, false), text);
    }
}
