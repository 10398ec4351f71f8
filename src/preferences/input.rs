//! What the reward model reads: the reply, the request it answers, principles, and a stem that stops where
//! a verdict would begin. The score is read at the stem's last token.
//!
//! The reply comes before the request, and both before the principles, as in SALMON (arXiv 2310.05910,
//! section 3.3). Texts that are too long lose their far ends: the reply its end, the request its beginning.
//! The stem and the principles lose nothing, or a score would be read in the middle of something else.

use super::PreferencesError;
use crate::tokenizer::{Specials, TokenId, Tokenizer};

// As few words as make plain what is what: every score pays for them.
const OPENING: &str = "# SampledReply\n";
const BEFORE_REQUEST: &str = "\n\n# Request\n";
const GUIDELINES: &str = "\n\n# A good reply\n";
/// For preferences that come without principles.
const NO_PRINCIPLES: &str = "\n\n# A good reply\n- It helps the person who asked, is clearly written, and its \
    facts are right.\n";
const STEM: &str = "\n# Review\nBy these rules, the reply is";

/// Tokens that an input and its parts may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputLimits {
    /// All of it, at most the model's context.
    pub tokens: usize,
    /// The request; of a longer one the last are kept.
    pub request: usize,
    /// The reply; of a longer one the first are kept.
    pub reply: usize,
}

impl Default for InputLimits {
    /// Those of SALMON's script for the reward model.
    fn default() -> Self {
        InputLimits { tokens: 1280, request: 128, reply: 768 }
    }
}

/// The tokens that a score is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardInput {
    /// The tokens (T); the score is read at the last.
    pub ids: Vec<TokenId>,
    /// Tokens that the request lost.
    pub cut_request: usize,
    /// Tokens that the reply lost.
    pub cut_reply: usize,
}

/// The token ids of an input, part by part, in their order.
#[derive(Clone, Copy, Debug)]
pub struct InputParts<'a> {
    /// Everything before the reply.
    pub opening: &'a [TokenId],
    /// The reply.
    pub reply: &'a [TokenId],
    /// What stands between reply and request.
    pub between: &'a [TokenId],
    /// The request.
    pub request: &'a [TokenId],
    /// The principles.
    pub guidelines: &'a [TokenId],
    /// What the score is read at the end of.
    pub stem: &'a [TokenId],
}

impl InputParts<'_> {
    /// Joins the parts within the limits. Only the reply and the request are ever cut: each to its own limit
    /// first, then, if all of it is still too long, the reply, and the request as far as it exceeds a
    /// quarter of the room that there is for the two.
    ///
    /// # Errors
    ///
    /// [`PreferencesError::NoRoom`] if the other parts leave no room for four tokens of the two.
    pub fn assemble(&self, limits: &InputLimits) -> Result<RewardInput, PreferencesError> {
        const LEAST: usize = 4;
        let InputParts { opening, reply, between, request, guidelines, stem } = *self;
        let needed = opening.len() + between.len() + guidelines.len() + stem.len();
        let capacity = limits.tokens;
        let room = capacity.checked_sub(needed).filter(|room| *room >= LEAST);
        let room = room.ok_or(PreferencesError::NoRoom { needed, capacity })?;

        let mut kept_reply = reply.len().min(limits.reply);
        let mut kept_request = request.len().min(limits.request);
        if kept_reply + kept_request > room {
            kept_request = kept_request.min(room.saturating_sub(kept_reply).max(room / 4));
            kept_reply = kept_reply.min(room - kept_request);
        }
        let (cut_reply, cut_request) = (reply.len() - kept_reply, request.len() - kept_request);
        let parts = [opening, &reply[..kept_reply], between, &request[cut_request..], guidelines, stem];
        Ok(RewardInput { ids: parts.concat(), cut_request, cut_reply })
    }
}

/// Turns replies, requests and principles into what one model reads.
#[derive(Debug)]
pub struct RewardFormat<'a> {
    tokenizer: &'a Tokenizer,
    limits: InputLimits,
    opening: Vec<TokenId>,
    between: Vec<TokenId>,
    stem: Vec<TokenId>,
}

impl<'a> RewardFormat<'a> {
    /// The format in the tokens of one model.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Text`] if the tokenizer fails.
    /// * [`PreferencesError::NoRoom`] if the limits leave none, even without principles.
    pub fn new(tokenizer: &'a Tokenizer, limits: InputLimits) -> Result<RewardFormat<'a>, PreferencesError> {
        let encode = |text| tokenizer.encode(text, Specials::AsText);
        let begin = tokenizer.bos().filter(|_| tokenizer.add_bos());
        let opening = begin.into_iter().chain(encode(OPENING)?).collect();
        let (between, stem) = (encode(BEFORE_REQUEST)?, encode(STEM)?);
        let format = RewardFormat { tokenizer, limits, opening, between, stem };
        format.join(&[], &[], &[])?;
        Ok(format)
    }

    /// Tokens that an input and its parts may have.
    pub fn limits(&self) -> InputLimits {
        self.limits
    }

    /// The stem's tokens: every input ends with them.
    pub fn stem(&self) -> &[TokenId] {
        &self.stem
    }

    /// What the model reads to score `reply` to `request` under `principles`, in their order; without any it
    /// is asked for a good reply in general. Texts are taken as they are: nothing in them is substituted, and
    /// special tokens that stand written out in them stay text.
    ///
    /// # Errors
    ///
    /// * [`PreferencesError::Empty`] if reply or request is.
    /// * [`PreferencesError::NoRoom`] if the principles leave none.
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
