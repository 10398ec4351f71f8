//! SentencePiece vocabularies, with scores and byte fallback.

use parr::tokenizer::{Specials, TextError, Tokenizer, Vocab};
use proptest::prelude::*;

use super::{sentence_piece, small};

#[test]
fn ids_are_those_of_the_sentencepiece_library() {
    let (vocab, cases) = small("text_sentence_piece.json");
    let tokenizer = Tokenizer::from_vocab(vocab).expect("a whole vocabulary");
    // Beside user-defined tokens the rule is llama.cpp's, which every GGUF file is made for: each text between them
    // is a text of its own. SentencePiece has one space, in front of the whole.
    let (beside, plain): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.text.contains("<extra>"));
    assert!(!beside.is_empty() && plain.len() > 20);
    for case in beside {
        let encode = |text: &str| tokenizer.encode(text, Specials::AsText).expect("encodes");
        let texts = case.text.split("<extra>").map(encode).collect::<Vec<_>>();
        let extra = tokenizer.token_id("<extra>").expect("in the vocabulary");
        assert_eq!(encode(&case.text), texts.join(&extra), "{:?}", case.text);
    }
    for case in plain {
        let ids = tokenizer.encode(&case.text, Specials::AsText).expect("encodes");
        assert_eq!(ids, case.ids, "{:?}", case.text);
        // The piece for a space is spelled ▁, so that character itself comes back as a space.
        assert_eq!(tokenizer.decode(&ids, false), case.text.replace('▁', " "));
    }
}

#[test]
fn ids_are_those_of_gemmas_other_file() {
    let (vocab, cases) = small("text_gemma.json");
    assert_eq!(cases.len(), 177);
    let tokenizer = Tokenizer::from_vocab(vocab).expect("a whole vocabulary");
    for case in cases {
        let ids = tokenizer.encode(&case.text, Specials::Parse).expect("encodes");
        assert_eq!(ids, case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&ids, false), case.text);
    }
}

/// A vocabulary by hand: `<unk>`, `<s>`, `</s>`, then `pieces` with their scores.
fn by_hand(pieces: &[(&str, f32)], space_prefix: bool) -> Vocab {
    let first = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)];
    let all = || first.iter().chain(pieces);
    let kind = |text: &str| match text {
        "<unk>" => 2,
        "<s>" | "</s>" => 3,
        _ if text.starts_with("<0x") => 6,
        _ => 1,
    };
    Vocab {
        model: "llama".to_owned(),
        tokens: all().map(|(text, _)| (*text).to_owned()).collect(),
        scores: Some(all().map(|(_, score)| *score).collect()),
        token_types: Some(all().map(|(text, _)| kind(text)).collect()),
        add_space_prefix: Some(space_prefix),
        ..Vocab::default()
    }
}

fn spelled(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text, Specials::Parse).expect("encodes");
    ids.into_iter().map(|id| tokenizer.token_text(id).expect("in the vocabulary")).collect()
}

#[test]
fn better_scores_merge_first_and_the_leftmost_among_equals() {
    let letters = [("a", -9.0), ("b", -9.0), ("c", -9.0)];
    let with = |more: &[(&str, f32)]| {
        let pieces = [&letters[..], more].concat();
        Tokenizer::from_vocab(by_hand(&pieces, false)).expect("a whole vocabulary")
    };
    let tokenizer = with(&[("ab", -2.0), ("bc", -1.0)]);
    assert_eq!(spelled(&tokenizer, "abc"), ["a", "bc"]);
    let tokenizer = with(&[("ab", -1.0), ("ba", -1.0)]);
    assert_eq!(spelled(&tokenizer, "aba"), ["ab", "a"]);
    assert_eq!(spelled(&tokenizer, "bab"), ["ba", "b"]);
    // What a merge makes is offered to both neighbours.
    let tokenizer = with(&[("ab", -1.0), ("ba", -1.5), ("aba", -2.0)]);
    assert_eq!(spelled(&tokenizer, "ababa"), ["ab", "aba"]);
}

