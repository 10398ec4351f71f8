//! The run: prompts in, records and rows out, and in the end an adapter.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::filter::{Filter, Filtered, Reason};
use super::prompt::InContext;
use super::record::{SelfAlignReport, SelfAlignSample};
use super::{SelfAlignConfig, SelfAlignError};
use crate::atomic;
use crate::file::AtFile;
use crate::file::hex;
use crate::generate::{CancelToken, Finish, Generator, GeneratorOptions, Request};
use crate::model::Model;
use crate::preferences::{Prompt, Prompts, RecordLog, name_words};
use crate::principles::{Exemplars, PrincipleSet};
use crate::random::{Philox, Purpose};
use crate::settings::Settings;
use crate::tokenizer::{TokenId, Tokenizer};
use crate::train::{Control, Progress, Prospect, Sft, base_sha256};

/// A run of self-alignment.
#[derive(Clone, Copy, Debug)]
pub struct SelfAlign<'a> {
    /// The base, which stays as it is.
    pub model: &'a Model,
    /// The prompts that the model answers.
    pub prompts: &'a Prompts,
    /// The rules that [`SelfAlignConfig::rules`] names.
    pub rules: &'a PrincipleSet,
    /// The exemplars that [`SelfAlignConfig::exemplars`] names.
    pub exemplars: &'a Exemplars,
    /// Where everything goes: records, rows, the report, and the adapter.
    pub out: &'a Path,
    /// The settings.
    pub config: &'a SelfAlignConfig,
    /// Whether to go on with what is in `out`, if there is something.
    pub resume: bool,
}

/// What a run is about to do, before its first token.
#[derive(Clone, Debug)]
pub struct SelfAlignProspect {
    /// Prompts in all.
    pub prompts: usize,
    /// Of those, how many were answered earlier.
    pub answered: usize,
    /// The beginning of what the model reads.
    pub prompt: InContext,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelfAlignProgress {
    /// Prompts that are done and recorded.
    pub done: usize,
    /// Prompts in all.
    pub prompts: usize,
    /// Answers among them that were kept.
    pub kept: usize,
    /// Tokens drawn by this process so far.
    pub tokens: usize,
}

/// What a run asks with.
struct Asking<'a> {
    tokenizer: &'a Tokenizer,
    prompt: &'a InContext,
    filter: Filter,
    stop_ids: Vec<TokenId>,
    run: String,
}

