//! The generator: admits requests to slots, prefills and decodes.

use std::collections::VecDeque;
use std::time::Instant;

use super::batch::{Pass, Segment, pack};
use super::draws::Draws;
use super::error::GenerateError;
use super::memory;
use super::pace::Pace;
use super::request::{CancelToken, Reply, Request, TokenEvent};
use super::sequence::Sequence;
use super::slots::{Admission, Origin, Slot, admit};
use crate::gpu::Recording;
use crate::model::lora::{AdapterBank, AdapterId};
use crate::model::{BatchShape, KvCache, Model, Workspace, record_layers, record_logits};
use crate::ops::{KvFormat, QueryTile};
use crate::tokenizer::TokenId;

/// Size and format of a generator's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorOptions {
    /// Number of sequences that run at the same time.
    pub slots: usize,
    /// Positions per sequence, prompt and reply together.
    pub context: usize,
    /// Storage format of keys and values.
    pub kv: KvFormat,
    /// Number of last tokens of a sequence, including the prompt, that the repetition penalty applies to.
    pub repetition_window: usize,
}

/// Maximum number of sequences at a time.
pub(super) const MAX_SLOTS: usize = 4096;
/// Maximum number of positions of all sequences: kernels count them in 32 bits.
pub(super) const MAX_POSITIONS: usize = (1 << 31) - 1;

/// Positions per sequence, prompt and reply together, where no context is set. Longer contexts cost device memory
/// from the start.
pub const DEFAULT_CONTEXT: usize = 4096;

impl GeneratorOptions {
    /// Entries per sequence in the buffer of last tokens: no more than there can be.
    pub(super) fn window(&self) -> usize {
        self.repetition_window.min(self.context).max(1)
    }
}

impl Default for GeneratorOptions {
    /// One sequence of [`DEFAULT_CONTEXT`] positions, an f16 cache, a window of 64 tokens.
    fn default() -> Self {
        GeneratorOptions { slots: 1, context: DEFAULT_CONTEXT, kv: KvFormat::F16, repetition_window: 64 }
    }
}

/// Runs requests through one model, in one cache.
///
/// Later calls reuse the cache of earlier ones: a chat that sends its whole history each time computes
/// only the new turn.
#[derive(Debug)]
pub struct Generator {
    pub(super) model: Model,
    pub(super) cache: KvCache,
    pub(super) work: Workspace,
    pub(super) bank: Option<AdapterBank>,
    pub(super) slots: Vec<Slot>,
    pub(super) rows: usize,
    pub(super) logit_rows: usize,
    draws: Draws,
    pace: Pace,
    /// Generation of the device that holds the cache.
    generation: u32,
}

impl Generator {
    /// Allocates cache and workspace on the model's device.
    ///
    /// # Errors
    ///
    /// * [`GenerateError::NoRoom`] without slots or positions, or with more than there can be;
    /// * [`GenerateError::Device`] if the device cannot hold the cache.
    pub fn new(model: &Model, options: GeneratorOptions) -> Result<Self, GenerateError> {
        model.opening(|| Self::build(model, options, None))
    }

    /// The same with adapters: every request may use one of `bank`, and all share one forward pass.
    ///
    /// # Errors
    ///
    /// As [`Generator::new`].
    pub fn with_adapters(
        model: &Model,
        options: GeneratorOptions,
        bank: &AdapterBank,
    ) -> Result<Self, GenerateError> {
        Self::build(model, options, Some(bank.clone()))
    }

    fn build(
        model: &Model,
        options: GeneratorOptions,
        bank: Option<AdapterBank>,
    ) -> Result<Self, GenerateError> {
        let GeneratorOptions { slots, context, kv, .. } = options;
        let positions = slots.checked_mul(context);
        let fits = (1..=MAX_SLOTS).contains(&slots) && context >= 2;
        if !fits || positions.is_none_or(|positions| positions > MAX_POSITIONS) {
            return Err(GenerateError::NoRoom { slots, context });
        }
        let device = model.device();
        let tuning = device.tuning();
        let cache = KvCache::new(device, model.config(), slots, context, kv)?;
        let (rows, logit_rows) = memory::rows(tuning, &options);
        let work = Workspace::new(model, &cache, bank.as_ref(), rows, logit_rows)?;
        let draws = Draws::new(device, logit_rows, options.window())?;
        let generator = Generator {
            generation: device.generation(),
            model: model.clone(),
            cache,
            work,
            bank,
            slots: vec![Slot::default(); slots],
            rows,
            logit_rows,
            draws,
            pace: Pace::default(),
        };
        generator.create_pipelines()?;
        Ok(generator)
    }

