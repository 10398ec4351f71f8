//! The configuration in a GGUF file's metadata.

use super::architecture::{LOCAL_THETA, NO_ROPE_EVERY};
use super::{
    Architecture, LayerConfig, ModelConfig, OUTPUT, ROPE_FACTORS, ROPE_FREQS, RopeConfig, RopeScaling,
    check_layers, embedding_rows, plain_layer,
};
use crate::format::gguf::{Array, Gguf, Value, rope_permuted};
use crate::format::{Checkpoint, LoadError, printable};
use crate::ops::LogitCap;
use crate::quant::Quant;

/// Factors that some architectures apply. 0 and 1 change nothing.
const FACTORS: [&str; 8] = [
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "attention.scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
];

/// Those that `architecture` applies.
fn applied(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::Granite => &FACTORS[..4],
        Architecture::Gemma2 | Architecture::Gemma3 => &FACTORS[4..6],
        _ => &[],
    }
}

pub(super) fn read(checkpoint: &Checkpoint, gguf: &Gguf) -> Result<ModelConfig, LoadError> {
    let name = gguf.need_string("general.architecture")?;
    let Some(architecture) = Architecture::of_gguf(name) else {
        let what = format!("its architecture is \"{}\"", printable(name));
        return Err(LoadError::unsupported(gguf.path(), what, Architecture::advice()));
    };
    let key = |suffix: &str| format!("{name}.{suffix}");
    if let Some(experts) = gguf.count(&key("expert_count"))?.filter(|experts| *experts > 0) {
        return Err(LoadError::unsupported(
            gguf.path(),
            format!("it is a mixture of {experts} experts"),
            "use a dense model",
        ));
    }
    let hidden = gguf.need_count(&key("embedding_length"))?;
    let heads = gguf.need_count(&key("attention.head_count"))?;
    let n_layers = gguf.need_count(&key("block_count"))?;
    check_layers(gguf.path(), n_layers)?;
    let (kv_heads, convs) = match architecture {
        Architecture::Lfm2 => mixed_layers(gguf, &key, heads, n_layers)?,
        _ => (gguf.count(&key("attention.head_count_kv"))?.unwrap_or(heads), vec![None; n_layers]),
    };
    let head_dim = match gguf.count(&key("attention.key_length"))? {
        Some(head_dim) => head_dim,
        None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let rule = format!("is {heads}, which does not divide the width {hidden}");
            return Err(gguf.bad(&key("attention.head_count"), rule));
        }
    };
    if let Some(found) = gguf.count(&key("attention.value_length"))?.filter(|found| *found != head_dim) {
        let rule = format!("is {found}, but only the width of keys, {head_dim}, is supported");
        return Err(gguf.bad(&key("attention.value_length"), rule));
    }
    let rotary = gguf.count(&key("rope.dimension_count"))?.unwrap_or(head_dim);
    // Reordered rows are reordered by whole heads.
    if rotary != head_dim && rope_permuted(Some(name), "blk.0.attn_q.weight") {
        let rule = format!("is {rotary}, but only the head width {head_dim} is supported");
        return Err(gguf.bad(&key("rope.dimension_count"), rule));
    }
    refuse_variants(gguf, architecture, &key)?;
    let factor = |suffix: &str| -> Result<Option<f32>, LoadError> {
        let wanted = applied(architecture).contains(&suffix);
        Ok(if wanted { gguf.float(&key(suffix))?.filter(|value| *value != 0.0) } else { None })
    };
    let vocab = embedding_rows(checkpoint)?;
    let context = gguf.need_count(&key("context_length"))?;
    let rope = rope(checkpoint, gguf, name, (rotary, context))?;
    let local = match gguf.float(&key("rope.freq_base_swa"))? {
        Some(theta) => theta,
        None if architecture == Architecture::Gemma3 => LOCAL_THETA,
        None => rope.theta,
    };
    let local = RopeConfig { theta: local, rotary, scaling: RopeScaling::None };
    let window = gguf.count(&key("attention.sliding_window"))?.filter(|window| *window > 0);
    let first = convs.iter().position(Option::is_none).unwrap_or(0);
    let mut plain = plain_layer(checkpoint, architecture, head_dim, &rope, first);
    if let Some(scale) = factor("attention.scale")? {
        plain.attention_scale = scale;
    }
    plain.attention_cap = factor("attn_logit_softcapping")?;
    let mut layers = Vec::with_capacity(n_layers);
    for (index, &conv) in convs.iter().enumerate() {
        let mut layer = LayerConfig { conv, ..plain.clone() };
        layer.window = window.filter(|_| slides(gguf, &key, architecture, index));
        if layer.window.is_some() && architecture.slides_unscaled() {
            layer.rope = Some(local.clone());
        }
        if architecture == Architecture::SmolLm3 && (index + 1).is_multiple_of(NO_ROPE_EVERY) {
            layer.rope = None;
        }
        layers.push(layer);
    }
    Ok(ModelConfig {
        architecture,
        vocab,
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim,
        ffn: gguf.need_count(&key("feed_forward_length"))?,
        norm_eps: gguf.need_float(&key("attention.layer_norm_rms_epsilon"))?,
        embedding_scale: factor("embedding_scale")?.unwrap_or_else(|| architecture.embedding_scale(hidden)),
        residual_scale: factor("residual_scale")?.unwrap_or(1.0),
        logit_cap: LogitCap {
            scale: 1.0 / factor("logit_scale")?.unwrap_or(1.0),
            cap: factor("final_logit_softcapping")?,
        },
        context,
        tied: !checkpoint.has_tensor(OUTPUT),
        bos: gguf.token("tokenizer.ggml.bos_token_id")?,
        eos: ends(gguf, vocab)?,
    })
}

