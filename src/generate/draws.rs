//! The sampler's side of a pass: uploads settings and reads drawn tokens.

use super::sequence::Sequence;
use crate::gpu::{Buffer, Device, DeviceError, Recording};
use crate::model::Workspace;
use crate::ops::{self, Drawn, SampleRow, ShapeError};

/// Buffers of the sampler.
#[derive(Debug)]
pub(super) struct Draws {
    device: Device,
    settings: Buffer<SampleRow>,
    recent: Buffer<u32>,
    tokens: Buffer<u32>,
    logprobs: Buffer<[f32; 2]>,
    drawn: Buffer<Drawn>,
    /// Number of last tokens of a sequence that the repetition penalty applies to.
    window: usize,
}

impl Draws {
    /// Makes buffers for `rows` rows of logits.
    pub fn new(device: &Device, rows: usize, window: usize) -> Result<Draws, DeviceError> {
        Ok(Draws {
            device: device.clone(),
            settings: device.buffer("sampler settings", rows)?,
            recent: device.buffer("recent tokens", rows * window)?,
            tokens: device.buffer("next tokens", rows)?,
            logprobs: device.buffer("log-probabilities", rows)?,
            drawn: device.buffer("drawn tokens", device.tuning().decode_steps * rows)?,
            window,
        })
    }

    /// Uploads settings and recent tokens of the rows that are drawn next.
    pub fn load(&self, rows: &[&Sequence]) -> Result<(), DeviceError> {
        let settings: Vec<SampleRow> = rows.iter().map(|sequence| sequence.sample_row(self.window)).collect();
        let mut recent = vec![0; rows.len() * self.window];
        for (ring, sequence) in recent.chunks_exact_mut(self.window).zip(rows) {
            let tokens = sequence.recent(self.window);
            ring[..tokens.len()].copy_from_slice(&tokens);
        }
        self.device.write(&self.settings, 0, &settings)?;
        self.device.write(&self.recent, 0, &recent)
    }

    /// Records the draw of one token per row of logits, and its copy to the inputs of the next step.
    pub fn record(
        &self,
        rec: &mut Recording,
        work: &Workspace,
        step: usize,
        rows: usize,
    ) -> Result<(), ShapeError> {
        let Draws { settings, recent, tokens, logprobs, drawn, window, .. } = self;
        ops::sample(rec, &work.logits, settings, recent, *window, tokens, logprobs, rows)?;
        ops::advance(rec, tokens, logprobs, &work.ids, &work.rows_at, drawn, step, rows)
    }

    /// The tokens of the first `count` draws, step by step, row by row.
    pub fn read(&self, count: usize) -> Result<Vec<Drawn>, DeviceError> {
        self.device.read(&self.drawn, 0, count)
    }
}