#[test]
fn what_is_no_piece_falls_back_to_bytes_then_to_unknown() {
    let tokenizer = by_hand(&[("a", -1.0), ("<0xC3>", 0.0), ("<0xA9>", 0.0)], false);
    let tokenizer = Tokenizer::from_vocab(tokenizer).expect("a whole vocabulary");
    assert_eq!(spelled(&tokenizer, "aé"), ["a", "<0xC3>", "<0xA9>"]);
    assert_eq!(spelled(&tokenizer, "xyaxé"), ["<unk>", "a", "<unk>", "<0xC3>", "<0xA9>"]);
    let ids = tokenizer.encode("aé", Specials::Parse).expect("encodes");
    assert_eq!(tokenizer.decode(&ids, true), "aé");
    assert_eq!(tokenizer.decode(&ids[..2], true), "a\u{fffd}");
}

#[test]
fn special_tokens_never_come_out_of_plain_text() {
    let pieces = [("<", -1.0), ("s", -1.0), (">", -1.0), ("<s", -0.5), ("/", -1.0), ("▁", -1.0)];
    let tokenizer = Tokenizer::from_vocab(by_hand(&pieces, true)).expect("a whole vocabulary");
    let plain = tokenizer.encode("<s>", Specials::AsText).expect("encodes");
    assert!(plain.iter().all(|&id| !tokenizer.is_special(id)), "{plain:?}");
    assert_eq!(tokenizer.decode(&plain, false), "<s>");
    assert_eq!(spelled(&tokenizer, "<s>s</s>s"), ["<s>", "▁", "s", "</s>", "▁", "s"]);
}

#[test]
fn user_defined_tokens_are_cut_as_llama_cpp_cuts_them() {
    let pieces =
        [("▁", -9.0), ("a", -8.0), ("b", -7.0), ("▁a", -2.0), ("▁b", -1.0), ("<|u|>", 0.0), ("  ", 0.0)];
    let mut vocab = by_hand(&pieces, true);
    let types = vocab.token_types.as_mut().expect("present");
    let count = types.len();
    types[count - 2..].fill(4);
    let tokenizer = Tokenizer::from_vocab(vocab.clone()).expect("a whole vocabulary");
    // No lone space stands before the token, and the text after it gets its own.
    assert_eq!(spelled(&tokenizer, "<|u|>a b"), ["<|u|>", "▁a", "▁b"]);
    assert_eq!(spelled(&tokenizer, "a<|u|><|u|>b"), ["▁a", "<|u|>", "<|u|>", "▁b"]);
    // Spaces are matched before they are spelled.
    assert_eq!(spelled(&tokenizer, "a  b"), ["▁a", "  ", "▁b"]);
    // They are no special tokens: they are matched in any text and shown.
    let plain = tokenizer.encode("<|u|>a", Specials::AsText).expect("encodes");
    assert_eq!(plain, tokenizer.encode("<|u|>a", Specials::Parse).expect("encodes"));
    assert!(!tokenizer.is_special(plain[0]) && tokenizer.is_added(plain[0]));
    assert_eq!(tokenizer.decode(&plain, true), "<|u|> a");
    vocab.add_space_prefix = Some(false);
    let bare = Tokenizer::from_vocab(vocab).expect("a whole vocabulary");
    assert_eq!(spelled(&bare, "<|u|>a b"), ["<|u|>", "a", "▁b"]);
}

#[test]
fn tokens_are_shown_with_their_spaces() {
    let pieces = [("▁", -3.0), ("a", -3.0), ("▁a", -1.0)];
    let tokenizer = Tokenizer::from_vocab(by_hand(&pieces, true)).expect("a whole vocabulary");
    let ids = tokenizer.encode("a a", Specials::AsText).expect("encodes");
    let shown: Vec<String> = ids.iter().map(|&id| tokenizer.token_shown(id)).collect();
    assert_eq!(shown, [" a", " a"]);
    assert_eq!((tokenizer.token_shown(1).as_str(), tokenizer.token_shown(99).as_str()), ("<s>", ""));
}

#[test]
fn a_start_token_in_the_text_is_told() {
    let tokenizer = Tokenizer::from_vocab(by_hand(&[("a", 0.0)], false)).expect("whole");
    assert_eq!(tokenizer.encode_raw("<s>a", Specials::Parse).expect("encodes"), [1, 1, 3]);
    assert!(tokenizer.begins_with_bos("<s>a") && !tokenizer.begins_with_bos("a<s>"));
    let without = tokenizer.with_bos(Some(1), false);
    assert_eq!(without.encode_raw("<s>a", Specials::Parse).expect("encodes"), [1, 3]);
    assert!(!without.begins_with_bos("<s>a"));
}

