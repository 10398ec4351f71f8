//! Training of a reward model, which is an adapter with a scalar head, on judged replies.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::data::Source;
use super::model::limits_on;
use super::stream::Stream;
use super::tally::Tallies;
use super::{RewardCard, RewardConfig, RewardData, RewardError};
use crate::adapter::{Adapter, RUN_FOLDER};
use crate::model::Model;
use crate::model::lora::{AdapterId, ScalarHead};
use crate::preferences::{PreferencePair, PreferencesError, RewardFormat};
use crate::random::{Philox, Purpose, uniform01};
use crate::settings::Settings;
use crate::train::objective::{Evaluated, Objective, Pair, Preference, PreferenceBatch, TokenStats};
use crate::train::{
    Batch, Control, DataSummary, Event, Learner, Lengths, Run, Sequence, Start, Task, TrainError, Unit,
    recovering,
};

/// A run that trains a reward model, which is an adapter with a scalar head on a frozen base.
///
/// ```no_run
/// use parr::Model;
/// use parr::reward::{RewardData, RewardTraining};
/// use parr::train::{Control, Event};
///
/// let model = Model::open("smollm2")?;
/// let data = RewardData::judged(&["judged.jsonl".into()], &["reward".to_owned()])?;
/// let folder = RewardTraining::new(&model, &data, "runs/reward").run(&Control::default(), &mut |event| {
///     if let Event::Planned(plan) = event {
///         println!("{} pairs, {} held out", plan.count, plan.held_out);
///     }
/// })?;
/// println!("the reward model is in {}", folder.display());
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RewardTraining<'a> {
    model: &'a Model,
    data: &'a RewardData,
    /// The adapter to start from, and its name.
    init: Option<(&'a Adapter, String)>,
    out: PathBuf,
    config: RewardConfig,
    resume: bool,
}

impl<'a> RewardTraining<'a> {
    /// A run that trains on `data` and writes settings, logs, states and the reward model to the folder
    /// `out`. By default, it starts from a fresh adapter, settings have their default values, and the run
    /// does not resume.
    pub fn new(model: &'a Model, data: &'a RewardData, out: impl Into<PathBuf>) -> RewardTraining<'a> {
        let (out, config) = (out.into(), RewardConfig::default());
        RewardTraining { model, data, init: None, out, config, resume: false }
    }

    /// Sets the settings.
    #[must_use]
    pub fn config(self, config: &RewardConfig) -> Self {
        RewardTraining { config: config.clone(), ..self }
    }

    /// Starts from this adapter, including its head if it has one. The card of the reward model records
    /// `name`.
    #[must_use]
    pub fn init(self, adapter: &'a Adapter, name: impl Into<String>) -> Self {
        RewardTraining { init: Some((adapter, name.into())), ..self }
    }

    /// Sets whether the run resumes from the newest state in the folder, if there is one.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        RewardTraining { resume, ..self }
    }

    /// Runs the training and reports events to `on_event`. Returns the folder of the reward model, which is
    /// `adapter` in the run's folder.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Cancelled`] in [`RewardError::Train`] after a cancel. The state is saved, and a call
    ///   with [`RewardTraining::resume`] resumes the run;
    /// * [`RewardError::Preferences`], [`RewardError::Nothing`] and [`RewardError::Context`], before anything
    ///   is written, if data or settings cannot be used;
    /// * [`RewardError::NoTokenizer`] if the model has no tokenizer;
    /// * [`RewardError::Train`] if the training fails.
    pub fn run(
        &self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, RewardError> {
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
    ) -> Result<PathBuf, RewardError> {
        let (model, data, config) = (self.model, self.data, &self.config);
        let set = data.set();
        let mut card = RewardCard::of_set(set, config.limits);
        card.aggregate = Some(config.aggregate.clone());
        card.init = self.init.as_ref().map(|(_, name)| name.clone());
        let limits = limits_on(model, &card)?;
        model.check_tokenizer()?;
        let tokenizer = model.tokenizer().ok_or(RewardError::NoTokenizer)?;
        let format = RewardFormat::new(tokenizer, limits)?;

        let source = data.source(&config.aggregate)?;
        let first = source.pass(0);
        if first.train.is_empty() {
            let reason = format!("no pair is left to train on: {}", first.report);
            return Err(RewardError::Nothing { reason });
        }
        let measured = source.held_out(config.aggregate.passes);
        let settings = config.run_settings();
        let run = Run {
            model,
            out: &self.out,
            kind: "reward",
            steps: settings.total_steps(first.train.len() * config.aggregate.units_of_pair()),
            settings,
            toml: config.to_toml(),
            config_sha256: config.hash(),
            data_sha256: data.sha256(),
            resume,
        };
        let mut measure = Measure { format: &format, path: data.path() };
        let longest_list = measure.longest_list(self)?;
        let mut lengths = Lengths { units: Vec::new(), longest: 0 };
        for pair in &first.train {
            lengths.units.push(measure.most_tokens(pair, longest_list)?);
        }
        for pair in &measured {
            lengths.longest = lengths.longest.max(measure.most_tokens(pair, longest_list)?);
        }
        // Later passes may use comparisons that the first pass left undecided, so these count for the
        // maximum.
        let undecided = data.comparisons().iter().map(|comparison| {
            let texts = comparison.replies.each_ref().map(|reply| reply.text.as_str());
            measure.most_tokens_of(&comparison.prompt.text, texts, longest_list)
        });
        for tokens in undecided {
            lengths.longest = lengths.longest.max(tokens?);
        }
        lengths.longest = lengths.units.iter().copied().fold(lengths.longest, usize::max);

        let prepared = run.prepare(self.start()?, &lengths, 0)?;
        let data = DataSummary::Pairs(first.report);
        on_event(Event::Planned(&prepared.run_plan(data, first.train.len(), measured.len())));
        let (mut learner, id, _) = prepared.learner()?;
        let mut task = Pairs::new(measure, source, &measured, id, config, first.train.len())?;
        let mut adapter = prepared.learn(&mut learner, &mut task, control, on_event)?;
        let tallies = Tallies::of_pairs(&measured, &task.margins(&mut learner)?);
        adapter.card.metrics.insert("held_out".to_owned(), json!(tallies));
        card.write(&mut adapter.card);
        let folder = self.out.join(RUN_FOLDER);
        adapter.write_peft_as(&folder, config.factors.quant())?;
        Ok(folder)
    }

    /// Initial weights of the adapter and its head.
    fn start(&self) -> Result<Start, RewardError> {
        let (model, config) = (self.model, &self.config);
        let weights = match &self.init {
            Some((adapter, _)) => adapter.weights.clone(),
            None => config.lora.fresh(model.config(), config.seed)?,
        };
        let head = self.init.as_ref().and_then(|(adapter, _)| adapter.head.clone());
        let head = head.unwrap_or_else(|| fresh_head(model.config().hidden, config.seed));
        Ok(Start { weights, head: Some(head), reference: None })
    }
}

