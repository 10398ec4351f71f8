//! Input of a pointwise reward model: request and reply, then one principle. The score is read where a verdict would
//! begin.
//!
//! Request and reply come first, so that all principles of a reply share them: each principle is a branch behind the
//! same tokens. The texts are cut as in [`RewardFormat`](super::RewardFormat); a principle is never cut.
//!
//! A line with counts of the whole reply's form may follow the reply ([`PointwiseFormat::with_counts`]), because
//! a small model cannot count.

use super::PreferencesError;
use super::counts::counts;
use super::input::{InputLimits, cut};
use crate::tokenizer::{Specials, TokenId, Tokenizer};

// The fixed parts are short, because every score computes them.
const OPENING: &str = "# Request\n";
const BEFORE_REPLY: &str = "\n\n# Reply\n";
const BEFORE_COUNTS: &str = "\n\n# Counts\n";
const BEFORE_PRINCIPLE: &str = "\n\n# Rule\n";
const STEM: &str = "\n";
/// What follows the stem if the reply keeps the principle, and if it does not: the scalar head starts from the
/// language model's difference between the two.
pub(crate) const ANSWERS: [&str; 2] = [" yes", " no"];

/// Used where there are no principles.
pub const GENERAL_PRINCIPLE: &str =
    "It helps the person who asked, is clearly written, and its facts are right.";

/// The tokens of a reply, and of the principles that it is scored under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchedInput {
    /// Request and reply, which all branches continue.
    pub shared: Vec<TokenId>,
    /// One branch for each principle. The score is read at the last token.
    pub branches: Vec<Vec<TokenId>>,
    /// Number of tokens that were cut from the request.
    pub cut_request: usize,
    /// Number of tokens that were cut from the reply.
    pub cut_reply: usize,
}

/// Turns replies, requests and principles into inputs of one model.
#[derive(Debug)]
pub struct PointwiseFormat<'a> {
    tokenizer: &'a Tokenizer,
    limits: InputLimits,
    counts: bool,
    opening: Vec<TokenId>,
    before_reply: Vec<TokenId>,
    before_principle: Vec<TokenId>,
    stem: Vec<TokenId>,
}

impl<'a> PointwiseFormat<'a> {
    /// Creates the format for one model's tokenizer.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Text`] if the tokenizer fails.
    /// * [`PreferencesError::NoRoom`] if the limits are too small for a principle of one token.
    pub fn new(tokenizer: &'a Tokenizer, limits: InputLimits) -> Result<Self, PreferencesError> {
        let encode = |text| tokenizer.encode(text, Specials::AsText);
        let begin = tokenizer.bos().filter(|_| tokenizer.add_bos());
        let format = PointwiseFormat {
            tokenizer,
            limits,
            counts: false,
            opening: begin.into_iter().chain(encode(OPENING)?).collect(),
            before_reply: encode(BEFORE_REPLY)?,
            before_principle: encode(BEFORE_PRINCIPLE)?,
            stem: encode(STEM)?,
        };
        format.join(&[], &[], &[], vec![vec![0]])?;
        Ok(format)
    }

    /// The same format with or without a line of counts behind the reply: words, sentences, list items, marks, emoji,
    /// words of the request, the first word and the last. It is never cut, and counts the whole reply.
    #[must_use]
    pub fn with_counts(self, counts: bool) -> Self {
        PointwiseFormat { counts, ..self }
    }

    /// Maximum numbers of tokens of an input and its parts.
    pub fn limits(&self) -> InputLimits {
        self.limits
    }

    /// The tokens of the two answers that could follow the stem: kept, and not kept. `None` if the tokenizer splits
    /// one of them.
    ///
    /// # Errors
    ///
    /// [`PreferencesError::Text`] if the tokenizer fails.
    pub fn answers(&self) -> Result<Option<[TokenId; 2]>, PreferencesError> {
        let [yes, no] = ANSWERS.map(|text| self.tokenizer.encode(text, Specials::AsText));
        let one = |ids: Vec<TokenId>| <[TokenId; 1]>::try_from(ids).ok();
        Ok(one(yes?).zip(one(no?)).map(|([yes], [no])| [yes, no]))
    }

    /// Returns the input that scores `reply` to `request` under each of `principles`. Special tokens that are written
    /// out in texts stay text.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Empty`] if reply, request or a principle is empty.
    /// * [`PreferencesError::NoRoom`] if the longest principle leaves too few tokens.
    /// * [`PreferencesError::Text`] if a text cannot be encoded.
    pub fn encode(
        &self,
        request: &str,
        reply: &str,
        principles: &[&str],
    ) -> Result<BranchedInput, PreferencesError> {
        for (what, text) in [("request", request), ("reply", reply)] {
            if text.trim().is_empty() {
                return Err(PreferencesError::Empty { what });
            }
        }
        let encode = |text: &str| self.tokenizer.encode(text, Specials::AsText);
        let mut branches = Vec::with_capacity(principles.len());
        for principle in principles {
            // A principle is one line: a line break would end it.
            let line = principle.split_whitespace().collect::<Vec<_>>().join(" ");
            if line.is_empty() {
                return Err(PreferencesError::Empty { what: "principle" });
            }
            branches.push([encode(&line)?, self.stem.clone()].concat());
        }
        let (request, reply) = (request.trim(), reply.trim());
        let counted = if self.counts {
            encode(&format!("{BEFORE_COUNTS}{}", counts(request, reply)))?
        } else {
            Vec::new()
        };
        self.join(&encode(request)?, &encode(reply)?, &counted, branches)
    }

    fn join(
        &self,
        request: &[TokenId],
        reply: &[TokenId],
        counted: &[TokenId],
        branches: Vec<Vec<TokenId>>,
    ) -> Result<BranchedInput, PreferencesError> {
        let PointwiseFormat { limits, opening, before_reply, before_principle, .. } = self;
        let longest = branches.iter().map(Vec::len).max().unwrap_or(0);
        let fixed = opening.len() + before_reply.len() + counted.len() + before_principle.len() + longest;
        let kept = cut(limits, fixed, request.len(), reply.len())?;
        let (cut_request, cut_reply) = (request.len() - kept.request, reply.len() - kept.reply);
        let texts = [&request[cut_request..], before_reply, &reply[..kept.reply]].concat();
        let parts = [opening, &texts[..], counted, before_principle];
        Ok(BranchedInput { shared: parts.concat(), branches, cut_request, cut_reply })
    }
}