#[test]
fn what_a_file_leaves_out_is_told() {
    let notes = |change: &dyn Fn(&mut Vocab)| {
        let mut vocab = by_hand(&[("a", 0.0), ("<|im_end|>", 0.0)], true);
        (vocab.bos, vocab.eos) = (Some(1), Some(2));
        vocab.token_types.as_mut().expect("present")[4] = 3;
        change(&mut vocab);
        let tokenizer = Tokenizer::from_vocab(vocab).expect("whole");
        assert!(tokenizer.is_special(4));
        tokenizer.notes().join("\n")
    };
    assert_eq!(notes(&|_| ()), "");
    assert!(notes(&|vocab| vocab.token_types = None).contains("tokenizer.ggml.token_type"));
    assert!(notes(&|vocab| vocab.bos = None).contains("its bos token"));
    assert!(notes(&|vocab| (vocab.bos, vocab.eos) = (None, None)).contains("its bos and its eos token"));
    let unmarked = notes(&|vocab| vocab.token_types.as_mut().expect("present")[4] = 1);
    assert!(unmarked.contains("does not mark <|im_end|>"), "{unmarked}");
}

#[test]
fn the_leading_space_is_put_and_taken_back() {
    let pieces = [("▁", -3.0), ("a", -3.0), ("▁a", -1.0)];
    let tokenizer = Tokenizer::from_vocab(by_hand(&pieces, true)).expect("a whole vocabulary");
    assert_eq!(spelled(&tokenizer, "a a"), ["▁a", "▁a"]);
    assert_eq!(spelled(&tokenizer, " a"), ["▁", "▁a"]);
    let ids = tokenizer.encode("a", Specials::AsText).expect("encodes");
    assert_eq!(tokenizer.decode(&ids, false), "a");
    assert_eq!(tokenizer.stream().push(ids[0]), "a");
    // In mid-text the space is a space; after a special token it is the encoder's.
    assert_eq!(tokenizer.stream_after(&ids).push(ids[0]), " a");
    assert_eq!(tokenizer.stream_after(&[1]).push(ids[0]), "a");
    let bare = Tokenizer::from_vocab(by_hand(&pieces, false)).expect("a whole vocabulary");
    assert_eq!(spelled(&bare, "a a"), ["a", "▁a"]);
    assert_eq!(bare.stream().push(5), " a");
}

#[test]
fn defaults_are_those_of_the_first_llama() {
    let tokenizer = Tokenizer::from_vocab(by_hand(&[("a", 0.0)], true)).expect("whole");
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.add_bos()), (Some(1), Some(2), true));
}

#[test]
fn broken_vocabularies_are_refused_by_name() {
    let refuse = |vocab: Vocab| match Tokenizer::from_vocab(vocab) {
        Err(error @ TextError::Malformed { .. }) => error.to_string(),
        other => panic!("taken, or an error of the wrong kind: {other:?}"),
    };
    let mut vocab = by_hand(&[("a", 0.0)], true);
    vocab.scores = None;
    assert!(refuse(vocab).contains("scores is malformed: the list is missing"));
    let mut vocab = by_hand(&[("<0x4>", 0.0)], true);
    assert!(refuse(vocab.clone()).contains("token 3, `<0x4>`, is a byte"));
    vocab.scores = Some(vec![f32::NAN; 2]);
    assert!(refuse(vocab).contains("2 scores for 4 tokens"));
}

#[test]
fn scores_that_are_no_numbers_are_survived() {
    let pieces = [("a", f32::NAN), ("aa", f32::NAN), ("aaa", f32::INFINITY), ("aaaa", -0.0)];
    let tokenizer = Tokenizer::from_vocab(by_hand(&pieces, false)).expect("whole");
    let ids = tokenizer.encode(&"a".repeat(101), Specials::AsText).expect("encodes");
    assert_eq!(tokenizer.decode(&ids, false), "a".repeat(101));
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn text_survives_the_round_trip(text in "[^▁]{0,60}") {
        let tokenizer = sentence_piece();
        let ids = tokenizer.encode(&text, Specials::AsText)?;
        prop_assert_eq!(tokenizer.decode(&ids, false), text);
    }

    #[test]
    fn streaming_is_decoding(ids in prop::collection::vec(0..530u32, 0..50)) {
        let tokenizer = sentence_piece();
        let mut stream = tokenizer.stream();
        let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
        text.push_str(&stream.finish());
        prop_assert_eq!(text, tokenizer.decode(&ids, true));
    }
}
