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
use crate::settings::{Auto, Settings};
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
    /// * [`RewardError::Layers`] if the model has fewer layers than the settings want;
    /// * [`RewardError::Reserved`] if a label is reserved for evaluation;
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
        let (data, config) = (self.data, &self.config);
        let model = &config.base(self.model)?;
        data.check_reserved()?;
        let mut card = RewardCard { form: Form::Pointwise, limits: config.limits, ..RewardCard::default() };
        card.layers = config.first_layers();
        card.counts = config.counts;
        card.attributes = data.attributes();
        card.init = self.init.as_ref().map(|(_, name)| name.clone());
        let limits = limits_on(model, &card)?;
        model.check_tokenizer()?;
        let tokenizer = model.tokenizer().ok_or(RewardError::NoTokenizer)?;
        let format = PointwiseFormat::new(tokenizer, limits)?.with_counts(config.counts);

        let (train, measured) = data.split(config.seed, config.held_out);
        let Some(largest) = train.iter().map(|group| group.len()).max() else {
            let reason = format!("{} leaves no reply to train on", data.path().display());
            return Err(RewardError::Nothing { reason });
        };
        // A unit of the run is a group.
        let groups = |replies: usize| (replies / largest).max(1);
        let mut settings = config.run_settings();
        settings.batch.sequences = groups(config.batch.replies);
        if let Auto::Fixed(replies) = config.batch.micro_batch {
            settings.batch.micro_batch = Auto::Fixed(groups(replies));
        }
        let per_step = settings.batch.sequences;
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
        for group in &train {
            lengths.units.push(encode.tokens(group)?);
        }
        for group in &measured {
            lengths.longest = lengths.longest.max(encode.tokens(group)?);
        }
        lengths.longest = lengths.units.iter().copied().fold(lengths.longest, usize::max);
        let prepared = run.prepare(self.start(model, &format)?, &lengths, 0)?;
        let labels = train.concat().iter().map(|reply| reply.labels.len()).sum();
        let replies = |groups: &[&[LabelledReply]]| groups.iter().map(|group| group.len()).sum::<usize>();
        let summary = DataSummary::Labelled { replies: replies(&train), labels };
        on_event(Event::Planned(&prepared.run_plan(summary, replies(&train), replies(&measured))));
        let (mut learner, id, _) = prepared.learner()?;
        let mut task = Labels::new(encode, train, &measured, id, per_step, config)?;
        let mut adapter = prepared.learn(&mut learner, &mut task, control, on_event)?;
        card.write(&mut adapter.card);
        let folder = self.out.join(RUN_FOLDER);
        adapter.write_peft_as(&folder, config.factors.quant())?;
        Ok(folder)
    }

    /// Initial weights of the adapter and its head.
    fn start(&self, model: &Model, format: &PointwiseFormat<'_>) -> Result<Start, RewardError> {
        let config = &self.config;
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

/// Scale of the head's initial weights. The log-odds of a small language model are mostly noise in the beginning, and
/// training would first have to remove it.
const HEAD_SCALE: f32 = 0.1;

/// The language model's row for " yes" minus its row for " no", times [`HEAD_SCALE`].
/// A head of zeros if the tokenizer splits one of them.
fn answer_head(model: &Model, format: &PointwiseFormat<'_>) -> Result<ScalarHead, RewardError> {
    let hidden = model.config().hidden;
    let weight = match format.answers()? {
        None => vec![0.0; hidden],
        Some(answers) => {
            let rows = model.head_rows(&answers).map_err(TrainError::from)?;
            let (yes, no) = rows.split_at(hidden);
            yes.iter().zip(no).map(|(yes, no)| HEAD_SCALE * (yes - no)).collect()
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

    /// Number of tokens of a group.
    fn tokens(&self, group: &[LabelledReply]) -> Result<usize, TrainError> {
        let mut tokens = 0;
        for reply in group {
            let input = self.input(reply)?;
            tokens += input.shared.len() + input.branches.iter().map(Vec::len).sum::<usize>();
        }
        Ok(tokens)
    }

    fn batch(&self, groups: &[&[LabelledReply]], adapter: AdapterId) -> Result<Batch, TrainError> {
        let mut batch = Batch::default();
        for group in groups {
            let mut sequences = Vec::with_capacity(group.len());
            for reply in *group {
                let input = self.input(reply)?;
                sequences.push(Sequence::with_branches(&input.shared, &input.branches, adapter));
            }
            batch.units.push(sequences);
            let labels: Vec<bool> =
                group.iter().flat_map(|reply| &reply.labels).map(|label| label.keeps).collect();
            batch.normalizer += labels.len() as f64;
            batch.labels.push(labels);
        }
        Ok(batch)
    }
}

/// The scores of a group of `replies` that should differ, as indices of `labels`: under the same principle, a reply that
/// keeps it and one that does not.
fn pairs(labels: &[bool], replies: usize) -> impl Iterator<Item = [usize; 2]> {
    let n = labels.len() / replies.max(1);
    let both = (0..labels.len())
        .flat_map(move |one| (one % n..labels.len()).step_by(n).map(move |other| [one, other]));
    both.filter(|&[higher, lower]| labels[higher] && !labels[lower])
}

/// Labelled replies as a task.
struct Labels<'a> {
    encode: Encode<'a>,
    groups: Vec<&'a [LabelledReply]>,
    /// `None` keeps the order of the file.
    order: Option<Order>,
    adapter: AdapterId,
    /// Groups of a step.
    per_step: usize,
    loss: Binary,
    held_out: Batch,
}

impl<'a> Labels<'a> {
    fn new(
        encode: Encode<'a>,
        groups: Vec<&'a [LabelledReply]>,
        measured: &[&[LabelledReply]],
        adapter: AdapterId,
        per_step: usize,
        config: &PointwiseConfig,
    ) -> Result<Self, TrainError> {
        Ok(Labels {
            order: config.shuffle.then(|| Order::new(config.seed, groups.len())),
            held_out: encode.batch(measured, adapter)?,
            encode,
            groups,
            adapter,
            per_step,
            loss: Binary { comparison: config.comparison },
        })
    }
}

impl Task for Labels<'_> {
    fn batch(&mut self, step: u64) -> Result<Batch, TrainError> {
        let first = step * self.per_step as u64;
        let mut groups = Vec::with_capacity(self.per_step);
        for position in first..first + self.per_step as u64 {
            let in_file = (position % self.groups.len() as u64) as usize;
            let at = self.order.as_mut().map_or(in_file, |order| order.example(position));
            groups.push(self.groups[at]);
        }
        self.encode.batch(&groups, self.adapter)
    }

    fn epochs(&self, step: u64) -> f64 {
        (step * self.per_step as u64) as f64 / self.groups.len() as f64
    }

    fn held_out(&self) -> &Batch {
        &self.held_out
    }

    fn evaluate(&self, batch: &Batch, range: Range<usize>, stats: &TokenStats) -> Evaluated {
        let of = |unit: usize| pairs(&batch.labels[unit], batch.units[unit].len());
        let mut part = BinaryBatch { normalizer: batch.normalizer, ..BinaryBatch::default() };
        for unit in range {
            let offset = part.labels.len();
            part.pairs.extend(of(unit).map(|pair| pair.map(|index| offset + index)));
            part.labels.extend(&batch.labels[unit]);
        }
        part.n_pairs = (0..batch.units.len()).map(|unit| of(unit).count()).sum::<usize>() as f64;
        self.loss.evaluate(stats, &part)
    }

    fn summarize(&self, loss: f64, metrics: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        self.loss.summarize(loss, metrics)
    }

    /// `None`: this training does not generate.
    fn logprob_distance(&self, _learner: &mut Learner) -> Result<Option<f64>, TrainError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn replies_that_differ_under_a_principle_are_compared() {
        // Three replies under two principles: the first reply keeps both, the second neither, the third the second one.
        let labels = [true, true, false, false, false, true];
        let found: Vec<[usize; 2]> = pairs(&labels, 3).collect();
        assert_eq!(found, [[0, 2], [0, 4], [1, 3], [5, 3]]);
        assert_eq!(pairs(&labels, 1).count(), 0);
        assert_eq!(pairs(&[], 0).count(), 0);
    }
}
