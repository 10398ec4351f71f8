//! The generator: one model, one cache, and the requests that run in it.

use std::cell::Cell;

use super::batch::{Pass, Segment};
use super::draws::Draws;
use super::error::GenerateError;
use super::memory;
use super::pace::Pace;
use super::request::{CancelToken, Reply, Request, TokenEvent};
use super::running::{Pacing, Progress, Running, Ticket};
use super::slots::Slot;
use crate::gpu::Recording;
use crate::model::lora::{AdapterBank, AdapterId};
use crate::model::{BatchShape, KvCache, Model, Workspace, record_layers, record_logits};
use crate::ops::{KvFormat, QueryTile};

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
    pub(super) draws: Draws,
    pub(super) pace: Pace,
    pub(super) running: Running,
    /// Whether the last pass was a decoding step, so that the device holds the next tokens and positions.
    pub(super) decoded: Cell<bool>,
    /// The request whose results were not finite, after such an error.
    pub(super) failed: Option<Ticket>,
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
            running: Running::default(),
            decoded: Cell::new(false),
            failed: None,
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
            self.check_request(index, request)?;
        }
        self.pace = Pace::default();
        for (index, request) in requests.iter().enumerate() {
            self.submit(index, request.clone());
        }
        let mut replies: Vec<Option<Reply>> = vec![None; requests.len()];
        loop {
            if cancel.is_cancelled() {
                self.cancel(|_| true);
            }
            let more = self.step(Pacing::Together, &mut |progress| match progress {
                Progress::Token(_, event) => on_token(event),
                Progress::Ended { index, reply, .. } => replies[index] = Some(reply),
            });
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.reset();
                    self.failed = None;
                    return Err(error);
                }
            }
        }
        Ok(replies.into_iter().map(|reply| reply.expect("every request has ended")).collect())
    }

    /// Uploads the adapter of each run of `rows` consecutive rows, and counts the tiles in `shape`.
    pub(super) fn load_adapters(
        &self,
        shape: &mut BatchShape,
        rows: impl IntoIterator<Item = (Option<AdapterId>, usize)>,
    ) -> Result<(), GenerateError> {
        let Some(bank) = &self.bank else { return Ok(()) };
        let runs = bank.runs(rows).map_err(|source| GenerateError::Adapter { request: 0, source })?;
        shape.load_adapters(self.model.device(), &runs, &self.work.lora_tiles)?;
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
        self.decoded.set(false);
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
}
