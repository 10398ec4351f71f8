//! What a reward model's card says beside what every adapter's does: how its input is made.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RewardError;
use crate::adapter::Card;
use crate::preferences::{AggregateOptions, InputLimits};
use crate::principles::PrincipleSet;

/// Key of the card, in `parr.json`, that holds a [`RewardCard`].
const KEY: &str = "reward";

/// How a reward model's input is made, and what it was taught with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RewardCard {
    /// Tokens that an input and its parts may have: scores are read under the same as in training.
    pub limits: LimitSettings,
    /// Names of the sets of principles; empty for preferences without any.
    pub sets: Vec<String>,
    /// Hash of those sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principles_sha256: Option<String>,
    /// Ids of the principles that it was taught.
    pub principles: Vec<String>,
    /// How training pairs were made: who measures leaves out the same prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<AggregateOptions>,
    /// The adapter that it started from, if not from a fresh one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
}

/// [`InputLimits`] as files say them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Tokens of a whole input, at most the model's context. 1280 as SALMON's script has it.
    pub tokens: usize,
    /// Tokens of the request; of a longer one the last are kept. 128 as in SALMON's script.
    pub request: usize,
    /// Tokens of the reply; of a longer one the first are kept. 768 as in SALMON's script.
    pub reply: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let InputLimits { tokens, request, reply } = InputLimits::default();
        LimitSettings { tokens, request, reply }
    }
}

impl LimitSettings {
    /// The same as the input format knows them.
    pub fn limits(self) -> InputLimits {
        let LimitSettings { tokens, request, reply } = self;
        InputLimits { tokens, request, reply }
    }
}

impl RewardCard {
    /// The card of a model that is taught the principles of `set`.
    pub(super) fn of_set(set: Option<&PrincipleSet>, limits: LimitSettings) -> RewardCard {
        let Some(set) = set else { return RewardCard { limits, ..RewardCard::default() } };
        RewardCard {
            limits,
            sets: set.id.split('+').map(str::to_owned).collect(),
            principles_sha256: Some(set.sha256.clone()),
            principles: set.principles.iter().map(|principle| principle.id.clone()).collect(),
            ..RewardCard::default()
        }
    }

    /// What `card` says; the defaults where it says nothing, as that of a foreign reward model. `path` is
    /// for messages.
    ///
    /// # Errors
    ///
    /// [`RewardError::Card`] if what it says cannot be read.
    pub fn read(card: &Card, path: &Path) -> Result<RewardCard, RewardError> {
        let Some(value) = card.other.get(KEY) else { return Ok(RewardCard::default()) };
        serde_json::from_value(value.clone()).map_err(|error| RewardError::Card {
            path: path.to_owned(),
            reason: format!("cannot be read: {error}"),
        })
    }

    /// Puts it into an adapter's card.
    pub(super) fn write(&self, card: &mut Card) {
        let value = serde_json::to_value(self).expect("a card is plain values");
        card.other.insert(KEY.to_owned(), value);
    }
}
