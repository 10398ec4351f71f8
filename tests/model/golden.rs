//! Against transformers in f32, on tiny random models and on SmolLM2-135M-Instruct.

use parr::generate::{CancelToken, Generator, Request, StopTokens};
use parr::gpu::KernelFamily;
use parr::ops::KvFormat;
use parr::reference::model::{LayerShape, Model, ModelShape};
use parr::reference::{self, linear, rope};
use safetensors::SafeTensors;

use super::{furthest, generate, generator, golden_path, load, logprobs, tiny};
use crate::support::{gpu, model};

fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(file.tensor(name).expect("the golden has this tensor").data())
}

fn all_logits(generator: &mut Generator, ids: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    generator
        .logits(ids, None, &CancelToken::new(), &mut |rows| logits.extend_from_slice(rows))
        .expect("known ids have logits");
    logits
}

const TINY: [&str; 3] = ["llama-mha-untied", "llama3-rope-gqa", "qwen2-bias"];

/// A text and PyTorch's logits.
fn tiny_golden(name: &str) -> (Vec<u32>, Vec<f32>) {
    let bytes = std::fs::read(golden_path("tiny").join(name).join("expected.safetensors")).expect("golden");
    let expected = SafeTensors::deserialize(&bytes).expect("golden");
    let ids: Vec<i64> = bytemuck::pod_collect_to_vec(expected.tensor("ids").expect("golden").data());
    (ids.into_iter().map(|id| id as u32).collect(), floats(&expected, "logits"))
}

fn tiny_logits(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    for name in TINY {
        let (ids, expected) = tiny_golden(name);
        let model = tiny(&device, name);
        for (kv, bound) in [(KvFormat::F32, 2e-3), (KvFormat::F16, 5e-2)] {
            let logits = all_logits(&mut generator(&model, 1, 128, kv), &ids);
            let distance = furthest(&logits, &expected);
            println!("{name} {} {}: {distance:.1e}", family.name(), kv.name());
            assert!(distance <= bound, "{name} {}: {distance} of {bound}", kv.name());
        }
    }
}

#[test]
fn tiny_models_have_pytorchs_logits_on_lane8() {
    tiny_logits(KernelFamily::Lane8);
}

#[test]
fn tiny_models_have_pytorchs_logits_on_tiled() {
    tiny_logits(KernelFamily::Tiled);
}

struct Prompt {
    ids: Vec<u32>,
    greedy: Vec<u32>,
    text: String,
}

fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// Greedy texts, last logits, log-probabilities; on lane8 the long sequence too, which would take a
/// software driver minutes by the kernels that are written for hardware.
fn smollm2(family: KernelFamily, kv: KvFormat, logit_bound: f32, logprob_bound: f32) {
    let path = model::smollm2();
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let text = std::fs::read_to_string(golden_path("smollm2/logits.json")).expect("golden");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("golden");
    let bytes = std::fs::read(golden_path("smollm2/logits.safetensors")).expect("golden");
    let tensors = SafeTensors::deserialize(&bytes).expect("golden");
    let prompts: Vec<Prompt> = golden["prompts"]
        .as_array()
        .expect("golden")
        .iter()
        .map(|prompt| Prompt {
            ids: ids(&prompt["ids"]),
            greedy: ids(&prompt["greedy"]),
            text: prompt["greedy_text"].as_str().expect("golden").replace("<|im_end|>", ""),
        })
        .collect();
    // A software driver takes minutes for the kernels for hardware: the start of the reply to the shortest prompt. `make
    // proofs` generates all of it.
    let most = std::env::var("PARR_PROOF_TOKENS").ok().and_then(|text| text.parse().ok()).unwrap_or(16);
    let (few, most) = if family == KernelFamily::Tiled { (1, most) } else { (prompts.len(), 64) };
    let mut prompts = prompts;
    prompts.truncate(few);
    let cut = prompts[0].greedy.len() > most;
    if cut {
        prompts[0].greedy.truncate(most);
    }
    let model = load(&device, &path);
    let mut generator = generator(&model, prompts.len(), 704, kv);

    let requests: Vec<Request> = prompts
        .iter()
        .map(|prompt| Request {
            prompt: prompt.ids.clone(),
            max_tokens: most,
            stop_ids: StopTokens::Only(vec![2]),
            ..Request::default()
        })
        .collect();
    for (reply, prompt) in generate(&mut generator, &requests).iter().zip(&prompts) {
        assert_eq!(reply.tokens, prompt.greedy);
        assert!(if cut { prompt.text.starts_with(&reply.text) } else { prompt.text == reply.text });
    }

    let vocab = model.config().vocab;
    for (index, prompt) in prompts.iter().enumerate() {
        let logits = all_logits(&mut generator, &prompt.ids);
        let distance =
            furthest(&logits[logits.len() - vocab..], &floats(&tensors, &format!("{index}.last_logits")));
        let row: Vec<u32> = prompt.ids.iter().chain(&prompt.greedy).copied().collect();
        let found = logprobs(&mut generator, &row);
        let expected = floats(&tensors, &format!("{index}.logprobs"));
        let drift = furthest(&found, &expected[..found.len()]);
        assert!(cut || found.len() == expected.len());
        println!("prompt {index}: logits {distance:.1e}, log-probabilities {drift:.1e}");
        assert!(distance <= logit_bound && drift <= logprob_bound);
    }
    if family == KernelFamily::Tiled {
        return;
    }
    let long = logprobs(&mut generator, &ids(&golden["long_ids"]));
    let drift = furthest(&long, &floats(&tensors, "long.logprobs"));
    println!("long sequence: log-probabilities {drift:.1e}");
    assert!(drift <= logprob_bound);
}

#[test]
fn smollm2_has_pytorchs_values_on_lane8_with_an_f32_cache() {
    smollm2(KernelFamily::Lane8, KvFormat::F32, 2e-3, 1e-3);
}

#[test]
fn smollm2_has_pytorchs_values_on_lane8_with_an_f16_cache() {
    smollm2(KernelFamily::Lane8, KvFormat::F16, 5e-2, 2e-2);
}

#[test]
fn smollm2_has_pytorchs_values_on_tiled_with_an_f32_cache() {
    smollm2(KernelFamily::Tiled, KvFormat::F32, 2e-3, 1e-3);
}

/// The error that is to be expected of `n` logits when keys and values are rounded to f16.
///
/// Rounding changes a number by at most 2^-11 of itself, 2^-11 / sqrt(3) in root mean square. The weights of
/// attention sum to 1, so such an error of the values is at most as large, relatively, in its output; an error of
/// the keys moves the weights by about as much. These are two independent errors in each layer, and as large as
/// that in the residual stream at most, of which attention is a part: `sqrt(2 layers)` times one of them at its
/// end. Logits are linear in it, so theirs is that part of their standard deviation `spread`. The largest of `n`
/// normal errors is about `sqrt(2 ln(2 n))` standard deviations.
///
/// This is an estimate and no proof, because layers could amplify what comes in; they do not: for SmolLM2 it gives
/// 3.5e-2 and 2.2e-2, and both families are within 1.6e-2 and 1.5e-2.
fn f16_error(layers: usize, spread: f64, n: usize) -> f64 {
    let rounding = (2.0f64).powi(-11) / 3.0f64.sqrt();
    rounding * (2.0 * layers as f64).sqrt() * spread * (2.0 * (2.0 * n as f64).ln()).sqrt()
}

#[test]
fn smollm2_has_pytorchs_values_on_tiled_with_an_f16_cache() {
    // 30 layers; the last logits of the shortest prompt: 49152 of standard deviation 3.4. Its 44 log-probabilities
    // are differences to a mean that moves less. What f32 allows is added.
    let [logits, logprobs] = [49152, 44].map(|n| f16_error(30, 3.4, n) as f32);
    smollm2(KernelFamily::Tiled, KvFormat::F16, logits + 2e-3, logprobs + 1e-3);
}

