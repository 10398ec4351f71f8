//! Conversion of tensor names and row orders between GGUF files and Hugging Face checkpoints.

/// Names outside the layers.
const GLOBAL: &[(&str, &str)] =
    &[("token_embd.", "model.embed_tokens."), ("output_norm.", "model.norm."), ("output.", "lm_head.")];

/// Names inside `blk.N.` and `model.layers.N.`.
const LAYER: &[(&str, &str)] = &[
    ("attn_norm.", "input_layernorm."),
    ("attn_q.", "self_attn.q_proj."),
    ("attn_k.", "self_attn.k_proj."),
    ("attn_v.", "self_attn.v_proj."),
    ("attn_output.", "self_attn.o_proj."),
    ("attn_q_norm.", "self_attn.q_norm."),
    ("attn_k_norm.", "self_attn.k_norm."),
    ("ffn_norm.", "post_attention_layernorm."),
    ("ffn_gate.", "mlp.gate_proj."),
    ("ffn_up.", "mlp.up_proj."),
    ("ffn_down.", "mlp.down_proj."),
];

/// The Hugging Face name of GGUF tensor `name`; a name without a counterpart, such as
/// `rope_freqs.weight`, is unchanged.
pub(super) fn canonical(name: &str) -> String {
    let renamed = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => rename(rest, LAYER).map(|rest| format!("model.layers.{layer}.{rest}")),
        None => rename(name, GLOBAL),
    };
    renamed.unwrap_or_else(|| name.to_owned())
}

/// Whether llama.cpp's converter reorders the rows of `name` for interleaved rotary embedding. It
/// does so for the queries and keys of the architecture that it calls `llama`.
pub(super) fn rope_permuted(architecture: Option<&str>, name: &str) -> bool {
    let part = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    architecture == Some("llama")
        && part.is_some_and(|(_, rest)| rest.starts_with("attn_q.") || rest.starts_with("attn_k."))
}

/// The GGUF name of the tensor that Hugging Face calls `name`, if it has one: `blk.0.attn_q.weight`
/// for `model.layers.0.self_attn.q_proj.weight`.
pub fn gguf_name(name: &str) -> Option<String> {
    let swapped = |table: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
        table.iter().map(|&(gguf, hf)| (hf, gguf)).collect()
    };
    match name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => rename(rest, &swapped(LAYER)).map(|rest| format!("blk.{layer}.{rest}")),
        None => rename(name, &swapped(GLOBAL)),
    }
}

/// The row in Hugging Face's order that is row `row` of a matrix in the order of interleaved rotary
/// embedding. In the interleaved order the two rows of a pair are neighbours; in Hugging Face's order
/// they are half a head apart.
pub fn half_split_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    head * head_dim + within % 2 * (head_dim / 2) + within / 2
}

fn rename(name: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)))
}
