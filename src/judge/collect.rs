//! Collects comparisons: samples replies to prompts, judges them and records the verdicts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::chat::{AdaptedModel, encode};
use super::config::{JudgeKind, PreferenceConfig, ReplyPlan, ReplySettings, TooLong, Verdicts};
use super::origin::Origin;
use super::plan::{Planner, PromptPlan};
use super::{CheckJudge, ContrastJudge, Judge, JudgeError, LabelJudge};
use crate::file::AtFile;
use crate::generate::{GeneratorOptions, Request};
use crate::model::Model;
use crate::model::lora::AdapterBank;
use crate::ops::KvFormat;
use crate::output;
use crate::preferences::{Comparison, Prompt, Prompts, RecordLog};
use crate::principles::{Principle, PrincipleSet};
use crate::settings::Settings;
use crate::tokenizer::ChatFormat;
use crate::train::{Control, Count, DataSummary, Event, Items, RunPlan, recovering};

mod running;

use running::{Running, SampledPair};

/// Replies per slot that one call generates. A slot is refilled when its reply ends. The replies of one call
/// are judged and recorded before the next call.
const ROUND: usize = 4;

/// A collection of preferences: replies to prompts, compared by a judge.
///
/// ```no_run
/// use parr::gpu::{Device, DeviceOptions};
/// use parr::judge::PreferenceRun;
/// use parr::preferences::Prompts;
/// use parr::model::{LoadOptions, Model};
/// use parr::principles::PrincipleSet;
/// use parr::train::Control;
///
/// let model = Model::open("smollm2")?;
/// let prompts = Prompts::read("prompts.jsonl".as_ref())?;
/// let principles = PrincipleSet::open("reward")?;
/// let run = PreferenceRun::new(&model, &prompts, &principles, "judged.jsonl");
/// let report = run.run(&Control::default(), &mut |_| {})?;
/// println!("{} comparisons", report.comparisons);
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PreferenceRun<'a> {
    model: AdaptedModel<'a>,
    /// The model that judges. `None` for the one that replies.
    judge: Option<&'a Model>,
    /// Name of the model in the records. `None` for [`AdaptedModel::name`].
    name: Option<String>,
    prompts: &'a Prompts,
    principles: &'a PrincipleSet,
    config: PreferenceConfig,
    out: PathBuf,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PreferenceReport {
    /// Number of prompts with replies.
    pub prompts: usize,
    /// Number of prompts that were left out because they do not fit into the context.
    pub too_long: usize,
    /// Number of comparisons in the file.
    pub comparisons: usize,
    /// Number of comparisons that earlier runs had written to it.
    pub earlier: usize,
    /// Pairs without a comparison because a reply is empty.
    pub empty: usize,
    /// Pairs without a comparison because the replies are the same.
    pub identical: usize,
    /// Pairs without a comparison because no program could edit the reply for the principle.
    pub not_edited: usize,
    /// Pairs that earlier runs left out: empty, identical, or impossible to edit.
    pub dropped_earlier: usize,
    /// Number of replies that this run generated.
    pub replies: usize,
    /// Number of replies that reached the limit of tokens per reply.
    pub cut: usize,
    /// Number of tokens that this run generated.
    pub tokens: usize,
    /// Seconds that the run took.
    pub seconds: f64,
}

/// One prompt with the replies to generate and the pairs to compare.
struct PromptWork<'a> {
    prompt: &'a Prompt,
    plan: PromptPlan,
    requests: Vec<Request>,
}

/// The prompts of a run, and the context that they need.
struct Workload<'a> {
    work: Vec<PromptWork<'a>>,
    too_long: usize,
    /// Length in tokens of the longest prompt with its reply.
    context: usize,
    /// Length in tokens of the longest input of the judge.
    judge_context: usize,
}

