//! The run: answers prompts, writes records and rows, and trains an adapter on the rows.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::filter::{Filter, Filtered, Reason};
use super::prompt::InContext;
use super::record::{SelfAlignReport, SelfAlignSample};
use super::{SelfAlignConfig, SelfAlignError};
use crate::atomic;
use crate::file::AtFile;
use crate::file::hex;
use crate::generate::{CancelToken, Finish, GenerateError, Generator, GeneratorOptions, Request};
use crate::model::Model;
use crate::output;
use crate::preferences::{Prompt, Prompts, RecordLog, name_words};
use crate::principles::{Exemplars, PrincipleSet};
use crate::random::{Philox, Purpose};
use crate::settings::Settings;
use crate::tokenizer::{TokenId, Tokenizer};
use crate::train::{Control, Count, Event, Items, RunPlan, Sft, base_sha256, recovering, settings_file};

/// A run of self-alignment. A base model answers prompts with rules and exemplars in its context, and is
/// trained on these answers without rules and exemplars.
///
/// ```no_run
/// use parr::Model;
/// use parr::preferences::Prompts;
/// use parr::self_align::{SelfAlign, SelfAlignConfig};
/// use parr::train::Control;
///
/// let model = Model::open("smollm2")?;
/// let prompts = Prompts::read("prompts.jsonl".as_ref())?;
/// let (rules, exemplars) = SelfAlignConfig::default().open_rules()?;
/// let run = SelfAlign::new(&model, &prompts, (&rules, &exemplars), "runs/own");
/// let report = run.sample(&Control::default(), &mut |_| {})?;
/// println!("{report}");
/// let adapter = run.distill(&Control::default(), &mut |_| {})?;
/// println!("the adapter is in {}", adapter.display());
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SelfAlign<'a> {
    model: &'a Model,
    prompts: &'a Prompts,
    rules: &'a PrincipleSet,
    exemplars: &'a Exemplars,
    out: PathBuf,
    config: SelfAlignConfig,
    resume: bool,
}

/// The parts of a run that all prompts share.
struct Asking<'a> {
    tokenizer: &'a Tokenizer,
    prompt: &'a InContext,
    filter: Filter,
    stop_ids: Vec<TokenId>,
    run: String,
}

impl<'a> SelfAlign<'a> {
    /// Name of the file of records, with one record per prompt, in the order of the prompts.
    pub const RECORDS: &'static str = "samples.jsonl";
    /// Name of the file of rows to train on: conversations without rules and exemplars.
    pub const ROWS: &'static str = "rows.jsonl";
    /// Name of the file of the report.
    pub const REPORT: &'static str = "report.json";

