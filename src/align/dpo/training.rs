//! A run: from judged replies to a policy.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::DpoConfig;
use crate::adapter::{Adapter, RUN_FOLDER};
use crate::align::AlignError;
use crate::model::Model;
use crate::model::lora::AdapterId;
use crate::preferences::{AggregateReport, PreferencePair};
use crate::reward::{RewardData, RewardError, Stream};
use crate::settings::Settings;
use crate::tokenizer::{ChatFormat, TokenId};
use crate::train::objective::{DpoBatch, DpoPair, Evaluated, Objective, TokenStats};
use crate::train::{
    Batch, Control, Learner, Lengths, Plan, Progress, Run, Sequence, Start, Task, TrainError, Unit,
    encode_reply,
};

/// A run of direct preference optimization.
#[derive(Clone, Copy, Debug)]
pub struct DpoTraining<'a> {
    /// The base, which stays as it is.
    pub model: &'a Model,
    /// Preferences, or judged replies with their principles.
    pub data: &'a RewardData,
    /// The adapter that the policy starts from and is held to; without one it starts as the base.
    pub init: Option<&'a Adapter>,
    /// Where everything goes: settings, logs, states, and the adapter.
    pub out: &'a Path,
    /// The settings.
    pub config: &'a DpoConfig,
    /// Whether to go on from the newest state in `out`, if there is one.
    pub resume: bool,
}

/// What a run is about to do, before its first step.
#[derive(Clone, Debug)]
pub struct DpoProspect {
    /// What became of the comparisons in the first pass.
    pub report: AggregateReport,
    /// Held-out pairs that are measured on.
    pub held_out_pairs: usize,
    /// Held-out pairs that are left out, since they are too long. Others are found as they come.
    pub too_long: usize,
    /// Optimizer steps in all.
    pub steps: u64,
    /// Trainable values.
    pub parameters: usize,
    /// Passes, and the device memory that they take.
    pub plan: Plan,
    /// States that were found damaged and passed over.
    pub damaged: Vec<String>,
}

impl DpoTraining<'_> {
    /// Runs it. `announce` hears once what is ahead, `progress` of every step. Where it ends well the adapter
    /// is in `out/adapter`, and that path is returned; after a cancel nothing is, and another call with
    /// `resume` goes on.
    ///
    /// # Errors
    ///
    /// * [`AlignError::NoChat`] if the model has no chat template;
    /// * [`AlignError::Reward`] if data or settings give no pairs;
    /// * [`AlignError::Train`] as training has them.
    pub fn run(
        &self,
        control: &Control,
        announce: &mut dyn FnMut(&DpoProspect),
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<PathBuf>, AlignError> {
        let DpoTraining { model, data, config, .. } = *self;
        config.validate()?;
        let chat = model.chat_format().ok_or(AlignError::NoChat)?;
        let longest = config.max_tokens.min(model.config().context);
        let encoder = Encoder { chat, longest, path: data.path() };
        let source = data.source(&config.aggregate)?;
        let mut first = source.pass(0);
        let mut lengths = Vec::new();
        for pair in &first.train {
            lengths.extend(encoder.tokens_of(pair)?);
        }
        if lengths.is_empty() {
            let reason = format!("no pair is left to learn from: {}", first.report);
            return Err(RewardError::Nothing { reason }.into());
        }
        let measured = source.held_out(config.aggregate.passes);
        let settings = config.run_settings();
        let run = Run {
            model,
            out: self.out,
            kind: "dpo",
            steps: settings.total_steps(lengths.len()),
            settings,
            toml: config.to_toml(),
            config_sha256: config.hash(),
            data_sha256: data.sha256(),
            resume: self.resume,
        };
        let weights = match self.init {
            Some(adapter) => adapter.weights.clone(),
            None => config.lora.fresh(model.config(), config.seed)?,
        };
        let reference = self.init.map(|adapter| adapter.weights.clone());
        // Other passes use comparisons that the first could not decide: they count by the longest.
        let mut most = lengths.iter().copied().max().unwrap_or_default();
        for pair in &measured {
            most = most.max(encoder.tokens_of(pair)?.unwrap_or_default());
        }
        for comparison in data.comparisons() {
            let replies = comparison.replies.each_ref().map(|reply| reply.text.as_str());
            let tokens = encoder.tokens(&comparison.id, &comparison.prompt.text, replies)?;
            most = most.max(tokens.unwrap_or_default());
        }
        let lengths = Lengths { units: lengths, longest: most };
        let prepared = run.prepare(Start { weights, head: None, reference }, &lengths, 0)?;
        let (mut learner, policy, reference) = prepared.learner()?;
        let mut held_out = Vec::new();
        for pair in &measured {
            held_out.extend(encoder.unit(pair, policy, reference)?);
        }
        announce(&DpoProspect {
            report: std::mem::take(&mut first.report),
            held_out_pairs: held_out.len(),
            too_long: measured.len() - held_out.len(),
            steps: run.steps,
            parameters: prepared.parameters(),
            plan: prepared.plan.clone(),
            damaged: prepared.damaged.clone(),
        });
        let mut task = Pairs {
            encoder,
            stream: Stream::new(source, config.seed),
            next: None,
            held_out: batch(held_out),
            policy,
            reference,
            config,
            per_epoch: lengths.units.len(),
        };
        let Some(mut adapter) = prepared.learn(&mut learner, &mut task, control, progress)? else {
            return Ok(None);
        };
        let principles = data.set().map(|set| json!({ "id": set.id, "sha256": set.sha256 }));
        let about = json!({ "algorithm": "dpo", "beta": config.beta, "principles": principles });
        adapter.card.other.insert("align".to_owned(), about);
        let folder = self.out.join(RUN_FOLDER);
        adapter.write_peft(&folder)?;
        Ok(Some(folder))
    }
}

