//! The configuration in a GGUF file's metadata.

use super::{
    Architecture, ModelConfig, OUTPUT, ROPE_FREQS, RopeConfig, RopeScaling, embedding_rows, has_layer_tensor,
};
use crate::format::gguf::{Array, Gguf, Value};
use crate::format::{Checkpoint, LoadError, printable};
use crate::quant::Quant;

/// Factors that other architectures apply, and that these do not: 0 and 1 change nothing.
const FACTORS: [&str; 8] = [
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "rope.scaling.attn_factor",
];

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
                format!("its architecture is \"{}\"", printable(other)),
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
    refuse_variants(gguf, &key)?;
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
        tied: !checkpoint.has_tensor(OUTPUT),
        attention_bias: has_layer_tensor(checkpoint, "self_attn.q_proj.bias"),
        qk_norm: has_layer_tensor(checkpoint, "self_attn.q_norm.weight"),
        bos: gguf.token("tokenizer.ggml.bos_token_id")?,
        eos: ends(gguf, vocab)?,
    })
}

/// Refuses values whose arithmetic differs from the plain architecture's.
fn refuse_variants(gguf: &Gguf, key: &dyn Fn(&str) -> String) -> Result<(), LoadError> {
    let refuse =
        |what: String| Err(LoadError::unsupported(gguf.path(), what, "use a model without that variation"));
    for factor in FACTORS {
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

fn rope(checkpoint: &Checkpoint, gguf: &Gguf, name: &str) -> Result<RopeConfig, LoadError> {
    let key = |suffix: &str| format!("{name}.rope.{suffix}");
    // llama.cpp's own default.
    let theta = gguf.float(&key("freq_base"))?.unwrap_or(10_000.0);
    // The older key of the same factor.
    let factor = match gguf.float(&key("scaling.factor"))? {
        Some(factor) => Some(factor),
        None => gguf.float(&key("scale_linear"))?,
    };
    let scaling = match (gguf.string(&key("scaling.type"))?, factor) {
        // A factor without a type is linear, as in llama.cpp, where 0 stands for none.
        (None, None | Some(0.0 | 1.0)) => RopeScaling::None,
        (None | Some("linear"), Some(factor)) => RopeScaling::Linear { factor },
        (Some("linear"), None) => {
            return Err(gguf.bad(&key("scaling.factor"), "is missing from the metadata"));
        }
        (Some("none"), _) => RopeScaling::None,
        (Some(other), _) => {
            return Err(LoadError::unsupported(
                gguf.path(),
                format!("`{}` is \"{}\"", key("scaling.type"), printable(other)),
                "use a model with linear or Llama 3 rope scaling",
            ));
        }
    };
    let freqs = match checkpoint.tensor(ROPE_FREQS) {
        // An error for any shape: it cannot be read.
        None if checkpoint.has_tensor(ROPE_FREQS) => Some(checkpoint.need_tensor(ROPE_FREQS, &[])?),
        freqs => freqs,
    };
    let scaling = match (freqs, scaling) {
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
