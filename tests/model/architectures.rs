//! Shapes that no shipped golden has, against the CPU oracle: Qwen3's normalised heads, Mistral's
//! sliding window, widths that no tile divides, wide heads, and GGUF's order of llama's q and k.

use parr::format::gguf::{GgufWriter, Value};
use parr::generate::CancelToken;
use parr::gpu::{DeviceOptions, KernelFamily, Loads};
use parr::model::{LoadOptions, Model};
use parr::ops::KvFormat;
use parr::quant::Quant;

use super::{furthest, generator, golden_path, load};
use crate::support::gpu;
use crate::support::synthetic::{LAYERS, LFM2, ODD, Shape, weights, write_directory};

fn ids(shape: &Shape, n: usize) -> Vec<u32> {
    (0..n).map(|at| ((at * at * 31 + at * 7 + 3) % shape.vocab) as u32).collect()
}

/// The GPU's logits and the oracle's, with both caches.
fn agrees(family: KernelFamily, shape: Shape, tokens: usize) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let directory = tempfile::tempdir().expect("a scratch directory");
    write_directory(&shape, &weights(&shape), directory.path());
    let ids = ids(&shape, tokens);
    let expected = crate::reference::load(directory.path()).logits(&ids);
    let largest = expected.iter().fold(0f32, |most, z| most.max(z.abs()));
    assert!(largest > 1.0, "logits up to {largest} are too small for the bound to mean anything");
    let model = load(&device, directory.path());
    for (kv, bound) in [(KvFormat::F32, 1e-4), (KvFormat::F16, 2e-2)] {
        let mut logits = Vec::new();
        generator(&model, 1, 256, kv)
            .logits(&ids, None, &CancelToken::new(), &mut |rows| logits.extend_from_slice(rows))
            .expect("known ids have logits");
        let distance = furthest(&logits, &expected) / largest;
        println!("{} {}: {distance:.1e}", family.name(), kv.name());
        assert!(distance <= bound, "{} {}: {distance:.1e}", family.name(), kv.name());
    }
}

#[test]
fn llama_of_odd_widths(family: KernelFamily) {
    agrees(family, ODD, 45);
}

#[test]
fn qwen3_with_normalised_heads(family: KernelFamily) {
    agrees(family, Shape { model_type: "qwen3", heads: 4, kv_heads: 4, head_dim: 32, tied: true, ..ODD }, 45);
}

#[test]
fn mistral_with_a_window_shorter_than_the_text(family: KernelFamily) {
    agrees(family, Shape { model_type: "mistral", window: Some(17), ..ODD }, 150);
}

#[test]
fn lfm2_with_a_convolution_below_attention(family: KernelFamily) {
    agrees(family, LFM2, 45);
}

#[test]
fn wide_heads_and_one_kv_head(family: KernelFamily) {
    agrees(family, Shape { heads: 5, kv_heads: 1, head_dim: 128, ..ODD }, 70);
}

/// Row `r` of a half-split matrix lands at the place where GGUF's llama files keep it.
fn interleaved(values: &[f32], row: usize, head_dim: usize) -> Vec<f32> {
    let half = head_dim / 2;
    let rows: Vec<&[f32]> = values.chunks_exact(row).collect();
    let mut out = vec![0.0; values.len()];
    for (from, values) in rows.iter().enumerate() {
        let (head, within) = (from / head_dim, from % head_dim);
        let to = head * head_dim + 2 * (within % half) + within / half;
        out[to * row..(to + 1) * row].copy_from_slice(values);
    }
    out
}

