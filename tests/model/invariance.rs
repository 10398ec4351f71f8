//! A sequence's tokens depend on its prompt, its settings and its seed: not on its neighbours, not on
//! what was cached, not on how its matrices were split.

use parr::generate::{CancelToken, Request, Sampling, StopTokens};
use parr::gpu::{DeviceOptions, KernelFamily};
use parr::ops::KvFormat;

use super::{furthest, generate, generator, load, logprobs, tiny};
use crate::support::{gpu, synthetic};

fn prompt(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|at| (at * at * 7 + at * 13 + seed * 97 + 5) % 512).collect()
}

fn sampled(prompt: Vec<u32>, seed: u64) -> Request {
    let sampling = Sampling {
        temperature: 0.9,
        top_k: 60,
        top_p: 0.95,
        repetition_penalty: 1.1,
        seed,
        ..Sampling::default()
    };
    Request { prompt, sampling, max_tokens: 24, ..Request::default() }
}

/// Prompts of very unequal length, two of which share a long prefix.
fn requests() -> Vec<Request> {
    let mut requests: Vec<Request> = [3, 40, 1, 17, 90, 33]
        .iter()
        .zip(0..)
        .map(|(&len, seed)| sampled(prompt(seed, len), seed.into()))
        .collect();
    let mut cousin = requests[4].prompt.clone();
    cousin.truncate(70);
    cousin.extend(prompt(50, 9));
    requests.push(sampled(cousin, 99));
    requests
}

fn alone_in_a_batch_and_through_prefill(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    for name in ["llama3-rope-gqa", "qwen2-bias", "lfm2"] {
        let model = tiny(&device, name);
        let requests = requests();
        let together = generate(&mut generator(&model, 16, 160, KvFormat::F16), &requests);
        let few_slots = generate(&mut generator(&model, 2, 160, KvFormat::F16), &requests);
        for (index, request) in requests.iter().enumerate() {
            let alone =
                &generate(&mut generator(&model, 1, 160, KvFormat::F16), std::slice::from_ref(request))[0];
            assert_eq!(alone.tokens, together[index].tokens, "{name}: request {index} in a batch");
            assert_eq!(alone.tokens, few_slots[index].tokens, "{name}: request {index} in two slots");
            let whole: Vec<u32> = request.prompt.iter().chain(&alone.tokens).copied().collect();
            let scored = logprobs(&mut generator(&model, 1, 160, KvFormat::F16), &whole);
            let scored = &scored[request.prompt.len() - 1..];
            match family {
                // One order of arithmetic, whatever the batch: equal to the last bit.
                KernelFamily::Lane8 => {
                    assert_eq!(alone.logprobs, together[index].logprobs, "{name}: request {index}");
                    assert!(furthest(scored, &alone.logprobs) <= 2e-6, "{name}: request {index} scored");
                }
                KernelFamily::Tiled => {
                    assert!(furthest(&together[index].logprobs, &alone.logprobs) <= 1e-4);
                    assert!(furthest(scored, &alone.logprobs) <= 1e-3);
                }
            }
        }
    }
}

#[test]
fn a_sequence_is_the_same_alone_in_a_batch_and_through_prefill_on_lane8() {
    alone_in_a_batch_and_through_prefill(KernelFamily::Lane8);
}

#[test]
fn a_sequence_is_the_same_alone_in_a_batch_and_through_prefill_on_tiled() {
    alone_in_a_batch_and_through_prefill(KernelFamily::Tiled);
}

#[test]
fn a_cached_history_is_reused_and_changes_nothing() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    for name in ["llama3-rope-gqa", "lfm2"] {
        let model = tiny(&device, name);
        let mut chat = generator(&model, 1, 160, KvFormat::F16);
        let first = sampled(prompt(1, 30), 4);
        let reply = generate(&mut chat, std::slice::from_ref(&first)).remove(0);
        let mut history = first.prompt.clone();
        history.extend(&reply.tokens);
        history.extend(prompt(2, 12));
        let second = sampled(history, 5);
        let warm = generate(&mut chat, std::slice::from_ref(&second)).remove(0);
        let mut fresh = generator(&model, 1, 160, KvFormat::F16);
        let cold = generate(&mut fresh, std::slice::from_ref(&second)).remove(0);
        // All but the last token drawn had been fed.
        assert_eq!(warm.reused_tokens, first.prompt.len() + reply.tokens.len() - 1, "{name}");
        assert_eq!(cold.reused_tokens, 0, "{name}");
        assert_eq!(warm.tokens, cold.tokens, "{name}");
    }
}

#[test]
fn several_steps_a_submit_give_the_same_replies() {
    let _turn = gpu::turn();
    for name in ["llama3-rope-gqa", "lfm2"] {
        several_steps(name);
    }
}

