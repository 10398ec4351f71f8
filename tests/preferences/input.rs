//! What a reward model reads: all of the stem, whatever else is cut.

use parr::preferences::{InputLimits, InputParts, PreferencesError, RewardFormat};
use parr::tokenizer::{TokenId, Tokenizer};
use proptest::prelude::*;

use super::reward;
use crate::text::{byte_level, sentence_piece};

/// Small vocabularies of both kinds: most words are several tokens.
fn tokenizers() -> [Tokenizer; 2] {
    [byte_level(), sentence_piece()]
}

/// Tokens that show which part they are of, and where in it.
fn part(number: u32, length: usize) -> Vec<TokenId> {
    (0..length as u32).map(|at| number * 10_000 + at).collect()
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn only_the_far_ends_of_reply_and_request_are_cut(
        fixed in prop::array::uniform4(1usize..40),
        texts in prop::array::uniform2(0usize..300),
        limits in (1usize..300, 1usize..300, 1usize..300),
    ) {
        let numbers = [(1, fixed[0]), (3, fixed[1]), (5, fixed[2]), (6, fixed[3])];
        let [opening, between, guidelines, stem] = numbers.map(|(number, length)| part(number, length));
        let (reply, request) = (part(2, texts[0]), part(4, texts[1]));
        let limits = InputLimits { tokens: limits.0, request: limits.1, reply: limits.2 };
        let parts = InputParts {
            opening: &opening,
            reply: &reply,
            between: &between,
            request: &request,
            guidelines: &guidelines,
            stem: &stem,
        };
        let needed: usize = fixed.iter().sum();
        let input = match parts.assemble(&limits) {
            Ok(input) => input,
            Err(PreferencesError::NoRoom { needed: said, capacity }) => {
                prop_assert_eq!((said, capacity), (needed, limits.tokens));
                prop_assert!(limits.tokens < needed + 4);
                return Ok(());
            }
            Err(other) => panic!("{other}"),
        };
        let (kept_reply, kept_request) = (reply.len() - input.cut_reply, request.len() - input.cut_request);
        let (reply_left, request_left) = (&reply[..kept_reply], &request[input.cut_request..]);
        let expected = [&opening[..], reply_left, &between, request_left, &guidelines, &stem].concat();
        prop_assert_eq!(&input.ids, &expected);
        prop_assert!(input.ids.len() <= limits.tokens);
        prop_assert!(kept_reply <= limits.reply && kept_request <= limits.request);
        // Nothing is cut that has room, and neither of the two starves the other.
        let room = limits.tokens - needed;
        let wanted = reply.len().min(limits.reply) + request.len().min(limits.request);
        prop_assert_eq!(kept_reply + kept_request, wanted.min(room));
        prop_assert!(kept_request >= request.len().min(limits.request).min(room / 4));
        prop_assert!(kept_reply >= reply.len().min(limits.reply).min(room - room / 4 - room % 4));
    }
}

#[test]
fn every_input_ends_with_the_stem() {
    let set = reward();
    let long = "word and {word}, ".repeat(400);
    let all: Vec<&str> = set.principles.iter().filter_map(|one| one.text(true)).collect();
    for tokenizer in tokenizers() {
        let limits = InputLimits { tokens: 10_000, request: 60, reply: 400 };
        let unbounded = RewardFormat::new(&tokenizer, limits).expect("room");
        let most = unbounded.encode(&long, &long, &all).expect("room").ids.len() - 100;
        let format = RewardFormat::new(&tokenizer, InputLimits { tokens: most, ..limits }).expect("room");
        let mut longest = 0;
        for (request, reply) in [("Why?", "So."), (long.as_str(), "So."), ("Why?", &long), (&long, &long)] {
            for principles in [&all[..0], &all[..1], &all] {
                let input = format.encode(request, reply, principles).expect("room");
                assert!(input.ids.len() <= most && input.ids.ends_with(format.stem()));
                let text = tokenizer.decode(&input.ids, false);
                assert!(text.ends_with("\n# Review\nBy these rules, the reply is"), "{text}");
                assert!(principles.iter().all(|principle| text.contains(&format!("\n- {principle}\n"))));
                assert_eq!((input.cut_request > 0, input.cut_reply > 0), (request == long, reply == long));
                let heading = |name: &str| text.find(&format!("# {name}\n")).expect("there");
                assert!(
                    heading("Reply") < heading("Request") && heading("Request") < heading("A good reply")
                );
                longest = longest.max(input.ids.len());
            }
        }
        assert_eq!(longest, most, "all principles and the long texts are too much");
    }
}

#[test]
fn texts_are_taken_as_they_are() {
    for tokenizer in tokenizers() {
        let format = RewardFormat::new(&tokenizer, InputLimits::default()).expect("room");
        let vocab = 0..tokenizer.vocab_len() as TokenId;
        let specials: Vec<TokenId> = vocab.filter(|&id| tokenizer.is_special(id)).collect();
        let spelt: String = specials.iter().filter_map(|&id| tokenizer.token_text(id)).collect();
        assert!(!specials.is_empty());
        let (request, reply) = ("{request} {}", format!("{{reply}} {spelt}"));
        let input = format.encode(request, &reply, &["Be {kind}."]).expect("room");
        let text = tokenizer.decode(&input.ids, false);
        for part in [request, &reply, "\n- Be {kind}.\n"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let begin = usize::from(tokenizer.add_bos());
        let foreign = input.ids.iter().skip(begin).filter(|id| specials.contains(id)).count();
        assert_eq!(foreign, 0, "special tokens that are written out are text");
        // Which principles, and in which order, is all in the input.
        let one = format.encode("Why?", "So.", &["Be kind.", "Be brief."]).expect("room");
        let other = format.encode("Why?", "So.", &["Be brief.", "Be kind."]).expect("room");
        assert_ne!(one.ids, other.ids);
    }
}

#[test]
fn what_cannot_be_scored_is_said() {
    for tokenizer in tokenizers() {
        let limits = InputLimits { tokens: 500, request: 20, reply: 50 };
        let format = RewardFormat::new(&tokenizer, limits).expect("room");
        let error = |request, reply, principles: &[&str]| {
            format.encode(request, reply, principles).expect_err("nothing to score").to_string()
        };
        assert_eq!(error("Why?", " \n", &[]), "the reply is empty");
        assert_eq!(error("", "So.", &[]), "the request is empty");
        let said = error("Why?", "So.", &["Be as kind as can be, and then some more."; 40]);
        assert!(said.starts_with("the fixed parts and the principles need "), "{said}");
        assert!(said.ends_with("there is room for 500"), "{said}");
        let tiny = RewardFormat::new(&tokenizer, InputLimits { tokens: 10, ..limits });
        assert!(matches!(tiny, Err(PreferencesError::NoRoom { capacity: 10, .. })));
    }
}
