//! Shapes of well-known models, for runs on random weights.

use parr::model::config::{Architecture, LayerConfig, ModelConfig, RopeConfig, RopeScaling};
use parr::ops::LogitCap;

/// Names that `--random` accepts: SmolLM2's, then Llama-3.2's, then Llama-3.1's.
const NAMES: [&str; 5] = ["135m", "360m", "1b", "3b", "8b"];

/// A well-known model without its weights.
#[derive(Clone)]
pub(super) struct Shape {
    pub name: String,
    pub config: ModelConfig,
}

/// Returns the shape with this name.
///
/// # Errors
///
/// A message that lists the names.
pub(super) fn shape(name: &str) -> Result<Shape, String> {
    // vocab, hidden, layers, heads, kv_heads, head_dim, ffn, tied
    let (vocab, hidden, layers, heads, kv_heads, head_dim, ffn, tied) = match name {
        "135m" => (49152, 576, 30, 9, 3, 64, 1536, true),
        "360m" => (49152, 960, 32, 15, 5, 64, 2560, true),
        "1b" => (128_256, 2048, 16, 32, 8, 64, 8192, true),
        "3b" => (128_256, 3072, 28, 24, 8, 128, 8192, true),
        "8b" => (128_256, 4096, 32, 32, 8, 128, 14336, false),
        _ => return Err(format!("unknown shape, expected one of {}", NAMES.join(" "))),
    };
    let rope = RopeConfig { theta: 500_000.0, rotary: head_dim, scaling: RopeScaling::None };
    let config = ModelConfig {
        architecture: Architecture::Llama,
        vocab,
        hidden,
        layers: vec![LayerConfig::llama(head_dim, rope); layers],
        heads,
        kv_heads,
        head_dim,
        ffn,
        norm_eps: 1e-5,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_cap: LogitCap::NONE,
        context: 8192,
        tied,
        bos: None,
        eos: Vec::new(),
    };
    Ok(Shape { name: name.to_owned(), config })
}

/// Number of weights in the matrices that multiply each token of prefill, in all layers.
pub(super) fn block_weights(config: &ModelConfig) -> u64 {
    let attention = config.hidden * config.head_dim * 2 * (config.heads + config.kv_heads);
    let mlp = 3 * config.hidden * config.ffn;
    (config.layers.len() * (attention + mlp)) as u64
}

/// Number of weights in the output matrix, which multiplies only tokens that are followed by sampling.
pub(super) fn head_weights(config: &ModelConfig) -> u64 {
    (config.vocab * config.hidden) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_shape_has_about_the_size_of_its_name() {
        for (name, million) in NAMES.iter().zip([135.0, 360.0, 1236.0, 3213.0, 8030.0]) {
            let config = shape(name).expect("a listed shape").config;
            let tables = if config.tied { 1 } else { 2 };
            let weights = block_weights(&config) + tables * head_weights(&config);
            let ratio = weights as f64 / (million * 1e6);
            assert!((0.98..1.02).contains(&ratio), "{name} has {weights} weights");
        }
        assert!(shape("7t").map(|_| ()).expect_err("no such shape").contains("135m"));
    }
}
