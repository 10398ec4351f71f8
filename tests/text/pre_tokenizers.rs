//! Every pre-tokenizer that a GGUF file can name, against the `tokenizers` library with the models' own patterns.

use parr::tokenizer::{Specials, TokenId, Tokenizer, Vocab};
use serde::Deserialize;

use super::{SmallVocab, read_golden};

/// What `tests/golden/make_pre_tokenizers.py` writes.
#[derive(Deserialize)]
struct Golden {
    vocab: SmallVocab,
    texts: Vec<String>,
    rules: Vec<Rule>,
}

/// Names that share a rule, and the ids of each text under it.
#[derive(Deserialize)]
struct Rule {
    names: Vec<String>,
    ids: Vec<String>,
}

impl Rule {
    fn ids(&self) -> Vec<Vec<TokenId>> {
        let numbers =
            |line: &String| line.split_whitespace().map(|id| id.parse().expect("a number")).collect();
        self.ids.iter().map(numbers).collect()
    }
}

fn golden() -> (Vocab, Vec<String>, Vec<Rule>) {
    let Golden { vocab, texts, rules } = read_golden("text_pre_tokenizers.json");
    (vocab.into(), texts, rules)
}

#[test]
fn every_name_cuts_as_its_models_do() {
    let (vocab, texts, rules) = golden();
    assert_eq!((texts.len(), rules.len()), (162, 31));
    for rule in rules {
        let expected = rule.ids();
        assert_eq!(expected.len(), texts.len());
        for name in &rule.names {
            let vocab = Vocab { pre: name.clone(), ..vocab.clone() };
            let tokenizer = Tokenizer::from_vocab(vocab).expect(name);
            for (text, expected) in texts.iter().zip(&expected) {
                let ids = tokenizer.encode(text, Specials::Parse).expect("encodes");
                assert_eq!(ids, *expected, "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn every_known_name_is_compared() {
    let (vocab, _, rules) = golden();
    let unknown = Vocab { pre: "nonsense".to_owned(), ..vocab };
    let message = Tokenizer::from_vocab(unknown).expect_err("no such name").to_string();
    let (told, known) = message.split_once("known are: ").expect("it lists them");
    assert!(told.contains("`nonsense`"), "{message}");
    let mut known: Vec<&str> = known.split(", ").collect();
    let mut compared: Vec<&str> = rules.iter().flat_map(|rule| &rule.names).map(String::as_str).collect();
    known.sort_unstable();
    compared.sort_unstable();
    assert_eq!(known, compared);
}

#[test]
fn written_as_json_a_pre_tokenizer_stays_the_same() {
    let (vocab, texts, rules) = golden();
    for rule in rules {
        let vocab = Vocab { pre: rule.names[0].clone(), ..vocab.clone() };
        let json = Tokenizer::from_vocab(vocab).expect("known").to_json().expect("it has a json form");
        let read = Tokenizer::from_json(json.as_bytes()).expect("it can be read again");
        for (text, expected) in texts.iter().zip(rule.ids()) {
            let ids = read.encode(text, Specials::Parse).expect("encodes");
            assert_eq!(ids, expected, "{}: {text:?}", rule.names[0]);
        }
    }
}
