//! The configuration in a Hugging Face directory's `config.json`.

use std::path::PathBuf;

use serde_json::Value;

use super::architecture::{LOCAL_THETA, NO_ROPE_EVERY};
use super::{
    Architecture, EMBEDDING, LayerConfig, ModelConfig, OUTPUT, RopeConfig, RopeScaling, check_layers,
    embedding_rows, lfm2, plain_layer,
};
use crate::format::json::Object;
use crate::format::{Checkpoint, LoadError, printable};
use crate::ops::LogitCap;

pub(super) fn read(checkpoint: &Checkpoint, json: &Value) -> Result<ModelConfig, LoadError> {
    let path: PathBuf = checkpoint.path().join("config.json");
    let whole = Object::new(&path, json);
    let model_type = whole.need("model_type", whole.text("model_type")?)?;
    let Some(architecture) = Architecture::of_hf(model_type) else {
        let what = format!("its model_type is \"{}\"", printable(model_type));
        return Err(LoadError::unsupported(&path, what, Architecture::advice()));
    };
    // The text part of a model that also reads pictures.
    let config = match whole.object("text_config")? {
        Some(text) if architecture == Architecture::Gemma3 => text,
        Some(_) if whole.get("hidden_size").is_none() => {
            return Err(LoadError::unsupported(
                &path,
                "its text model is described in text_config, so it is part of a larger model",
                "use a model that reads and writes text only",
            ));
        }
        _ => whole,
    };
    refuse_variants(&config, architecture)?;
    let hidden = config.need_count("hidden_size")?;
    let heads = config.need_count("num_attention_heads")?;
    let n_layers = config.need_count("num_hidden_layers")?;
    check_layers(&path, n_layers)?;
    let gemma = matches!(architecture, Architecture::Gemma2 | Architecture::Gemma3);
    let kv_heads = match config.count("num_key_value_heads")? {
        Some(kv_heads) => kv_heads,
        // The defaults of transformers.
        None if gemma || architecture == Architecture::SmolLm3 => 4,
        None if architecture == Architecture::Lfm2 => 8,
        None => heads,
    };
    let head_dim = match config.count("head_dim")? {
        Some(head_dim) => head_dim,
        None if architecture == Architecture::Qwen3 => 128,
        None if gemma => 256,
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
    let context = match config.count("max_position_embeddings")? {
        None if architecture == Architecture::Gemma3 => 131_072,
        None if architecture == Architecture::Gemma2 => 8192,
        found => config.need("max_position_embeddings", found)?,
    };
    let (eps_key, norm_eps) = match architecture {
        Architecture::Lfm2 => ("norm_eps", 1e-5),
        Architecture::Olmo2 | Architecture::Phi3 => ("rms_norm_eps", 1e-5),
        _ => ("rms_norm_eps", 1e-6),
    };
    let granite = |key: &str| -> Result<f32, LoadError> {
        Ok(if architecture == Architecture::Granite { config.float(key)?.unwrap_or(1.0) } else { 1.0 })
    };
    Ok(ModelConfig {
        architecture,
        vocab,
        hidden,
        layers: layers(checkpoint, &config, architecture, (n_layers, head_dim, context))?,
        heads,
        kv_heads,
        head_dim,
        ffn: match architecture {
            Architecture::Lfm2 => lfm2::ffn(&config)?,
            _ => config.need_count("intermediate_size")?,
        },
        norm_eps: config.float(eps_key)?.unwrap_or(norm_eps),
        embedding_scale: granite("embedding_multiplier")? * architecture.embedding_scale(hidden),
        residual_scale: granite("residual_multiplier")?,
        logit_cap: LogitCap {
            scale: 1.0 / granite("logits_scaling")?,
            cap: cap(&config, "final_logit_softcapping", architecture, 30.0)?,
        },
        context,
        tied: match architecture {
            Architecture::Lfm2 => lfm2::tied(&config)?,
            _ => {
                let tied = config.flag("tie_word_embeddings")?;
                tied.unwrap_or(gemma || architecture == Architecture::SmolLm3)
            }
        } && !has_own_head(checkpoint),
        bos: config.tokens("bos_token_id")?.first().copied(),
        eos: ends(checkpoint, &config)?,
    })
}

/// Every layer of the model, first to last.
fn layers(
    checkpoint: &Checkpoint,
    config: &Object,
    architecture: Architecture,
    (n_layers, head_dim, context): (usize, usize, usize),
) -> Result<Vec<LayerConfig>, LoadError> {
    let [global, local] = ropes(config, architecture, (head_dim, context))?;
    let convs = match architecture {
        Architecture::Lfm2 => lfm2::convs(config, n_layers)?,
        _ => vec![None; n_layers],
    };
    let first = convs.iter().position(Option::is_none).unwrap_or(0);
    let mut plain = plain_layer(checkpoint, architecture, head_dim, &global, first);
    plain.attention_cap = cap(config, "attn_logit_softcapping", architecture, 50.0)?;
    match architecture {
        Architecture::Gemma2 | Architecture::Gemma3 => {
            let width = config.float("query_pre_attn_scalar")?.unwrap_or(256.0);
            plain.attention_scale = 1.0 / width.sqrt();
        }
        Architecture::Granite => {
            plain.attention_scale = config.float("attention_multiplier")?.unwrap_or(1.0);
        }
        _ => {}
    }
    let windows = windows(config, architecture, n_layers)?;
    let turned = match architecture {
        Architecture::SmolLm3 => turned(config, n_layers)?,
        _ => vec![true; n_layers],
    };
    let of_layer = |((window, turned), conv): ((Option<usize>, bool), Option<usize>)| {
        let rope = if window.is_some() { &local } else { &global };
        LayerConfig { conv, window, rope: turned.then(|| rope.clone()), ..plain.clone() }
    };
    Ok(windows.into_iter().zip(turned).zip(convs).map(of_layer).collect())
}

/// A soft cap of Gemma's. Only Gemma 2 has one by default.
fn cap(
    config: &Object,
    key: &str,
    architecture: Architecture,
    default: f32,
) -> Result<Option<f32>, LoadError> {
    match architecture {
        Architecture::Gemma2 if !config.has(key) => Ok(Some(default)),
        Architecture::Gemma2 | Architecture::Gemma3 => config.float(key),
        _ => Ok(None),
    }
}

/// Whether each layer rotates queries and keys: 1 in SmolLM3's `no_rope_layers`.
fn turned(config: &Object, n_layers: usize) -> Result<Vec<bool>, LoadError> {
    let list = |value: &Value| {
        let flags = value.as_array()?.iter().map(Value::as_u64);
        flags.map(|flag| flag.filter(|flag| *flag <= 1).map(|flag| flag == 1)).collect::<Option<Vec<bool>>>()
    };
    if let Some(mut turned) = config.typed("no_rope_layers", "a list of 0 and 1", list)? {
        if turned.len() < n_layers {
            let rule = format!("has {} values, expected {n_layers}", turned.len());
            return Err(config.bad("no_rope_layers", rule));
        }
        turned.truncate(n_layers);
        return Ok(turned);
    }
    let every = config.count("no_rope_layer_interval")?.unwrap_or(NO_ROPE_EVERY).max(1);
    Ok((1..=n_layers).map(|number| !number.is_multiple_of(every)).collect())
}

/// Refuses variants whose arithmetic differs from the architecture's.
fn refuse_variants(config: &Object, architecture: Architecture) -> Result<(), LoadError> {
    let refuse =
        |what: String| Err(LoadError::unsupported(config.path(), what, "use a model without that variation"));
    let gelu = architecture.gate() == crate::ops::Gate::Gelu;
    let (key, known): (_, &[&str]) =
        if gelu { ("hidden_activation", &["gelu_pytorch_tanh"]) } else { ("hidden_act", &["silu", "swish"]) };
    if let Some(other) = config.text(key)?.filter(|other| !known.contains(other)) {
        return refuse(format!("its {key} is \"{}\", only {} is known", printable(other), known[0]));
    }
    // Biases are used where the weights have them; a wrong type is still a mistake.
    config.flag("attention_bias")?;
    config.flag("mlp_bias")?;
    if config.flag("use_bidirectional_attention")? == Some(true) {
        return refuse("it attends to later tokens (use_bidirectional_attention)".to_owned());
    }
    if let Some(Value::Number(beta)) =
        config.object("rope_parameters")?.and_then(|rope| rope.get("llama_4_scaling_beta"))
    {
        return refuse(format!("its queries grow with their position (llama_4_scaling_beta is {beta})"));
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

/// Rope of layers without and with a sliding window: from `rope_parameters` (transformers 5), or from `rope_theta` and
/// `rope_scaling` (before). Newer files have an object for each kind of layer.
fn ropes(
    config: &Object,
    architecture: Architecture,
    (head_dim, context): (usize, usize),
) -> Result<[RopeConfig; 2], LoadError> {
    let parameters = match (config.object("rope_parameters")?, config.object("rope_scaling")?) {
        (Some(_), Some(_)) if config.get("rope_parameters") != config.get("rope_scaling") => {
            return Err(config.bad("rope_scaling", "differs from `rope_parameters`: keep one of the two"));
        }
        (parameters, scaling) => parameters.or(scaling),
    };
    let plain = config.float("rope_theta")?;
    let (global_theta, local_theta) = match architecture {
        Architecture::Gemma3 => {
            let local = config.float("rope_local_base_freq")?;
            (plain.unwrap_or(1_000_000.0), local.unwrap_or(LOCAL_THETA))
        }
        Architecture::SmolLm3 => (plain.unwrap_or(2_000_000.0), plain.unwrap_or(2_000_000.0)),
        Architecture::Lfm2 => {
            // The older name.
            let plain = plain.or(config.float("theta")?).unwrap_or(1_000_000.0);
            (plain, plain)
        }
        Architecture::Olmo2 if config.text("model_type")? == Some("olmo3") => {
            (plain.unwrap_or(500_000.0), plain.unwrap_or(500_000.0))
        }
        _ => (plain.unwrap_or(10_000.0), plain.unwrap_or(10_000.0)),
    };
    let by_kind = |kind: &str| match &parameters {
        Some(parameters) if architecture.slides_unscaled() => parameters.object(kind),
        _ => Ok(None),
    };
    let (full, sliding) = (by_kind("full_attention")?, by_kind("sliding_attention")?);
    let whole = architecture != Architecture::Phi3;
    let read = |parameters: Option<&Object>, theta: f32| {
        let rope = rope(config, parameters, theta, (head_dim, context))?;
        if whole && rope.rotary != head_dim {
            let part = rope.rotary as f64 / head_dim as f64;
            let what = format!("it rotates only {part} of each head");
            return Err(LoadError::unsupported(config.path(), what, "use a model without that variation"));
        }
        Ok(rope)
    };
    if full.is_some() || sliding.is_some() {
        return Ok([read(full.as_ref(), global_theta)?, read(sliding.as_ref(), local_theta)?]);
    }
    let global = read(parameters.as_ref(), global_theta)?;
    let local = if architecture.slides_unscaled() { read(None, local_theta)? } else { global.clone() };
    Ok([global, local])
}

/// Rope from one object of parameters.
fn rope(
    config: &Object,
    parameters: Option<&Object>,
    theta: f32,
    (head_dim, context): (usize, usize),
) -> Result<RopeConfig, LoadError> {
    let part =
        match parameters.map(|parameters| parameters.float("partial_rotary_factor")).transpose()?.flatten() {
            None => config.float("partial_rotary_factor")?,
            part => part,
        };
    let rotary = (head_dim as f64 * f64::from(part.unwrap_or(1.0))) as usize;
    let Some(parameters) = parameters else {
        return Ok(RopeConfig { theta, rotary, scaling: RopeScaling::None });
    };
    let theta = parameters.float("rope_theta")?.unwrap_or(theta);
    // `type` is the older name of `rope_type`.
    let kind = match parameters.text("rope_type")? {
        Some(kind) => Some(kind),
        None => parameters.text("type")?,
    };
    let need = |key: &str| parameters.need(key, parameters.float(key)?);
    const ORIGINAL: &str = "original_max_position_embeddings";
    let original = || -> Result<usize, LoadError> {
        Ok(match parameters.count(ORIGINAL)? {
            Some(original) => original,
            None => config.count(ORIGINAL)?.unwrap_or(context),
        })
    };
    // A factor that is not given is that of the two contexts.
    let longer = |original: usize| -> Result<f32, LoadError> {
        Ok(parameters.float("factor")?.unwrap_or(context as f32 / original.max(1) as f32))
    };
    let scaling = match kind {
        Some("default") => RopeScaling::None,
        // A base alone needs no type; other parameters would be ignored without one.
        None if parameters
            .keys()
            .all(|key| ["rope_theta", "partial_rotary_factor"].contains(&key.as_str())) =>
        {
            RopeScaling::None
        }
        None => return Err(parameters.bad("rope_type", "is missing")),
        Some("linear") => RopeScaling::Linear { factor: need("factor")? },
        Some("dynamic") => RopeScaling::Dynamic { factor: need("factor")?, original_context: context },
        Some("llama3") => RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_context: parameters.need_count(ORIGINAL)?,
        },
        Some("longrope" | "su") => {
            let list = |key: &str| -> Result<Vec<f32>, LoadError> {
                let numbers = |value: &Value| {
                    let numbers = value.as_array()?.iter();
                    numbers.map(|number| Some(number.as_f64()? as f32)).collect::<Option<Vec<f32>>>()
                };
                parameters.need(key, parameters.typed(key, "a list of numbers", numbers)?)
            };
            let original_context = original()?;
            let attention_factor = match parameters.float("attention_factor")? {
                Some(factor) => factor,
                None => RopeConfig::long_magnitude(longer(original_context)?, original_context),
            };
            let (short, long) = (list("short_factor")?, list("long_factor")?);
            RopeScaling::LongRope { short, long, original_context, attention_factor }
        }
        Some("yarn") => {
            let original_context = original()?;
            let factor = need("factor")?;
            let (mscale, all) = (parameters.float("mscale")?, parameters.float("mscale_all_dim")?);
            let magnitude = |mscale: f32| RopeConfig::yarn_magnitude(factor, mscale);
            let attention_factor = match (parameters.float("attention_factor")?, mscale, all) {
                (Some(factor), ..) => factor,
                (None, Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => {
                    magnitude(mscale) / magnitude(all)
                }
                _ => magnitude(1.0),
            };
            RopeScaling::Yarn {
                factor,
                beta_fast: parameters.float("beta_fast")?.unwrap_or(32.0),
                beta_slow: parameters.float("beta_slow")?.unwrap_or(1.0),
                original_context,
                attention_factor,
                truncate: parameters.flag("truncate")?.unwrap_or(true),
            }
        }
        Some(other) => {
            return Err(LoadError::unsupported(
                config.path(),
                format!("its rope scaling is \"{}\"", printable(other)),
                "use a model with linear, dynamic, yarn, longrope or Llama 3 rope scaling",
            ));
        }
    };
    Ok(RopeConfig { theta, rotary, scaling })
}

/// The window of each layer.
fn windows(
    config: &Object,
    architecture: Architecture,
    n_layers: usize,
) -> Result<Vec<Option<usize>>, LoadError> {
    let default = match architecture {
        Architecture::Gemma2 | Architecture::Gemma3 if !config.has("sliding_window") => Some(4096),
        _ => None,
    };
    let Some(window) = config.count("sliding_window")?.or(default) else { return Ok(vec![None; n_layers]) };
    let by_flag = [Architecture::Qwen2, Architecture::Qwen3, Architecture::SmolLm3].contains(&architecture);
    if by_flag && config.flag("use_sliding_window")? != Some(true) {
        return Ok(vec![None; n_layers]);
    }
    let kinds = config.typed("layer_types", "a list of names", |value| {
        value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<&str>>>()
    })?;
    if let Some(kinds) = &kinds {
        if kinds.len() < n_layers {
            return Err(config.bad("layer_types", format!("has {} names, expected {n_layers}", kinds.len())));
        }
        if let Some(other) = kinds.iter().find(|kind| !["sliding_attention", "full_attention"].contains(kind))
        {
            return Err(LoadError::unsupported(
                config.path(),
                format!("one of its layers is \"{}\"", printable(other)),
                "use a model whose layers are sliding_attention or full_attention",
            ));
        }
    }
    // Qwen uses the window from layer max_window_layers on, 28 by transformers' default.
    let first = match architecture {
        Architecture::Qwen2 | Architecture::Qwen3 => config.count("max_window_layers")?.unwrap_or(28),
        _ => 0,
    };
    // Older files of Gemma 3.
    let every = config.count("sliding_window_pattern")?.filter(|_| architecture == Architecture::Gemma3);
    let slides = |layer: usize| match (&kinds, every) {
        (Some(kinds), _) => kinds[layer] == "sliding_attention",
        (None, Some(every)) if every > 0 => !(layer + 1).is_multiple_of(every),
        // SmolLM3 has it where it has no positions; all such models list the kinds.
        _ => layer >= first && architecture.slides(layer) && architecture != Architecture::SmolLm3,
    };
    Ok((0..n_layers).map(|layer| Some(window).filter(|_| slides(layer))).collect())
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
