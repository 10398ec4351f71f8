//! Requests in progress: they wait, run in a slot, and end, each at its own time.
//!
//! Requests may be added between any two steps. A step computes a part of the prompts, or draws one or a few tokens of
//! every sequence, or both. [`Generator::generate`] and the [`Scheduler`](super::Scheduler) take the same steps.

use std::collections::VecDeque;
use std::time::Instant;

use super::batch::{Segment, pack};
use super::error::GenerateError;
use super::generator::Generator;
use super::request::{Finish, Reply, Request, TokenEvent};
use super::sequence::{Sequence, Stage};
use super::slots::{ahead, choose, donor};
use crate::gpu::Recording;
use crate::model::{BatchShape, record_layers, record_logits};
use crate::ops::{Drawn, QueryTile};
use crate::tokenizer::TokenId;

/// Number of a request in its generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// A request without a slot.
#[derive(Debug)]
pub(super) struct Waiting {
    pub ticket: Ticket,
    /// Index of the request for its caller, for errors.
    pub index: usize,
    pub request: Request,
    pub cancelled: bool,
}

/// What a step has to report.
#[derive(Debug)]
pub(super) enum Progress {
    /// A token was drawn.
    Token(Ticket, TokenEvent),
    /// A request has ended.
    Ended { ticket: Ticket, index: usize, reply: Reply },
}

/// The order of prompts and replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pacing {
    /// All prompts first, then all replies together. This takes the least time in all.
    Together,
    /// A part of the prompts in every step, so that a new long prompt does not stop the running replies.
    Interleaved,
}

/// The requests of a generator.
#[derive(Debug, Default)]
pub(super) struct Running {
    next: u64,
    waiting: VecDeque<Waiting>,
    sequences: Vec<Sequence>,
    burst: Option<Burst>,
}

/// A recorded run of decoding steps. It can be submitted again while the same sequences run.
#[derive(Debug)]
struct Burst {
    rec: Recording,
    tickets: Vec<Ticket>,
    steps: usize,
    reach: usize,
}

impl Generator {
    /// Adds a request to those that wait for a slot. Its prompt, adapter and settings must have been checked.
    pub(super) fn submit(&mut self, index: usize, request: Request) -> Ticket {
        let ticket = Ticket(self.running.next);
        self.running.next += 1;
        self.running.waiting.push_back(Waiting { ticket, index, request, cancelled: false });
        ticket
    }

    /// Number of slots that no request uses or waits for.
    pub(super) fn free_slots(&self) -> usize {
        let Running { waiting, sequences, .. } = &self.running;
        self.slots.len().saturating_sub(waiting.len() + sequences.len())
    }

    /// Ends the requests for which `which` is true. The next step reports them with their text so far.
    pub(super) fn cancel(&mut self, which: impl Fn(Ticket) -> bool) {
        let running = &mut self.running;
        for sequence in running.sequences.iter_mut().filter(|sequence| which(sequence.ticket)) {
            sequence.cancel();
        }
        for waiting in running.waiting.iter_mut().filter(|waiting| which(waiting.ticket)) {
            waiting.cancelled = true;
        }
    }

    /// Drops all requests, and what the cache holds.
    pub(super) fn reset(&mut self) {
        self.running = Running { next: self.running.next, ..Running::default() };
        self.clear();
    }

