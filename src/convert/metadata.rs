//! The model's numbers, under llama.cpp's keys.

use super::ConvertError;
use crate::format::Checkpoint;
use crate::format::gguf::{Array, GgufWriter, Value};
use crate::model::ModelConfig;
use crate::model::config::{Architecture, BIASED_CONV, LayerConfig, RopeConfig, RopeScaling};
use crate::ops::AttentionShape;

/// Tensors that the metadata needs: divisors of rotary frequencies.
pub(super) type Extra = Vec<(&'static str, Vec<f32>)>;

/// Writes the metadata of `config`, except the tokenizer's. Returns the tensors that belong to it.
pub(super) fn write(
    writer: &mut GgufWriter,
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    name: Option<&str>,
) -> Result<Extra, ConvertError> {
    let architecture = config.architecture.name();
    let folder = checkpoint.path().canonicalize().ok();
    let folder = folder.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    writer.set("general.architecture", Value::String(architecture.to_owned()));
    writer.set("general.type", Value::String("model".to_owned()));
    if let Some(name) = name.or(folder) {
        writer.set("general.name", Value::String(name.to_owned()));
    }
    let mut count = |key: &str, value: usize| {
        // Every count was checked against bounds far below 2^32.
        writer.set(&format!("{architecture}.{key}"), Value::U32(value as u32));
    };
    count("block_count", config.layers.len());
    count("context_length", config.context);
    count("embedding_length", config.hidden);
    count("feed_forward_length", config.ffn);
    count("attention.head_count", config.heads);
    if config.has_conv() {
        count("shortconv.l_cache", config.layers.iter().find_map(|layer| layer.conv).unwrap_or(0));
    } else {
        count("attention.head_count_kv", config.kv_heads);
    }
    count("attention.key_length", config.head_dim);
    count("attention.value_length", config.head_dim);
    count("vocab_size", config.vocab);
    if config.has_conv() {
        // 0 for layers that have a convolution in place of attention.
        let kv_heads = |layer: &LayerConfig| if layer.has_attention() { config.kv_heads as i32 } else { 0 };
        let list = config.layers.iter().map(kv_heads).collect();
        writer.set(&format!("{architecture}.attention.head_count_kv"), Value::Array(Array::I32(list)));
    }
    let mut float = |key: &str, value: f32| writer.set(&format!("{architecture}.{key}"), Value::F32(value));
    float("attention.layer_norm_rms_epsilon", config.norm_eps);
    let first = &config.layers[0];
    match config.architecture {
        Architecture::Granite => {
            float("embedding_scale", config.embedding_scale);
            float("residual_scale", config.residual_scale);
            float("attention.scale", first.attention_scale);
            float("logit_scale", 1.0 / config.logit_cap.scale);
        }
        Architecture::Gemma2 | Architecture::Gemma3 => {
            if let Some(cap) = first.attention_cap {
                float("attn_logit_softcapping", cap);
            }
            if let Some(cap) = config.logit_cap.cap {
                float("final_logit_softcapping", cap);
            }
        }
        _ => {}
    }
    check(checkpoint, config)?;
    windows(writer, config, architecture);
    rope(writer, checkpoint, config, architecture)
}

/// Refuses models whose layers differ in a way that no key expresses.
fn check(checkpoint: &Checkpoint, config: &ModelConfig) -> Result<(), ConvertError> {
    let refuse =
        |what: &str| Err(ConvertError::no_place(checkpoint.path(), what, "keep using the directory"));
    let scale = AttentionShape::usual_scale(config.head_dim);
    let usual = config.layers.iter().all(|layer| (layer.attention_scale / scale - 1.0).abs() < 1e-6);
    if !usual && config.architecture != Architecture::Granite {
        return refuse("its attention scale is not that of its heads' width, and GGUF has no key for that");
    }
    let silent = |at: usize| config.architecture == Architecture::SmolLm3 && (at + 1).is_multiple_of(4);
    if config.layers.iter().enumerate().any(|(at, layer)| layer.rope.is_none() != silent(at)) {
        return refuse("other layers than every fourth are without positions, and GGUF has no key for that");
    }
    let mut biases = (0..config.layers.len())
        .flat_map(|layer| BIASED_CONV.map(|part| format!("model.layers.{layer}.{part}.bias")));
    if biases.any(|name| checkpoint.has_tensor(&name)) {
        return refuse("its convolutions have biases, and GGUF has no place for them");
    }
    Ok(())
}

fn windows(writer: &mut GgufWriter, config: &ModelConfig, architecture: &str) {
    let Some(window) = config.layers.iter().find_map(|layer| layer.window) else { return };
    writer.set(&format!("{architecture}.attention.sliding_window"), Value::U32(window as u32));
    let slides: Vec<bool> = config.layers.iter().map(|layer| layer.window.is_some()).collect();
    if slides.contains(&false) {
        writer.set(
            &format!("{architecture}.attention.sliding_window_pattern"),
            Value::Array(Array::Bool(slides)),
        );
    }
}

/// The rotation of layers without a window, and that of the others if it differs.
fn rope(
    writer: &mut GgufWriter,
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    architecture: &str,
) -> Result<Extra, ConvertError> {
    let refuse =
        |what: &str| Err(ConvertError::no_place(checkpoint.path(), what, "keep using the directory"));
    let of = |windowed: bool| {
        let mut layers = config.layers.iter().filter(|layer| layer.window.is_some() == windowed);
        layers.find_map(|layer| layer.rope.as_ref())
    };
    let Some(global) = of(false).or(of(true)) else { return refuse("no layer has positions") };
    let key = |name: &str| format!("{architecture}.rope.{name}");
    writer.set(&key("dimension_count"), Value::U32(global.rotary as u32));
    writer.set(&key("freq_base"), Value::F32(global.theta));
    if let Some(local) = of(true).filter(|local| *local != global) {
        if local.scaling != RopeScaling::None || local.rotary != global.rotary {
            return refuse(
                "layers with a window have a rope scaling of their own, and GGUF has no key for that",
            );
        }
        writer.set(&key("freq_base_swa"), Value::F32(local.theta));
    }
    let text = |writer: &mut GgufWriter, name: &str, value: &str| {
        writer.set(&key(name), Value::String(value.to_owned()));
    };
    match &global.scaling {
        RopeScaling::None => Ok(Vec::new()),
        RopeScaling::Linear { factor } => {
            text(writer, "scaling.type", "linear");
            writer.set(&key("scaling.factor"), Value::F32(*factor));
            Ok(Vec::new())
        }
        RopeScaling::Yarn {
            factor,
            beta_fast,
            beta_slow,
            original_context,
            attention_factor,
            truncate: true,
        } => {
            text(writer, "scaling.type", "yarn");
            writer.set(&key("scaling.factor"), Value::F32(*factor));
            writer.set(&key("scaling.original_context_length"), Value::U32(*original_context as u32));
            writer.set(&key("scaling.yarn_beta_fast"), Value::F32(*beta_fast));
            writer.set(&key("scaling.yarn_beta_slow"), Value::F32(*beta_slow));
            let plain = RopeConfig::yarn_magnitude(*factor, 1.0);
            writer.set(&key("scaling.attn_factor"), Value::F32(attention_factor / plain));
            Ok(Vec::new())
        }
        RopeScaling::LongRope { short, long, original_context, attention_factor } => {
            writer.set(&key("scaling.original_context_length"), Value::U32(*original_context as u32));
            writer.set(&key("scaling.attn_factor"), Value::F32(*attention_factor));
            let [short_name, long_name] = crate::model::config::ROPE_FACTORS;
            Ok(vec![(short_name, short.clone()), (long_name, long.clone())])
        }
        RopeScaling::Llama3 { .. } => {
            let plain = RopeConfig { scaling: RopeScaling::None, ..global.clone() };
            let pairs = plain.inverse_frequencies(1).into_iter().zip(global.inverse_frequencies(1));
            Ok(vec![(
                crate::model::config::ROPE_FREQS,
                pairs.map(|(plain, scaled)| plain / scaled).collect(),
            )])
        }
        RopeScaling::Explicit(divisors) => Ok(vec![(crate::model::config::ROPE_FREQS, divisors.clone())]),
        RopeScaling::Yarn { .. } => {
            refuse("its YaRN is not rounded to whole pairs, and GGUF has no key for that")
        }
        RopeScaling::Dynamic { .. } => refuse("its rope scaling is dynamic, and GGUF has no key for that"),
    }
}
