//! Replies of a rollout for people to read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rollout::RolloutReply;
use crate::align::estimate::{Rewards, Trace};
use crate::atomic;
use crate::file::AtFile;
use crate::principles::PromptType;
use crate::train::TrainError;
use crate::train::objective::KlEstimator;

/// A sampled reply with its rewards and KL: a line of `rollouts/step-*.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutSample {
    /// Id of the prompt.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: PromptType,
    /// Its text.
    pub prompt: String,
    /// Ids of the principles that it was scored under.
    pub principles: Vec<String>,
    /// The reply.
    pub reply: String,
    /// Its tokens, the end of turn included.
    pub tokens: usize,
    /// Whether the policy ended its turn.
    pub ended: bool,
    /// Its total reward.
    pub reward: f64,
    /// The share of each source in it.
    pub shares: BTreeMap<String, f64>,
    /// KL to the reference of the whole reply, in nats, by k1.
    pub kl: f64,
}

/// The replies of a rollout with their rewards and KL.
pub(super) fn samples(
    replies: &[RolloutReply<'_>],
    rewards: &Rewards,
    traces: &[Trace],
) -> Vec<RolloutSample> {
    let sample = |(at, (reply, trace)): (usize, (&RolloutReply<'_>, &Trace))| RolloutSample {
        id: reply.prompt.prompt.id.clone(),
        kind: reply.prompt.prompt.kind,
        prompt: reply.prompt.prompt.text.clone(),
        principles: reply.principles.iter().map(|principle| principle.id.clone()).collect(),
        reply: reply.text.clone(),
        tokens: reply.tokens.len(),
        ended: reply.ended,
        reward: rewards.total[at],
        shares: rewards.shares.iter().map(|(name, share)| (name.clone(), share[at])).collect(),
        kl: trace.kl(KlEstimator::K1),
    };
    replies.iter().zip(traces).enumerate().map(sample).collect()
}

/// Writes the samples of `step` into the run's folder, whole or not at all.
pub(super) fn write(out: &Path, step: u64, samples: &[RolloutSample]) -> Result<PathBuf, TrainError> {
    let folder = out.join("rollouts");
    std::fs::create_dir_all(&folder).map_err(TrainError::io("create", &folder))?;
    let path = folder.join(format!("step-{step:08}.jsonl"));
    let lines = |file: &mut std::io::BufWriter<std::fs::File>| {
        samples.iter().try_for_each(|sample| {
            serde_json::to_writer(&mut *file, sample)?;
            file.write_all(b"\n")
        })
    };
    atomic::write(&path, lines).map_err(TrainError::io("write", &path))?;
    Ok(path)
}
