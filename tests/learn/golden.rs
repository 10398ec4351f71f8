//! SmolLM2 with PyTorch's adapters, batch and optimizer.

use parr::gpu::KernelFamily;
use parr::model::lora::{AdapterBank, LoraConfig, Projections, ScalarHead};
use parr::train::objective::{Objective, Pair, Preference, PreferenceBatch};
use parr::train::{AdamW, Learner, Reading, Sequence};
use safetensors::SafeTensors;
use serde_json::Value;

use super::{distance, golden_path, load, mean_loss, peft, relative_distance, shape, targets};
use crate::support::{gpu, model};

fn json(name: &str) -> Value {
    let bytes = std::fs::read(golden_path(name)).expect("a golden file");
    serde_json::from_slice(&bytes).expect("golden JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|id| id as u32).collect()
}

fn lora_config(golden: &Value) -> LoraConfig {
    LoraConfig {
        rank: golden["r"].as_u64().expect("r") as usize,
        alpha: golden["alpha"].as_f64().expect("alpha") as f32,
        rs_lora: false,
        targets: Projections::ALL,
    }
}

/// How far PyTorch's single precision is from its double precision in weights after four steps, where
/// AdamW has divided by the size of small gradients: `make_lora_f64.py` tells.
const SINGLE_PRECISION: f64 = 1.1e-3;

/// Four steps of AdamW, or the first `steps` of them: losses, gradients of the first, weights after the fourth.
/// Held against PyTorch's single precision, as everyone runs it, and closer against its double precision.
fn lora_batch(family: KernelFamily, recomputed: usize, steps: usize) {
    let _turn = gpu::turn();
    let (device, path) = (gpu::device(family), model::smollm2());
    let golden = json("lora/lora.json");
    let config = lora_config(&golden);
    let model = load(&device, &path);
    let init = std::fs::read(golden_path("lora/lora_init.safetensors")).expect("a golden file");
    let init = SafeTensors::deserialize(&init).expect("golden tensors");
    let expected = std::fs::read(golden_path("lora/lora_grads.safetensors")).expect("a golden file");
    let expected = SafeTensors::deserialize(&expected).expect("golden tensors");
    let double = std::fs::read(golden_path("lora/lora_f64.safetensors")).expect("a golden file");
    let double = SafeTensors::deserialize(&double).expect("golden tensors");
    let bank = AdapterBank::new(&model, config.rank, config.targets, 1).expect("a small bank fits");
    let weights = peft(&init, "", config, model.config());
    let id = bank.attach(&weights, None).expect("PyTorch's adapter fits");
    let optimizer = &golden["optimizer"];
    let setting = |name: &str| optimizer[name].as_f64().expect("a setting");
    let betas = numbers(&optimizer["betas"]);
    let adamw = AdamW {
        beta1: betas[0],
        beta2: betas[1],
        eps: setting("eps"),
        weight_decay: setting("weight_decay"),
        max_grad_norm: Some(setting("max_grad_norm")),
    };
    let mut learner = Learner::new(&model, &bank, &[id], &shape(&model, 128, recomputed), adamw)
        .expect("a small pass fits");
    let sequences: Vec<Sequence> = golden["batch"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            let mask: Vec<bool> = numbers(&row["loss_mask"]).into_iter().map(|v| v != 0.0).collect();
            Sequence::with_targets(&ids(&row["ids"]), &mask, Some(id))
        })
        .collect();
    let targets = targets(&sequences);
    let units: Vec<Vec<Sequence>> = sequences.into_iter().map(|sequence| vec![sequence]).collect();
    let losses = numbers(&golden["losses_before_steps_0_to_3"]);
    let norms = numbers(&golden["grad_norms_before_clip"]);
    let exact_losses = numbers(&json("lora/lora_f64.json")["losses_before_steps_0_to_3"]);
    for (step, (loss, norm)) in losses.iter().zip(&norms).enumerate().take(steps) {
        let learned = learner
            .step(&units, &mut |_, stats| mean_loss(targets, stats), setting("lr"))
            .expect("a sound step");
        println!("step {step}: loss {} of {loss}, norm {} of {norm}", learned.loss, learned.grad_norm);
        assert!((learned.loss - loss).abs() <= 1e-3, "step {step}: loss {} of {loss}", learned.loss);
        let exact = exact_losses[step];
        assert!((learned.loss - exact).abs() <= 1e-4, "step {step}: loss {} of {exact}", learned.loss);
        assert!((learned.grad_norm / norm - 1.0).abs() <= 1e-3, "step {step}: norm {}", learned.grad_norm);
        if step == 0 {
            let (gradients, _) = learner.read_gradients(0).expect("gradients can be read");
            let golden = peft(&expected, "grad.", config, model.config());
            let pairs: usize = golden.layers.iter().map(|layer| layer.len()).sum();
            assert_eq!(pairs, 21, "three layers of seven projections");
            let exact = relative_distance(&gradients, &peft(&double, "grad.", config, model.config()));
            let worst = relative_distance(&gradients, &golden);
            println!("gradients: {worst:.1e}, of double precision {exact:.1e}");
            assert!(worst <= 1e-3 && exact <= 1e-3, "gradients: {worst:.1e}, {exact:.1e}");
        }
    }
    if steps < losses.len() {
        return;
    }
    let (after, _) = bank.read(id).expect("the adapter is attached");
    let worst = relative_distance(&after, &peft(&expected, "after4.", config, model.config()));
    let exact = relative_distance(&after, &peft(&double, "after4.", config, model.config()));
    println!("weights after 4 steps: {worst:.1e}, of double precision {exact:.1e}");
    assert!(exact <= 1e-3, "weights after 4 steps: {exact:.1e} of double precision");
    assert!(worst <= 1e-3 + SINGLE_PRECISION, "weights after 4 steps: {worst:.1e}");
}

