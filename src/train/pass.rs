//! One forward and backward pass over packed sequences: the device side of every objective.

mod layout;
mod memory;

use std::ops::Range;

use super::error::TrainError;
use super::objective::{Evaluated, TokenStats};
use crate::gpu::Recording;
use crate::model::lora::{AdapterBank, AdapterId};
use crate::model::{
    AdapterGradients, Backward, BatchShape, Model, Rows, record_down, record_embedding, record_ffn,
    record_final_norm, record_head, record_mixer,
};
use crate::ops::{self, QueryTile, Store, TokenStat};
use crate::tokenizer::TokenId;
use layout::Layout;
use memory::PassMemory;

pub use memory::PassShape;
pub(crate) use memory::bank_bytes;
pub(super) use memory::pass_bytes;

/// Values that are read from the hidden state of one token of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Index of the token in the sequence.
    pub position: usize,
    /// Next token whose log-probability is read, with the entropy of the next-token distribution.
    pub target: Option<TokenId>,
    /// Whether the adapter's scalar head is read: a value, or a reward.
    pub head: bool,
}

/// A sequence of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// Token ids, from position 0.
    pub ids: Vec<TokenId>,
    /// Indices in `ids` at which branches begin, ascending. Every branch continues the tokens before the first
    /// one, and sees these and itself, as if it were the only one. So the tokens before are computed once for all.
    /// Empty for a plain sequence.
    pub branches: Vec<usize>,
    /// The adapter; none runs the base alone.
    pub adapter: Option<AdapterId>,
    /// Readings, at most one per position.
    pub readings: Vec<Reading>,
}

impl Sequence {
    /// A sequence that reads every target that `mask` marks in `ids`, from the position before the target.
    /// Supervised training and scoring use it. `mask[0]` is ignored, because no token comes before the first.
    pub fn with_targets(ids: &[TokenId], mask: &[bool], adapter: Option<AdapterId>) -> Sequence {
        let wanted = (1..ids.len()).filter(|&place| mask[place]);
        let reading = |place: usize| Reading { position: place - 1, target: Some(ids[place]), head: false };
        let readings = wanted.map(reading).collect();
        Sequence { ids: ids.to_vec(), adapter, readings, ..Sequence::default() }
    }

    /// A sequence that reads the head of `adapter` at the last token of `ids`: a reward model's score. If
    /// `ids` is empty, there is nothing to read, and a pass rejects the sequence.
    pub fn with_head(ids: Vec<TokenId>, adapter: AdapterId) -> Sequence {
        let last = ids.len().checked_sub(1);
        let reading = last.map(|position| Reading { position, target: None, head: true });
        let readings = reading.into_iter().collect();
        Sequence { ids, adapter: Some(adapter), readings, ..Sequence::default() }
    }

    /// A sequence that reads the head of `adapter` at the last token of each of `branches`, which all continue
    /// `shared`: a reward model's scores of one reply under several principles. A pass rejects empty branches.
    pub fn with_branches(shared: &[TokenId], branches: &[Vec<TokenId>], adapter: AdapterId) -> Sequence {
        let mut sequence = Sequence { ids: shared.to_vec(), adapter: Some(adapter), ..Sequence::default() };
        for branch in branches {
            sequence.branches.push(sequence.ids.len());
            sequence.ids.extend_from_slice(branch);
            let position = sequence.ids.len().saturating_sub(1);
            sequence.readings.push(Reading { position, target: None, head: true });
        }
        sequence
    }

    /// The same as [`Sequence::with_targets`] of each of `texts`, which are ids and masks, with the tokens that they begin
    /// with computed once: one sequence with a branch for each text. Texts that begin with no common token, or read it, are
    /// sequences of their own. Readings are in the order of the texts.
    pub fn with_shared_targets(
        texts: &[(Vec<TokenId>, Vec<bool>)],
        adapter: Option<AdapterId>,
    ) -> Vec<Sequence> {
        // A target is read at the token before it, which must be in the branch.
        let unread =
            |mask: &Vec<bool>| (1..mask.len()).find(|&place| mask[place]).map_or(mask.len(), |at| at - 1);
        let most = texts.iter().map(|(_, mask)| unread(mask)).min().unwrap_or(0);
        let shared = common_prefix(texts.iter().map(|(ids, _)| &ids[..]), most);
        let alone = texts.iter().map(|(ids, mask)| Sequence::with_targets(ids, mask, adapter));
        Sequence::branched(shared, alone.collect())
    }

