//! Rows of a model's output matrix, as numbers.

use super::Model;
use crate::gpu::Recording;
use crate::ops::{self, Activation, ShapeError};
use crate::tokenizer::TokenId;

impl Model {
    /// The rows of the output matrix for `ids`, `(ids.len(), hidden)` row-major: a token's logit is the product of its
    /// row and the last hidden state.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Device`] if the device fails.
    ///
    /// # Panics
    ///
    /// If an id is outside the vocabulary.
    pub(crate) fn head_rows(&self, ids: &[TokenId]) -> Result<Vec<f32>, ShapeError> {
        let hidden = self.config().hidden;
        assert!(ids.iter().all(|&id| (id as usize) < self.config().vocab), "ids are of the vocabulary");
        let device = self.device();
        let wanted = device.upload("ids of rows", ids)?;
        let rows = Activation::new(device, "rows of the output matrix", ids.len(), hidden)?;
        let mut rec = Recording::new(device);
        ops::embed(&mut rec, self.weights().head(), 1.0, &wanted, &rows, ids.len())?;
        rec.submit()?;
        let values = device.read(&rows.buffer, 0, ids.len() * rows.stride)?;
        Ok(values.chunks_exact(rows.stride).flat_map(|row| &row[..hidden]).copied().collect())
    }
}
