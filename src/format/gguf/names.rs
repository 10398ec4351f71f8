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
    ("shortconv.in_proj.", "conv.in_proj."),
    ("shortconv.conv.", "conv.conv."),
    ("shortconv.out_proj.", "conv.out_proj."),
    ("ffn_norm.", "post_attention_layernorm."),
    ("ffn_gate.", "mlp.gate_proj."),
    ("ffn_up.", "mlp.up_proj."),
    ("ffn_down.", "mlp.down_proj."),
];

/// Pairs of names, GGUF's first.
type Renames = &'static [(&'static str, &'static str)];

/// Names that mean something else in these architectures, or that only they have.
const OF_ARCHITECTURES: &[(&[&str], Renames)] = &[
    (
        &["gemma2", "gemma3"],
        &[
            ("post_attention_norm.", "post_attention_layernorm."),
            ("ffn_norm.", "pre_feedforward_layernorm."),
            ("post_ffw_norm.", "post_feedforward_layernorm."),
        ],
    ),
    (
        &["olmo2"],
        &[
            ("post_attention_norm.", "post_attention_layernorm."),
            ("post_ffw_norm.", "post_feedforward_layernorm."),
        ],
    ),
    (&["phi3"], &[("attn_qkv.", "self_attn.qkv_proj."), ("ffn_up.", "mlp.gate_up_proj.")]),
    // Some files have the usual name of the last norm.
    (&["lfm2"], &[("token_embd_norm.", "model.norm.")]),
];

/// The names of one architecture.
fn of_architecture(architecture: Option<&str>) -> Renames {
    let known = |architecture: &str| {
        OF_ARCHITECTURES.iter().find(|(names, _)| names.contains(&architecture)).map(|(_, table)| *table)
    };
    architecture.and_then(known).unwrap_or_default()
}

/// The Hugging Face name of GGUF tensor `name` in a model of `architecture`; a name without a counterpart, such as
/// `rope_freqs.weight`, is unchanged.
pub(super) fn canonical(architecture: Option<&str>, name: &str) -> String {
    let renamed = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => rename(rest, of_architecture(architecture))
            .or_else(|| rename(rest, LAYER))
            .map(|rest| format!("model.layers.{layer}.{rest}")),
        None => rename(name, of_architecture(architecture)).or_else(|| rename(name, GLOBAL)),
    };
    renamed.unwrap_or_else(|| name.to_owned())
}

/// Architectures whose queries and keys llama.cpp's converter reorders.
const PERMUTED: [&str; 3] = ["llama", "granite", "smollm3"];

/// Whether llama.cpp's converter reorders the rows of `name` for interleaved rotary embedding. It
/// does so for the queries and keys of some architectures.
pub(crate) fn rope_permuted(architecture: Option<&str>, name: &str) -> bool {
    let part = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    architecture.is_some_and(|architecture| PERMUTED.contains(&architecture))
        && part.is_some_and(|(_, rest)| rest.starts_with("attn_q.") || rest.starts_with("attn_k."))
}

/// The GGUF name of the tensor that Hugging Face calls `name` in a model of `architecture`, if it has one:
/// `blk.0.attn_q.weight` for `model.layers.0.self_attn.q_proj.weight`.
pub fn gguf_name(architecture: Option<&str>, name: &str) -> Option<String> {
    let swapped = |table: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
        table.iter().map(|&(gguf, hf)| (hf, gguf)).collect()
    };
    match name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => rename(rest, &swapped(of_architecture(architecture)))
            .or_else(|| rename(rest, &swapped(LAYER)))
            .map(|rest| format!("blk.{layer}.{rest}")),
        None => {
            rename(name, &swapped(of_architecture(architecture))).or_else(|| rename(name, &swapped(GLOBAL)))
        }
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