/// A head of random weights. They are uniform with the variance `1 / (hidden + 1)`, as in "Learning to
/// summarize from human feedback" (arXiv 2009.01325). Scores start with a spread, so the
/// adapter can change them from the first step. Two replies under one list differ little at first, so the
/// loss still starts near ln 2.
fn fresh_head(hidden: usize, seed: u64) -> ScalarHead {
    let random = Philox::new(seed);
    let value = |at: usize| {
        let block = random.block(Purpose::LoraInit, u32::MAX, at as u32 / 4, 0);
        (2.0 * uniform01(block[at % 4]) - 1.0) * (3.0 / (hidden as f32 + 1.0)).sqrt()
    };
    ScalarHead { weight: (0..hidden).map(value).collect(), bias: 0.0 }
}

/// Counts the tokens of pairs for any list that may be drawn.
#[derive(Clone, Copy, Debug)]
struct Measure<'a> {
    format: &'a RewardFormat<'a>,
    path: &'a Path,
}

impl Measure<'_> {
    /// A pair as a unit, with the preferred reply first.
    fn unit(&self, pair: &PreferencePair, adapter: AdapterId) -> Result<Unit, TrainError> {
        let principles: Vec<&str> = pair.principles.iter().map(|bullet| bullet.text.as_str()).collect();
        let replies = [pair.preferred, 1 - pair.preferred].map(|place| pair.replies[place].as_str());
        let ids = |reply: &str| {
            let input = self.format.encode(&pair.prompt.text, reply, &principles);
            Ok(input.map_err(|error| self.fault(&pair.id, &error))?.ids)
        };
        let texts = replies.into_iter().map(ids).collect::<Result<Vec<_>, TrainError>>()?;
        Ok(Sequence::with_shared_heads(&texts, adapter))
    }

    fn fault(&self, id: &str, error: &PreferencesError) -> TrainError {
        TrainError::Data { path: self.path.to_owned(), reason: format!("pair `{id}`: {error}") }
    }

    /// Number of tokens that the longest possible list adds to an input without principles.
    fn longest_list(&mut self, run: &RewardTraining<'_>) -> Result<usize, RewardError> {
        let Some(set) = run.data.set() else { return Ok(0) };
        let tokens = |principles: &[&str]| -> Result<usize, PreferencesError> {
            Ok(self.format.encode("?", "!", principles)?.ids.len())
        };
        let texts = |negated| set.principles.iter().filter_map(move |one| one.text(negated));
        let mut lengths = Vec::new();
        for text in texts(false).chain(texts(true)) {
            lengths.push((tokens(&[text])?, text));
        }
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        // Plus one for the principle that explains a rule's label. A list never has both a definition and its
        // negative, so this is an upper bound.
        let longest: Vec<&str> = lengths.iter().map(|(_, text)| *text).collect();
        let most = longest.len().min(run.config.aggregate.most_principles + 1);
        Ok((tokens(&longest[..most])?).saturating_sub(tokens(&[])?))
    }

    fn most_tokens(&self, pair: &PreferencePair, longest_list: usize) -> Result<usize, RewardError> {
        let [first, second] = &pair.replies;
        self.most_tokens_of(&pair.prompt.text, [first, second], longest_list)
    }

    /// Number of tokens of a unit of these replies under the longest list.
    fn most_tokens_of(
        &self,
        prompt: &str,
        replies: [&str; 2],
        longest_list: usize,
    ) -> Result<usize, RewardError> {
        let mut all = 0;
        for reply in replies {
            let alone = self.format.encode(prompt, reply, &[])?.ids.len();
            all += (alone + longest_list).min(self.format.limits().tokens);
        }
        Ok(all)
    }
}