    /// Creates the pipelines of a decoding step and of a full pass of a prompt, which every call needs. If the
    /// driver refuses a kernel, it does so here, before any work.
    fn create_pipelines(&self) -> Result<(), GenerateError> {
        let passes = [vec![1; self.slots.len().min(self.logit_rows)], vec![self.rows]];
        for lengths in passes {
            let tiles = QueryTile::cut(&lengths);
            let shape = BatchShape {
                rows: lengths.iter().sum(),
                tiles: tiles.len(),
                tile_rows: tiles.iter().map(|tile| tile.rows as usize).max().unwrap_or(1),
                reach: self.context(),
                ..BatchShape::default()
            };
            let mut rec = Recording::new(self.model.device());
            record_layers(&mut rec, &self.model, &self.cache, &self.work, self.bank.as_ref(), shape)?;
            let ends = lengths.len();
            record_logits(&mut rec, &self.model, &self.work, &self.work.selected, ends)?;
            self.draws.record(&mut rec, &self.work, 0, ends)?;
        }
        Ok(())
    }

    /// Whether the generator was lost with its device, and the app did not release that device. The device may
    /// be open again.
    pub(crate) fn is_lost(&self) -> bool {
        self.model.is_lost_since(self.generation)
    }

    /// The generator's model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Device memory of the cache, in bytes.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// Positions per sequence.
    pub fn context(&self) -> usize {
        self.cache.shape().context
    }

    /// Number of sequences that run at the same time.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Device memory in bytes that such a generator needs in addition to weights and adapters, including
    /// scoring; computed before anything is allocated.
    pub fn plan_bytes(model: &Model, options: GeneratorOptions, bank: Option<&AdapterBank>) -> u64 {
        let layout = bank.map(AdapterBank::layout);
        memory::generator_bytes(model.config(), layout, model.device().tuning(), &options)
    }

    /// Timings of the last call of [`Generator::generate`].
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Discards all cached prefixes. Also needed after an adapter's values have changed.
    pub fn clear(&mut self) {
        for slot in &mut self.slots {
            *slot = Slot::default();
        }
    }

