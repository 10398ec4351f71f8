//! Training of a reward model, which is an adapter with a scalar head, on labelled replies.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{LabelledData, PointwiseConfig};
use crate::adapter::{Adapter, RUN_FOLDER};
use crate::model::Model;
use crate::model::lora::{AdapterId, ScalarHead};
use crate::preferences::{BranchedInput, LabelledReply, PointwiseFormat, PreferencesError};
use crate::reward::model::limits_on;
use crate::reward::{Form, RewardCard, RewardError};
use crate::settings::Settings;
use crate::train::objective::{Binary, BinaryBatch, Evaluated, Objective, TokenStats};
use crate::train::{
    Batch, Control, DataSummary, Event, Learner, Lengths, Order, Run, Sequence, Start, Task, TrainError,
    recovering,
};

/// A run that trains a pointwise reward model.
///
/// ```no_run
/// use parr::Model;
/// use parr::reward::{LabelledData, PointwiseTraining};
/// use parr::train::Control;
///
/// let model = Model::open("smollm2")?;
/// let data = LabelledData::read(&["labelled.jsonl".into()])?;
/// let folder = PointwiseTraining::new(&model, &data, "runs/reward").run(&Control::default(), &mut |_| {})?;
/// println!("the reward model is in {}", folder.display());
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PointwiseTraining<'a> {
    model: &'a Model,
    data: &'a LabelledData,
    /// The adapter to start from, and its name.
    init: Option<(&'a Adapter, String)>,
    out: PathBuf,
    config: PointwiseConfig,
    resume: bool,
}

impl<'a> PointwiseTraining<'a> {
    /// A run that trains on `data` and writes settings, logs, states and the reward model to the folder `out`. By
    /// default, it starts from a fresh adapter, settings have their default values, and the run does not resume.
    pub fn new(model: &'a Model, data: &'a LabelledData, out: impl Into<PathBuf>) -> PointwiseTraining<'a> {
        let (out, config) = (out.into(), PointwiseConfig::default());
        PointwiseTraining { model, data, init: None, out, config, resume: false }
    }

    /// Sets the settings.
    #[must_use]
    pub fn config(self, config: &PointwiseConfig) -> Self {
        PointwiseTraining { config: config.clone(), ..self }
    }

    /// Starts from this adapter, including its head if it has one. The card of the reward model records `name`.
    #[must_use]
    pub fn init(self, adapter: &'a Adapter, name: impl Into<String>) -> Self {
        PointwiseTraining { init: Some((adapter, name.into())), ..self }
    }

    /// Sets whether the run resumes from the newest state in the folder, if there is one.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        PointwiseTraining { resume, ..self }
    }

    /// Runs the training and reports events to `on_event`. Returns the folder of the reward model, which is
    /// `adapter` in the run's folder.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Cancelled`] in [`RewardError::Train`] after a cancel. The state is saved, and a call with
    ///   [`PointwiseTraining::resume`] resumes the run;
    /// * [`RewardError::Preferences`], [`RewardError::Nothing`] and [`RewardError::Context`], before anything is
    ///   written, if data or settings cannot be used;
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
        let mut card = RewardCard { form: Form::Pointwise, limits: config.limits, ..RewardCard::default() };
        card.attributes = data.attributes();
        card.init = self.init.as_ref().map(|(_, name)| name.clone());
        let limits = limits_on(model, &card)?;
        model.check_tokenizer()?;
        let tokenizer = model.tokenizer().ok_or(RewardError::NoTokenizer)?;
        let format = PointwiseFormat::new(tokenizer, limits)?;

        let (train, measured) = data.split(config.seed, config.held_out);
        if train.is_empty() {
            let reason = format!("{} leaves no reply to train on", data.path().display());
            return Err(RewardError::Nothing { reason });
        }
        let settings = config.run_settings();
        let run = Run {
            model,
            out: &self.out,
            kind: "pointwise",
            steps: settings.total_steps(train.len()),
            settings,
            toml: config.to_toml(),
            config_sha256: config.hash(),
            data_sha256: data.sha256().to_owned(),
            resume,
        };
        let encode = Encode { format: &format, path: data.path() };
        let mut lengths = Lengths { units: Vec::new(), longest: 0 };
        for reply in &train {
            lengths.units.push(encode.tokens(reply)?);
        }
        for reply in &measured {
            lengths.longest = lengths.longest.max(encode.tokens(reply)?);
        }
        lengths.longest = lengths.units.iter().copied().fold(lengths.longest, usize::max);
        let prepared = run.prepare(self.start(&format)?, &lengths, 0)?;
        let labels = train.iter().map(|reply| reply.labels.len()).sum();
        let summary = DataSummary::Labelled { replies: train.len(), labels };
        on_event(Event::Planned(&prepared.run_plan(summary, train.len(), measured.len())));
        let (mut learner, id, _) = prepared.learner()?;
        let mut task = Labels::new(encode, train, &measured, id, config)?;
        let mut adapter = prepared.learn(&mut learner, &mut task, control, on_event)?;
        card.write(&mut adapter.card);
        let folder = self.out.join(RUN_FOLDER);
        adapter.write_peft_as(&folder, config.factors.quant())?;
        Ok(folder)
    }

    /// Initial weights of the adapter and its head.
    fn start(&self, format: &PointwiseFormat<'_>) -> Result<Start, RewardError> {
        let (model, config) = (self.model, &self.config);
        let weights = match &self.init {
            Some((adapter, _)) => adapter.weights.clone(),
            None => config.lora.fresh(model.config(), config.seed)?,
        };
        let known = self.init.as_ref().and_then(|(adapter, _)| adapter.head.clone());
        let head = match known {
            Some(head) => head,
            None => answer_head(model, format)?,
        };
        Ok(Start { weights, head: Some(head), reference: None })
    }
}

