//! Every shader of `shaders/`, by its path without `.wgsl`.

macro_rules! shaders {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../shaders/", $name, ".wgsl")))),*]
    };
}

/// Name and text of each shader; a test compares this list with the folder.
const SHADERS: &[(&str, &str)] = shaders![
    "attention/attention_lane8",
    "attention/attention_tiled",
    "attention/backward",
    "attention/backward_delta",
    "attention/backward_kv_lane8",
    "attention/backward_kv_tiled",
    "attention/backward_q_lane8",
    "attention/backward_q_tiled",
    "attention/chunk_sum",
    "attention/keys",
    "embed/embed",
    "head/cap_logits",
    "head/cap_logits_backward",
    "head/scalar_head",
    "head/scalar_head_backward",
    "kv/read_f16",
    "kv/read_f32",
    "kv/write_f16",
    "kv/write_f32",
    "lib/index",
    "lib/random",
    "linear/matmul_lane8",
    "linear/matmul_tiled",
    "linear/matmul_transposed_lane8",
    "linear/matmul_transposed_tiled",
    "linear/matvec_tiled",
    "linear/product",
    "linear/product_transposed",
    "lora/add_f32",
    "lora/add_vec4",
    "lora/apply_lane8",
    "lora/expand_lane8",
    "lora/expand_tiled",
    "lora/grad_weight_lane8",
    "lora/grad_weight_tiled",
    "lora/read_f32",
    "lora/read_vec4",
    "lora/shrink_lane8",
    "lora/shrink_tiled",
    "lora/site",
    "mlp/gelu",
    "mlp/glu",
    "mlp/glu_backward",
    "mlp/silu",
    "norm/head_norm",
    "norm/head_norm_backward",
    "norm/inverse_root",
    "norm/rms_norm",
    "norm/rms_norm_backward",
    "optim/adamw",
    "optim/grad_norm",
    "reduce/subgroup",
    "reduce/workgroup",
    "rope/rope",
    "rows/gather",
    "rows/scatter",
    "rope/rope_backward",
    "sample/advance",
    "sample/sample",
    "stats/softmax",
    "stats/token_stats",
    "stats/token_stats_backward",
    "weight/bf16",
    "weight/f16",
    "weight/f32",
    "weight/iq2",
    "weight/iq3_s",
    "weight/iq3_xxs",
    "weight/iq4_nl",
    "weight/iq4_xs",
    "weight/q2_k",
    "weight/q3_k",
    "weight/q4_0",
    "weight/q4_1",
    "weight/q4_k",
    "weight/q5_0",
    "weight/q5_1",
    "weight/q5_k",
    "weight/q6_k",
    "weight/q8_0",
];

/// The text of a shader, by its path without `.wgsl`.
pub fn shader_source(name: &str) -> Option<&'static str> {
    SHADERS.iter().find(|(known, _)| *known == name).map(|&(_, text)| text)
}

/// The names of all shaders and fragments.
pub fn shader_names() -> impl Iterator<Item = &'static str> {
    SHADERS.iter().map(|&(name, _)| name)
}
