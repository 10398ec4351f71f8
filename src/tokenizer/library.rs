//! The `tokenizers` crate as the engine; each call chooses whether special tokens are parsed.

use tokenizers::{
    AddedVocabulary, DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, OffsetType,
    PostProcessorWrapper, PreTokenizer, PreTokenizerWrapper, TokenizerImpl,
};

use super::{Specials, TextError, TokenId};

type Pipeline =
    TokenizerImpl<ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// A pipeline of the `tokenizers` crate.
///
/// The crate's `encode` has one switch for special tokens that applies to all calls. A second copy of
/// the few added tokens lets one model encode both ways.
#[derive(Debug)]
pub(super) struct Library {
    pipeline: Pipeline,
    /// The added tokens, the special ones ignored.
    as_text: AddedVocabulary,
}

impl Library {
    pub(super) fn new(tokenizer: tokenizers::Tokenizer) -> Self {
        let mut pipeline = tokenizer.into_inner();
        pipeline.set_encode_special_tokens(false);
        let mut as_text = pipeline.get_added_vocabulary().clone();
        as_text.set_encode_special_tokens(true);
        Self { pipeline, as_text }
    }

    /// Finds the added tokens, then applies normalizer, pre-tokenizer and model to the text between them.
    /// `mark` prevents matches in the first step and is removed before the pre-tokenizer.
    pub(super) fn encode(
        &self,
        text: &str,
        specials: Specials,
        mark: Option<char>,
    ) -> Result<Vec<TokenId>, TextError> {
        let added = match specials {
            Specials::Parse => self.pipeline.get_added_vocabulary(),
            Specials::AsText => &self.as_text,
        };
        let mut pieces = added.extract_and_normalize(self.pipeline.get_normalizer(), text);
        let run = || {
            if let Some(mark) = mark {
                pieces.normalize(|piece| {
                    piece.filter(|letter| letter != mark);
                    Ok(())
                })?;
            }
            if let Some(pre_tokenizer) = self.pipeline.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut pieces)?;
            }
            let model = self.pipeline.get_model();
            pieces.tokenize(|piece| model.tokenize(piece.get()))?;
            pieces.into_encoding(None, 0, OffsetType::None)
        };
        let encoding =
            run().map_err(|error: tokenizers::Error| TextError::Encode { reason: error.to_string() })?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(super) fn token_text(&self, id: TokenId) -> Option<String> {
        let added = self.pipeline.get_added_vocabulary();
        match added.get_added_tokens_decoder().get(&id) {
            Some(token) => Some(token.content.clone()),
            None => self.pipeline.get_model().id_to_token(id),
        }
    }

    pub(super) fn token_id(&self, text: &str) -> Option<TokenId> {
        self.pipeline.token_to_id(text)
    }

    pub(super) fn added(&self) -> Vec<(String, bool)> {
        self.as_text
            .get_added_tokens_decoder()
            .values()
            .map(|token| (token.content.clone(), token.special))
            .collect()
    }

    pub(super) fn to_json(&self) -> Result<String, TextError> {
        serde_json::to_string(&self.pipeline).map_err(|error| TextError::Encode {
            reason: format!("the tokenizer cannot be written as json: {error}"),
        })
    }
}