/// The language model's row for " yes" minus its row for " no": the score starts as the log-odds of the two answers.
/// A head of zeros if the tokenizer splits one of them.
fn answer_head(model: &Model, format: &PointwiseFormat<'_>) -> Result<ScalarHead, RewardError> {
    let hidden = model.config().hidden;
    let weight = match format.answers()? {
        None => vec![0.0; hidden],
        Some(answers) => {
            let rows = model.head_rows(&answers).map_err(TrainError::from)?;
            let (yes, no) = rows.split_at(hidden);
            yes.iter().zip(no).map(|(yes, no)| yes - no).collect()
        }
    };
    Ok(ScalarHead { weight, bias: 0.0 })
}

/// Turns labelled replies into units.
#[derive(Clone, Copy, Debug)]
struct Encode<'a> {
    format: &'a PointwiseFormat<'a>,
    path: &'a Path,
}

impl Encode<'_> {
    fn input(&self, reply: &LabelledReply) -> Result<BranchedInput, TrainError> {
        let principles: Vec<&str> = reply.labels.iter().map(|label| label.principle.as_str()).collect();
        let fault = |error: PreferencesError| TrainError::Data {
            path: self.path.to_owned(),
            reason: format!("reply `{}`: {error}", reply.id),
        };
        self.format.encode(&reply.prompt, &reply.reply, &principles).map_err(fault)
    }

    fn tokens(&self, reply: &LabelledReply) -> Result<usize, TrainError> {
        let input = self.input(reply)?;
        Ok(input.shared.len() + input.branches.iter().map(Vec::len).sum::<usize>())
    }

    fn batch(&self, replies: &[&LabelledReply], adapter: AdapterId) -> Result<Batch, TrainError> {
        let mut batch = Batch::default();
        for reply in replies {
            let input = self.input(reply)?;
            batch.units.push(vec![Sequence::with_branches(&input.shared, &input.branches, adapter)]);
            batch.labels.push(reply.labels.iter().map(|label| label.keeps).collect());
            batch.normalizer += reply.labels.len() as f64;
        }
        Ok(batch)
    }
}

/// Labelled replies as a task.
struct Labels<'a> {
    encode: Encode<'a>,
    replies: Vec<&'a LabelledReply>,
    order: Order,
    adapter: AdapterId,
    per_step: usize,
    held_out: Batch,
}

impl<'a> Labels<'a> {
    fn new(
        encode: Encode<'a>,
        replies: Vec<&'a LabelledReply>,
        measured: &[&LabelledReply],
        adapter: AdapterId,
        config: &PointwiseConfig,
    ) -> Result<Self, TrainError> {
        Ok(Labels {
            order: Order::new(config.seed, replies.len()),
            held_out: encode.batch(measured, adapter)?,
            encode,
            replies,
            adapter,
            per_step: config.batch.replies,
        })
    }
}

impl Task for Labels<'_> {
    fn batch(&mut self, step: u64) -> Result<Batch, TrainError> {
        let first = step * self.per_step as u64;
        let places = (first..first + self.per_step as u64).map(|position| self.order.example(position));
        let replies: Vec<&LabelledReply> = places.map(|place| self.replies[place]).collect();
        self.encode.batch(&replies, self.adapter)
    }

    fn epochs(&self, step: u64) -> f64 {
        (step * self.per_step as u64) as f64 / self.replies.len() as f64
    }

    fn held_out(&self) -> &Batch {
        &self.held_out
    }

    fn evaluate(&self, batch: &Batch, range: Range<usize>, stats: &TokenStats) -> Evaluated {
        let labels = batch.labels[range].concat();
        Binary.evaluate(stats, &BinaryBatch { labels, normalizer: batch.normalizer })
    }

    fn summarize(&self, loss: f64, metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        Binary.summarize(loss, metrics)
    }

    /// `None`: this training does not generate.
    fn logprob_distance(&self, _learner: &mut Learner) -> Result<Option<f64>, TrainError> {
        Ok(None)
    }
}
