//! A run that trains a policy on judged replies.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::DpoConfig;
use crate::adapter::{Adapter, RUN_FOLDER};
use crate::align::AlignError;
use crate::model::Model;
use crate::model::lora::AdapterId;
use crate::preferences::PreferencePair;
use crate::reward::{RewardData, RewardError, Stream};
use crate::settings::Settings;
use crate::tokenizer::{ChatFormat, TokenId};
use crate::train::objective::{DpoBatch, DpoPair, Evaluated, Objective, TokenStats};
use crate::train::{
    Batch, Control, DataSummary, Event, Learner, Lengths, Run, RunPlan, Sequence, Start, Task, TrainError,
    Unit, encode_reply, recovering,
};

/// A run of direct preference optimization. It trains a policy on preferences, or on judged replies with
/// their principles.
///
/// ```no_run
/// use parr::align::DpoTraining;
/// use parr::Model;
/// use parr::reward::RewardData;
/// use parr::train::Control;
///
/// let model = Model::open("smollm2")?;
/// let data = RewardData::preferences("hh.jsonl".as_ref())?;
/// let adapter = DpoTraining::new(&model, &data, "runs/dpo").run(&Control::default(), &mut |_| {})?;
/// println!("the adapter is in {}", adapter.display());
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DpoTraining<'a> {
    model: &'a Model,
    data: &'a RewardData,
    init: Option<&'a Adapter>,
    out: PathBuf,
    config: DpoConfig,
    resume: bool,
}

impl<'a> DpoTraining<'a> {
    /// A run that trains on `data` and writes settings, logs, states and the adapter to the folder `out`. By
    /// default, the policy starts as the base, settings have their default values, and the run does not
    /// resume.
    pub fn new(model: &'a Model, data: &'a RewardData, out: impl Into<PathBuf>) -> DpoTraining<'a> {
        DpoTraining { model, data, init: None, out: out.into(), config: DpoConfig::default(), resume: false }
    }

    /// Sets the settings.
    #[must_use]
    pub fn config(self, config: &DpoConfig) -> Self {
        DpoTraining { config: config.clone(), ..self }
    }

    /// Starts the policy from this adapter. The adapter is also the reference.
    #[must_use]
    pub fn init(self, adapter: impl Into<Option<&'a Adapter>>) -> Self {
        DpoTraining { init: adapter.into(), ..self }
    }

    /// Sets whether the run resumes from the newest state in the folder, if there is one.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        DpoTraining { resume, ..self }
    }

    /// Runs the training and reports events to `on_event`. Returns the folder of the adapter, which is
    /// `adapter` in the run's folder.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Cancelled`] in [`AlignError::Train`] after a cancel. The state is saved, and a call
    ///   with [`DpoTraining::resume`] resumes the run;
    /// * [`AlignError::NoChat`] if the model has no chat template;
    /// * [`AlignError::Reward`] if data and settings give no pairs;
    /// * [`AlignError::Train`] if the training fails.
    pub fn run(&self, control: &Control, on_event: &mut dyn FnMut(Event<'_>)) -> Result<PathBuf, AlignError> {
        self.config.validate()?;
        recovering(self.model, on_event, |again, on_event| {
            self.attempt(self.resume || again, control, on_event)
        })
    }

    fn attempt(
        &self,
        resume: bool,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, AlignError> {
        let (model, data, config) = (self.model, self.data, &self.config);
        model.check_chat()?;
        let chat = model.chat_format().ok_or(AlignError::NoChat)?;
        let longest = config.max_tokens.min(model.config().context);
        let encoder = Encoder { chat, longest, path: data.path() };
        let source = data.source(&config.aggregate)?;
        let first = source.pass(0);
        let mut lengths = Vec::new();
        for pair in &first.train {
            lengths.extend(encoder.tokens_of(pair)?);
        }
        if lengths.is_empty() {
            let reason = format!("no pair is left to train on: {}", first.report);
            return Err(RewardError::Nothing { reason }.into());
        }
        let measured = source.held_out(config.aggregate.passes);
        let settings = config.run_settings();
        let run = Run {
            model,
            out: &self.out,
            kind: "dpo",
            steps: settings.total_steps(lengths.len()),
            settings,
            toml: config.to_toml(),
            config_sha256: config.hash(),
            data_sha256: data.sha256(),
            resume,
        };
        let weights = match self.init {
            Some(adapter) => {
                adapter.check_speaks()?;
                adapter.weights.clone()
            }
            None => config.lora.fresh(model.config(), config.seed)?,
        };
        let reference = self.init.map(|adapter| adapter.weights.clone());
        // Later passes may use comparisons that the first pass left undecided, so these count for the
        // maximum.
        let mut most = lengths.iter().copied().max().unwrap_or_default();
        let mut n_held_out = 0;
        for pair in &measured {
            let tokens = encoder.tokens_of(pair)?;
            n_held_out += usize::from(tokens.is_some());
            most = most.max(tokens.unwrap_or_default());
        }
        for comparison in data.comparisons() {
            let replies = comparison.replies.each_ref().map(|reply| reply.text.as_str());
            let tokens = encoder.tokens(&comparison.id, &comparison.prompt.text, replies)?;
            most = most.max(tokens.unwrap_or_default());
        }
        let lengths = Lengths { units: lengths, longest: most };
        let prepared = run.prepare(Start { weights, head: None, reference }, &lengths, 0)?;
        let left_out = measured.len() - n_held_out;
        let plan = prepared.run_plan(DataSummary::Pairs(first.report), lengths.units.len(), n_held_out);
        on_event(Event::Planned(&RunPlan { left_out, ..plan }));
        let (mut learner, policy, reference) = prepared.learner()?;
        let mut held_out = Vec::with_capacity(n_held_out);
        for pair in &measured {
            held_out.extend(encoder.unit(pair, policy, reference)?);
        }
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
        let mut adapter = prepared.learn(&mut learner, &mut task, control, on_event)?;
        let principles = data.set().map(|set| json!({ "id": set.id, "sha256": set.sha256 }));
        let about = json!({ "algorithm": "dpo", "beta": config.beta, "principles": principles });
        adapter.card.other.insert("align".to_owned(), about);
        let folder = self.out.join(RUN_FOLDER);
        adapter.write_peft(&folder)?;
        Ok(folder)
    }
}

/// Token ids, and a mask of the reply's tokens.
type Marked = (Vec<TokenId>, Vec<bool>);

/// Turns pairs into sequences.
#[derive(Clone, Copy, Debug)]
struct Encoder<'a> {
    chat: &'a ChatFormat,
    /// Maximum number of tokens of a prompt with its reply.
    longest: usize,
    path: &'a Path,
}

