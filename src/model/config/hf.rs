//! The configuration in a Hugging Face directory's `config.json`.

use std::path::PathBuf;

use serde_json::Value;

use super::{
    Architecture, EMBEDDING, ModelConfig, OUTPUT, RopeConfig, RopeScaling, embedding_rows, has_layer_tensor,
};
use crate::format::json::Object;
use crate::format::{Checkpoint, LoadError, printable};

pub(super) fn read(checkpoint: &Checkpoint, json: &Value) -> Result<ModelConfig, LoadError> {
    let path: PathBuf = checkpoint.path().join("config.json");
    let config = Object::new(&path, json);
    let architecture = match config.need("model_type", config.text("model_type")?)? {
        "llama" | "mistral" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        other => {
            return Err(LoadError::unsupported(
                &path,
                format!("its model_type is \"{}\"", printable(other)),
                "use a llama, mistral, qwen2 or qwen3 model",
            ));
        }
    };
    refuse_variants(&config)?;
    if config.get("hidden_size").is_none() && config.get("text_config").is_some() {
        return Err(LoadError::unsupported(
            &path,
            "its text model is described in text_config, so it is part of a larger model",
            "use a model that reads and writes text only",
        ));
    }
    let hidden = config.need_count("hidden_size")?;
    let heads = config.need_count("num_attention_heads")?;
    let layers = config.need_count("num_hidden_layers")?;
    let kv_heads = config.count("num_key_value_heads")?.unwrap_or(heads);
    let head_dim = match config.count("head_dim")? {
        Some(head_dim) => head_dim,
        // Qwen3's default in transformers; the other families divide the width by the heads.
        None if architecture == Architecture::Qwen3 => 128,
        None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let rule = format!("is {heads}, which does not divide hidden_size {hidden}");
            return Err(config.bad("num_attention_heads", rule));
        }
    };
    let vocab = match config.count("vocab_size")? {
        Some(vocab) => vocab,
        None => embedding_rows(checkpoint)?,
    };
    Ok(ModelConfig {
        architecture,
        vocab,
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim,
        ffn: config.need_count("intermediate_size")?,
        norm_eps: config.float("rms_norm_eps")?.unwrap_or(1e-6),
        rope: rope(&config)?,
        context: config.need_count("max_position_embeddings")?,
        sliding_window: sliding_window(&config, architecture, layers)?,
        tied: config.flag("tie_word_embeddings")?.unwrap_or(false) && !has_own_head(checkpoint),
        attention_bias: has_layer_tensor(checkpoint, "self_attn.q_proj.bias"),
        qk_norm: has_layer_tensor(checkpoint, "self_attn.q_norm.weight"),
        bos: config.tokens("bos_token_id")?.first().copied(),
        eos: ends(checkpoint, &config)?,
    })
}

/// Refuses variants whose arithmetic differs from the plain architecture's.
fn refuse_variants(config: &Object) -> Result<(), LoadError> {
    let refuse =
        |what: String| Err(LoadError::unsupported(config.path(), what, "use a model without that variation"));
    match config.text("hidden_act")? {
        None | Some("silu" | "swish") => {}
        Some(other) => {
            return refuse(format!("its hidden_act is \"{}\", only silu is known", printable(other)));
        }
    }
    // Biases are used where the weights have them; a wrong type is still a mistake.
    config.flag("attention_bias")?;
    config.flag("mlp_bias")?;
    let rope = config.object("rope_parameters")?;
    let part = rope.map_or(Ok(None), |rope| rope.float("partial_rotary_factor"))?;
    match part.or(config.float("partial_rotary_factor")?) {
        None | Some(1.0) => {}
        Some(part) => return refuse(format!("it rotates only {part} of each head")),
    }
    for key in ["quantization_config", "compression_config"] {
        let Some(quantized) = config.object(key)? else { continue };
        let method = match quantized.text("quant_method")? {
            Some(method) => format!("the method {}", printable(method)),
            None => "a method that is not named".to_owned(),
        };
        return Err(LoadError::unsupported(
            config.path(),
            format!("its weights are quantized by {method} ({key})"),
            "use the unquantized model, or a gguf file",
        ));
    }
    Ok(())
}