    /// The same as [`Sequence::with_head`] of each of `texts`, with the tokens that they begin with computed once.
    pub fn with_shared_heads(texts: &[Vec<TokenId>], adapter: AdapterId) -> Vec<Sequence> {
        let shared = common_prefix(texts.iter().map(|ids| &ids[..]), usize::MAX);
        let alone = texts.iter().map(|ids| Sequence::with_head(ids.clone(), adapter));
        Sequence::branched(shared, alone.collect())
    }

    /// Joins sequences that begin with `shared` common tokens, if there are any.
    fn branched(shared: usize, alone: Vec<Sequence>) -> Vec<Sequence> {
        if shared == 0 || alone.len() < 2 {
            return alone;
        }
        vec![Sequence::joined(shared, alone)]
    }

    /// One sequence with a branch for each of `alone`, which have an adapter and their first `shared` tokens in common and
    /// read none of these. At least one of each.
    pub(crate) fn joined(shared: usize, alone: impl IntoIterator<Item = Sequence>) -> Sequence {
        let mut joined = Sequence::default();
        for sequence in alone {
            if joined.ids.is_empty() {
                joined.ids.extend_from_slice(&sequence.ids[..shared]);
                joined.adapter = sequence.adapter;
            }
            let start = joined.ids.len();
            joined.branches.push(start);
            joined.ids.extend_from_slice(&sequence.ids[shared..]);
            let moved = |reading: Reading| Reading { position: start + reading.position - shared, ..reading };
            joined.readings.extend(sequence.readings.into_iter().map(moved));
        }
        joined
    }

    /// Number of readings of each branch, or of the whole sequence if it has no branches.
    pub fn readings_by_branch(&self) -> Vec<usize> {
        let parts = self.parts().skip(usize::from(!self.branches.is_empty()));
        let of = |part: Range<usize>| self.readings.iter().filter(|one| part.contains(&one.position)).count();
        parts.map(of).collect()
    }

    /// The parts of `ids` that are computed one after another: the shared part, then each branch.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.branches.iter().copied());
        let ends = self.branches.iter().copied().chain([self.ids.len()]);
        starts.zip(ends).map(|(start, end)| start..end)
    }

    /// Number of tokens that all branches continue; 0 without branches.
    pub(super) fn shared(&self) -> usize {
        self.branches.first().copied().unwrap_or(0)
    }
}

/// Number of tokens that all of `texts` begin with, at most `most` and less than the shortest text has.
fn common_prefix<'t>(texts: impl Iterator<Item = &'t [TokenId]> + Clone, most: usize) -> usize {
    let Some(first) = texts.clone().next() else { return 0 };
    let shared = |text: &[TokenId]| {
        let same = first.iter().zip(text).take_while(|(one, other)| one == other).count();
        same.min(text.len().saturating_sub(1))
    };
    texts.map(shared).min().unwrap_or(0).min(most)
}

/// Forward and backward passes over batches with a limited number of tokens. All memory is allocated
/// beforehand.
///
/// Sequences are packed one after another without padding. The adapters in the first slots of the bank are
/// trained. Sequences of other adapters, or of none, are computed forward only. Gradients accumulate over
/// passes until [`Pass::clear_gradients`].
#[derive(Debug)]
pub struct Pass {
    model: Model,
    bank: AdapterBank,
    memory: PassMemory,
    gradients: AdapterGradients,
    temperature: f32,
    /// Layout of the last forward pass.
    layout: Option<Layout>,
    /// Whether a backward pass has added to the gradients since they were cleared.
    accumulated: bool,
}

impl Pass {
    /// Allocates everything for passes of `shape` that train the adapters in the first `trainable` slots of
    /// `bank`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Device`] if the device cannot hold it.
    pub fn new(
        model: &Model,
        bank: &AdapterBank,
        trainable: usize,
        shape: &PassShape,
    ) -> Result<Self, TrainError> {
        Ok(Pass {
            model: model.clone(),
            bank: bank.clone(),
            memory: PassMemory::new(model, bank, shape)?,
            gradients: AdapterGradients::new(model, bank, trainable)?,
            temperature: 1.0,
            layout: None,
            accumulated: false,
        })
    }

    /// Sets the temperature, above 0, by which logits are divided before log-probabilities and entropies are
    /// read. It applies from the next forward pass; the default is 1.
    pub fn set_temperature(&mut self, temperature: f32) {
        self.temperature = temperature;
    }

    /// Limits of a pass.
    pub fn shape(&self) -> &PassShape {
        &self.memory.shape
    }

