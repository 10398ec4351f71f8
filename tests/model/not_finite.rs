//! NaN and infinity in weights, activations and caches: an error that names the first layer, from every call.

use parr::ErrorKind;
use parr::generate::{
    CancelToken, Continuation, GenerateError, Generator, GeneratorOptions, Request, Sampling,
};
use parr::gpu::{Device, KernelFamily};
use parr::model::Part;
use parr::model::lora::{AdapterBank, LoraConfig, LoraWeights, Projections, ScalarHead};
use parr::ops::KvFormat;

use super::{generate, generator, load, logprobs};
use crate::support::gpu;
use crate::support::synthetic::{LFM2, ODD, Shape, Tensors, weights, write_directory};

const IDS: [u32; 9] = [3, 41, 93, 159, 239, 333, 441, 46, 182];

/// A generator for the odd model after `edit` has changed its weights.
fn edited(device: &Device, kv: KvFormat, edit: impl FnOnce(&mut Tensors)) -> Generator {
    edited_of(device, &ODD, kv, edit)
}

/// The same for a model of `shape`.
fn edited_of(device: &Device, shape: &Shape, kv: KvFormat, edit: impl FnOnce(&mut Tensors)) -> Generator {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let mut tensors = weights(shape);
    edit(&mut tensors);
    write_directory(shape, &tensors, directory.path());
    let model = load(device, directory.path());
    // The file is read again when a fault is explained.
    std::mem::forget(directory);
    generator(&model, 2, 64, kv)
}

/// The error of every call that reads logits, in one order.
fn errors(generator: &mut Generator) -> Vec<GenerateError> {
    let cancel = CancelToken::new();
    let ids = IDS.to_vec();
    let mut found = Vec::new();
    for temperature in [0.0, 0.8] {
        let sampling = Sampling { temperature, top_p: 0.9, ..Sampling::default() };
        let request = Request { prompt: ids.clone(), max_tokens: 4, sampling, ..Request::default() };
        found.push(generator.generate(&[request], &cancel, &mut |_| {}).expect_err("generate"));
    }
    found.push(
        generator.token_stats(std::slice::from_ref(&ids), None, 1.0, &cancel).expect_err("token_stats"),
    );
    let rows = [Continuation { ids: ids.clone(), from: 4 }];
    found.push(generator.continuation_stats(&rows, None, &cancel).expect_err("continuation_stats"));
    found.push(generator.logits(&ids, None, &cancel, &mut |_| {}).expect_err("logits"));
    let all: Vec<u32> = (0..ODD.vocab as u32).collect();
    found.push(generator.next_logits(&[ids], &all, None, &cancel).expect_err("next_logits"));
    found
}

#[test]
fn a_weight_that_is_not_finite_is_named_with_its_layer(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let attention = Part::Attention { layer: 1 };
    let feed_forward = Part::FeedForward { layer: 0 };
    let cases = [
        ("model.embed_tokens.weight", 41 * 100 + 99, f32::NAN, Part::Embedding),
        ("model.layers.1.input_layernorm.weight", 0, f32::INFINITY, attention),
        ("model.layers.1.self_attn.q_proj.weight", 7, f32::NAN, attention),
        ("model.layers.1.self_attn.k_proj.weight", 7, f32::NEG_INFINITY, attention),
        ("model.layers.1.self_attn.v_proj.weight", 3999, f32::NAN, attention),
        ("model.layers.1.self_attn.o_proj.weight", 500, f32::INFINITY, attention),
        ("model.layers.0.mlp.gate_proj.weight", 0, f32::NAN, feed_forward),
        ("model.layers.0.mlp.down_proj.weight", 91, f32::INFINITY, feed_forward),
        ("model.norm.weight", 99, f32::NAN, Part::FinalNorm),
        ("lm_head.weight", 516 * 100, f32::NAN, Part::Output),
    ];
    for (name, at, value, wanted) in cases {
        for kv in [KvFormat::F16, KvFormat::F32] {
            let mut generator = edited(&device, kv, |tensors| {
                tensors.get_mut(name).expect("a tensor of that name").1[at] = value;
            });
            for error in errors(&mut generator) {
                let message = error.to_string();
                let GenerateError::NotFinite { part, tensor, .. } = &error else {
                    panic!("{name}: {message}")
                };
                assert_eq!(*part, Some(wanted), "{name}, {}: {message}", kv.name());
                assert!(tensor.as_ref().is_some_and(|tensor| tensor.contains(name)), "{name}: {message}");
                assert!(message.contains(&wanted.to_string()) && message.contains("row"), "{message}");
                assert_eq!(error.kind(), ErrorKind::Format);
            }
        }
    }
}

#[test]
fn an_overflow_without_a_bad_weight_names_its_layer(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    // Finite weights whose product is not: and a residual stream whose squares are not.
    for factor in [1e38, 1e21] {
        let mut generator = edited(&device, KvFormat::F32, |tensors| {
            let down = &mut tensors.get_mut("model.layers.0.mlp.down_proj.weight").expect("a matrix").1;
            down.iter_mut().for_each(|weight| *weight *= factor);
        });
        for error in errors(&mut generator) {
            let GenerateError::NotFinite { part: Some(part), tensor: None, .. } = &error else {
                panic!("{error}")
            };
            let wanted = [Part::FeedForward { layer: 0 }, Part::Attention { layer: 1 }];
            assert!(wanted.contains(part), "{error}");
            assert_eq!(error.kind(), ErrorKind::Diverged);
        }
    }
}

