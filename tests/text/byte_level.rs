//! Byte-level BPE rebuilt from a GGUF vocabulary.

use parr::tokenizer::{Specials, TextError, Tokenizer, Vocab};
use proptest::prelude::*;

use super::{byte_level, small};

#[test]
fn ids_are_those_of_a_plain_merge_loop() {
    let (vocab, cases) = small("text_byte_level.json");
    let tokenizer = Tokenizer::from_vocab(vocab).expect("a whole vocabulary");
    for case in cases {
        let ids = tokenizer.encode(&case.text, Specials::Parse).expect("encodes");
        assert_eq!(ids, case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&ids, false), case.text);
    }
}

#[test]
fn special_tokens_are_text_when_asked() {
    let tokenizer = byte_level();
    let text = "a<|im_end|>b<|endoftext|>";
    let parsed = tokenizer.encode(text, Specials::Parse).expect("encodes");
    let plain = tokenizer.encode(text, Specials::AsText).expect("encodes");
    assert_eq!(parsed.iter().filter(|&&id| tokenizer.is_special(id)).count(), 2);
    assert!(plain.iter().all(|&id| !tokenizer.is_special(id)), "{plain:?}");
    assert_eq!(tokenizer.decode(&plain, true), text);
    assert_eq!(tokenizer.decode(&parsed, true), "ab");
    assert_eq!(tokenizer.decode(&parsed, false), text);
}

#[test]
fn tokens_can_be_looked_up() {
    let tokenizer = byte_level();
    assert_eq!(tokenizer.token_text(1).as_deref(), Some("<|im_start|>"));
    assert_eq!(tokenizer.token_id("<|im_end|>"), Some(2));
    let the = tokenizer.token_id("Ġthe").expect("a frequent word");
    assert_eq!(tokenizer.token_text(the).as_deref(), Some("Ġthe"));
    assert_eq!(tokenizer.decode(&[the], false), " the");
    let len = tokenizer.vocab_len();
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.add_bos()), (Some(1), Some(2), false));
    assert_eq!(tokenizer.token_text(len as u32), None);
    assert_eq!(tokenizer.decode(&[len as u32, u32::MAX], false), "");
}

#[test]
fn written_as_json_and_read_back_it_encodes_the_same() {
    let (vocab, cases) = small("text_byte_level.json");
    let built = Tokenizer::from_vocab(vocab).expect("a whole vocabulary");
    let json = built.to_json().expect("it has a json form");
    let read = Tokenizer::from_json(json.as_bytes()).expect("what was written can be read");
    assert_eq!(read.vocab_len(), built.vocab_len());
    for case in cases {
        for specials in [Specials::Parse, Specials::AsText] {
            let ids = built.encode(&case.text, specials).expect("encodes");
            assert_eq!(read.encode(&case.text, specials).expect("encodes"), ids);
            assert_eq!(read.decode(&ids, false), built.decode(&ids, false));
        }
    }
}

#[test]
fn pre_tokenizers_begin_texts_as_their_models_do() {
    let (mut vocab, _) = small("text_byte_level.json");
    vocab.pre = "llama-bpe".to_owned();
    assert!(Tokenizer::from_vocab(vocab.clone()).expect("known").add_bos());
    vocab.add_bos = Some(false);
    assert!(!Tokenizer::from_vocab(vocab).expect("known").add_bos());
}

#[test]
fn a_missing_pre_tokenizer_is_told() {
    let (mut vocab, _) = small("text_byte_level.json");
    assert_eq!(Tokenizer::from_vocab(vocab.clone()).expect("whole").notes(), [""; 0]);
    vocab.pre.clear();
    let notes = Tokenizer::from_vocab(vocab).expect("whole").notes().concat();
    assert!(notes.contains("tokenizer.ggml.pre"), "{notes}");
}

fn set_merge(vocab: &mut Vocab, index: usize, line: &str) {
    vocab.merges.as_mut().expect("present")[index] = line.to_owned();
}

/// What a changed vocabulary is refused with.
fn refusal(change: impl FnOnce(&mut Vocab)) -> String {
    let (mut vocab, _) = small("text_byte_level.json");
    change(&mut vocab);
    match Tokenizer::from_vocab(vocab) {
        Ok(_) => panic!("a broken vocabulary was taken"),
        Err(error @ (TextError::Malformed { .. } | TextError::Unsupported { .. })) => error.to_string(),
        Err(error) => panic!("an error of the wrong kind: {error}"),
    }
}

#[test]
fn broken_vocabularies_are_refused_by_name() {
    let cases = [
        (
            "`nonsense` is not supported; known are: default, gpt-2",
            refusal(|vocab| vocab.pre = "nonsense".into()),
        ),
        ("tokenizer model `t5`", refusal(|vocab| vocab.model = "t5".into())),
        ("tokens is malformed: the list is empty", refusal(|vocab| vocab.tokens.clear())),
        ("merges is malformed: entry 3, `aĠ`, is not two", refusal(|vocab| set_merge(vocab, 3, "aĠ"))),
        ("entry 0, `Ġ nosuch`, needs the token `nosuch`", refusal(|vocab| set_merge(vocab, 0, "Ġ nosuch"))),
        (
            "entry 5, `Ġthe Ġthe`, needs the token `ĠtheĠthe`",
            refusal(|vocab| set_merge(vocab, 5, "Ġthe Ġthe")),
        ),
        ("entry 2, ` x`, has an empty side", refusal(|vocab| set_merge(vocab, 2, " x"))),
        ("merges is malformed: the list is missing", refusal(|vocab| vocab.merges = None)),
        ("3 types for", refusal(|vocab| vocab.token_types = Some(vec![1; 3]))),
        ("type 9 of token 0", refusal(|vocab| vocab.token_types.as_mut().expect("present")[0] = 9)),
        ("2 scores for", refusal(|vocab| vocab.scores = Some(vec![0.0; 2]))),
        (
            "bos_token_id is malformed: id 4000000000 is outside",
            refusal(|vocab| vocab.bos = Some(4_000_000_000)),
        ),
        ("eos_token_id", refusal(|vocab| vocab.eos = Some(100_000))),
    ];
    for (expected, message) in cases {
        assert!(message.contains(expected), "{message}");
    }
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn text_survives_the_round_trip(text in "\\PC{0,60}") {
        let tokenizer = byte_level();
        let ids = tokenizer.encode(&text, Specials::AsText)?;
        prop_assert_eq!(tokenizer.decode(&ids, false), text);
    }

    #[test]
    fn streaming_is_decoding(ids in prop::collection::vec(0..1000u32, 0..50)) {
        let tokenizer = byte_level();
        let mut stream = tokenizer.stream();
        let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
        text.push_str(&stream.finish());
        prop_assert_eq!(text, tokenizer.decode(&ids, true));
    }
}
