//! What a run and its workers send to each other: a description in postcard's format, and numbers behind it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::align::estimate::Trace;
use crate::reward::ScoreRequest;
use crate::tokenizer::TokenId;
use crate::train::PassShape;
use crate::train::objective::TokenStats;

use super::super::rollout::{Draw, Sampled};

/// What a worker needs to know about a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    /// Version of Parr. Messages of other versions have other fields.
    pub parr: String,
    /// The settings, in TOML.
    pub config: String,
    pub shape: PassShape,
    /// Number of replies that a unit may hold.
    pub unit_replies: usize,
    /// Slots and context of the generator.
    pub slots: usize,
    pub context: usize,
    /// Tokens that end a reply.
    pub end_of_turn: Vec<TokenId>,
    /// Hashes of the base, of the adapter to start from, and of the reward model.
    pub base_sha256: String,
    pub init_sha256: Option<String>,
    pub reward_sha256: Option<String>,
    /// Name of the kernel family.
    pub family: String,
}

/// What all tasks of a call share. The values of the trained adapters follow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Shared {
    /// Number of optimizer steps behind the values: they are loaded only if it changes.
    pub updates: u64,
    /// The rollout of an update.
    pub rollout: Option<Rollout>,
}

/// The readings of a rollout before its first update.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rollout {
    pub traces: Vec<Trace>,
    pub kl_coefficient: f64,
}

/// One prompt with the replies of a unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::align) struct Passage {
    pub prompt: Vec<TokenId>,
    pub replies: Vec<Vec<TokenId>>,
}

/// A reply for the reward model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub prompt: String,
    pub reply: String,
    pub principles: Vec<String>,
    pub weights: Vec<f32>,
}

impl Reply {
    pub fn new(request: &ScoreRequest<'_>) -> Reply {
        Reply {
            prompt: request.prompt.to_owned(),
            reply: request.reply.to_owned(),
            principles: request.principles.iter().map(|&principle| principle.to_owned()).collect(),
            weights: request.weights.clone(),
        }
    }

    pub fn request(&self) -> ScoreRequest<'_> {
        let principles = self.principles.iter().map(String::as_str).collect();
        ScoreRequest {
            weights: self.weights.clone(),
            ..ScoreRequest::new(&self.prompt, &self.reply, principles)
        }
    }
}

/// A task for a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Task {
    /// Sample a reply to each prompt.
    Sample(Vec<Draw>),
    /// Score replies with the reward model.
    Score(Vec<Reply>),
    /// Read one pass of units.
    Read { reference: bool, units: Vec<Passage> },
    /// Compute the gradient of one pass of units.
    Learn {
        units: Vec<Passage>,
        /// Indices of the replies of each unit in the rollout.
        members: Vec<Vec<usize>>,
        /// Of the whole mini-batch.
        n_replies: f64,
        n_tokens: f64,
    },
}

/// The score of a reply, and its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Scored {
    pub value: f32,
    pub parts: Vec<f32>,
}

/// Loss and figures of one pass. Its gradient follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Gradient {
    pub loss: f64,
    pub tokens: usize,
    /// Each with its place in [`FIGURES`].
    pub figures: Vec<(usize, f64)>,
}

/// The figures of the objectives of [`ALGORITHMS`](crate::align::ALGORITHMS).
pub(super) const FIGURES: [&str; 8] = [
    "loss/policy_avg",
    "loss/value_avg",
    "loss/kl_avg",
    "policy/approxkl_avg",
    "policy/clipfrac_avg",
    "policy/entropy_avg",
    "val/clipfrac_avg",
    "val/ratio",
];

/// The result of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Sampled(Vec<Sampled>),
    Scored(Vec<Scored>),
    Read(TokenStats),
    Learned(Gradient),
}

/// A message that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a message of {bytes} bytes is damaged, or from another version of Parr")]
pub(super) struct MessageError {
    bytes: usize,
}

/// A message: the number of bytes of `head`, `head`, the number of values of each run, and the values.
pub(super) fn encode(head: &impl Serialize, runs: &[Vec<f32>]) -> Vec<u8> {
    let lengths: Vec<usize> = runs.iter().map(Vec::len).collect();
    let head = postcard::to_allocvec(&(head, &lengths)).expect("plain values");
    let mut message = Vec::with_capacity(8 + head.len() + 4 * lengths.iter().sum::<usize>());
    message.extend((head.len() as u64).to_le_bytes());
    message.extend(head);
    for run in runs {
        message.extend(run.iter().flat_map(|value| value.to_le_bytes()));
    }
    message
}

/// The head of a message, and its runs of values.
pub(super) type Message<T> = (T, Vec<Vec<f32>>);

/// Reads a message.
pub(super) fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<Message<T>, MessageError> {
    let (head, lengths, values) = open(message)?;
    let mut rest =
        values.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let runs = lengths.iter().map(|&length| rest.by_ref().take(length).collect()).collect();
    Ok((head, runs))
}

type Opened<'m, T> = (T, Vec<usize>, &'m [u8]);

fn open<T: DeserializeOwned>(message: &[u8]) -> Result<Opened<'_, T>, MessageError> {
    let fault = || MessageError { bytes: message.len() };
    let (length, rest) = message.split_first_chunk::<8>().ok_or_else(fault)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| fault())?;
    let (head, values) = rest.split_at_checked(length).ok_or_else(fault)?;
    let (head, lengths): (T, Vec<usize>) = postcard::from_bytes(head).map_err(|_| fault())?;
    let total = lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length));
    let expected = total.and_then(|total| total.checked_mul(4));
    if expected != Some(values.len()) {
        return Err(fault());
    }
    Ok((head, lengths, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_every_bit_and_damage_is_noticed() {
        let head = Task::Sample(vec![Draw { prompt: vec![1, 2, 300], seed: u64::MAX }]);
        let runs = vec![vec![1.5, f32::from_bits(0x7fc0_1234), -0.0], vec![], vec![f32::MIN_POSITIVE]];
        let message = encode(&head, &runs);
        let (found, values): (Task, _) = decode(&message).expect("a sound message");
        assert!(
            matches!(&found, Task::Sample(draws) if draws[0].seed == u64::MAX && draws[0].prompt == [1, 2, 300])
        );
        let bits = |runs: &[Vec<f32>]| -> Vec<Vec<u32>> {
            runs.iter().map(|run| run.iter().map(|value| value.to_bits()).collect()).collect()
        };
        assert_eq!(bits(&values), bits(&runs));
        for end in 0..message.len() {
            assert!(decode::<Task>(&message[..end]).is_err(), "{end} of {} bytes", message.len());
        }
        let mut long = message.clone();
        long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(decode::<Task>(&long).is_err());
    }
}