/// Pairs as a task.
struct Pairs<'a> {
    measure: Measure<'a>,
    stream: Stream<'a>,
    held_out: Batch,
    adapter: AdapterId,
    per_step: usize,
    /// Number of pairs in the first pass.
    per_epoch: usize,
}

impl<'a> Pairs<'a> {
    fn new(
        measure: Measure<'a>,
        source: Source<'a>,
        measured: &[PreferencePair],
        adapter: AdapterId,
        config: &RewardConfig,
        per_epoch: usize,
    ) -> Result<Self, TrainError> {
        let units = measured.iter().map(|pair| measure.unit(pair, adapter)).collect::<Result<_, _>>()?;
        Ok(Pairs {
            measure,
            stream: Stream::new(source, config.seed),
            held_out: batch(units),
            adapter,
            per_step: config.batch.pairs,
            per_epoch,
        })
    }

    /// For each held-out pair, the score of the preferred reply minus the score of the other (B).
    fn margins(&self, learner: &mut Learner) -> Result<Vec<f64>, TrainError> {
        let values = learner.read(&self.held_out.units)?.value;
        Ok(values.chunks_exact(2).map(|pair| f64::from(pair[0]) - f64::from(pair[1])).collect())
    }
}

/// A batch with its number of pairs as normalizer.
fn batch(units: Vec<Unit>) -> Batch {
    Batch { normalizer: units.len() as f64, units, ..Batch::default() }
}

impl Task for Pairs<'_> {
    fn batch(&mut self, step: u64) -> Result<Batch, TrainError> {
        let first = step * self.per_step as u64;
        let mut units = Vec::with_capacity(self.per_step);
        for position in first..first + self.per_step as u64 {
            let pairs = self.stream.with_mirror(position).ok_or_else(|| TrainError::Data {
                path: self.measure.path.to_owned(),
                reason: "its comparisons give no further pairs, because no verdict separates the replies"
                    .to_owned(),
            })?;
            for pair in &pairs {
                units.push(self.measure.unit(pair, self.adapter)?);
            }
        }
        Ok(batch(units))
    }

    fn epochs(&self, step: u64) -> f64 {
        (step * self.per_step as u64) as f64 / self.per_epoch as f64
    }

    fn held_out(&self) -> &Batch {
        &self.held_out
    }

    fn evaluate(&self, batch: &Batch, range: Range<usize>, stats: &TokenStats) -> Evaluated {
        let pair = |unit: usize| Pair { chosen: 2 * unit, rejected: 2 * unit + 1 };
        let pairs = (0..range.len()).map(pair).collect();
        Preference.evaluate(stats, &PreferenceBatch { pairs, normalizer: batch.normalizer })
    }

    fn summarize(&self, loss: f64, metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        Preference.summarize(loss, metrics)
    }

    /// `None`: this training does not generate.
    fn logprob_distance(&self, _learner: &mut Learner) -> Result<Option<f64>, TrainError> {
        Ok(None)
    }
}
