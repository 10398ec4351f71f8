//! The configuration in a GGUF file's metadata.

use super::{Architecture, ModelConfig, OUTPUT, RopeConfig, RopeScaling, embedding_rows, has_layer_tensor};
use crate::format::gguf::{Array, Gguf, Value};
use crate::format::{Checkpoint, LoadError};
use crate::quant::Quant;

/// The tensor of divisors with which llama.cpp's converter stores Llama 3's rope scaling.
const ROPE_FREQS: &str = "rope_freqs.weight";

pub(super) fn read(checkpoint: &Checkpoint, gguf: &Gguf) -> Result<ModelConfig, LoadError> {
    let name = gguf.need_string("general.architecture")?;
    let architecture = match name {
        // Mistral files have `llama` too.
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        other => {
            return Err(LoadError::unsupported(
                gguf.path(),
                format!("its architecture is {other:?}"),
                "use a llama, mistral, qwen2 or qwen3 model",
            ));
        }
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
    let kv_heads = gguf.count(&key("attention.head_count_kv"))?.unwrap_or(heads);
    let head_dim = match gguf.count(&key("attention.key_length"))? {
        Some(head_dim) => head_dim,
        None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let rule = format!("is {heads}, which does not divide the width {hidden}");
            return Err(gguf.bad(&key("attention.head_count"), rule));
        }
    };
    for other in ["attention.value_length", "rope.dimension_count"] {
        match gguf.count(&key(other))? {
            Some(found) if found != head_dim => {
                let rule = format!("is {found}, but only the head width {head_dim} is supported");
                return Err(gguf.bad(&key(other), rule));
            }
            _ => {}
        }
    }
    let vocab = embedding_rows(checkpoint)?;
    Ok(ModelConfig {
        architecture,
        vocab,
        hidden,
        layers: gguf.need_count(&key("block_count"))?,
        heads,
        kv_heads,
        head_dim,
        ffn: gguf.need_count(&key("feed_forward_length"))?,
        norm_eps: gguf.need_float(&key("attention.layer_norm_rms_epsilon"))?,
        rope: rope(checkpoint, gguf, name)?,
        context: gguf.need_count(&key("context_length"))?,
        sliding_window: gguf.count(&key("attention.sliding_window"))?.filter(|window| *window > 0),
        tied: checkpoint.tensor(OUTPUT).is_none(),
        attention_bias: has_layer_tensor(checkpoint, "self_attn.q_proj.bias"),
        qk_norm: has_layer_tensor(checkpoint, "self_attn.q_norm.weight"),
        bos: gguf.token("tokenizer.ggml.bos_token_id")?,
        eos: ends(gguf, vocab)?,
    })
}

fn rope(checkpoint: &Checkpoint, gguf: &Gguf, name: &str) -> Result<RopeConfig, LoadError> {
    let key = |suffix: &str| format!("{name}.rope.{suffix}");
    // llama.cpp's own default.
    let theta = gguf.float(&key("freq_base"))?.unwrap_or(10_000.0);
    let scaling = match gguf.string(&key("scaling.type"))? {
        Some("linear") => match gguf.float(&key("scaling.factor"))? {
            Some(factor) => RopeScaling::Linear { factor },
            None => return Err(gguf.bad(&key("scaling.factor"), "is missing from the metadata")),
        },
        None | Some("none") => match gguf.float(&key("scale_linear"))? {
            Some(factor) if factor != 1.0 => RopeScaling::Linear { factor },
            _ => RopeScaling::None,
        },
        Some(other) => {
            return Err(LoadError::unsupported(
                gguf.path(),
                format!("`{}` is {other:?}", key("scaling.type")),
                "use a model with linear or Llama 3 rope scaling",
            ));
        }
    };
    let scaling = match (checkpoint.tensor(ROPE_FREQS), scaling) {
        (None, scaling) => scaling,
        (Some(tensor), RopeScaling::None) => {
            if tensor.quant != Quant::F32 {
                let rule = format!("is stored as {}, must be f32", tensor.quant);
                return Err(LoadError::metadata(gguf.path(), ROPE_FREQS, None, rule));
            }
            let mut divisors = vec![0.0; tensor.byte_len() / 4];
            tensor.quant.decode(checkpoint.bytes(tensor), &mut divisors);
            RopeScaling::Explicit(divisors)
        }
        (Some(_), _) => {
            return Err(LoadError::unsupported(
                gguf.path(),
                format!("it has both `{ROPE_FREQS}` and linear rope scaling"),
                "convert it with one of the two",
            ));
        }
    };
    Ok(RopeConfig { theta, scaling })
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
