//! Byte-level BPE (`tokenizer.ggml.model = gpt2`), rebuilt from a GGUF vocabulary.

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, Vocab as Ids};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::{AddedToken, DecoderWrapper, NormalizerWrapper};

use super::library::Library;
use super::pieces::{ByteLevel, Pieces};
use super::vocab::{TokenType, Vocab, malformed};
use super::{Engine, TextError, Tokenizer, pre_tokenizer};

pub(super) fn build(vocab: Vocab) -> Result<Tokenizer, TextError> {
    let types = vocab.check()?;
    let recipe = pre_tokenizer::find(&vocab.pre)?;

    let spelling = ByteLevel::new();
    let mut pieces = Pieces::default();
    let mut added = Vec::new();
    let mut ids = Ids::default();
    for (id, (token, kind)) in (0..).zip(vocab.tokens.iter().zip(&types)) {
        let by_hand = kind.is_special() || *kind == TokenType::UserDefined;
        if by_hand {
            pieces.push(token.as_bytes(), kind.is_special());
            let token = AddedToken::from(token.as_str(), kind.is_special()).normalized(false);
            added.push(token);
        } else {
            pieces.push(&spelling.spell(token), false);
        }
        // If several tokens have the same spelling, texts encode to the first.
        ids.entry(token.clone()).or_insert(id);
    }

    let merges = merges(&vocab.merges, &ids)?;
    let model = BPE::builder().vocab_and_merges(ids, merges).ignore_merges(recipe.ignore_merges).build();
    let assemble = || {
        let mut tokenizer = tokenizers::Tokenizer::new(model?);
        if recipe.compose {
            tokenizer.with_normalizer(Some(NormalizerWrapper::NFC(NFC)))?;
        }
        tokenizer.with_pre_tokenizer(Some(recipe.build()?));
        let decoder = ByteLevelDecoder::new(false, true, false);
        tokenizer.with_decoder(Some(DecoderWrapper::ByteLevel(decoder)));
        tokenizer.add_tokens(added)?;
        Ok(tokenizer)
    };
    let tokenizer = assemble().map_err(|error: tokenizers::Error| malformed("tokens", error.to_string()))?;

    Ok(Tokenizer {
        engine: Engine::Library(Box::new(Library::new(tokenizer))),
        pieces,
        bos: vocab.bos,
        eos: vocab.eos,
        add_bos: vocab.bos.is_some() && vocab.add_bos.unwrap_or(recipe.add_bos),
    })
}

/// The merges as pairs. Each pair must make a token of the vocabulary, because the engine relies on that.
fn merges(lines: &[String], ids: &Ids) -> Result<Vec<(String, String)>, TextError> {
    let mut joined = String::new();
    let mut pairs = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let Some((left, right)) = line.split_once(' ') else {
            let rule = format!("entry {index}, `{line}`, is not two tokens with a space between");
            return Err(malformed("merges", rule));
        };
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
        pairs.push((left.to_owned(), right.to_owned()));
    }
    Ok(pairs)
}
