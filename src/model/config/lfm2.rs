//! What `config.json` of an LFM2 model has of its own. Older files have other names for some of it.

use serde_json::Value;

use crate::format::json::Object;
use crate::format::{LoadError, printable};

/// Taps of the convolution of each layer that has one in place of attention.
pub(super) fn convs(config: &Object, n_layers: usize) -> Result<Vec<Option<usize>>, LoadError> {
    let taps = config.count("conv_L_cache")?.unwrap_or(3);
    let kinds = config.typed("layer_types", "a list of names", |value| {
        value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<&str>>>()
    })?;
    if let Some(kinds) = kinds {
        if kinds.len() != n_layers {
            return Err(config.bad("layer_types", format!("has {} names, expected {n_layers}", kinds.len())));
        }
        let conv = |kind: &&str| match *kind {
            "conv" => Ok(Some(taps)),
            "full_attention" => Ok(None),
            other => Err(LoadError::unsupported(
                config.path(),
                format!("one of its layers is \"{}\"", printable(other)),
                "use a model whose layers are conv or full_attention",
            )),
        };
        return kinds.iter().map(conv).collect();
    }
    let attention = config.typed("full_attn_idxs", "a list of layers", |value| {
        let layers = value.as_array()?.iter();
        layers.map(|layer| usize::try_from(layer.as_u64()?).ok()).collect::<Option<Vec<usize>>>()
    })?;
    // Without either list, every layer has attention.
    let Some(attention) = attention else { return Ok(vec![None; n_layers]) };
    Ok((0..n_layers).map(|layer| (!attention.contains(&layer)).then_some(taps)).collect())
}

/// Width of the feed-forward half: two thirds of the width in the file, rounded up to a multiple, unless the file
/// turns that off.
pub(super) fn ffn(config: &Object) -> Result<usize, LoadError> {
    let width = match config.count("block_ff_dim")? {
        Some(width) => width,
        None => config.need_count("intermediate_size")?,
    };
    if config.flag("block_auto_adjust_ff_dim")? == Some(false) {
        return Ok(width);
    }
    let width = width.saturating_mul(2) / 3;
    let factor = config.float("block_ffn_dim_multiplier")?.unwrap_or(1.0);
    let width = (f64::from(factor) * width as f64) as usize;
    match config.count("block_multiple_of")?.unwrap_or(256) {
        0 => Err(config.bad("block_multiple_of", "is 0, must be at least 1")),
        multiple => Ok(width.div_ceil(multiple).saturating_mul(multiple)),
    }
}

/// Whether the output matrix is the embedding.
pub(super) fn tied(config: &Object) -> Result<bool, LoadError> {
    // The older name has precedence in transformers.
    let tied = match config.flag("tie_embedding")? {
        Some(tied) => Some(tied),
        None => config.flag("tie_word_embeddings")?,
    };
    Ok(tied.unwrap_or(true))
}
