//! Names of tensors that some families have in Hugging Face's files, in place of those that the rest of the library
//! uses, which are Llama's.

/// Pairs of names: the usual one, and that of the family.
type Renames = &'static [(&'static str, &'static str)];

/// LFM2's names outside the layers.
const LFM2_GLOBAL: Renames = &[("model.norm.", "model.embedding_norm.")];

/// LFM2's names inside `model.layers.N.`.
const LFM2_LAYER: Renames = &[
    ("input_layernorm.", "operator_norm."),
    ("post_attention_layernorm.", "ffn_norm."),
    ("self_attn.o_proj.", "self_attn.out_proj."),
    ("self_attn.q_norm.", "self_attn.q_layernorm."),
    ("self_attn.k_norm.", "self_attn.k_layernorm."),
    ("mlp.gate_proj.", "feed_forward.w1."),
    ("mlp.up_proj.", "feed_forward.w3."),
    ("mlp.down_proj.", "feed_forward.w2."),
];

/// The names of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HfNames {
    global: Renames,
    layer: Renames,
}

/// The names of models with this `model_type`, if they are not the usual ones.
pub(crate) fn of_model_type(model_type: Option<&str>) -> Option<HfNames> {
    (model_type == Some("lfm2")).then_some(HfNames { global: LFM2_GLOBAL, layer: LFM2_LAYER })
}

impl HfNames {
    /// The usual name of the tensor that the family calls `name`.
    pub fn usual(self, name: &str) -> String {
        self.renamed(name, |(usual, own)| (own, usual))
    }

    /// The family's name of the tensor that is usually called `name`.
    pub fn own(self, name: &str) -> String {
        self.renamed(name, |pair| pair)
    }

    fn renamed(
        self,
        name: &str,
        order: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
    ) -> String {
        let within = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
        let (before, rest, table) = match within {
            Some((layer, rest)) => (format!("model.layers.{layer}."), rest, self.layer),
            None => (String::new(), name, self.global),
        };
        let found = table.iter().find_map(|&pair| {
            let (from, to) = order(pair);
            Some(format!("{to}{}", rest.strip_prefix(from)?))
        });
        format!("{before}{}", found.unwrap_or_else(|| rest.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lfm2_has_names_of_its_own() {
        assert!(of_model_type(Some("llama")).is_none() && of_model_type(None).is_none());
        let names = of_model_type(Some("lfm2")).expect("names of its own");
        for (usual, own) in [
            ("model.norm.weight", "model.embedding_norm.weight"),
            ("model.embed_tokens.weight", "model.embed_tokens.weight"),
            ("model.layers.3.mlp.up_proj.weight", "model.layers.3.feed_forward.w3.weight"),
            ("model.layers.11.self_attn.o_proj.weight", "model.layers.11.self_attn.out_proj.weight"),
            ("model.layers.0.conv.out_proj.weight", "model.layers.0.conv.out_proj.weight"),
        ] {
            assert_eq!((names.usual(own), names.own(usual)), (usual.to_owned(), own.to_owned()));
        }
    }
}
