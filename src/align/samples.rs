//! Replies of a rollout for people to read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rollout::Drawn;
use crate::align::estimate::{Rewards, Trace};
use crate::atomic;
use crate::file::AtFile;
use crate::principles::PromptType;
use crate::train::TrainError;
use crate::train::objective::KlEstimator;

/// A sampled reply with all that was said of it: a line of `rollouts/step-*.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutSample {
    /// Id of the prompt.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: PromptType,
    /// Its text.
    pub prompt: String,
    /// Ids of the principles that were drawn.
    pub principles: Vec<String>,
    /// The reply.
    pub reply: String,
    /// Its tokens, the end of turn included.
    pub tokens: usize,
    /// Whether the policy ended its turn itself.
    pub ended: bool,
    /// What the reply was worth.
    pub reward: f64,
    /// What each source added to that.
    pub shares: BTreeMap<String, f64>,
    /// KL to the reference of the whole reply, in nats, by k1.
    pub kl: f64,
}

/// The replies of a rollout with what was said of them.
pub(super) fn samples(drawn: &[Drawn<'_>], rewards: &Rewards, traces: &[Trace]) -> Vec<RolloutSample> {
    let sample = |(at, (drawn, trace)): (usize, (&Drawn<'_>, &Trace))| RolloutSample {
        id: drawn.prompt.prompt.id.clone(),
        kind: drawn.prompt.prompt.kind,
        prompt: drawn.prompt.prompt.text.clone(),
        principles: drawn.principles.iter().map(|principle| principle.id.clone()).collect(),
        reply: drawn.text.clone(),
        tokens: drawn.tokens.len(),
        ended: drawn.ended,
        reward: rewards.total[at],
        shares: rewards.shares.iter().map(|(name, share)| (name.clone(), share[at])).collect(),
        kl: trace.kl(KlEstimator::K1),
    };
    drawn.iter().zip(traces).enumerate().map(sample).collect()
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