#[test]
fn a_lora_batch_learns_as_in_pytorch_lane8() {
    lora_batch(KernelFamily::Lane8, 0, 4);
}

/// The kernels for hardware take ten times as long on a software driver: loss and gradients of one step, in
/// `make proofs` all four.
#[test]
fn a_lora_batch_learns_as_in_pytorch_tiled_and_recomputed() {
    let steps = std::env::var("PARR_PROOF_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    lora_batch(KernelFamily::Tiled, 20, steps);
}

#[test]
fn a_reward_head_scores_and_learns_as_in_pytorch() {
    let _turn = gpu::turn();
    let (device, path) = (gpu::open(&Default::default()), model::smollm2());
    let golden = json("reward/reward.json");
    let config = lora_config(&golden);
    let model = load(&device, &path);
    let bytes = std::fs::read(golden_path("reward/reward.safetensors")).expect("a golden file");
    let file = SafeTensors::deserialize(&bytes).expect("golden tensors");
    let floats = |name: &str| -> Vec<f32> {
        let tensor = file.tensor(name).unwrap_or_else(|_| panic!("no tensor {name}"));
        tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let bank = AdapterBank::new(&model, config.rank, config.targets, 1).expect("a small bank fits");
    let head = ScalarHead { weight: floats("head.weight"), bias: 0.0 };
    let id = bank
        .attach(&peft(&file, "init.", config, model.config()), Some(&head))
        .expect("PyTorch's adapter fits");
    let mut learner =
        Learner::new(&model, &bank, &[id], &shape(&model, 64, 15), super::ADAMW).expect("a small pass fits");
    let unit: Vec<Sequence> = ["chosen", "rejected"]
        .map(|name| {
            let ids = ids(&golden[name]);
            let last = Reading { position: ids.len() - 1, target: None, head: true };
            Sequence { ids, adapter: Some(id), readings: vec![last], ..Sequence::default() }
        })
        .into();
    let pair = PreferenceBatch { pairs: vec![Pair { chosen: 0, rejected: 1 }], normalizer: 1.0 };
    let mut scores = Vec::new();
    learner.clear().expect("gradients can be cleared");
    let learned = learner
        .accumulate(&[unit], &mut |_, stats| {
            scores.clone_from(&stats.value);
            Preference.evaluate(stats, &pair)
        })
        .expect("a sound pass");
    println!("scores {scores:?}, loss {}", learned.loss);
    for (score, expected) in scores.iter().zip(numbers(&golden["scores"])) {
        assert!((f64::from(*score) - expected).abs() <= 2e-3, "{score} of {expected}");
    }
    assert!((learned.loss - golden["loss"].as_f64().expect("a loss")).abs() <= 1e-3, "{}", learned.loss);
    let (gradients, head) = learner.read_gradients(0).expect("gradients can be read");
    let worst = relative_distance(&gradients, &peft(&file, "grad.", config, model.config()));
    let of_head = distance(&head.weight, &floats("grad.head.weight"));
    println!("gradients: adapters {worst:.1e}, head {of_head:.1e}");
    assert!(worst <= 1e-3 && of_head <= 1e-3, "adapters {worst:.1e}, head {of_head:.1e}");
}