impl<'a> PreferenceRun<'a> {
    /// Creates a run with default settings. `model`, with or without an adapter, replies to `prompts` and
    /// judges the replies under `principles`. The run appends the comparisons to the file `out`. A second
    /// file, with `.toml` after this name, records model, principles and settings.
    pub fn new(
        model: impl Into<AdaptedModel<'a>>,
        prompts: &'a Prompts,
        principles: &'a PrincipleSet,
        out: impl Into<PathBuf>,
    ) -> PreferenceRun<'a> {
        let (model, out, config) = (model.into(), out.into(), PreferenceConfig::default());
        PreferenceRun { model, judge: None, name: None, prompts, principles, config, out }
    }

    /// Sets the settings. Their `principles` are not used, because [`PreferenceRun::new`] takes the set.
    #[must_use]
    pub fn config(self, config: &PreferenceConfig) -> Self {
        PreferenceRun { config: config.clone(), ..self }
    }

    /// Lets another model judge the replies. It may have another tokenizer, since replies pass as text, and should be
    /// on the same device.
    #[must_use]
    pub fn judge_model(self, judge: &'a Model) -> Self {
        PreferenceRun { judge: Some(judge), ..self }
    }

    /// Sets the name of the model in the records, instead of [`AdaptedModel::name`].
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        PreferenceRun { name: Some(name.into()), ..self }
    }

    /// Samples replies, judges and records them, and reports to `on_event`. If the file exists, the run
    /// resumes at its end. The file has to come from a run with the same settings.
    ///
    /// # Errors
    ///
    /// * [`JudgeError::Settings`], [`JudgeError::Principle`], [`JudgeError::NoChat`],
    ///   [`JudgeError::Template`], [`JudgeError::TooLong`] or [`JudgeError::Nothing`] before anything runs
    ///   or is written;
    /// * [`JudgeError::OtherRun`] if the file comes from a run with other settings;
    /// * those of [`PreferenceRun::check_out`];
    /// * [`JudgeError::Preferences`] or [`JudgeError::Io`] if it cannot be read or written;
    /// * [`JudgeError::Generate`] if the device fails, or with
    ///   [`Cancelled`](crate::generate::GenerateError::Cancelled) after a cancel. The file keeps its records, and the
    ///   next run resumes there.
    pub fn run(
        &self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<PreferenceReport, JudgeError> {
        self.config.validate()?;
        self.check_out()?;
        let base = self.model.model;
        // The adapter's bank is lost with the device, so another attempt needs the values.
        let values = self.model.adapter.map(|(bank, id)| bank.read(id)).transpose()?;
        recovering(base, on_event, |again, on_event| {
            if let Some(judge) = self.judge.filter(|judge| again && judge.is_lost()) {
                // If that fails, the attempt reports it.
                let _ = judge.reload();
            }
            let Some((weights, head)) = values.as_ref().filter(|_| again) else {
                return self.attempt(control, on_event);
            };
            let bank = AdapterBank::new(base, weights.config.rank, weights.config.targets, 1)?;
            let id = bank.attach(weights, head.as_ref())?;
            let model = AdaptedModel { model: base, adapter: Some((&bank, id)) };
            PreferenceRun { model, ..self.clone() }.attempt(control, on_event)
        })
    }

    fn attempt(
        &self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<PreferenceReport, JudgeError> {
        let planner = Planner::new(&self.config, self.principles)?;
        let load = self.workload(&planner)?;
        let slots = self.config.batch.slots;
        let options =
            GeneratorOptions { slots, context: load.context, kv: KvFormat::F16, ..Default::default() };
        let generator = self.model.generator(options)?;
        let judge = self.open_judge(load.judge_context)?;
        let name = self.name.clone().map_or_else(|| self.model.name(), Ok)?;
        let judge_name = self.judge.map(|judge| AdaptedModel::base(judge).name()).transpose()?;
        let origin = Origin::new(&name, judge_name.as_deref(), self.principles, &self.config);
        let (log, earlier) = RecordLog::open_if(&self.out, |bytes| origin.agree(&self.out, bytes))?;
        // Chunks always hold the same prompts, so the records do not depend on where a run began.
        let chunk = (ROUND * slots / planner.replies_per_prompt()).max(1);
        let start = first_chunk(&load.work, chunk, &earlier, &self.out)?;
        let pairs = load.work.iter().map(|work| work.plan.pairs.len()).sum();
        let report = PreferenceReport {
            prompts: load.work.len(),
            too_long: load.too_long,
            earlier: earlier.len(),
            ..PreferenceReport::default()
        };
        let data = DataSummary::Judged { pairs, recorded: earlier.len() };
        let plan = RunPlan::untrained(load.work.len(), data);
        on_event(Event::Planned(&RunPlan { left_out: load.too_long, ..plan }));
        let begun = Instant::now();
        let count = Count::new(Items::Pairs, 0, pairs);
        // Records name the model that judged.
        let name = judge_name.unwrap_or(name);
        let mut running = Running { run: self, name, generator, judge, log, report, count, begun };
        for (number, work) in load.work.chunks(chunk).enumerate() {
            if number < start || running.is_done(work) {
                running.skip(work);
                on_event(Event::Counted(running.count));
                continue;
            }
            control.wait(running.count.done as u64);
            running.chunk(work, &control.cancel, on_event)?;
        }
        let Running { mut report, log, .. } = running;
        report.comparisons = log.len();
        report.seconds = begun.elapsed().as_secs_f64();
        Ok(report)
    }

    /// `Ok` if the run may write to its file: it is new, or has the settings of a run beside it.
    ///
    /// # Errors
    ///
    /// [`JudgeError::Io`] if it is an input, or no run wrote it.
    pub fn check_out(&self) -> Result<(), JudgeError> {
        let prompts = self.prompts.path();
        for path in [self.out.clone(), output::beside(&self.out)] {
            output::not_an_input(&path, &[prompts]).map_err(JudgeError::io("write to", &path))?;
        }
        Origin::check(&self.out)
    }

    /// Plans and encodes all prompts, so that one that does not fit is found before anything runs.
    fn workload(&self, planner: &Planner<'_>) -> Result<Workload<'a>, JudgeError> {
        let (chat, judge_chat) = (self.model.chat()?, self.judging().chat()?);
        let PreferenceConfig { prompts: settings, replies, .. } = &self.config;
        let context_of = |model: AdaptedModel<'_>| model.model.config().context;
        let (capacity, judge_capacity) = (context_of(self.model), context_of(self.judging()));
        let mut load = Workload { work: Vec::new(), too_long: 0, context: 2, judge_context: 2 };
        for (line, prompt) in settings.take(self.prompts) {
            let plan = planner.plan(prompt);
            let requests = self.requests(chat, prompt, &plan)?;
            let longest = requests.iter().map(|request| request.prompt.len()).max().unwrap_or(0);
            let context = longest + replies.max_tokens;
            let judge_context = self.judge_context(judge_chat, prompt)?;
            let fits = context <= capacity && judge_context <= judge_capacity;
            if !fits {
                if settings.too_long == TooLong::Skip {
                    load.too_long += 1;
                    continue;
                }
                let (needed, capacity) =
                    if context > capacity { (context, capacity) } else { (judge_context, judge_capacity) };
                let (path, id) = (self.prompts.path().to_owned(), prompt.id.clone());
                return Err(JudgeError::TooLong { path, line, id, needed, capacity });
            }
            load.context = load.context.max(context);
            load.judge_context = load.judge_context.max(judge_context);
            load.work.push(PromptWork { prompt, plan, requests });
        }
        if load.work.is_empty() {
            let reason = format!("{} has no prompt to reply to", self.prompts.path().display());
            return Err(JudgeError::Nothing { reason });
        }
        Ok(load)
    }

    fn requests(
        &self,
        chat: &ChatFormat,
        prompt: &Prompt,
        plan: &PromptPlan,
    ) -> Result<Vec<Request>, JudgeError> {
        let settings = &self.config.replies;
        let request = |reply: &super::plan::PlannedReply| {
            let text = match &reply.under {
                Some(under) => self.principles.principle(&under.principle)?.text(under.negated),
                None => None,
            };
            Ok(Request {
                prompt: encode(chat, text, &prompt.text)?,
                adapter: self.model.adapter_id(),
                sampling: settings.sampling(reply.seed),
                max_tokens: settings.max_tokens,
                stop_ids: chat.end_of_turn().into(),
                ..Request::default()
            })
        };
        plan.replies.iter().map(request).collect()
    }

    /// Maximum number of tokens of a reply that the judge reads. An edit adds a phrase, or a few marks per
    /// sentence.
    fn reply_tokens(&self) -> usize {
        let ReplySettings { plan, max_tokens, .. } = self.config.replies;
        if plan == ReplyPlan::Edit { 2 * max_tokens + 64 } else { max_tokens }
    }

    /// Maximum number of tokens that the judge reads for this prompt.
    fn judge_context(&self, chat: &ChatFormat, prompt: &Prompt) -> Result<usize, JudgeError> {
        let principles = &self.principles.principles;
        let reply_tokens = self.reply_tokens();
        match self.config.judge {
            JudgeKind::Check => Ok(0),
            JudgeKind::Contrast => ContrastJudge::context(chat, &prompt.text, principles, reply_tokens),
            JudgeKind::Ab => LabelJudge::context(chat, &prompt.text, principles, reply_tokens),
        }
    }

    /// The model that judges.
    fn judging(&self) -> AdaptedModel<'a> {
        self.judge.map_or(self.model, AdaptedModel::base)
    }

    fn open_judge(&self, context: usize) -> Result<Box<dyn Judge + 'a>, JudgeError> {
        let (slots, reply_tokens) = (self.config.batch.slots, self.reply_tokens());
        Ok(match self.config.judge {
            JudgeKind::Check => {
                if self.principles.principles.iter().all(|principle| principle.check.is_none()) {
                    let reason =
                        format!("no principle of {} names a program that checks it", self.principles.id);
                    return Err(JudgeError::Nothing { reason });
                }
                Box::new(CheckJudge)
            }
            JudgeKind::Ab => Box::new(LabelJudge::new(self.judging(), slots, context, reply_tokens)?),
            JudgeKind::Contrast => {
                Box::new(ContrastJudge::new(self.judging(), slots, context, reply_tokens)?)
            }
        })
    }

    /// The principles that a pair is judged under.
    fn principles_of(&self, pair: &SampledPair<'_>) -> Vec<&'a Principle> {
        let all = &self.principles.principles;
        let written = pair.replies.iter().find_map(|reply| reply.under.as_ref());
        match (self.config.verdicts, written) {
            (Verdicts::Own, Some(under)) => all.iter().filter(|one| one.id == under.principle).collect(),
            _ => all.iter().collect(),
        }
    }
}

/// Number of the chunk of the last record. All chunks before it are done.
fn first_chunk(
    work: &[PromptWork<'_>],
    chunk: usize,
    earlier: &[Comparison],
    out: &Path,
) -> Result<usize, JudgeError> {
    let places = work.iter().enumerate().flat_map(|(at, work)| {
        work.plan.pairs.iter().map(move |pair| (pair.id.as_str(), (at / chunk, work.prompt)))
    });
    let places: HashMap<&str, (usize, &Prompt)> = places.collect();
    let mut last = 0;
    for comparison in earlier {
        // Records of prompts that are no longer in the file are kept.
        let Some((place, prompt)) = places.get(comparison.id.as_str()) else { continue };
        if comparison.prompt != **prompt {
            let reason = format!("prompt `{}` has changed since", prompt.id);
            return Err(JudgeError::OtherRun { path: out.to_owned(), reason });
        }
        last = last.max(*place);
    }
    Ok(last)
}
