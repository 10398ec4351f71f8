//! The part of an adapter's card that only a reward model has: how its input is made.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RewardError;
use crate::adapter::Card;
use crate::model::Model;
use crate::preferences::{AggregateOptions, InputLimits};
use crate::principles::PrincipleSet;
use crate::settings::{Faults, MOST_TOKENS};

/// Key of the card, in `parr.json`, that holds a [`RewardCard`].
const KEY: &str = "reward";

/// How a reward model's input is made, and what it was trained on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RewardCard {
    /// What a score is.
    #[serde(skip_serializing_if = "Form::is_pairwise")]
    pub form: Form,
    /// Number of the base's layers that it reads, from the first on. `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Of a pointwise model: whether its input has a line of counts of the reply's form
    /// ([`PointwiseFormat::with_counts`](crate::preferences::PointwiseFormat::with_counts)).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub counts: bool,
    /// Maximum numbers of tokens of an input and its parts, the same as in training.
    pub limits: LimitSettings,
    /// Names of the sets of principles. Empty for preferences without principles.
    pub sets: Vec<String>,
    /// Hash of those sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principles_sha256: Option<String>,
    /// Ids of the principles that it was trained on.
    pub principles: Vec<String>,
    /// Ids of the attributes that a pointwise model was trained on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// Of a pointwise model: it reads sentences below this certainty ([`RewardModel::certainty`]) little better than by
    /// chance. Measured on sentences of held-out attributes. `None` if that was not measured.
    ///
    /// [`RewardModel::certainty`]: super::RewardModel::certainty
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unclear_below: Option<f32>,
    /// How training pairs were made. An evaluation holds out the same prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<AggregateOptions>,
    /// The adapter that training started from. `None` for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
}

/// What the score of a reward model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One score under a list of principles. The difference of two is the log-odds that the first reply is preferred.
    #[default]
    Pairwise,
    /// One score for each principle: the log-odds that the reply keeps it.
    Pointwise,
}

impl Form {
    fn is_pairwise(&self) -> bool {
        *self == Form::Pairwise
    }
}

/// [`InputLimits`] in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Maximum number of tokens of a whole input, at most the model's context. 1280 as in SALMON's script.
    pub tokens: usize,
    /// Maximum number of tokens of the request. A longer one keeps its last tokens. 128 as in SALMON's
    /// script.
    pub request: usize,
    /// Maximum number of tokens of the reply. A longer one keeps its first tokens. 768 as in SALMON's script.
    pub reply: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let InputLimits { tokens, request, reply } = InputLimits::default();
        LimitSettings { tokens, request, reply }
    }
}

impl LimitSettings {
    /// Finds limits that are out of range.
    pub(super) fn check(self, faults: &mut Faults) {
        let LimitSettings { tokens, request, reply } = self;
        for (setting, value) in
            [("limits.tokens", tokens), ("limits.request", request), ("limits.reply", reply)]
        {
            faults.need(value > 0, setting, value, "a number above 0");
            faults.at_most(setting, value, MOST_TOKENS);
        }
    }

    /// The same limits for the input format.
    pub fn limits(self) -> InputLimits {
        let LimitSettings { tokens, request, reply } = self;
        InputLimits { tokens, request, reply }
    }
}

impl RewardCard {
    /// The card of a model that is trained on the principles of `set`.
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

    /// Reads the reward model's part of `card`, or the defaults if there is none, as in the card of a reward
    /// model of another program. `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`RewardError::Card`] if that part cannot be read.
    pub fn read(card: &Card, path: &Path) -> Result<RewardCard, RewardError> {
        let Some(value) = card.other.get(KEY) else { return Ok(RewardCard::default()) };
        serde_json::from_value(value.clone()).map_err(|error| RewardError::Card {
            path: path.to_owned(),
            reason: format!("cannot be read: {error}"),
        })
    }

    /// The layers of `model` that the reward model reads.
    ///
    /// # Errors
    ///
    /// [`RewardError::Layers`] if `model` has fewer.
    pub fn base(&self, model: &Model) -> Result<Model, RewardError> {
        base(model, self.layers)
    }

    /// Writes it into an adapter's card.
    pub(in crate::reward) fn write(&self, card: &mut Card) {
        let value = serde_json::to_value(self).expect("a card is plain values");
        card.other.insert(KEY.to_owned(), value);
    }
}

/// The first `layers` of `model`, or all.
///
/// # Errors
///
/// [`RewardError::Layers`] if it has fewer.
pub(super) fn base(model: &Model, layers: Option<usize>) -> Result<Model, RewardError> {
    let Some(layers) = layers else { return Ok(model.clone()) };
    let found = model.config().layers.len();
    model.first_layers(layers).ok_or(RewardError::Layers { layers, found })
}