/// The oracle's logits with keys and values rounded to f16, as a cache holds them.
fn with_an_f16_cache(model: &Model, ids: &[u32]) -> Vec<f32> {
    let rounded = |values: Vec<f32>| -> Vec<f32> {
        values.into_iter().map(|value| half::f16::from_f32(value).to_f32()).collect()
    };
    let ModelShape { hidden, norm_eps: eps, .. } = &model.shape;
    let positions: Vec<u32> = (0..ids.len() as u32).collect();
    let mut x = reference::embed(&model.embed, *hidden, 1.0, ids);
    let norm = |x: &[f32], gain: &Option<Vec<f32>>| {
        reference::rms_norm(x, gain.as_ref().expect("these models have the norms of Llama"), *eps)
    };
    for layer in &model.layers {
        let LayerShape { attention: heads, inverse_frequencies: frequencies, .. } = &layer.shape;
        let h = norm(&x, &layer.attention_norm);
        let project = |w: &[f32], bias: &Option<Vec<f32>>| linear(w, *hidden, &h, bias.as_deref(), None);
        let q = rope(&project(&layer.q, &layer.q_bias), &positions, heads.heads, frequencies);
        let k = rope(&project(&layer.k, &layer.k_bias), &positions, heads.kv_heads, frequencies);
        let v = project(&layer.v, &layer.v_bias);
        let a = reference::attention(*heads, &q, &positions, &rounded(k), &rounded(v));
        x = linear(&layer.o, heads.heads * heads.head_dim, &a, None, Some(&x));
        let h = norm(&x, &layer.mlp_norm);
        let (gate, up) =
            (linear(&layer.gate, *hidden, &h, None, None), linear(&layer.up, *hidden, &h, None, None));
        let ffn = layer.gate.len() / hidden;
        x = linear(&layer.down, ffn, &reference::glu(reference::silu, &gate, &up), None, Some(&x));
    }
    let head = model.head.as_ref().unwrap_or(&model.embed);
    linear(head, *hidden, &reference::rms_norm(&x, &model.norm, *eps), None, None)
}

/// An f16 cache is as far from PyTorch's f32 as rounding the oracle's keys and values is, and the oracle with them
/// rounded is much closer to it.
///
/// How far: a key or value of ours differs from the oracle's by some 1e-6 of itself, which is 1/500 of the distance
/// of two f16 numbers, so about one in 500 is rounded to the other neighbour. That is an error of one distance,
/// where rounding itself has 1/sqrt(12) of it in root mean square. Together they are sqrt(12 / 500) = 0.15 of what
/// rounding makes; twice as much is allowed.
#[test]
fn an_f16_cache_is_off_by_what_rounding_makes(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    for name in TINY {
        let (ids, expected) = tiny_golden(name);
        let oracle = with_an_f16_cache(&crate::reference::load(&golden_path("tiny").join(name)), &ids);
        let made_by_rounding = furthest(&oracle, &expected);
        assert!(made_by_rounding > 1e-4, "{name}: {made_by_rounding:.1e} is no rounding to f16");
        let ours = all_logits(&mut generator(&tiny(&device, name), 1, 128, KvFormat::F16), &ids);
        let (of_oracle, of_pytorch) = (furthest(&ours, &oracle), furthest(&ours, &expected));
        println!(
            "{name} {}: rounding {made_by_rounding:.1e}, {of_oracle:.1e} of the oracle, {of_pytorch:.1e} of PyTorch",
            family.name()
        );
        assert!(of_oracle <= 0.3 * made_by_rounding, "{name}: {of_oracle:.1e} of {made_by_rounding:.1e}");
        assert!(of_pytorch <= 1.3 * made_by_rounding, "{name}: {of_pytorch:.1e} of {made_by_rounding:.1e}");
    }
}
