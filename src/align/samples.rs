//! Replies of a rollout for people to read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::rollout::RolloutReply;
use crate::align::estimate::{Rewards, Trace};
use crate::atomic;
use crate::file::AtFile;
use crate::train::TrainError;
use crate::train::metrics::RolloutSample;
use crate::train::objective::KlEstimator;

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
        parts: rewards.parts.get(at).cloned().unwrap_or_default(),
        reply: reply.text.clone(),
        tokens: reply.tokens.len(),
        ended: reply.ended,
        reward: rewards.total[at],
        shares: rewards.shares.iter().map(|(name, share)| (name.clone(), share[at])).collect(),
        kl: trace.kl(KlEstimator::K1),
    };
    replies.iter().zip(traces).enumerate().map(sample).collect()
}

/// The mean log-odds of each principle over the replies that were scored under it, as names and values of a log.
pub(super) fn by_principle(samples: &[RolloutSample]) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for (id, part) in samples.iter().flat_map(|sample| sample.principles.iter().zip(&sample.parts)) {
        let (sum, count) = sums.entry(id).or_default();
        *sum += f64::from(*part);
        *count += 1;
    }
    let mean =
        |(id, (sum, count)): (&str, (f64, usize))| (format!("objective/principle/{id}"), sum / count as f64);
    sums.into_iter().map(mean).collect()
}

/// Writes the samples of `step` to the run's folder, atomically. Returns the path.
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
