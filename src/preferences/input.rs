//! Input of the reward model: the reply, the request it answers, principles, and a stem that stops where a
//! verdict would begin. The score is read at the stem's last token.
//!
//! The reply comes before the request, and both before the principles, as in SALMON (arXiv 2310.05910,
//! section 3.3). If the texts are too long, the reply loses its end and the request its beginning. The stem
//! and the principles are never cut, so the score is always read at the end of the stem.

use super::PreferencesError;
use crate::tokenizer::{Specials, TokenId, Tokenizer};

// The fixed parts are short, because every score computes them.
const OPENING: &str = "# Reply\n";
const BEFORE_REQUEST: &str = "\n\n# Request\n";
const GUIDELINES: &str = "\n\n# A good reply\n";
/// Used for preferences without principles.
const NO_PRINCIPLES: &str = "\n\n# A good reply\n- It helps the person who asked, is clearly written, and its \
    facts are right.\n";
const STEM: &str = "\n# Review\nBy these rules, the reply is";

/// Maximum numbers of tokens of an input and its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputLimits {
    /// The whole input, at most the model's context.
    pub tokens: usize,
    /// The request. A longer one keeps its last tokens.
    pub request: usize,
    /// The reply. A longer one keeps its first tokens.
    pub reply: usize,
}

impl Default for InputLimits {
    /// The limits of SALMON's script for the reward model.
    fn default() -> Self {
        InputLimits { tokens: 1280, request: 128, reply: 768 }
    }
}

/// The tokens of an input that the reward model scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardInput {
    /// The tokens (T). The score is read at the last one.
    pub ids: Vec<TokenId>,
    /// Number of tokens that were cut from the request.
    pub cut_request: usize,
    /// Number of tokens that were cut from the reply.
    pub cut_reply: usize,
}

/// The token ids of an input, part by part, in their order.
#[derive(Clone, Copy, Debug)]
pub struct InputParts<'a> {
    /// Everything before the reply.
    pub opening: &'a [TokenId],
    /// The reply.
    pub reply: &'a [TokenId],
    /// The text between reply and request.
    pub between: &'a [TokenId],
    /// The request.
    pub request: &'a [TokenId],
    /// The principles.
    pub guidelines: &'a [TokenId],
    /// The stem, at whose end the score is read.
    pub stem: &'a [TokenId],
}

impl InputParts<'_> {
    /// Joins the parts within the limits. Only the reply and the request are cut. Each is first cut to its
    /// own limit. If the input is still too long, the reply is cut further. The request is cut further only
    /// as far as it exceeds a quarter of the tokens that are left for the two.
    ///
    /// # Errors
    ///
    /// [`PreferencesError::NoRoom`] if the other parts leave fewer than four tokens for the two.
    pub fn assemble(&self, limits: &InputLimits) -> Result<RewardInput, PreferencesError> {
        let InputParts { opening, reply, between, request, guidelines, stem } = *self;
        let needed = opening.len() + between.len() + guidelines.len() + stem.len();
        let kept = cut(limits, needed, request.len(), reply.len())?;
        let (cut_reply, cut_request) = (reply.len() - kept.reply, request.len() - kept.request);
        let parts = [opening, &reply[..kept.reply], between, &request[cut_request..], guidelines, stem];
        Ok(RewardInput { ids: parts.concat(), cut_request, cut_reply })
    }
}

/// Numbers of tokens that are kept of a request and a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub request: usize,
    pub reply: usize,
}

/// How much of a request and a reply fits beside `needed` other tokens: see [`InputParts::assemble`].
///
/// # Errors
///
/// [`PreferencesError::NoRoom`] if the other tokens leave fewer than four for the two.
pub(super) fn cut(
    limits: &InputLimits,
    needed: usize,
    request: usize,
    reply: usize,
) -> Result<Kept, PreferencesError> {
    const LEAST: usize = 4;
    let capacity = limits.tokens;
    let room = capacity.checked_sub(needed).filter(|room| *room >= LEAST);
    let room = room.ok_or(PreferencesError::NoRoom { needed, capacity })?;
    let mut kept = Kept { request: request.min(limits.request), reply: reply.min(limits.reply) };
    if kept.reply + kept.request > room {
        kept.request = kept.request.min(room.saturating_sub(kept.reply).max(room / 4));
        kept.reply = kept.reply.min(room - kept.request);
    }
    Ok(kept)
}

/// Turns replies, requests and principles into inputs of one model.
#[derive(Debug)]
pub struct RewardFormat<'a> {
    tokenizer: &'a Tokenizer,
    limits: InputLimits,
    opening: Vec<TokenId>,
    between: Vec<TokenId>,
    stem: Vec<TokenId>,
}

impl<'a> RewardFormat<'a> {
    /// Creates the format for one model's tokenizer.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Text`] if the tokenizer fails.
    /// * [`PreferencesError::NoRoom`] if the limits are too small, even without principles.
    pub fn new(tokenizer: &'a Tokenizer, limits: InputLimits) -> Result<RewardFormat<'a>, PreferencesError> {
        let encode = |text| tokenizer.encode(text, Specials::AsText);
        let begin = tokenizer.bos().filter(|_| tokenizer.add_bos());
        let opening = begin.into_iter().chain(encode(OPENING)?).collect();
        let (between, stem) = (encode(BEFORE_REQUEST)?, encode(STEM)?);
        let format = RewardFormat { tokenizer, limits, opening, between, stem };
        format.join(&[], &[], &[])?;
        Ok(format)
    }

    /// Maximum numbers of tokens of an input and its parts.
    pub fn limits(&self) -> InputLimits {
        self.limits
    }

    /// The stem's tokens. Every input ends with them.
    pub fn stem(&self) -> &[TokenId] {
        &self.stem
    }

    /// Returns the input that scores `reply` to `request` under `principles`, in their order. Without
    /// principles, the input describes a good reply in general. Texts are not changed: nothing in them is
    /// substituted, and special tokens that are written out in them stay text.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Empty`] if reply or request is empty.
    /// * [`PreferencesError::NoRoom`] if the principles leave too few tokens.
    /// * [`PreferencesError::Text`] if a text cannot be encoded.
    pub fn encode(
        &self,
        request: &str,
        reply: &str,
        principles: &[&str],
    ) -> Result<RewardInput, PreferencesError> {
        for (what, text) in [("request", request), ("reply", reply)] {
            if text.trim().is_empty() {
                return Err(PreferencesError::Empty { what });
            }
        }
        let mut guidelines = if principles.is_empty() { NO_PRINCIPLES } else { GUIDELINES }.to_owned();
        for principle in principles {
            guidelines.push_str("- ");
            guidelines.push_str(principle);
            guidelines.push('\n');
        }
        let encode = |text: &str| self.tokenizer.encode(text, Specials::AsText);
        self.join(&encode(reply.trim())?, &encode(request.trim())?, &encode(&guidelines)?)
    }

    fn join(
        &self,
        reply: &[TokenId],
        request: &[TokenId],
        guidelines: &[TokenId],
    ) -> Result<RewardInput, PreferencesError> {
        let RewardFormat { limits, opening, between, stem, .. } = self;
        InputParts { opening, reply, between, request, guidelines, stem }.assemble(limits)
    }
}