    /// Takes one step with all requests, and reports tokens and ends. Returns whether any request is left.
    ///
    /// After an error, call [`Generator::reset`].
    pub(super) fn step(
        &mut self,
        pacing: Pacing,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, GenerateError> {
        let mut sequences = std::mem::take(&mut self.running.sequences);
        self.admit(&mut sequences, on_progress);
        self.end(&mut sequences, on_progress);
        let decodes = sequences.iter().any(|sequence| sequence.stage == Stage::Decode);
        let interleaves = pacing == Pacing::Interleaved && decodes;
        let rows = if interleaves { self.model.device().tuning().chunk_tokens } else { self.rows };
        let begun = Instant::now();
        let prefilled = self.prefill(&mut sequences, rows.min(self.rows), on_progress)?;
        if prefilled {
            self.pace.prefill_seconds += begun.elapsed().as_secs_f64();
            self.end(&mut sequences, on_progress);
        }
        if !prefilled || interleaves {
            let begun = Instant::now();
            self.decode(&mut sequences, on_progress)?;
            self.pace.decode_seconds += begun.elapsed().as_secs_f64();
            self.end(&mut sequences, on_progress);
        }
        self.running.sequences = sequences;
        Ok(!self.running.sequences.is_empty() || !self.running.waiting.is_empty())
    }

    /// Gives free slots to waiting requests, in order.
    fn admit(&mut self, sequences: &mut Vec<Sequence>, on_progress: &mut dyn FnMut(Progress)) {
        self.running.waiting.retain(|waiting| {
            if waiting.cancelled {
                let Waiting { ticket, index, ref request, .. } = *waiting;
                on_progress(Progress::Ended { ticket, index, reply: Reply::never_run(request) });
            }
            !waiting.cancelled
        });
        while let Some(first) = self.running.waiting.front() {
            let Some(slot) = choose(&self.slots, &first.request.prompt, first.request.adapter) else {
                return;
            };
            self.slots[slot].admit(&first.request.prompt, first.request.adapter);
            let waiting = self.running.waiting.pop_front().expect("the front");
            sequences.push(Sequence::new(waiting, slot, self.context(), &self.model));
        }
    }

    /// Reports sequences that have ended, and frees their slots.
    fn end(&mut self, sequences: &mut Vec<Sequence>, on_progress: &mut dyn FnMut(Progress)) {
        sequences.retain_mut(|sequence| {
            // A request for no tokens still computes its prompt, for later requests.
            let ended = sequence.is_cancelled() || sequence.is_finished() && sequence.stage == Stage::Decode;
            if ended {
                self.slots[sequence.slot].busy = false;
                let Sequence { ticket, index, .. } = *sequence;
                on_progress(Progress::Ended { ticket, index, reply: sequence.take_reply() });
            }
            !ended
        });
    }

    /// Computes up to `rows` tokens of prompts, and draws the first token of each prompt that is complete. Returns
    /// false if there are no prompts to compute.
    fn prefill(
        &mut self,
        sequences: &mut [Sequence],
        rows: usize,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, GenerateError> {
        self.start(sequences)?;
        let wave: Vec<usize> =
            (0..sequences.len()).filter(|&index| sequences[index].stage == Stage::Prefill).collect();
        let segments: Vec<Segment<'_>> = wave
            .iter()
            .map(|&index| {
                let sequence = &sequences[index];
                let (slot, adapter, start) =
                    (sequence.slot, sequence.adapter(), self.slots[sequence.slot].tokens.len());
                let base = self.cache.base(slot);
                Segment { slot, adapter, base, start, tokens: &sequence.prompt()[start..] }
            })
            .collect();
        let Some(pass) = pack(&segments, rows, self.logit_rows).into_iter().next() else { return Ok(false) };
        let mut rec = self.record_pass(&pass, &segments)?;
        let ending: Vec<usize> = pass.ends.iter().map(|&(segment, _)| wave[segment]).collect();
        if !ending.is_empty() {
            let (x, selected) = (&self.work.x, &self.work.selected);
            for (row, &(_, from)) in pass.ends.iter().enumerate() {
                rec.copy(&x.buffer, from * x.stride, &selected.buffer, row * x.stride, x.stride);
            }
            record_logits(&mut rec, &self.model, &self.work, selected, ending.len())?;
        }
        for piece in &pass.pieces {
            let Segment { slot, tokens, .. } = segments[piece.segment];
            self.slots[slot].tokens.extend_from_slice(&tokens[piece.place..piece.place + piece.rows]);
        }
        if ending.is_empty() {
            rec.submit()?;
            return Ok(true);
        }
        // Segments end in their order.
        let mut ended = ending.iter().peekable();
        let mut rows: Vec<&mut Sequence> = sequences
            .iter_mut()
            .enumerate()
            .filter_map(|(index, sequence)| ended.next_if_eq(&&index).map(|_| sequence))
            .collect();
        self.draws.load(&rows.iter().map(|sequence| &**sequence).collect::<Vec<_>>())?;
        let drawn = self.draw(rec, &mut rows)?;
        for (sequence, drawn) in rows.into_iter().zip(&drawn) {
            sequence.stage = Stage::Decode;
            self.push(sequence, drawn, on_progress)?;
        }
        Ok(true)
    }

    /// Copies prefixes that are in the cache, and lets prompts start. A prompt whose beginning is being computed for
    /// an earlier sequence waits for it.
    fn start(&mut self, sequences: &mut [Sequence]) -> Result<(), GenerateError> {
        let mut copies = Recording::new(self.model.device());
        for index in 0..sequences.len() {
            let (earlier, rest) = sequences.split_at_mut(index);
            let sequence = &mut rest[0];
            if sequence.stage != Stage::Admitted {
                continue;
            }
            let (prompt, adapter, slot) = (sequence.prompt(), sequence.adapter(), sequence.slot);
            let (reused, from) = donor(&self.slots, slot, prompt, adapter);
            let computing = earlier
                .iter()
                .filter(|other| other.stage != Stage::Decode && other.adapter() == adapter)
                .map(Sequence::prompt);
            if ahead(computing, prompt, reused) {
                continue;
            }
            if let Some(from) = from {
                self.cache.copy_prefix(&mut copies, from, slot, reused)?;
                self.slots[slot].tokens = prompt[..reused].to_vec();
            }
            sequence.reused = reused;
            sequence.stage = Stage::Prefill;
        }
        Ok(copies.submit()?)
    }

    /// Draws the next tokens of all sequences whose prompts are computed, a few steps in one submit.
    fn decode(
        &mut self,
        sequences: &mut [Sequence],
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<(), GenerateError> {
        let mut running: Vec<&mut Sequence> =
            sequences.iter_mut().filter(|sequence| sequence.stage == Stage::Decode).collect();
        if running.is_empty() {
            return Ok(());
        }
        let rows = running.len();
        let furthest = running.iter().map(|sequence| sequence.position()).max().unwrap_or(0);
        let tickets: Vec<Ticket> = running.iter().map(|sequence| sequence.ticket).collect();
        if running.iter().any(|sequence| sequence.needs_logits()) {
            return self.decode_one(&mut running, on_progress);
        }
        // Beyond the end of the context, the kernels clamp the rows of a finished sequence, and its tokens are
        // dropped here.
        let steps = self.model.device().tuning().decode_steps.min(self.context() - furthest + 1).max(1);
        let known = self
            .running
            .burst
            .take()
            .filter(|burst| burst.tickets == tickets && burst.steps == steps && furthest <= burst.reach);
        // Positions and tokens advance on the device. They are uploaded only if other work came between.
        let mut burst = match known {
            Some(burst) if self.decoded.get() => burst,
            Some(burst) => {
                self.load_decode(&running, burst.reach)?;
                burst
            }
            None => {
                let reach = self.context().min(furthest + 64);
                let shape = self.load_decode(&running, reach)?;
                let mut rec = Recording::new(self.model.device());
                for step in 0..steps {
                    record_layers(&mut rec, &self.model, &self.cache, &self.work, self.bank.as_ref(), shape)?;
                    record_logits(&mut rec, &self.model, &self.work, &self.work.x, rows)?;
                    self.draws.record(&mut rec, &self.work, step, rows)?;
                }
                Burst { rec, tickets, steps, reach }
            }
        };
        let fed: Vec<TokenId> = running.iter().map(|sequence| sequence.last_token()).collect();
        burst.rec.submit()?;
        self.decoded.set(true);
        let drawn = self.draws.read(steps * rows)?;
        for (row, sequence) in running.iter_mut().enumerate() {
            let mut fed = fed[row];
            for step in 0..steps {
                if sequence.is_finished() {
                    break;
                }
                self.slots[sequence.slot].tokens.push(fed);
                let drawn = &drawn[step * rows + row];
                fed = drawn.token;
                self.pace.decode_tokens += 1;
                self.push(sequence, drawn, on_progress)?;
            }
        }
        self.running.burst = Some(burst);
        Ok(())
    }

    /// Draws the next token of each of `running`, of which some need their logits on the CPU.
    fn decode_one(
        &mut self,
        running: &mut [&mut Sequence],
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<(), GenerateError> {
        let furthest = running.iter().map(|sequence| sequence.position()).max().unwrap_or(0);
        let shape = self.load_decode(running, self.context().min(furthest))?;
        let mut rec = Recording::new(self.model.device());
        record_layers(&mut rec, &self.model, &self.cache, &self.work, self.bank.as_ref(), shape)?;
        record_logits(&mut rec, &self.model, &self.work, &self.work.x, running.len())?;
        let fed: Vec<TokenId> = running.iter().map(|sequence| sequence.last_token()).collect();
        let drawn = self.draw(rec, running)?;
        self.decoded.set(false);
        for ((sequence, fed), drawn) in running.iter_mut().zip(fed).zip(&drawn) {
            self.slots[sequence.slot].tokens.push(fed);
            self.pace.decode_tokens += 1;
            self.push(sequence, drawn, on_progress)?;
        }
        Ok(())
    }

    /// Submits `rec`, which computes a row of logits for each of `rows`, and draws a token from each row. Settings and
    /// recent tokens are uploaded.
    fn draw(&mut self, mut rec: Recording, rows: &mut [&mut Sequence]) -> Result<Vec<Drawn>, GenerateError> {
        let device = self.model.device().clone();
        if rows.iter().any(|sequence| sequence.needs_logits()) {
            rec.submit()?;
            let logits = &self.work.logits;
            for (row, sequence) in rows.iter_mut().enumerate().filter(|(_, sequence)| sequence.needs_logits())
            {
                let at = row * logits.stride;
                match sequence.change(device.read(&logits.buffer, at, logits.width)?) {
                    Ok(Some(changed)) => device.write(&logits.buffer, at, &changed)?,
                    Ok(None) => {}
                    Err(error) => {
                        self.failed = Some(sequence.ticket);
                        return Err(error);
                    }
                }
            }
            rec = Recording::new(&device);
        }
        self.draws.record(&mut rec, &self.work, 0, rows.len())?;
        rec.submit()?;
        Ok(self.draws.read(rows.len())?)
    }

    /// Uploads the last tokens of `running`, their positions, settings and adapters.
    fn load_decode(&self, running: &[&mut Sequence], reach: usize) -> Result<BatchShape, GenerateError> {
        let device = self.model.device();
        let rows = running.len();
        let ids: Vec<u32> = running.iter().map(|sequence| sequence.last_token()).collect();
        let rows_at: Vec<[u32; 2]> = running
            .iter()
            .map(|sequence| [self.cache.base(sequence.slot), sequence.position() as u32 - 1])
            .collect();
        device.write(&self.work.ids, 0, &ids)?;
        device.write(&self.work.rows_at, 0, &rows_at)?;
        device.write(&self.work.tiles, 0, &QueryTile::cut(&vec![1; rows]))?;
        self.draws.load(&running.iter().map(|sequence| &**sequence).collect::<Vec<_>>())?;
        let mut shape = BatchShape { rows, tiles: rows, tile_rows: 1, reach, ..BatchShape::default() };
        self.load_adapters(&mut shape, running.iter().map(|sequence| (sequence.adapter(), 1)))?;
        Ok(shape)
    }

    /// Adds a drawn token to its sequence, and reports it.
    fn push(
        &mut self,
        sequence: &mut Sequence,
        drawn: &Drawn,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<(), GenerateError> {
        let pushed = self.check_drawn(drawn, sequence).and_then(|()| sequence.push(drawn, &self.model));
        if pushed.is_err() {
            self.failed = Some(sequence.ticket);
        }
        if let Some(event) = pushed? {
            on_progress(Progress::Token(sequence.ticket, event));
        }
        Ok(())
    }
}

impl Reply {
    /// The reply to a request that was cancelled before it had a slot.
    pub(super) fn never_run(request: &Request) -> Reply {
        Reply {
            tokens: Vec::new(),
            logprobs: Vec::new(),
            sampling_logprobs: Vec::new(),
            top_logprobs: Vec::new(),
            text: String::new(),
            finish: Finish::Cancelled,
            prompt_tokens: request.prompt.len(),
            reused_tokens: 0,
        }
    }
}