/// Key and value heads of the layers with attention, and for each layer the taps of its convolution, if it has that in
/// place of attention: the list of key and value heads has 0 there.
fn mixed_layers(
    gguf: &Gguf,
    key: &dyn Fn(&str) -> String,
    heads: usize,
    n_layers: usize,
) -> Result<(usize, Vec<Option<usize>>), LoadError> {
    let name = key("attention.head_count_kv");
    let counts = match gguf.value(&name) {
        Some(Value::Array(_)) => gguf.integers(&name)?.unwrap_or_default(),
        _ => {
            let count = gguf.count(&name)?.unwrap_or(heads);
            vec![i32::try_from(count).unwrap_or(i32::MAX); n_layers]
        }
    };
    if counts.len() != n_layers {
        return Err(gguf.bad(&name, format!("has {} values, expected {n_layers}", counts.len())));
    }
    let kv_heads = counts.iter().copied().find(|count| *count != 0).unwrap_or(0);
    if let Some(other) = counts.iter().find(|count| **count != 0 && **count != kv_heads) {
        return Err(
            gguf.bad(&name, format!("has both {kv_heads} and {other}, but only one count is supported"))
        );
    }
    let taps = if counts.contains(&0) { gguf.need_count(&key("shortconv.l_cache"))? } else { 0 };
    let convs = counts.iter().map(|count| (*count == 0).then_some(taps)).collect();
    // A model without any attention has no use for the number.
    let kv_heads = usize::try_from(kv_heads).map_err(|_| gguf.bad(&name, "is negative"))?;
    Ok((if kv_heads == 0 { heads } else { kv_heads }, convs))
}

/// Whether a layer has the sliding window.
fn slides(gguf: &Gguf, key: &dyn Fn(&str) -> String, architecture: Architecture, layer: usize) -> bool {
    match gguf.value(&key("attention.sliding_window_pattern")) {
        Some(Value::Array(Array::Bool(pattern))) if layer < pattern.len() => pattern[layer],
        _ => architecture.slides(layer),
    }
}

/// Refuses values whose arithmetic differs from the architecture's.
fn refuse_variants(
    gguf: &Gguf,
    architecture: Architecture,
    key: &dyn Fn(&str) -> String,
) -> Result<(), LoadError> {
    let refuse =
        |what: String| Err(LoadError::unsupported(gguf.path(), what, "use a model without that variation"));
    for factor in FACTORS.iter().filter(|factor| !applied(architecture).contains(factor)) {
        match gguf.float(&key(factor))? {
            Some(value) if value != 0.0 && value != 1.0 => {
                return refuse(format!("`{}` is {value}, which is not applied", key(factor)));
            }
            _ => {}
        }
    }
    match gguf.flag(&key("attention.causal"))? {
        Some(false) => refuse(format!("`{}` is false", key("attention.causal"))),
        _ => Ok(()),
    }
}