    /// Continues every request and returns one [`Reply`] each, in order. `on_token` receives every token
    /// as it is drawn. If there are more requests than slots, requests wait for a free slot.
    ///
    /// After a cancel, every reply holds the tokens so far and ends with
    /// [`Finish::Cancelled`](super::Finish::Cancelled).
    ///
    /// # Errors
    ///
    /// * [`GenerateError::EmptyPrompt`], [`GenerateError::UnknownToken`], [`GenerateError::Setting`],
    ///   [`GenerateError::ContextOverflow`] before anything runs, naming the request;
    /// * [`GenerateError::NotFinite`] or [`GenerateError::CacheRange`] if a logit is NaN or infinite;
    /// * [`GenerateError::Device`] if the device fails. The cache is discarded after any of these.
    pub fn generate(
        &mut self,
        requests: &[Request],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<Vec<Reply>, GenerateError> {
        for (index, request) in requests.iter().enumerate() {
            self.check_prompt(index, &request.prompt, 1)?;
            self.check_adapter(index, request.adapter)?;
            request.sampling.check(index)?;
        }
        self.pace = Pace::default();
        let replies = self.run(requests, cancel, on_token);
        for slot in &mut self.slots {
            slot.busy = false;
        }
        if replies.is_err() {
            self.clear();
        }
        replies
    }

    /// Uploads the adapter of each run of `rows` consecutive rows, and counts the tiles in `shape`.
    fn load_adapters(
        &self,
        shape: &mut BatchShape,
        rows: impl IntoIterator<Item = (Option<AdapterId>, usize)>,
    ) -> Result<(), GenerateError> {
        let Some(bank) = &self.bank else { return Ok(()) };
        let runs = bank.runs(rows).map_err(|source| GenerateError::Adapter { request: 0, source })?;
        shape.load_adapters(self.model.device(), &runs, &self.work.lora_tiles)?;
        Ok(())
    }

    fn run(
        &mut self,
        requests: &[Request],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<Vec<Reply>, GenerateError> {
        let model = self.model.clone();
        let prompts: Vec<&[TokenId]> = requests.iter().map(|request| &request.prompt[..]).collect();
        let adapters: Vec<Option<AdapterId>> = requests.iter().map(|request| request.adapter).collect();
        let mut waiting: VecDeque<usize> = (0..requests.len()).collect();
        let mut running: Vec<Sequence<'_>> = Vec::new();
        let mut replies: Vec<Option<Reply>> = requests.iter().map(|_| None).collect();
        let context = self.context();
        while !waiting.is_empty() || !running.is_empty() {
            let admissions = admit(&mut self.slots, waiting.make_contiguous(), &prompts, &adapters);
            waiting.drain(..admissions.len());
            let mut started: Vec<Sequence<'_>> = admissions
                .iter()
                .map(|admission| {
                    let asked = &requests[admission.request];
                    Sequence::new(
                        admission.request,
                        admission.slot,
                        asked,
                        context,
                        admission.reused,
                        Some(&model),
                    )
                })
                .collect();
            let begun = Instant::now();
            self.prefill(&admissions, requests, &mut started, cancel, on_token)?;
            self.pace.prefill_seconds += begun.elapsed().as_secs_f64();
            running.extend(started);
            if cancel.is_cancelled() {
                running.iter_mut().for_each(Sequence::cancel);
            } else if running.iter().any(|sequence| !sequence.is_finished()) {
                running.retain_mut(|sequence| self.keep(sequence, &mut replies));
                let begun = Instant::now();
                self.decode(&mut running, cancel, on_token)?;
                self.pace.decode_seconds += begun.elapsed().as_secs_f64();
            }
            running.retain_mut(|sequence| self.keep(sequence, &mut replies));
            if cancel.is_cancelled() {
                for request in waiting.drain(..) {
                    let mut never = Sequence::new(request, 0, &requests[request], context, 0, None);
                    never.cancel();
                    replies[request] = Some(never.take_reply());
                }
            }
        }
        let replies = replies.into_iter().map(|reply| reply.expect("every request was run or cancelled"));
        Ok(replies.collect())
    }

    /// Stores the reply of a finished sequence and frees its slot; true if it is still running.
    fn keep(&mut self, sequence: &mut Sequence<'_>, replies: &mut [Option<Reply>]) -> bool {
        if !sequence.is_finished() {
            return true;
        }
        self.slots[sequence.slot].busy = false;
        replies[sequence.request] = Some(sequence.take_reply());
        false
    }

    /// Computes the prompts of `started` and draws the first token of each. Prompts that copy their
    /// prefix from another new prompt are computed in a second wave.
    fn prefill(
        &mut self,
        admissions: &[Admission],
        requests: &[Request],
        started: &mut [Sequence<'_>],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<(), GenerateError> {
        for second_wave in [false, true] {
            let wave: Vec<usize> = (0..admissions.len())
                .filter(|&index| matches!(admissions[index].origin, Origin::Admitted(_)) == second_wave)
                .collect();
            let mut copies = Recording::new(self.model.device());
            for &index in &wave {
                let donor = match admissions[index].origin {
                    Origin::Own => continue,
                    Origin::Slot(slot) => slot,
                    Origin::Admitted(earlier) => admissions[earlier].slot,
                };
                let Admission { request, slot, reused, .. } = admissions[index];
                self.cache.copy_prefix(&mut copies, donor, slot, reused)?;
                self.slots[slot].tokens = requests[request].prompt[..reused].to_vec();
            }
            copies.submit()?;
            let segments: Vec<Segment<'_>> = wave
                .iter()
                .map(|&index| {
                    let Admission { request, slot, reused, .. } = admissions[index];
                    let Request { prompt, adapter, .. } = &requests[request];
                    let (base, adapter) = (self.cache.base(slot), *adapter);
                    Segment { slot, adapter, base, start: reused, tokens: &prompt[reused..] }
                })
                .collect();
            for pass in pack(&segments, self.rows, self.logit_rows) {
                if cancel.is_cancelled() {
                    return Ok(());
                }
                let mut rec = self.record_pass(&pass, &segments)?;
                let ending: Vec<usize> = pass.ends.iter().map(|&(segment, _)| wave[segment]).collect();
                if !ending.is_empty() {
                    let hidden = self.work.x.stride;
                    for (row, &(_, from)) in pass.ends.iter().enumerate() {
                        rec.copy(
                            &self.work.x.buffer,
                            from * hidden,
                            &self.work.selected.buffer,
                            row * hidden,
                            hidden,
                        );
                    }
                    record_logits(&mut rec, &self.model, &self.work, &self.work.selected, ending.len())?;
                    let rows: Vec<&Sequence<'_>> = ending.iter().map(|&index| &started[index]).collect();
                    self.draws.load(&rows)?;
                    self.draws.record(&mut rec, &self.work, 0, ending.len())?;
                }
                rec.submit()?;
                for piece in &pass.pieces {
                    let Segment { slot, tokens, .. } = segments[piece.segment];
                    self.slots[slot].tokens.extend_from_slice(&tokens[piece.place..piece.place + piece.rows]);
                }
                let drawn = self.draws.read(ending.len())?;
                for (&index, drawn) in ending.iter().zip(&drawn) {
                    self.check_drawn(drawn, &started[index])?;
                    started[index].push(drawn).into_iter().for_each(&mut *on_token);
                }
            }
        }
        Ok(())
    }

    /// Uploads a pass and records its layers.
    pub(super) fn record_pass(
        &self,
        pass: &Pass,
        segments: &[Segment<'_>],
    ) -> Result<Recording, GenerateError> {
        let shape = self.load_pass(pass, segments)?;
        let mut rec = Recording::new(self.model.device());
        record_layers(&mut rec, &self.model, &self.cache, &self.work, self.bank.as_ref(), shape)?;
        Ok(rec)
    }

    /// Uploads a pass.
    pub(super) fn load_pass(
        &self,
        pass: &Pass,
        segments: &[Segment<'_>],
    ) -> Result<BatchShape, GenerateError> {
        let device = self.model.device();
        device.write(&self.work.ids, 0, &pass.ids)?;
        device.write(&self.work.rows_at, 0, &pass.rows_at)?;
        device.write(&self.work.tiles, 0, &pass.tiles)?;
        let mut shape = BatchShape {
            rows: pass.ids.len(),
            tiles: pass.tiles.len(),
            tile_rows: pass.tile_rows,
            reach: pass.reach,
            ..BatchShape::default()
        };
        let adapters = pass.pieces.iter().map(|piece| (segments[piece.segment].adapter, piece.rows));
        self.load_adapters(&mut shape, adapters)?;
        Ok(shape)
    }

    /// Decodes all sequences of `running`, a few steps per submit, until one ends or a cancel.
    fn decode(
        &mut self,
        running: &mut [Sequence<'_>],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<(), GenerateError> {
        let device = self.model.device().clone();
        let rows = running.len();
        let ids: Vec<u32> = running.iter().map(Sequence::last_token).collect();
        let place =
            |sequence: &Sequence<'_>| [self.cache.base(sequence.slot), sequence.position() as u32 - 1];
        let rows_at: Vec<[u32; 2]> = running.iter().map(place).collect();
        device.write(&self.work.ids, 0, &ids)?;
        device.write(&self.work.rows_at, 0, &rows_at)?;
        device.write(&self.work.tiles, 0, &QueryTile::cut(&vec![1; rows]))?;
        self.draws.load(&running.iter().collect::<Vec<_>>())?;
        // Positions advance on the device, so one recording serves every submit. Beyond the end of the
        // context, the kernels clamp the rows of a finished sequence, and its tokens are dropped here.
        let furthest = running.iter().map(Sequence::position).max().unwrap_or(0);
        let steps = device.tuning().decode_steps.min(self.context() - furthest + 1).max(1);
        let reach = self.context().min(furthest + 64);
        let mut shape = BatchShape { rows, tiles: rows, tile_rows: 1, reach, ..BatchShape::default() };
        self.load_adapters(&mut shape, running.iter().map(|sequence| (sequence.adapter(), 1)))?;
        let mut rec = Recording::new(&device);
        for step in 0..steps {
            record_layers(&mut rec, &self.model, &self.cache, &self.work, self.bank.as_ref(), shape)?;
            record_logits(&mut rec, &self.model, &self.work, &self.work.x, rows)?;
            self.draws.record(&mut rec, &self.work, step, rows)?;
        }
        loop {
            let fed: Vec<TokenId> = running.iter().map(Sequence::last_token).collect();
            rec.submit()?;
            let drawn = self.draws.read(steps * rows)?;
            for (row, sequence) in running.iter_mut().enumerate() {
                let mut fed = fed[row];
                for step in 0..steps {
                    if sequence.is_finished() {
                        break;
                    }
                    self.slots[sequence.slot].tokens.push(fed);
                    let drawn = &drawn[step * rows + row];
                    self.check_drawn(drawn, sequence)?;
                    fed = drawn.token;
                    self.pace.decode_tokens += 1;
                    sequence.push(drawn).into_iter().for_each(&mut *on_token);
                }
            }
            let ended = running.iter().any(Sequence::is_finished);
            let furthest = running.iter().map(Sequence::position).max().unwrap_or(0);
            if ended || cancel.is_cancelled() || furthest + steps > self.context() + 1 {
                return Ok(());
            }
        }
    }
}