impl SelfAlign<'_> {
    /// The file of records, one for each prompt, in the order of the prompts.
    pub const RECORDS: &'static str = "samples.jsonl";
    /// The file of rows to learn from: conversations without rules and exemplars.
    pub const ROWS: &'static str = "rows.jsonl";
    /// The file of the report.
    pub const REPORT: &'static str = "report.json";

    /// Asks the model, filters what it answers, and writes the rows. `announce` hears once what is ahead,
    /// `progress` of every token. After a cancel nothing is returned, and another call with
    /// [`SelfAlign::resume`] goes on; its files are the same, byte for byte, as those of a run that was left
    /// alone.
    ///
    /// # Errors
    ///
    /// * [`SelfAlignError::Settings`], [`SelfAlignError::Rules`] or [`SelfAlignError::NoRoom`] before anything
    ///   is written;
    /// * [`SelfAlignError::NoTokenizer`] if the model has none;
    /// * [`SelfAlignError::Occupied`] if `out` has records and they are not to be resumed;
    /// * [`SelfAlignError::OtherRun`] if they are of other settings, prompts, rules, exemplars or base;
    /// * [`SelfAlignError::Nothing`] without prompts;
    /// * [`SelfAlignError::Preferences`] if records cannot be read or written;
    /// * [`SelfAlignError::Generate`] if the device fails.
    pub fn sample(
        &self,
        cancel: &CancelToken,
        announce: &mut dyn FnMut(&SelfAlignProspect),
        progress: &mut dyn FnMut(SelfAlignProgress),
    ) -> Result<Option<SelfAlignReport>, SelfAlignError> {
        let SelfAlign { model, config, rules, exemplars, .. } = *self;
        config.validate()?;
        let prompts: Vec<Prompt> = self.prompts.iter().cloned().collect();
        if prompts.is_empty() {
            let reason = format!("{} has no prompts", self.prompts.path().display());
            return Err(SelfAlignError::Nothing { reason });
        }
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
        std::fs::create_dir_all(self.out).map_err(SelfAlignError::io("create", self.out))?;
        let (mut log, mut samples) = self.records(&prompts, &asking.run)?;
        self.write("self-align.toml", config.to_toml().as_bytes())?;

        announce(&SelfAlignProspect {
            prompts: prompts.len(),
            answered: samples.len(),
            prompt: prompt.clone(),
        });
        let kept =
            |samples: &[SelfAlignSample]| samples.iter().filter(|sample| sample.reply.is_some()).count();
        let mut state = SelfAlignProgress {
            done: samples.len(),
            prompts: prompts.len(),
            kept: kept(&samples),
            tokens: 0,
        };
        let mut generator = None;
        for (chunk, first) in prompts.chunks(config.chunk).zip((0..).step_by(config.chunk)) {
            if first + chunk.len() <= samples.len() {
                continue;
            }
            let generator = match &mut generator {
                Some(generator) => generator,
                empty => empty.insert(self.generator(prompt.prefix().len() + beside, prompts.len())?),
            };
            let answered = self.chunk(generator, &asking, chunk, cancel, &mut || {
                state.tokens += 1;
                progress(state);
            })?;
            let Some(answered) = answered else { return Ok(None) };
            // Some of them may have been written before the run was killed: they are the same again.
            let written = samples.len() - first;
            for sample in answered.into_iter().skip(written) {
                log.append(&sample)?;
                samples.push(sample);
            }
            (state.done, state.kept) = (samples.len(), kept(&samples));
            progress(state);
        }
        let report = SelfAlignReport::new(&prompt, &samples);
        self.write(Self::ROWS, rows(&samples).as_bytes())?;
        self.write(Self::REPORT, &serde_json::to_vec_pretty(&report).expect("counts are plain values"))?;
        Ok(Some(report))
    }

    /// Trains an adapter on the rows that [`SelfAlign::sample`] left: the model learns to answer as it did
    /// with rules and exemplars before it, without them. A run that was stopped goes on. Where it ends well the
    /// adapter is in `out/adapter`, and that path is returned; after a cancel nothing is.
    ///
    /// # Errors
    ///
    /// * [`SelfAlignError::Nothing`] if there are no rows;
    /// * [`SelfAlignError::Train`] as [`Sft::run`] has them.
    pub fn distill(
        &self,
        control: &Control,
        announce: &mut dyn FnMut(&Prospect),
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<PathBuf>, SelfAlignError> {
        let data = self.out.join(Self::ROWS);
        if std::fs::metadata(&data).is_ok_and(|file| file.len() == 0) {
            let reason = "no answer passed the filters, so there is nothing to learn; the report says why they \
                          were dropped. Give more prompts, more tokens, or a larger model";
            return Err(SelfAlignError::Nothing { reason: reason.to_owned() });
        }
        let sft = Sft {
            model: self.model,
            data: &data,
            held_out: None,
            init: None,
            out: self.out,
            config: &self.config.distill,
            resume: true,
        };
        Ok(sft.run(control, announce, progress)?)
    }

    /// The file of records, with what is in it: answers to the first of the prompts, from the same run.
    fn records(
        &self,
        prompts: &[Prompt],
        run: &str,
    ) -> Result<(RecordLog<SelfAlignSample>, Vec<SelfAlignSample>), SelfAlignError> {
        let path = self.out.join(Self::RECORDS);
        let (log, samples) = RecordLog::<SelfAlignSample>::open(&path)?;
        if !self.resume && !samples.is_empty() {
            return Err(SelfAlignError::Occupied { folder: self.out.to_owned(), prompts: samples.len() });
        }
        for (place, sample) in samples.iter().enumerate() {
            let what = if sample.run != run {
                "settings, rules, exemplars or base"
            } else if prompts.get(place) != Some(&sample.prompt) {
                "prompt"
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

    /// What becomes of a chunk of prompts; nothing after a cancel.
    fn chunk(
        &self,
        generator: &mut Generator,
        asking: &Asking<'_>,
        prompts: &[Prompt],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(),
    ) -> Result<Option<Vec<SelfAlignSample>>, SelfAlignError> {
        let Asking { tokenizer, prompt, filter, stop_ids, run } = asking;
        let sampling = &self.config.sampling;
        // Empty, it holds what it would hold in a run that begins here.
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
            return Ok(None);
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
        Ok(Some(prompts.iter().zip(places).map(sample).collect()))
    }

    /// Writes a file of the folder, whole.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SelfAlignError> {
        let path = self.out.join(name);
        atomic::write(&path, |file| file.write_all(bytes)).map_err(SelfAlignError::io("write", &path))
    }
}

/// The seed of the answer to the prompt with this id: where it stands in its file makes no difference.
fn seed(seed: u64, id: &str) -> u64 {
    let [index, step, ..] = name_words(id);
    let [high, low, ..] = Philox::new(seed).block(Purpose::SelfAlign, step, index, 0);
    u64::from(high) << 32 | u64::from(low)
}

/// The first 64 bits of the SHA-256 of a text, in hexadecimal.
fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

/// The answers that were kept, as conversations of one turn.
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