#[test]
fn keys_and_values_beyond_f16_need_an_f32_cache(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    for (name, wanted) in [("k_proj", true), ("v_proj", false)] {
        let huge = |tensors: &mut Tensors| {
            let matrix = format!("model.layers.1.self_attn.{name}.weight");
            tensors.get_mut(&matrix).expect("a matrix").1.iter_mut().for_each(|weight| *weight *= 1e5);
        };
        for error in errors(&mut edited(&device, KvFormat::F16, huge)) {
            let GenerateError::CacheRange { layer, keys, largest, .. } = error else { panic!("{error}") };
            assert!(layer == 1 && keys == wanted && largest > 65504.0, "{error}");
            assert!(error.to_string().contains("--kv f32"), "{error}");
            assert_eq!(error.kind(), ErrorKind::Argument);
        }
        let scored = logprobs(&mut edited(&device, KvFormat::F32, huge), &IDS);
        assert!(scored.iter().all(|logprob| logprob.is_finite()));
    }
}

#[test]
fn a_fault_in_a_convolution_is_named(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let name = |part: &str| format!("model.layers.0.conv.{part}.weight");
    for (part, at, value) in
        [("in_proj", 5, f32::NAN), ("conv", 7, f32::INFINITY), ("out_proj", 99, f32::NAN)]
    {
        let mut generator = edited_of(&device, &LFM2, KvFormat::F16, |tensors| {
            tensors.get_mut(&name(part)).expect("a tensor of that name").1[at] = value;
        });
        for error in errors(&mut generator) {
            let message = error.to_string();
            let GenerateError::NotFinite { part: found, tensor, .. } = &error else { panic!("{message}") };
            assert_eq!(*found, Some(Part::Convolution { layer: 0 }), "{message}");
            assert!(tensor.as_ref().is_some_and(|tensor| tensor.contains(&name(part))), "{message}");
        }
    }
    // Inputs of the filter that f16 cannot hold.
    let huge = |tensors: &mut Tensors| {
        let matrix = &mut tensors.get_mut(&name("in_proj")).expect("a matrix").1;
        matrix.iter_mut().for_each(|weight| *weight *= 1e4);
    };
    for error in errors(&mut edited_of(&device, &LFM2, KvFormat::F16, huge)) {
        let GenerateError::CacheRange { layer, keys, largest, .. } = error else { panic!("{error}") };
        assert!(layer == 0 && !keys && largest > 65504.0, "{error}");
    }
    let scored = logprobs(&mut edited_of(&device, &LFM2, KvFormat::F32, huge), &IDS);
    assert!(scored.iter().all(|logprob| logprob.is_finite()));
}

#[test]
fn a_fault_of_one_token_leaves_other_texts_alone(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let ask = |prompt: &[u32], max_tokens| Request {
        prompt: prompt.to_vec(),
        max_tokens,
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        ..Request::default()
    };
    let mut sound = edited(&device, KvFormat::F16, |_| ());
    let reply = generate(&mut sound, &[ask(&IDS, 6)]).remove(0);
    // The fifth token of the reply has no finite embedding: it is drawn, and its successor is not.
    let fault = reply.tokens[4];
    assert!(!IDS.contains(&fault) && !reply.tokens[..4].contains(&fault), "{:?}", reply.tokens);
    let mut generator = edited(&device, KvFormat::F16, |tensors| {
        tensors.get_mut("model.embed_tokens.weight").expect("it").1[fault as usize * 100] = f32::NAN;
    });
    let mut drawn = Vec::new();
    let error = generator
        .generate(&[ask(&IDS, 6)], &CancelToken::new(), &mut |event| drawn.push(event.token))
        .expect_err("the sixth token has no logits");
    assert_eq!(drawn, reply.tokens[..5]);
    let GenerateError::NotFinite { part, token, .. } = error else { panic!("{error}") };
    assert_eq!((part, token), (Some(Part::Embedding), IDS.len() + 4));
    // What it left in the cache reaches nobody.
    for _ in 0..2 {
        assert_eq!(generate(&mut generator, &[ask(&IDS, 5), ask(&IDS[1..], 1)])[0].tokens, reply.tokens[..5]);
    }
    assert_eq!(logprobs(&mut generator, &IDS), logprobs(&mut sound, &IDS));
    // A row after a faulty one is named.
    let rows = [IDS.to_vec(), vec![3, fault, 5]];
    let error = generator.token_stats(&rows, None, 1.0, &CancelToken::new()).expect_err("row 1");
    assert!(error.to_string().starts_with("request 1: NaN or infinite values appear first in the embedding"));
}

#[test]
fn a_scalar_head_that_overflows_is_named() {
    let _turn = gpu::turn();
    let device = gpu::open(&parr::gpu::DeviceOptions::default());
    let sound = edited(&device, KvFormat::F16, |_| ());
    let model = sound.model().clone();
    let targets: Projections = "all".parse().expect("a known name");
    let config = LoraConfig { rank: 4, alpha: 4.0, rs_lora: false, targets };
    let adapter = LoraWeights::fresh(config, model.config(), 1).expect("a rank that fits");
    let head = ScalarHead { weight: vec![3e38; model.config().hidden], bias: 3e38 };
    let bank = AdapterBank::new(&model, 4, targets, 1).expect("a small bank fits");
    let id = bank.attach(&adapter, Some(&head)).expect("it fits");
    let options = GeneratorOptions { slots: 2, context: 64, ..GeneratorOptions::default() };
    let mut generator = Generator::with_adapters(&model, options, &bank).expect("a small cache fits");
    let rows = [IDS.to_vec()];
    let error = generator.head_values(&rows, id, &CancelToken::new()).expect_err("an infinite value");
    assert!(matches!(error, GenerateError::NotFinite { part: Some(Part::ScalarHead), .. }), "{error}");
}