    /// Runs `sequences` forward. Returns one entry per reading, in the order of the sequences and of the
    /// readings in each. Entries that were not requested are 0. If no head is read, there are no values.
    ///
    /// # Errors
    ///
    /// * [`TrainError::Sequence`] if a sequence or one of its branches is empty, has an unknown token, reads a
    ///   position twice or one that it does not have;
    /// * [`TrainError::PassFull`] if the sequences are too many or too long for the pass's shape;
    /// * [`TrainError::Adapter`] if an adapter is not in the bank;
    /// * [`TrainError::Device`] if the device fails.
    pub fn forward<'s>(
        &mut self,
        sequences: impl IntoIterator<Item = &'s Sequence>,
    ) -> Result<TokenStats, TrainError> {
        self.layout = None;
        let vocab = self.model.config().vocab;
        let sequences: Vec<&Sequence> = sequences.into_iter().collect();
        let layout =
            Layout::new(&sequences, &self.bank, self.gradients.trainable, vocab, &self.memory.shape)?;
        self.load(&layout)?;
        let mut rec = Recording::new(self.model.device());
        self.record_forward(&mut rec, &layout)?;
        rec.submit()?;
        let device = self.model.device();
        let n = layout.readings.len();
        let stats = device.read(&self.memory.stats, 0, layout.n_targets)?;
        let values = if layout.has_heads { device.read(&self.memory.values, 0, n)? } else { Vec::new() };
        let mut found =
            TokenStats { logprob: vec![0.0; n], entropy: vec![0.0; n], value: vec![0.0; values.len()] };
        for (place, reading) in layout.readings.iter().enumerate() {
            if let Some(stat) = stats.get(place) {
                found.logprob[reading.index] = stat.logprob;
                found.entropy[reading.index] = stat.entropy;
            }
            if let Some(&value) = values.get(place) {
                found.value[reading.index] = value;
            }
        }
        self.layout = Some(layout);
        Ok(found)
    }

    /// Runs the last forward pass backward, from the gradients of its readings, and adds to the gradients of
    /// the trainable adapters. Returns without waiting for the device, unless heads add to the
    /// gradients of an earlier pass.
    ///
    /// # Errors
    ///
    /// * [`TrainError::NoForward`] without a forward pass, or with gradients for another number of
    ///   readings;
    /// * [`TrainError::Device`] if the device fails.
    pub fn backward(&mut self, gradients: &Evaluated) -> Result<(), TrainError> {
        let layout = self.layout.take().ok_or(TrainError::NoForward { readings: 0, gradients: 0 })?;
        let n = layout.readings.len();
        let values = if layout.has_heads { gradients.d_value.len() } else { n };
        let lengths = [gradients.d_logprob.len(), gradients.d_entropy.len(), values];
        if let Some(&wrong) = lengths.iter().find(|&&length| length != n) {
            return Err(TrainError::NoForward { readings: n, gradients: wrong });
        }
        let device = self.model.device().clone();
        let ordered = |values: &[f32]| -> Vec<f32> {
            layout.readings.iter().map(|reading| values[reading.index]).collect()
        };
        let (d_logprob, d_entropy) = (ordered(&gradients.d_logprob), ordered(&gradients.d_entropy));
        let d_stats: Vec<TokenStat> = d_logprob
            .iter()
            .zip(&d_entropy)
            .take(layout.n_targets)
            .map(|(&logprob, &entropy)| TokenStat { logprob, entropy })
            .collect();
        device.write(&self.memory.d_stats, 0, &d_stats)?;
        if layout.has_heads {
            device.write(&self.memory.d_values, 0, &ordered(&gradients.d_value))?;
        }
        let heads = &self.gradients.heads;
        // Readings add to the heads in chunks. Each pass has a sum of its own, so that the gradient of a step is the sum
        // of the gradients of its passes to the last bit, also if other devices compute some of them.
        let before = if layout.has_heads && self.accumulated {
            Some(device.read(heads, 0, heads.len())?)
        } else {
            None
        };
        let mut rec = Recording::new(&device);
        if before.is_some() {
            rec.clear(heads, 0, heads.len());
        }
        self.record_backward(&mut rec, &layout)?;
        rec.submit()?;
        if let Some(mut sums) = before {
            let own = device.read(heads, 0, heads.len())?;
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            device.write(heads, 0, &sums)?;
        }
        self.accumulated = true;
        self.layout = Some(layout);
        Ok(())
    }

    /// Sets the gradients of all adapters to zero.
    ///
    /// # Errors
    ///
    /// [`TrainError::Device`] if the device fails.
    pub fn clear_gradients(&mut self) -> Result<(), TrainError> {
        let mut rec = Recording::new(self.model.device());
        self.gradients.record_clear(&mut rec);
        rec.submit()?;
        self.accumulated = false;
        Ok(())
    }

    /// The gradients accumulated so far.
    pub(super) fn gradients(&self) -> &AdapterGradients {
        &self.gradients
    }

    /// Uploads a batch.
    fn load(&self, layout: &Layout) -> Result<(), TrainError> {
        let device = self.model.device();
        let memory = &self.memory;
        device.write(&memory.ids, 0, &layout.ids)?;
        device.write(&memory.rows_at, 0, &layout.rows_at)?;
        device.write(&memory.tiles, 0, &layout.tiles)?;
        device.write(&memory.key_tiles, 0, &layout.key_tiles)?;
        device.write(&memory.lora_tiles, 0, &layout.lora_tiles)?;
        let rows: Vec<u32> = layout.readings.iter().map(|reading| reading.row as u32).collect();
        let targets: Vec<u32> = layout.readings.iter().map(|reading| reading.target).collect();
        let heads: Vec<u32> = layout.readings.iter().map(|reading| reading.head).collect();
        device.write(&memory.read_rows, 0, &rows)?;
        device.write(&memory.targets, 0, &targets)?;
        device.write(&memory.head_of, 0, &heads)?;
        Ok(())
    }

    /// The first `rows` rows of the batch, as layers take them.
    fn rows(&self, layout: &Layout, rows: usize) -> Rows<'_> {
        let memory = &self.memory;
        let tiles = layout.tiles.iter().take_while(|tile| (tile.first_row as usize) < rows);
        let lora_tiles = layout.lora_tiles.iter().take_while(|tile| (tile.first_row as usize) < rows);
        Rows {
            shape: &memory.attention,
            rotations: &memory.rotations,
            rows_at: &memory.rows_at,
            tiles: &memory.tiles,
            lora_tiles: &memory.lora_tiles,
            bank: Some(&self.bank),
            batch: BatchShape {
                rows,
                tiles: tiles.clone().count(),
                tile_rows: tiles.map(|tile| tile.rows as usize).max().unwrap_or(0).min(QueryTile::MAX_ROWS),
                reach: layout.longest,
                lora_tiles: lora_tiles.clone().count(),
                lora_tile_rows: lora_tiles.map(|tile| tile.rows as usize).max().unwrap_or(0),
            },
        }
    }

    fn record_forward(&self, rec: &mut Recording, layout: &Layout) -> Result<(), TrainError> {
        let (model, memory) = (&self.model, &self.memory);
        let rows = self.rows(layout, layout.ids.len());
        let n = rows.batch.rows;
        record_embedding(rec, model, &memory.ids, &memory.x, n)?;
        for index in 0..model.config().layers.len() {
            let saved = memory.saved(index);
            let values = n * memory.x.stride;
            if memory.learns(index) {
                rec.copy(&memory.x.buffer, 0, &saved.input.buffer, 0, values);
            }
            let past = saved.past(&model.config().layers[index]);
            record_mixer(rec, model, index, &rows, &saved.block, past, saved.unnormed.as_ref(), &memory.x)?;
            if memory.keeps(index) {
                rec.copy(&memory.x.buffer, 0, &saved.middle.buffer, 0, values);
            }
            record_ffn(rec, model, index, &rows, &saved.block, &memory.x)?;
            record_down(rec, model, index, &rows, &saved.block, &memory.x)?;
        }
        for chunk in layout.chunks(0..layout.readings.len(), memory.shape.logit_rows) {
            self.record_selected(rec, &memory.x, &chunk)?;
            if chunk.start < layout.n_targets {
                self.record_logits(rec, chunk.len())?;
                let (targets, stats) = (&memory.targets, &memory.stats);
                let (first, n) = (chunk.start, chunk.len());
                ops::token_stats(rec, &memory.logits, targets, stats, first, n, self.temperature)?;
            }
            if layout.has_heads {
                let (heads, head_of) = (self.bank.heads(), &memory.head_of);
                let (hidden, values) = (&memory.selected_normed, &memory.values);
                ops::scalar_head(rec, hidden, heads, head_of, values, chunk.start, chunk.len())?;
            }
        }
        Ok(())
    }

    /// Records the gathering of the rows that `chunk` reads, and their final norm.
    fn record_selected(
        &self,
        rec: &mut Recording,
        x: &ops::Activation,
        chunk: &Range<usize>,
    ) -> Result<(), TrainError> {
        let memory = &self.memory;
        ops::gather_rows(rec, x, &memory.read_rows, chunk.start, &memory.selected, chunk.len())?;
        record_final_norm(rec, &self.model, &memory.selected, &memory.selected_normed, chunk.len())?;
        Ok(())
    }

    fn record_logits(&self, rec: &mut Recording, rows: usize) -> Result<(), TrainError> {
        let memory = &self.memory;
        record_head(rec, &self.model, &memory.selected_normed, &memory.logits, rows)?;
        Ok(())
    }

    fn record_backward(&self, rec: &mut Recording, layout: &Layout) -> Result<(), TrainError> {
        let (model, memory) = (&self.model, &self.memory);
        let gradients = &memory.gradients;
        let learning_rows = layout.learning_rows();
        rec.clear(&gradients.d_x.buffer, 0, learning_rows * gradients.d_x.stride);
        // Readings of trainable sequences come first, both among those with a target and among the others.
        for range in layout.learning_readings() {
            for chunk in layout.chunks(range, memory.shape.logit_rows) {
                self.record_readings_backward(rec, layout, &chunk)?;
            }
        }
        let rows = self.rows(layout, learning_rows);
        let key_tiles = layout.key_tiles.iter().take_while(|tile| (tile.first_row as usize) < learning_rows);
        let backward = Backward {
            model,
            rows,
            key_tiles: &memory.key_tiles,
            n_key_tiles: key_tiles.clone().count(),
            readers: key_tiles.map(|tile| (tile.end_row - tile.first_row) as usize).max().unwrap_or(0),
            gradients,
            adapters: &self.gradients,
            learning: &layout.learning,
        };
        let layers = model.config().layers.len();
        let lowest = (0..layers).find(|&index| memory.learns(index)).unwrap_or(layers);
        for index in (lowest..layers).rev() {
            let saved = memory.saved(index);
            if !memory.keeps(index) {
                saved.record_again(rec, model, index, &rows)?;
            }
            backward.record_layer(rec, index, saved, index > lowest)?;
        }
        Ok(())
    }

    /// Records the backward pass from the gradients of a chunk of readings to the rows that they read.
    fn record_readings_backward(
        &self,
        rec: &mut Recording,
        layout: &Layout,
        chunk: &Range<usize>,
    ) -> Result<(), TrainError> {
        let (model, memory) = (&self.model, &self.memory);
        let n = chunk.len();
        // The last layer's output needs no store, because `x` still holds it.
        self.record_selected(rec, &memory.x, chunk)?;
        if chunk.start < layout.n_targets {
            self.record_logits(rec, n)?;
            let (logits, targets, d_stats) = (&memory.logits, &memory.targets, &memory.d_stats);
            if let Some(capped) = &memory.capped {
                rec.copy(&logits.buffer, 0, &capped.buffer, 0, n * logits.stride);
            }
            ops::token_stats_backward(rec, logits, targets, d_stats, chunk.start, n, self.temperature)?;
            if let Some(capped) = &memory.capped {
                ops::cap_logits_backward(rec, &model.config().logit_cap, capped, logits, n)?;
            }
            let d_normed = &memory.d_selected_normed;
            ops::linear_backward(rec, model.weights().head(), logits, d_normed, n, Store::Overwrite)?;
        } else {
            let d_normed = &memory.d_selected_normed;
            rec.clear(&d_normed.buffer, 0, n * d_normed.stride);
        }
        if layout.has_heads {
            ops::scalar_head_backward(
                rec,
                &memory.selected_normed,
                self.bank.heads(),
                &memory.head_of,
                &memory.d_values,
                &memory.d_selected_normed,
                &self.gradients.heads,
                self.gradients.trainable,
                chunk.start,
                n,
            )?;
        }
        let weights = model.weights();
        let (norm, eps) = (&weights.final_norm, model.config().stream_eps());
        let (d_normed, d_selected) = (&memory.d_selected_normed, &memory.d_selected);
        ops::rms_norm_backward(rec, &memory.selected, norm, eps, d_normed, d_selected, n, Store::Overwrite)?;
        ops::scatter_rows(rec, d_selected, &memory.read_rows, chunk.start, &memory.gradients.d_x, n)?;
        Ok(())
    }
}
