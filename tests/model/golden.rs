//! Against transformers in f32, on tiny random models and on SmolLM2-135M-Instruct.

use parr::generate::{CancelToken, Generator, Request, StopTokens};
use parr::gpu::KernelFamily;
use parr::ops::KvFormat;
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

fn tiny_logits(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    for name in ["llama-mha-untied", "llama3-rope-gqa", "qwen2-bias"] {
        let bytes =
            std::fs::read(golden_path("tiny").join(name).join("expected.safetensors")).expect("golden");
        let expected = SafeTensors::deserialize(&bytes).expect("golden");
        let ids: Vec<i64> = bytemuck::pod_collect_to_vec(expected.tensor("ids").expect("golden").data());
        let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
        let model = tiny(&device, name);
        for (kv, bound) in [(KvFormat::F32, 2e-3), (KvFormat::F16, 5e-2)] {
            let logits = all_logits(&mut generator(&model, 1, 128, kv), &ids);
            let distance = furthest(&logits, &floats(&expected, "logits"));
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
    let model = load(&device, &path);
    let mut generator = generator(&model, prompts.len(), 704, kv);

    let requests: Vec<Request> = prompts
        .iter()
        .map(|prompt| Request {
            prompt: prompt.ids.clone(),
            max_tokens: 64,
            stop_ids: StopTokens::Only(vec![2]),
            ..Request::default()
        })
        .collect();
    for (reply, prompt) in generate(&mut generator, &requests).iter().zip(&prompts) {
        assert_eq!(reply.tokens, prompt.greedy);
        assert_eq!(reply.text, prompt.text);
    }

    let vocab = model.config().vocab;
    for (index, prompt) in prompts.iter().enumerate() {
        let logits = all_logits(&mut generator, &prompt.ids);
        let distance =
            furthest(&logits[logits.len() - vocab..], &floats(&tensors, &format!("{index}.last_logits")));
        let row: Vec<u32> = prompt.ids.iter().chain(&prompt.greedy).copied().collect();
        let drift =
            furthest(&logprobs(&mut generator, &row), &floats(&tensors, &format!("{index}.logprobs")));
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