/// Whether there is an output matrix that is not a copy of the embedding. It is used even if `config.json`
/// denies it, as in transformers 5.
fn has_own_head(checkpoint: &Checkpoint) -> bool {
    match (checkpoint.tensor(EMBEDDING), checkpoint.tensor(OUTPUT)) {
        (Some(embedding), Some(head)) => {
            let same = embedding.quant == head.quant && embedding.shape == head.shape;
            !same || checkpoint.bytes(embedding) != checkpoint.bytes(head)
        }
        // One that cannot be read is refused by name later.
        _ => checkpoint.has_tensor(OUTPUT),
    }
}

/// Rope from `rope_parameters` (transformers 5), or from `rope_theta` and `rope_scaling` (before).
fn rope(config: &Object) -> Result<RopeConfig, LoadError> {
    let parameters = match (config.object("rope_parameters")?, config.object("rope_scaling")?) {
        (Some(_), Some(_)) if config.get("rope_parameters") != config.get("rope_scaling") => {
            return Err(config.bad("rope_scaling", "differs from `rope_parameters`: keep one of the two"));
        }
        (parameters, scaling) => parameters.or(scaling),
    };
    let plain = config.float("rope_theta")?;
    let Some(parameters) = parameters else {
        let theta = plain.unwrap_or(10_000.0);
        return Ok(RopeConfig { theta, scaling: RopeScaling::None });
    };
    let theta = parameters.float("rope_theta")?.or(plain).unwrap_or(10_000.0);
    // `type` is the older name of `rope_type`.
    let kind = match parameters.text("rope_type")? {
        Some(kind) => Some(kind),
        None => parameters.text("type")?,
    };
    let need = |key: &str| parameters.need(key, parameters.float(key)?);
    let scaling = match kind {
        Some("default") => RopeScaling::None,
        // A base alone needs no type; other parameters would be ignored without one.
        None if parameters.keys().all(|key| key == "rope_theta") => RopeScaling::None,
        None => return Err(parameters.bad("rope_type", "is missing")),
        Some("linear") => RopeScaling::Linear { factor: need("factor")? },
        Some("llama3") => RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_context: parameters.need_count("original_max_position_embeddings")?,
        },
        Some(other) => {
            return Err(LoadError::unsupported(
                config.path(),
                format!("its rope scaling is \"{}\"", printable(other)),
                "use a model with linear or Llama 3 rope scaling",
            ));
        }
    };
    Ok(RopeConfig { theta, scaling })
}

/// The window of every layer; models whose layers differ are refused.
fn sliding_window(
    config: &Object,
    architecture: Architecture,
    layers: usize,
) -> Result<Option<usize>, LoadError> {
    let Some(window) = config.count("sliding_window")? else {
        return Ok(None);
    };
    let qwen = architecture != Architecture::Llama;
    if qwen && config.flag("use_sliding_window")? != Some(true) {
        return Ok(None);
    }
    let sliding = match config.typed("layer_types", "a list", Value::as_array)? {
        Some(types) => types.iter().filter(|kind| **kind == "sliding_attention").count(),
        // Qwen uses the window from layer max_window_layers on, 28 by transformers' default.
        None if qwen => layers.saturating_sub(config.count("max_window_layers")?.unwrap_or(28)),
        None => layers,
    };
    match sliding {
        0 => Ok(None),
        all if all == layers => Ok(Some(window)),
        some => Err(LoadError::unsupported(
            config.path(),
            format!("{some} of its {layers} layers have a sliding window"),
            "use a model with one kind of attention",
        )),
    }
}

/// The end tokens of `config.json` and of `generation_config.json`.
fn ends(checkpoint: &Checkpoint, config: &Object) -> Result<Vec<u32>, LoadError> {
    let mut ends = config.tokens("eos_token_id")?;
    const GENERATION: &str = "generation_config.json";
    if let Some(json) = checkpoint.json_beside(GENERATION)? {
        let path = checkpoint.path().join(GENERATION);
        let generation = Object::new(&path, &json);
        for id in generation.tokens("eos_token_id")? {
            if !ends.contains(&id) {
                ends.push(id);
            }
        }
    }
    Ok(ends)
}