#[test]
fn a_gguf_file_gives_the_logits_of_the_directory_it_came_from() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let shape = ODD;
    let tensors = weights(&shape);
    let directory = tempfile::tempdir().expect("a scratch directory");
    write_directory(&shape, &tensors, directory.path());
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", Value::String("llama".into()));
    let counts = [
        ("block_count", LAYERS),
        ("context_length", 256),
        ("embedding_length", shape.hidden),
        ("feed_forward_length", shape.ffn),
        ("attention.head_count", shape.heads),
        ("attention.head_count_kv", shape.kv_heads),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
        ("rope.dimension_count", shape.head_dim),
    ];
    for (key, count) in counts {
        writer.set(&format!("llama.{key}"), Value::U32(count as u32));
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    writer.set("llama.rope.freq_base", Value::F32(10000.0));
    let mut bodies = Vec::new();
    for (name, (dims, values)) in &tensors {
        let gguf_name = name
            .replace("model.layers.", "blk.")
            .replace("model.embed_tokens", "token_embd")
            .replace("model.norm", "output_norm")
            .replace("lm_head", "output")
            .replace("self_attn.q_proj", "attn_q")
            .replace("self_attn.k_proj", "attn_k")
            .replace("self_attn.v_proj", "attn_v")
            .replace("self_attn.o_proj", "attn_output")
            .replace("input_layernorm", "attn_norm")
            .replace("post_attention_layernorm", "ffn_norm")
            .replace("mlp.gate_proj", "ffn_gate")
            .replace("mlp.up_proj", "ffn_up")
            .replace("mlp.down_proj", "ffn_down");
        writer.declare(&gguf_name, dims, Quant::F32).expect("a sound shape");
        let turned = name.contains("q_proj") || name.contains("k_proj");
        bodies.push(if turned { interleaved(values, dims[1], shape.head_dim) } else { values.clone() });
    }
    let mut body = writer.start(Vec::new()).expect("memory takes every write");
    for values in &bodies {
        body.tensor(bytemuck::cast_slice(values)).expect("the declared size");
    }
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, body.finish().expect("all tensors are there"))
        .expect("a scratch directory is writable");

    let ids = ids(&shape, 40);
    let mut logits = [Vec::new(), Vec::new()];
    for (path, logits) in [directory.path(), &path].into_iter().zip(&mut logits) {
        generator(&load(&device, path), 1, 64, KvFormat::F32)
            .logits(&ids, None, &CancelToken::new(), &mut |rows| logits.extend_from_slice(rows))
            .expect("known ids have logits");
    }
    assert_eq!(logits[0], logits[1]);
}

#[test]
fn a_float_checkpoint_quantized_at_load_is_the_oracle_on_the_rounded_weights() {
    let _turn = gpu::turn();
    // Textures end with whole rows, which would hide how much smaller a format makes a small model.
    let device = gpu::open(&DeviceOptions { loads: Some(Loads::Buffers), ..DeviceOptions::default() });
    let path = golden_path("tiny/llama-mha-untied");
    let ids: Vec<u32> = (0..40).map(|at| (at * at * 31 + at * 7 + 3) % 512).collect();
    let mut sizes = Vec::new();
    for quant in [None, Some(Quant::F16), Some(Quant::Q8_0), Some(Quant::Q5_1), Some(Quant::Q4_0)] {
        let mut oracle = crate::reference::load(&path);
        let round = |matrix: &mut Vec<f32>| {
            let Some(quant) = quant else { return };
            let mut bytes = Vec::new();
            quant.encode(matrix, &mut bytes);
            quant.decode(&bytes, matrix);
        };
        round(&mut oracle.embed);
        oracle.head.as_mut().into_iter().for_each(round);
        for layer in &mut oracle.layers {
            let matrices = [&mut layer.q, &mut layer.k, &mut layer.v, &mut layer.o];
            matrices.into_iter().chain([&mut layer.gate, &mut layer.up, &mut layer.down]).for_each(round);
        }
        let options = LoadOptions { quant };
        let model = Model::load(&device, &path, &options, &mut |_| {}).expect("a sound checkpoint loads");
        let mut logits = Vec::new();
        generator(&model, 1, 64, KvFormat::F32)
            .logits(&ids, None, &CancelToken::new(), &mut |rows| logits.extend_from_slice(rows))
            .expect("known ids have logits");
        let distance = furthest(&logits, &oracle.logits(&ids));
        println!("{quant:?}: {} bytes, {distance:.1e}", model.weight_bytes());
        assert!(distance <= 1e-4, "{quant:?}: {distance}");
        sizes.push(model.weight_bytes());
    }
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
}
