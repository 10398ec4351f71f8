//! Byte-level BPE (`tokenizer.ggml.model = gpt2`), rebuilt from a GGUF vocabulary.

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, Vocab as Ids};

use super::added::{Added, AddedToken, Order};
use super::library::{Library, ListedToken, caught_reading};
use super::model::Model;
use super::normalizer::Normalizer;
use super::pieces::{ByteLevel, Pieces};
use super::vocab::{TokenType, Vocab, malformed};
use super::{Engine, TextError, Tokenizer, pre_tokenizer};

pub(super) fn build(vocab: Vocab) -> Result<Tokenizer, TextError> {
    caught_reading("tokenizer.ggml", || check_and_build(vocab))
}

fn check_and_build(vocab: Vocab) -> Result<Tokenizer, TextError> {
    let types = vocab.check()?;
    let notes = vocab.notes();
    let recipe = pre_tokenizer::find(&vocab.pre)?;
    let Some(lines) = &vocab.merges else {
        let rule = "the list is missing, but merging needs it".to_owned();
        return Err(malformed("merges", rule));
    };

    let spelling = ByteLevel::new();
    let mut pieces = Pieces::default();
    let mut listed = Vec::new();
    let mut ids = Ids::default();
    for (id, (token, kind)) in (0..).zip(vocab.tokens.iter().zip(&types)) {
        let by_hand = kind.is_special() || *kind == TokenType::UserDefined;
        if by_hand {
            pieces.push(token.as_bytes(), kind.is_special());
            listed.push(ListedToken {
                id,
                content: token.clone(),
                single_word: false,
                lstrip: false,
                rstrip: false,
                normalized: Some(false),
                special: kind.is_special(),
            });
        } else {
            pieces.push(&spelling.spell(token), false);
        }
        // If several tokens have the same spelling, texts encode to the first.
        ids.entry(token.clone()).or_insert(id);
    }

    let merges = merges(lines, &ids)?;
    let model = BPE::builder().vocab_and_merges(ids, merges).ignore_merges(recipe.ignore_merges);
    let model = model.build().map_err(|error| malformed("merges", error.to_string()))?;
    let tokens = listed.iter().map(|token| AddedToken {
        text: token.content.clone(),
        id: token.id,
        special: token.special,
        ..AddedToken::default()
    });
    let broken = |rule| malformed("tokens", rule);
    let library = Library {
        model: Model::Bpe(Box::new(model)),
        added: Added::new(tokens.collect(), Order::Longest).map_err(broken)?,
        added_normalized: Added::new(Vec::new(), Order::Longest).map_err(broken)?,
        added_spelled: Added::new(Vec::new(), Order::Longest).map_err(broken)?,
        normalizer: if recipe.compose { Normalizer::composing() } else { Normalizer::default() },
        cuts: recipe.build().map_err(broken)?,
        listed,
        components: recipe.components(),
    };

    Ok(Tokenizer {
        engine: Engine::Library(Box::new(library)),
        pieces,
        bos: vocab.bos,
        eos: vocab.eos,
        add_bos: vocab.bos.is_some() && vocab.add_bos.unwrap_or(recipe.add_bos),
        notes,
    })
}

/// The merges as pairs. Each pair must make a token of the vocabulary, because the engine relies on that.
fn merges(lines: &[String], ids: &Ids) -> Result<Vec<(String, String)>, TextError> {
    let mut joined = String::new();
    let mut known = HashSet::with_capacity(lines.len());
    let mut pairs = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let Some((left, right)) = line.split_once(' ') else {
            let rule = format!("entry {index}, `{line}`, is not two tokens with a space between");
            return Err(malformed("merges", rule));
        };
        if left.is_empty() || right.is_empty() {
            return Err(malformed("merges", format!("entry {index}, `{line}`, has an empty side")));
        }
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        for token in [left, right, &joined] {
            if !ids.contains_key(token) {
                let rule = format!(
                    "entry {index}, `{line}`, needs the token `{token}`, which is not in the vocabulary"
                );
                return Err(malformed("merges", rule));
            }
        }
        // If a pair occurs twice, its first place counts.
        if known.insert(line.as_str()) {
            pairs.push((left.to_owned(), right.to_owned()));
        }
    }
    Ok(pairs)
}