/// Rope for heads of which `rotary` dimensions are rotated, in a model for sequences of `context` tokens.
fn rope(
    checkpoint: &Checkpoint,
    gguf: &Gguf,
    name: &str,
    (rotary, context): (usize, usize),
) -> Result<RopeConfig, LoadError> {
    let key = |suffix: &str| format!("{name}.rope.{suffix}");
    // llama.cpp's own default.
    let theta = gguf.float(&key("freq_base"))?.unwrap_or(10_000.0);
    // The older key of the same factor.
    let factor = match gguf.float(&key("scaling.factor"))? {
        Some(factor) => Some(factor),
        None => gguf.float(&key("scale_linear"))?,
    };
    let original = gguf.count(&key("scaling.original_context_length"))?.filter(|original| *original > 0);
    let attention = gguf.float(&key("scaling.attn_factor"))?.filter(|factor| *factor != 0.0);
    let mut scaling = match (gguf.string(&key("scaling.type"))?, factor) {
        // A factor without a type is linear, as in llama.cpp, where 0 stands for none.
        (None | Some("longrope"), None | Some(0.0 | 1.0)) => RopeScaling::None,
        (None | Some("linear"), Some(factor)) => RopeScaling::Linear { factor },
        (Some("linear" | "yarn"), None) => {
            return Err(gguf.bad(&key("scaling.factor"), "is missing from the metadata"));
        }
        (Some("none"), _) => RopeScaling::None,
        // The divisors are in tensors.
        (Some("longrope"), Some(_)) => RopeScaling::None,
        (Some("yarn"), Some(factor)) => RopeScaling::Yarn {
            factor,
            beta_fast: gguf.float(&key("scaling.yarn_beta_fast"))?.unwrap_or(32.0),
            beta_slow: gguf.float(&key("scaling.yarn_beta_slow"))?.unwrap_or(1.0),
            original_context: original.unwrap_or(context),
            attention_factor: attention.unwrap_or(1.0) * RopeConfig::yarn_magnitude(factor, 1.0),
            truncate: true,
        },
        (Some(other), _) => {
            return Err(LoadError::unsupported(
                gguf.path(),
                format!("`{}` is \"{}\"", key("scaling.type"), printable(other)),
                "use a model with linear, yarn, longrope or Llama 3 rope scaling",
            ));
        }
    };
    let [short, long] = ROPE_FACTORS.map(|name| divisors(checkpoint, gguf, name));
    if let (Some(short), Some(long)) = (short?, long?) {
        let original_context = original.unwrap_or(context);
        let longer = context as f32 / original_context as f32;
        let attention_factor =
            attention.unwrap_or_else(|| RopeConfig::long_magnitude(longer, original_context));
        scaling = RopeScaling::LongRope { short, long, original_context, attention_factor };
    } else if attention.is_some_and(|factor| factor != 1.0) && !matches!(scaling, RopeScaling::Yarn { .. }) {
        let what = format!("`{}` is set, which is not applied without yarn", key("scaling.attn_factor"));
        return Err(LoadError::unsupported(gguf.path(), what, "use a model without that variation"));
    }
    let scaling = match (divisors(checkpoint, gguf, ROPE_FREQS)?, scaling) {
        (None, scaling) => scaling,
        (Some(divisors), RopeScaling::None) => RopeScaling::Explicit(divisors),
        (Some(_), _) => {
            return Err(LoadError::unsupported(
                gguf.path(),
                format!("it has both `{ROPE_FREQS}` and another rope scaling"),
                "convert it with one of the two",
            ));
        }
    };
    Ok(RopeConfig { theta, rotary, scaling })
}

/// The values of a tensor of divisors, if there is one.
fn divisors(checkpoint: &Checkpoint, gguf: &Gguf, name: &str) -> Result<Option<Vec<f32>>, LoadError> {
    let tensor = match checkpoint.tensor(name) {
        // An error for any shape: it cannot be read.
        None if checkpoint.has_tensor(name) => checkpoint.need_tensor(name, &[])?,
        None => return Ok(None),
        Some(tensor) => tensor,
    };
    if tensor.quant != Quant::F32 {
        let rule = format!("is stored as {}, must be f32", tensor.quant);
        return Err(LoadError::metadata(gguf.path(), name, None, rule));
    }
    let mut divisors = vec![0.0; tensor.byte_len() / 4];
    tensor.quant.decode(checkpoint.bytes(tensor), &mut divisors);
    Ok(Some(divisors))
}

/// The tokens that end a text and, in chat models, a turn.
fn ends(gguf: &Gguf, vocab: usize) -> Result<Vec<u32>, LoadError> {
    let mut ends = Vec::new();
    for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        let key = format!("tokenizer.ggml.{key}");
        if let Some(id) = gguf.token(&key)?
            && !ends.contains(&id)
        {
            ends.push(id);
        }
    }
    // A vocabulary of a different size than the embedding belongs to another model.
    match gguf.value("tokenizer.ggml.tokens") {
        Some(Value::Array(Array::String(tokens))) if tokens.len() > vocab => {
            let rule = format!("has {} tokens, but the embedding has {vocab} rows", tokens.len());
            Err(gguf.bad("tokenizer.ggml.tokens", rule))
        }
        _ => Ok(ends),
    }
}