impl Encoder<'_> {
    /// Tokens and masks of both replies with their prompt. `None` if one of them is too long.
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

    /// Number of tokens of such a pair as a unit. Policy and reference each read both replies, and their prompt once.
    fn tokens(&self, id: &str, prompt: &str, replies: [&str; 2]) -> Result<Option<usize>, TrainError> {
        let read = |sides: [Marked; 2]| Sequence::with_shared_targets(&sides, None);
        let tokens = |one: Vec<Sequence>| one.iter().map(|sequence| sequence.ids.len()).sum::<usize>();
        Ok(self.encode(id, prompt, replies)?.map(|sides| 2 * tokens(read(sides))))
    }

    fn tokens_of(&self, pair: &PreferencePair) -> Result<Option<usize>, TrainError> {
        self.tokens(&pair.id, &pair.prompt.text, pair.replies.each_ref().map(String::as_str))
    }

    /// A pair as a unit: the preferred reply and the other one, read by the policy, then by the reference.
    fn unit(
        &self,
        pair: &PreferencePair,
        policy: AdapterId,
        reference: Option<AdapterId>,
    ) -> Result<Option<Unit>, TrainError> {
        let replies = [pair.preferred, 1 - pair.preferred].map(|place| pair.replies[place].as_str());
        let unit = |sides: [Marked; 2]| -> Unit {
            let readers = [Some(policy), reference];
            readers.into_iter().flat_map(|adapter| Sequence::with_shared_targets(&sides, adapter)).collect()
        };
        Ok(self.encode(&pair.id, &pair.prompt.text, replies)?.map(unit))
    }
}

/// Pairs as a task.
struct Pairs<'a> {
    encoder: Encoder<'a>,
    stream: Stream<'a>,
    /// The next step and the position of its first pair. Pairs that are too long are skipped, so the position
    /// does not depend on the step alone.
    next: Option<(u64, u64)>,
    held_out: Batch,
    policy: AdapterId,
    reference: Option<AdapterId>,
    config: &'a DpoConfig,
    /// Number of pairs in the first pass.
    per_epoch: usize,
}

fn batch(units: Vec<Unit>) -> Batch {
    Batch { normalizer: units.len() as f64, units, ..Batch::default() }
}

impl Pairs<'_> {
    /// The units of one step, starting at `position`, and the position after them.
    fn units(&mut self, mut position: u64) -> Result<(Vec<Unit>, u64), TrainError> {
        let mut units = Vec::with_capacity(self.config.batch.pairs);
        // A file in which all pairs are too long was rejected earlier. The limit ends the search in later
        // passes.
        let limit = position + 1000 * self.config.batch.pairs as u64;
        while units.len() < self.config.batch.pairs {
            let pair = self.stream.pair(position).filter(|_| position < limit);
            let pair = pair.ok_or_else(|| TrainError::Data {
                path: self.encoder.path.to_owned(),
                reason: "no further pair fits max_tokens; raise it, or give more comparisons".to_owned(),
            })?;
            units.extend(self.encoder.unit(pair, self.policy, self.reference)?);
            position += 1;
        }
        Ok((units, position))
    }
}

impl Task for Pairs<'_> {
    fn batch(&mut self, step: u64) -> Result<Batch, TrainError> {
        // A resumed run finds its position by reading all earlier pairs, because those that are too long are
        // skipped.
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
        let sum = |tokens: Range<usize>| -> f64 {
            stats.logprob[tokens].iter().map(|&logprob| f64::from(logprob)).sum()
        };
        let mut pair = |unit: &Unit| {
            let mut counts = unit.iter().flat_map(Sequence::readings_by_branch);
            let mut next = || {
                let first = at;
                at += counts.next().expect("policy and reference read both replies");
                first..at
            };
            DpoPair { chosen: next(), rejected: next(), ref_chosen: sum(next()), ref_rejected: sum(next()) }
        };
        let pairs = batch.units[range].iter().map(&mut pair).collect();
        self.config.objective().evaluate(stats, &DpoBatch { pairs, normalizer: batch.normalizer })
    }

    fn summarize(&self, loss: f64, metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        self.config.objective().summarize(loss, metrics)
    }

    /// `None`: this training does not generate.
    fn logprob_distance(&self, _learner: &mut Learner) -> Result<Option<f64>, TrainError> {
        Ok(None)
    }
}