fn several_steps(name: &str) {
    let [one, eight] = [1, 8].map(|steps| {
        let options = DeviceOptions { decode_steps: Some(steps), ..DeviceOptions::default() };
        let device = gpu::open(&options);
        // Ends of all kinds in the middle of a submit: length, full context, a stop token.
        let mut asked = requests();
        asked.push(Request { max_tokens: 100, ..sampled(prompt(8, 85), 5) });
        let mut generator = generator(&tiny(&device, name), 3, 96, KvFormat::F16);
        let free = generate(&mut generator, &asked);
        asked[0].stop_ids = StopTokens::Only(vec![free[0].tokens[10]]);
        let stopped = generate(&mut generator, &asked);
        // What the cache is said to hold after such an end must be what it holds.
        (free, stopped, generate(&mut generator, &asked[..2]))
    });
    for (one, eight) in [(&one.0, &eight.0), (&one.1, &eight.1), (&one.2, &eight.2)] {
        for (one, eight) in one.iter().zip(eight) {
            assert_eq!(
                (&one.tokens, &one.logprobs, &one.finish),
                (&eight.tokens, &eight.logprobs, &eight.finish)
            );
        }
    }
    assert!(one.1[0].tokens.len() <= 11);
}

#[test]
fn matrices_split_by_a_small_binding_give_the_same_logits() {
    let _turn = gpu::turn();
    let whole = DeviceOptions::default();
    // A third of the embedding: 512 rows of 64 values in f32 take 128 KiB.
    let narrow = DeviceOptions { max_binding_bytes: Some(48 << 10), ..DeviceOptions::default() };
    let (wide, narrow) = (gpu::open(&whole), gpu::open(&narrow));
    let ids = prompt(3, 20);
    for name in ["llama-mha-untied", "qwen2-bias"] {
        let expected = logprobs(&mut generator(&tiny(&wide, name), 1, 24, KvFormat::F32), &ids);
        // Logits of 32 rows alone would exceed so small a binding, so the batch is small as well.
        let model = tiny(&narrow, name);
        let split = model.device().memory();
        assert!(split.current_bytes >= tiny(&wide, name).weight_bytes());
        let ours = logprobs(&mut generator(&model, 1, 24, KvFormat::F32), &ids);
        assert_eq!(ours, expected, "{name}");
    }
}

#[test]
fn entropy_and_log_probability_agree_with_the_logits() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let mut generator = generator(&tiny(&device, "qwen2-bias"), 2, 64, KvFormat::F32);
    let rows = [prompt(5, 30), prompt(6, 11), prompt(7, 23)];
    for temperature in [1.0f32, 0.7] {
        let stats = generator
            .token_stats(&rows, None, temperature, &CancelToken::new())
            .expect("known ids are scored");
        for (row, stats) in rows.iter().zip(&stats) {
            let mut logits = Vec::new();
            generator
                .logits(row, None, &CancelToken::new(), &mut |more| logits.extend_from_slice(more))
                .expect("logits");
            assert_eq!(stats.len(), row.len() - 1);
            for (place, stat) in stats.iter().enumerate() {
                let row_of_logits = &logits[place * 512..(place + 1) * 512];
                let z: Vec<f64> = row_of_logits.iter().map(|&z| f64::from(z / temperature)).collect();
                let total = z.iter().map(|z| z.exp()).sum::<f64>().ln();
                let entropy: f64 = z.iter().map(|z| (total - z) * (z - total).exp()).sum();
                assert!((f64::from(stat.logprob) - (z[row[place + 1] as usize] - total)).abs() < 1e-5);
                assert!((f64::from(stat.entropy) - entropy).abs() < 1e-4);
            }
        }
    }
}

/// The first layers of a model are a model: that of a checkpoint without the others.
#[test]
fn the_first_layers_are_a_model_of_their_own() {
    let _turn = gpu::turn();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let path = folder.path().join("model");
    std::fs::create_dir(&path).expect("a scratch directory is writable");
    synthetic::write_directory(&synthetic::ODD, &synthetic::weights(&synthetic::ODD), &path);
    let device = gpu::open(&DeviceOptions::default());
    let model = load(&device, &path);
    let first = model.first_layers(1).expect("it has two");
    let config = path.join("config.json");
    let text = std::fs::read_to_string(&config).expect("just written");
    let fewer = text.replace("\"num_hidden_layers\":2", "\"num_hidden_layers\":1");
    assert_ne!(fewer, text);
    std::fs::write(&config, fewer).expect("a scratch directory is writable");
    let expected = load(&device, &path);
    let ids = [3, 1, 4, 1, 5, 9, 2, 6];
    let found = logprobs(&mut generator(&first, 1, 32, KvFormat::F32), &ids);
    assert_eq!(found, logprobs(&mut generator(&expected, 1, 32, KvFormat::F32), &ids));
    assert_ne!(found, logprobs(&mut generator(&model, 1, 32, KvFormat::F32), &ids));
    assert_eq!(first.weight_bytes(), model.weight_bytes(), "the weights are shared");
}
