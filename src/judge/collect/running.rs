//! A run of [`super::PreferenceRun`]: chunks of prompts, one after the other.

use std::time::Instant;

use super::{PreferenceReport, PreferenceRun, PromptWork};
use crate::generate::{CancelToken, Finish, GenerateError, Generator, Reply as Generated, Request};
use crate::judge::plan::{PlannedEdit, PlannedPair};
use crate::judge::{Judge, JudgeError, Question, Verdicts};
use crate::preferences::{Comparison, Prompt, RecordLog, SampledReply, Under, Verdict};
use crate::train::{Count, Event};
/// The state of a run.
pub(super) struct Running<'a, 'b> {
    pub run: &'b PreferenceRun<'a>,
    pub name: String,
    pub generator: Generator,
    pub judge: Box<dyn Judge + 'a>,
    pub log: RecordLog<Comparison>,
    pub report: PreferenceReport,
    pub count: Count<'static>,
    pub begun: Instant,
}

/// A pair of replies that can be compared.
pub(super) struct SampledPair<'a> {
    pub prompt: &'a Prompt,
    pub pair: &'a PlannedPair,
    pub replies: [SampledReply; 2],
}

impl Running<'_, '_> {
    pub fn is_done(&self, work: &[PromptWork<'_>]) -> bool {
        work.iter().flat_map(|work| &work.plan.pairs).all(|pair| self.log.contains(&pair.id))
    }

    /// Counts the pairs that earlier runs did.
    pub fn skip(&mut self, work: &[PromptWork<'_>]) {
        for pair in work.iter().flat_map(|work| &work.plan.pairs) {
            self.count.done += 1;
            self.report.dropped_earlier += usize::from(!self.log.contains(&pair.id));
        }
    }

    /// Generates the replies to some prompts, judges them and records the verdicts.
    pub fn chunk(
        &mut self,
        work: &[PromptWork<'_>],
        cancel: &CancelToken,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), JudgeError> {
        let requests: Vec<Request> = work.iter().flat_map(|work| work.requests.iter().cloned()).collect();
        // An earlier chunk's cache would save little, and this chunk's replies would depend on it.
        self.generator.clear();
        let (count, begun) = (&mut self.count, self.begun);
        let generated = self.generator.generate(&requests, cancel, &mut |_| {
            count.tokens += 1;
            count.seconds = begun.elapsed().as_secs_f64();
            on_event(Event::Counted(*count));
        })?;
        if generated.iter().any(|reply| reply.finish == Finish::Cancelled) {
            return Err(GenerateError::Cancelled.into());
        }
        self.report.tokens = self.count.tokens;
        self.report.replies += generated.len();
        self.report.cut += generated.iter().filter(|reply| reply.finish == Finish::Length).count();
        let sampled = self.sampled(work, &generated);
        for group in sampled.chunks(self.group()) {
            if !group.iter().all(|one| self.log.contains(&one.pair.id)) {
                for comparison in self.judged(group, cancel)? {
                    if !self.log.contains(&comparison.id) {
                        self.log.append(&comparison)?;
                    }
                }
            }
            self.count.done += group.len();
            self.count.seconds = self.begun.elapsed().as_secs_f64();
            on_event(Event::Counted(self.count));
        }
        Ok(())
    }

    /// Returns the pairs of `work` that can be compared, and counts the other pairs.
    fn sampled<'c>(&mut self, work: &'c [PromptWork<'_>], generated: &[Generated]) -> Vec<SampledPair<'c>> {
        let mut sampled = Vec::new();
        let mut rest = generated;
        for PromptWork { prompt, plan, .. } in work {
            let (own, others) = rest.split_at(plan.replies.len());
            rest = others;
            for pair in &plan.pairs {
                let reply = |at: usize| {
                    let planned = &plan.replies[at];
                    SampledReply { text: text_of(&own[at]), seed: planned.seed, under: planned.under.clone() }
                };
                let mut replies = pair.replies.map(reply);
                if let Some(edit) = pair.edit.as_ref().filter(|_| !replies[0].text.is_empty()) {
                    let Some(edited) = self.edited(edit, &replies[0]) else {
                        self.report.not_edited += 1;
                        self.count.done += 1;
                        continue;
                    };
                    replies = edited;
                }
                match &replies {
                    [a, b] if a.text.is_empty() || b.text.is_empty() => self.report.empty += 1,
                    [a, b] if a.text == b.text => self.report.identical += 1,
                    _ => {
                        sampled.push(SampledPair { prompt, pair, replies });
                        continue;
                    }
                }
                self.count.done += 1;
            }
        }
        sampled
    }

    /// The two versions of `reply`, in the order of the pair.
    fn edited(&self, edit: &PlannedEdit, reply: &SampledReply) -> Option<[SampledReply; 2]> {
        let PlannedEdit { principle, pick, decoy, swapped } = edit;
        let check = self.run.principles.principle(principle).ok()?.check?;
        let versions = check.edit(&reply.text, *pick)?;
        let with_decoy = decoy.and_then(|first| {
            let principles = &self.run.principles.principles;
            let (before, after) = principles.split_at(first as usize % principles.len());
            let others = after.iter().chain(before).filter_map(|other| other.check);
            let mut decoys = others.filter(|other| *other != check);
            decoys.find_map(|decoy| check.with_decoy(&versions, *pick, decoy))
        });
        let [kept, broken] = with_decoy.unwrap_or(versions);
        let version = |text, negated| SampledReply {
            text,
            seed: reply.seed,
            under: Some(Under { principle: principle.clone(), negated }),
        };
        let [kept, broken] = [version(kept, false), version(broken, true)];
        Some(if *swapped { [broken, kept] } else { [kept, broken] })
    }

    /// Number of pairs that are judged in one call: enough to fill the slots once.
    fn group(&self) -> usize {
        let principles = match self.run.config.verdicts {
            Verdicts::All => self.run.principles.principles.len(),
            Verdicts::Own => 1,
        };
        (self.run.config.batch.slots / (principles * self.judge.inputs_per_principle()).max(1)).max(1)
    }

    fn judged(
        &mut self,
        pairs: &[SampledPair<'_>],
        cancel: &CancelToken,
    ) -> Result<Vec<Comparison>, JudgeError> {
        let questions: Vec<Question<'_>> = pairs
            .iter()
            .map(|one| Question {
                prompt: &one.prompt.text,
                replies: one.replies.each_ref().map(|reply| reply.text.as_str()),
                principles: self.run.principles_of(one),
            })
            .collect();
        let scores = self.judge.judge(&questions, cancel)?;
        let compared = pairs.iter().zip(&questions).zip(scores);
        Ok(compared
            .map(|((one, question), scores)| Comparison {
                id: one.pair.id.clone(),
                prompt: one.prompt.clone(),
                replies: one.replies.clone(),
                judge: self.judge.name().to_owned(),
                model: self.name.clone(),
                seed: self.run.config.seed,
                verdicts: question
                    .principles
                    .iter()
                    .zip(scores)
                    .filter_map(|(principle, scores)| Some(Verdict::new(principle, scores?)))
                    .collect(),
            })
            .collect())
    }
}

/// The text of a reply, without blanks around it and without an incomplete character at its end.
fn text_of(reply: &Generated) -> String {
    let text = match reply.finish {
        Finish::EndOfTurn => reply.text.as_str(),
        _ => reply.text.trim_end_matches('\u{FFFD}'),
    };
    text.trim().to_owned()
}