    /// A run on prompts with rules and exemplars, for example from [`SelfAlignConfig::open_rules`]. It writes
    /// records, rows, the report and the adapter to the folder `out`. By default, settings have their default
    /// values, and the run does not resume.
    pub fn new(
        model: &'a Model,
        prompts: &'a Prompts,
        (rules, exemplars): (&'a PrincipleSet, &'a Exemplars),
        out: impl Into<PathBuf>,
    ) -> SelfAlign<'a> {
        let (out, config) = (out.into(), SelfAlignConfig::default());
        SelfAlign { model, prompts, rules, exemplars, out, config, resume: false }
    }

    /// Sets the settings.
    #[must_use]
    pub fn config(self, config: &SelfAlignConfig) -> Self {
        SelfAlign { config: config.clone(), ..self }
    }

    /// Sets whether the run resumes from the answers in the folder, if there are any.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        SelfAlign { resume, ..self }
    }

    /// Samples and filters the answers, writes the rows, and reports events to `on_event`. A run that was
    /// stopped and resumed gives bit-identical results to an uninterrupted one.
    ///
    /// # Errors
    ///
    /// * [`GenerateError::Cancelled`] in [`SelfAlignError::Generate`] after a cancel. The answers of all
    ///   finished chunks are recorded, and a call with [`SelfAlign::resume`] resumes the run;
    /// * [`SelfAlignError::Settings`], [`SelfAlignError::Rules`] or [`SelfAlignError::NoRoom`], before
    ///   anything is written, if settings are out of range, or rules and exemplars cannot be used;
    /// * [`SelfAlignError::NoTokenizer`] if the model has no tokenizer;
    /// * [`SelfAlignError::Occupied`] if the folder has records and `resume` is not set;
    /// * [`SelfAlignError::OtherRun`] if the records belong to other settings, prompts, rules, exemplars or
    ///   base;
    /// * [`SelfAlignError::Nothing`] if there are no prompts;
    /// * [`SelfAlignError::Preferences`] if records cannot be read or written;
    /// * [`SelfAlignError::Generate`] if the device fails.
    pub fn sample(
        &self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<SelfAlignReport, SelfAlignError> {
        self.config.validate()?;
        recovering(self.model, on_event, |again, on_event| {
            SelfAlign { resume: self.resume || again, ..self.clone() }.attempt(control, on_event)
        })
    }

    fn attempt(
        &self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<SelfAlignReport, SelfAlignError> {
        let (model, config) = (self.model, &self.config);
        let (rules, exemplars) = (self.rules, self.exemplars);
        let prompts: Vec<Prompt> = self.prompts.iter().cloned().collect();
        if prompts.is_empty() {
            let reason = format!("{} has no prompts", self.prompts.path().display());
            return Err(SelfAlignError::Nothing { reason });
        }
        model.check_tokenizer()?;
        let tokenizer = model.tokenizer().ok_or(SelfAlignError::NoTokenizer)?;
        let beside = config.prompt_tokens + config.sampling.max_tokens;
        let capacity = model.config().context.saturating_sub(beside);
        let prompt = InContext::fit(tokenizer, rules, exemplars, config.wanted(), capacity)?;
        let texts = [&rules.sha256, &exemplars.sha256].map(String::as_str).join("\n");
        let made_of = [config.answers_hash(), texts, base_sha256(model)?];
        let end_of_text = || tokenizer.eos().into_iter().collect();
        let asking = Asking {
            tokenizer,
            prompt: &prompt,
            filter: Filter::new(&prompt, config.filter),
            stop_ids: model.chat_format().map_or_else(end_of_text, |chat| chat.end_of_turn().to_vec()),
            run: short_hash(&made_of.join("\n")),
        };
        output::claim_folder(&self.out).map_err(SelfAlignError::io("write to", &self.out))?;
        let (mut log, mut samples) = self.records(&prompts, &asking.run)?;
        self.write("self-align.toml", settings_file(&config.to_toml()).as_bytes())?;

        on_event(Event::Planned(&RunPlan::untrained(prompts.len(), prompt.summary(samples.len()))));
        let kept =
            |samples: &[SelfAlignSample]| samples.iter().filter(|sample| sample.reply.is_some()).count();
        let begun = Instant::now();
        let count = Count::new(Items::Prompts, samples.len(), prompts.len());
        let mut count = Count { kept: kept(&samples), ..count };
        let mut generator = None;
        for (chunk, first) in prompts.chunks(config.chunk).zip((0..).step_by(config.chunk)) {
            if first + chunk.len() <= samples.len() {
                continue;
            }
            let generator = match &mut generator {
                Some(generator) => generator,
                empty => empty.insert(self.generator(prompt.prefix().len() + beside, prompts.len())?),
            };
            control.wait(count.done as u64);
            let answered = self.chunk(generator, &asking, chunk, &control.cancel, &mut || {
                count.tokens += 1;
                count.seconds = begun.elapsed().as_secs_f64();
                on_event(Event::Counted(count));
            })?;
            // A killed run may have written some of these samples. They are identical, so they are skipped.
            let written = samples.len() - first;
            for sample in answered.into_iter().skip(written) {
                log.append(&sample)?;
                samples.push(sample);
            }
            (count.done, count.kept) = (samples.len(), kept(&samples));
            on_event(Event::Counted(count));
        }
        let report = SelfAlignReport::new(&prompt, &samples);
        self.write(Self::ROWS, rows(&samples).as_bytes())?;
        self.write(Self::REPORT, &serde_json::to_vec_pretty(&report).expect("counts are plain values"))?;
        Ok(report)
    }

    /// Trains an adapter on the rows that [`SelfAlign::sample`] wrote. With the adapter, the model answers
    /// without rules and exemplars as the base did with them. Reports events to `on_event`, and returns the
    /// folder of the adapter, which is `adapter` in the run's folder. A run that was stopped resumes.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Cancelled`](crate::train::TrainError::Cancelled) in [`SelfAlignError::Train`] after a
    ///   cancel. The state is saved, and another call resumes the run;
    /// * [`SelfAlignError::Nothing`] if there are no rows;
    /// * [`SelfAlignError::Train`] with the errors of [`Sft::run`].
    pub fn distill(
        &self,
        control: &Control,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, SelfAlignError> {
        let data = self.out.join(Self::ROWS);
        if std::fs::metadata(&data).is_ok_and(|file| file.len() == 0) {
            let reason = "no answer passed the filters, so there is nothing to train on; report.json counts \
                          the reasons; give more prompts, more tokens, or a larger model";
            return Err(SelfAlignError::Nothing { reason: reason.to_owned() });
        }
        let sft = Sft::new(self.model, data, &self.out).config(&self.config.distill).resume(true);
        Ok(sft.run(control, on_event)?)
    }

    /// Opens the file of records, and returns it with its records. They must answer the first prompts in
    /// order, and belong to `run`.
    fn records(
        &self,
        prompts: &[Prompt],
        run: &str,
    ) -> Result<(RecordLog<SelfAlignSample>, Vec<SelfAlignSample>), SelfAlignError> {
        let path = self.out.join(Self::RECORDS);
        let (log, samples) = RecordLog::<SelfAlignSample>::open(&path)?;
        if !self.resume && !samples.is_empty() {
            return Err(SelfAlignError::Occupied { folder: self.out.clone(), prompts: samples.len() });
        }
        for (place, sample) in samples.iter().enumerate() {
            let what = if sample.run != run {
                "the settings, rules, exemplars or base"
            } else if prompts.get(place) != Some(&sample.prompt) {
                "the prompt"
            } else {
                continue;
            };
            return Err(SelfAlignError::OtherRun { path, line: place + 1, what });
        }
        Ok((log, samples))
    }

    fn generator(&self, context: usize, prompts: usize) -> Result<Generator, SelfAlignError> {
        let slots = self.config.batch.min(self.config.chunk).min(prompts);
        Ok(Generator::new(self.model, GeneratorOptions { slots, context, ..GeneratorOptions::default() })?)
    }

    /// The samples of a chunk of prompts. After a cancel the error is [`GenerateError::Cancelled`].
    fn chunk(
        &self,
        generator: &mut Generator,
        asking: &Asking<'_>,
        prompts: &[Prompt],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(),
    ) -> Result<Vec<SelfAlignSample>, SelfAlignError> {
        let Asking { tokenizer, prompt, filter, stop_ids, run } = asking;
        let sampling = &self.config.sampling;
        // With an empty cache, a resumed run computes the same as an uninterrupted one.
        generator.clear();
        let mut requests = Vec::with_capacity(prompts.len());
        let mut places = Vec::with_capacity(prompts.len());
        for one in prompts {
            let ids = prompt.encode(tokenizer, &one.text)?;
            let fits = ids.len() - prompt.prefix().len() <= self.config.prompt_tokens;
            places.push(fits.then_some(requests.len()));
            if fits {
                requests.push(Request {
                    prompt: ids,
                    sampling: sampling.sampling(seed(self.config.seed, &one.id)),
                    max_tokens: sampling.max_tokens,
                    stop_ids: stop_ids.as_slice().into(),
                    stop: InContext::stops(),
                    ..Request::default()
                });
            }
        }
        let replies = generator.generate(&requests, cancel, &mut |_| on_token())?;
        if replies.iter().any(|reply| reply.finish == Finish::Cancelled) {
            return Err(GenerateError::Cancelled.into());
        }
        let sample = |(one, place): (&Prompt, Option<usize>)| {
            let (text, finished, filtered) = match place.map(|place| &replies[place]) {
                Some(reply) => {
                    let finished = matches!(reply.finish, Finish::EndOfTurn | Finish::Stop(_));
                    (reply.text.clone(), finished, filter.apply(&one.text, &reply.text, finished))
                }
                None => {
                    let answer = Err(Reason::LongPrompt);
                    (String::new(), false, Filtered { thoughts: None, answer, shortened: false })
                }
            };
            let Filtered { thoughts, answer, shortened } = filtered;
            let dropped = answer.as_ref().err().copied();
            let (prompt, run) = (one.clone(), run.clone());
            let seed = seed(self.config.seed, &one.id);
            SelfAlignSample {
                prompt,
                seed,
                text,
                finished,
                thoughts,
                reply: answer.ok(),
                shortened,
                dropped,
                run,
            }
        };
        Ok(prompts.iter().zip(places).map(sample).collect())
    }

    /// Writes a file to the folder, atomically.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SelfAlignError> {
        let path = self.out.join(name);
        atomic::write(&path, |file| file.write_all(bytes)).map_err(SelfAlignError::io("write", &path))
    }
}

/// Seed of the answer to the prompt with this id. It does not depend on the prompt's place in the file.
fn seed(seed: u64, id: &str) -> u64 {
    let [index, step, ..] = name_words(id);
    let [high, low, ..] = Philox::new(seed).block(Purpose::SelfAlign, step, index, 0);
    u64::from(high) << 32 | u64::from(low)
}

/// The first 64 bits of the SHA-256 of a text, in hexadecimal.
fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

/// The kept answers, as conversations of one turn.
fn rows(samples: &[SelfAlignSample]) -> String {
    let mut rows = String::new();
    for sample in samples {
        let Some(reply) = &sample.reply else { continue };
        let messages = json!({ "messages": [
            { "role": "user", "content": sample.prompt.text },
            { "role": "assistant", "content": reply },
        ]});
        rows.push_str(&format!("{messages}\n"));
    }
    rows
}
