//! Token embedding: rows of a table.

/// Looks up `ids` in `table`, and multiplies the rows by `factor`.
///
/// # Shapes
///
/// `table` `(vocab, width)`; result `(ids.len(), width)`.
pub fn embed(table: &[f32], width: usize, factor: f32, ids: &[u32]) -> Vec<f32> {
    ids.iter().flat_map(|&id| &table[id as usize * width..][..width]).map(|value| factor * value).collect()
}
