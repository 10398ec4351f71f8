//! Device memory of a generator, computed in advance.

use super::generator::GeneratorOptions;
use crate::gpu::Tuning;
use crate::model::lora::LoraLayout;
use crate::model::{KvCache, ModelConfig, Workspace, cache_shape};
use crate::ops::{Drawn, SampleRow, TokenStat, buffer_bytes};

/// Rows of a pass, and rows for which logits are computed at once.
pub(super) fn rows(tuning: &Tuning, options: &GeneratorOptions) -> (usize, usize) {
    let GeneratorOptions { slots, context, .. } = *options;
    // No pass is larger than the whole cache.
    let rows = tuning.prefill_tokens.min(slots * context).max(slots);
    (rows, tuning.logit_rows.min(rows).max(slots))
}

/// Device memory in bytes of a generator with these options, including scoring, in addition to weights
/// and adapters.
pub(crate) fn generator_bytes(
    config: &ModelConfig,
    layout: Option<&LoraLayout>,
    tuning: &Tuning,
    options: &GeneratorOptions,
) -> u64 {
    let shape = cache_shape(config, options.slots, options.context, options.kv);
    let (rows, logit_rows) = rows(tuning, options);
    let cache = KvCache::planned_bytes(config, &shape);
    let draws = buffer_bytes::<SampleRow>(logit_rows)
        + buffer_bytes::<u32>(logit_rows * options.window())
        + buffer_bytes::<u32>(logit_rows)
        + buffer_bytes::<[f32; 2]>(logit_rows)
        + buffer_bytes::<Drawn>(tuning.decode_steps * logit_rows);
    let scores = buffer_bytes::<u32>(logit_rows) + buffer_bytes::<TokenStat>(logit_rows);
    cache + Workspace::bytes(config, &shape, layout, rows, logit_rows) + draws + scores
}