/// Token ids, and which of them are the reply's.
type Marked = (Vec<TokenId>, Vec<bool>);

/// Turns pairs into sequences.
#[derive(Clone, Copy, Debug)]
struct Encoder<'a> {
    chat: &'a ChatFormat,
    /// Tokens that a reply may have with its prompt.
    longest: usize,
    path: &'a Path,
}

impl Encoder<'_> {
    /// Both replies with their prompt as tokens and marks; none if one of them is too long.
    fn encode(&self, id: &str, prompt: &str, replies: [&str; 2]) -> Result<Option<[Marked; 2]>, TrainError> {
        let encode = |reply| {
            encode_reply(self.chat, prompt, reply).map_err(|reason| TrainError::Data {
                path: self.path.to_owned(),
                reason: format!("pair `{id}`: {reason}"),
            })
        };
        let sides = [encode(replies[0])?, encode(replies[1])?];
        Ok(Some(sides).filter(|sides| sides.iter().all(|(ids, _)| ids.len() <= self.longest)))
    }

    /// Tokens that such a pair has as a unit: each reply is read twice.
    fn tokens(&self, id: &str, prompt: &str, replies: [&str; 2]) -> Result<Option<usize>, TrainError> {
        let sides = self.encode(id, prompt, replies)?;
        Ok(sides.map(|sides| 2 * sides.iter().map(|(ids, _)| ids.len()).sum::<usize>()))
    }

    fn tokens_of(&self, pair: &PreferencePair) -> Result<Option<usize>, TrainError> {
        self.tokens(&pair.id, &pair.prompt.text, pair.replies.each_ref().map(String::as_str))
    }

    /// A pair as a unit: the policy reads the preferred reply and the other, then the reference does.
    fn unit(
        &self,
        pair: &PreferencePair,
        policy: AdapterId,
        reference: Option<AdapterId>,
    ) -> Result<Option<Unit>, TrainError> {
        let replies = [pair.preferred, 1 - pair.preferred].map(|place| pair.replies[place].as_str());
        let unit = |sides: [Marked; 2]| -> Unit {
            let readers = [Some(policy), reference];
            let read =
                |adapter| sides.iter().map(move |(ids, mask)| Sequence::with_targets(ids, mask, adapter));
            readers.into_iter().flat_map(read).collect()
        };
        Ok(self.encode(&pair.id, &pair.prompt.text, replies)?.map(unit))
    }
}

/// Pairs as a task.
struct Pairs<'a> {
    encoder: Encoder<'a>,
    stream: Stream<'a>,
    /// The step that comes next and the position that it begins at, where pairs were passed over.
    next: Option<(u64, u64)>,
    held_out: Batch,
    policy: AdapterId,
    reference: Option<AdapterId>,
    config: &'a DpoConfig,
    /// Pairs of the first pass.
    per_epoch: usize,
}

fn batch(units: Vec<Unit>) -> Batch {
    Batch { normalizer: units.len() as f64, units }
}

impl Pairs<'_> {
    /// The units of one step from `position` on, and the position behind them.
    fn units(&mut self, mut position: u64) -> Result<(Vec<Unit>, u64), TrainError> {
        let mut units = Vec::with_capacity(self.config.batch.pairs);
        // A file of nothing but pairs that are too long was refused; a pass of them gives up soon enough.
        let limit = position + 1000 * self.config.batch.pairs as u64;
        while units.len() < self.config.batch.pairs {
            let pair = self.stream.pair(position).filter(|_| position < limit);
            let pair = pair.ok_or_else(|| TrainError::Data {
                path: self.encoder.path.to_owned(),
                reason: "its comparisons give no more pairs that fit".to_owned(),
            })?;
            units.extend(self.encoder.unit(pair, self.policy, self.reference)?);
            position += 1;
        }
        Ok((units, position))
    }
}

impl Task for Pairs<'_> {
    fn batch(&mut self, step: u64) -> Result<Batch, TrainError> {
        // A resumed run finds its place by going there: pairs that are too long are passed over on the way.
        let (mut at, mut position) = self.next.filter(|&(next, _)| next <= step).unwrap_or((0, 0));
        loop {
            let (units, behind) = self.units(position)?;
            (at, position) = (at + 1, behind);
            if at > step {
                self.next = Some((at, position));
                return Ok(batch(units));
            }
        }
    }

    fn epochs(&self, step: u64) -> f64 {
        (step * self.config.batch.pairs as u64) as f64 / self.per_epoch as f64
    }

    fn held_out(&self) -> &Batch {
        &self.held_out
    }

    fn evaluate(&self, batch: &Batch, range: Range<usize>, stats: &TokenStats) -> Evaluated {
        let mut at = 0;
        let mut next = |sequence: &Sequence| {
            let first = at;
            at += sequence.readings.len();
            first..at
        };
        let sum = |tokens: Range<usize>| -> f64 {
            stats.logprob[tokens].iter().map(|&logprob| f64::from(logprob)).sum()
        };
        let pair = |unit: &Unit| DpoPair {
            chosen: next(&unit[0]),
            rejected: next(&unit[1]),
            ref_chosen: sum(next(&unit[2])),
            ref_rejected: sum(next(&unit[3])),
        };
        let pairs = batch.units[range].iter().map(pair).collect();
        self.config.objective().evaluate(stats, &DpoBatch { pairs, normalizer: batch.normalizer })
    }

    fn summarize(&self, loss: f64, metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        self.config.objective().summarize(loss, metrics)
    }

    /// Generation has no part in what is learned here.
    fn logprob_distance(&self, _learner: &mut Learner) -> Result<Option<f64>, TrainError> {
        Ok(None)
    }
}
