//! The matrix products of a model, without its weights.

use super::config::{BIASED_CONV, ModelConfig};
use super::random::random_as;
use super::weights::loaded_as;
use crate::format::Checkpoint;
use crate::quant::Quant;

/// The products `x W^T` with weights of one format and shape in one pass of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Format of the weights.
    pub quant: Quant,
    /// Rows of the weights.
    pub outputs: usize,
    /// Columns of the weights.
    pub inputs: usize,
    /// Number of such products in one pass.
    pub count: usize,
}

impl Product {
    /// Number of weights that all of them read.
    pub fn weights(&self) -> usize {
        self.outputs.saturating_mul(self.inputs).saturating_mul(self.count)
    }

    /// The products of the model of a checkpoint, those that read most weights first. `quant` is the format for
    /// unquantized weights, as in [`LoadOptions`](super::LoadOptions).
    pub fn of_checkpoint(
        checkpoint: &Checkpoint,
        config: &ModelConfig,
        quant: Option<Quant>,
    ) -> Vec<Product> {
        Self::of_config(config, |name, cols| Some(loaded_as(checkpoint.tensor(name)?.quant, quant, cols)))
    }

    /// The same for a model with all weights in one format.
    pub fn of_random(config: &ModelConfig, quant: Quant) -> Vec<Product> {
        Self::of_config(config, |_, cols| Some(random_as(quant, cols)))
    }

    fn of_config(config: &ModelConfig, quant_of: impl Fn(&str, usize) -> Option<Quant>) -> Vec<Product> {
        let mut products: Vec<Product> = Vec::new();
        let mut add = |parts: &[(String, usize)], inputs: usize| {
            let formats =
                parts.iter().map(|(name, outputs)| (quant_of(&format!("{name}.weight"), inputs), *outputs));
            let known: Vec<(Quant, usize)> =
                formats.filter_map(|(quant, outputs)| Some((quant?, outputs))).collect();
            // Parts of one format are one product.
            for run in known.chunk_by(|above, below| above.0 == below.0) {
                let (quant, outputs) = (run[0].0, run.iter().map(|(_, outputs)| outputs).sum());
                let same = |product: &&mut Product| {
                    (product.quant, product.outputs, product.inputs) == (quant, outputs, inputs)
                };
                match products.iter_mut().find(same) {
                    Some(product) => product.count += 1,
                    None => products.push(Product { quant, outputs, inputs, count: 1 }),
                }
            }
        };
        let hidden = config.hidden;
        let (q_width, kv_width) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        for (index, layer) in config.layers.iter().enumerate() {
            let name = |part: &str| format!("model.layers.{index}.{part}");
            if layer.conv.is_some() {
                let [input, _, output] = BIASED_CONV.map(name);
                add(&[(input, 3 * hidden)], hidden);
                add(&[(output, hidden)], hidden);
            } else {
                let [q, k, v, o] = ["q", "k", "v", "o"].map(|part| name(&format!("self_attn.{part}_proj")));
                add(&[(q, q_width), (k, kv_width), (v, kv_width)], hidden);
                add(&[(o, hidden)], q_width);
            }
            let [gate, up, down] = ["gate", "up", "down"].map(|part| name(&format!("mlp.{part}_proj")));
            add(&[(gate, config.ffn), (up, config.ffn)], hidden);
            add(&[(down, hidden)], config.ffn);
        }
        // The embedding is the head, too, if it is tied.
        let head = if config.tied { "model.embed_tokens" } else { "lm_head" };
        add(&[(head.to_owned(), config.vocab)], hidden);
        products.sort_by_key(|product| std::cmp::Reverse(product.weights()));
        products
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{Architecture, LayerConfig, RopeConfig, RopeScaling};
    use crate::ops::LogitCap;

    #[test]
    fn joined_matrices_of_one_format_are_one_product() {
        let rope = RopeConfig { theta: 10_000.0, rotary: 16, scaling: RopeScaling::None };
        let layers = 3;
        let config = ModelConfig {
            architecture: Architecture::Llama,
            vocab: 500,
            hidden: 64,
            layers: vec![LayerConfig::llama(16, rope); layers],
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            ffn: 96,
            norm_eps: 1e-5,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_cap: LogitCap::NONE,
            context: 64,
            tied: true,
            bos: None,
            eos: Vec::new(),
        };
        let products = Product::of_random(&config, Quant::Q4_0);
        let product = |outputs, inputs, count| Product { quant: Quant::Q4_0, outputs, inputs, count };
        assert!(products.contains(&product(128, 64, layers)), "q, k and v: {products:?}");
        assert!(products.contains(&product(192, 64, layers)), "gate and up: {products:?}");
        assert!(products.contains(&product(500, 64, 1)), "the head: {products:?}");
        assert!(products.is_sorted_by_key(|product| std::cmp::Reverse(product.weights())));

        // A v of another format is a product of its own, as in files labelled Q4_K_M.
        let mixed = |name: &str, _| Some(if name.contains(".v_proj") { Quant::Q6K } else { Quant::Q4K });
        let products = Product::of_config(&config, mixed);
        let v = Product { quant: Quant::Q6K, outputs: 32, inputs: 64, count: layers };
        assert!(products.contains(&v), "{products:?}");
        assert!(products.iter().any(|product| (product.quant, product.outputs) == (Quant::Q4K, 96)));
    }
}
