//! Peak device memory is what was planned. A device that computes nothing is enough to count.

use parr::generate::{Generator, GeneratorOptions};
use parr::gpu::{Device, KernelFamily};
use parr::model::Model;
use parr::model::config::{Architecture, HeadNorm, LayerConfig, ModelConfig, Norms, RopeConfig, RopeScaling};
use parr::model::lora::{AdapterBank, LoraConfig, LoraWeights, Projection, Projections};
use parr::ops::{KvFormat, LogitCap};
use parr::quant::Quant;
use parr::train::{AdamW, Demand, Learner, PassShape, Plan, TrainError};

/// Of a plain model, of one with everything that takes memory of its own, and of the same with two convolutions.
fn configs() -> [ModelConfig; 3] {
    let mut mixed = config(true);
    mixed.layers[0].conv = Some(3);
    mixed.layers[2].conv = Some(3);
    [config(false), config(true), mixed]
}

fn config(qk_norm: bool) -> ModelConfig {
    let rope = RopeConfig { theta: 10_000.0, rotary: 20, scaling: RopeScaling::None };
    let mut layers = vec![LayerConfig::llama(20, rope); 4];
    if qk_norm {
        for layer in &mut layers {
            layer.head_norm = Some(HeadNorm::Each);
            layer.norms = Norms::Both;
        }
        layers[1].rope = None;
        layers[3].rope.as_mut().expect("a rotation").theta = 500.0;
    }
    ModelConfig {
        architecture: if qk_norm { Architecture::Qwen3 } else { Architecture::Llama },
        vocab: 1000,
        hidden: 96,
        layers,
        heads: 6,
        kv_heads: 2,
        head_dim: 20,
        ffn: 200,
        norm_eps: 1e-5,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_cap: if qk_norm { LogitCap { scale: 1.0, cap: Some(30.0) } } else { LogitCap::NONE },
        context: 512,
        tied: !qk_norm,
        bos: None,
        eos: Vec::new(),
    }
}

const ADAMW: AdamW = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, max_grad_norm: None };

fn demand<'a>(model: &'a Model, rank: usize, targets: Projections) -> Demand<'a> {
    Demand {
        model: model.config(),
        model_bytes: model.device_bytes(),
        rank,
        targets,
        adapters: 2,
        trainable: 1,
        learning_layers: model.config().layers.len(),
        step_tokens: 600,
        longest: 70,
        beside_bytes: 0,
        max_binding_bytes: 128 << 20,
    }
}

#[test]
fn a_run_takes_to_the_byte_what_was_planned() {
    for config in configs() {
        for (rank, learning_layers, kept_layers, rows) in
            [(4, 4, 0, 70), (5, 4, 4, 333), (16, 4, 2, 100), (8, 4, 3, 512), (4, 2, 4, 70), (4, 3, 1, 333)]
        {
            let targets = match rank {
                5 => [Projection::V, Projection::Up].into_iter().collect(),
                _ => Projections::ALL,
            };
            let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
            let model = Model::random(&device, &config, Quant::Q8_0, 1).expect("a tiny model fits");
            let shape = PassShape { rows, longest: 70, learning_layers, kept_layers, logit_rows: 24 };
            let plan = Plan::count(&demand(&model, rank, targets), shape);
            device.reset_peak_memory();
            let bank = AdapterBank::new(&model, rank, targets, 2).expect("a small bank fits");
            let lora = LoraConfig { rank, alpha: 1.0, rs_lora: false, targets };
            let weights = LoraWeights::fresh(lora, model.config(), 0).expect("sound settings");
            let adapter = bank.attach(&weights, None).expect("the adapter fits");
            let learner = Learner::new(&model, &bank, &[adapter], &shape, ADAMW).expect("a small pass fits");
            assert_eq!(
                device.memory().peak_bytes,
                plan.peak_bytes(),
                "{rank} {kept_layers} {rows}: {plan:?}"
            );
            drop(learner);

            let options =
                GeneratorOptions { slots: 3, context: 50, kv: KvFormat::F32, ..GeneratorOptions::default() };
            let before = device.memory().current_bytes;
            let generator = Generator::with_adapters(&model, options, &bank).expect("a small cache fits");
            let taken = device.memory().current_bytes - before;
            let planned = Generator::plan_bytes(&model, options, Some(&bank));
            // The plan counts the two buffers of scoring too, 12 bytes a row of logits.
            assert!((taken..=taken + 1024).contains(&planned), "generator: {taken} of {planned}");
            drop(generator);
        }
    }
}

#[test]
fn a_smaller_budget_takes_smaller_passes_then_recomputes_then_refuses() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let model = Model::random(&device, &config(false), Quant::Q8_0, 1).expect("a tiny model fits");
    let demand = demand(&model, 8, Projections::ALL);
    let whole = Plan::fit(&demand, u64::MAX).expect("any plan fits");
    assert_eq!((whole.shape.rows, whole.shape.kept_layers), (600, 4));
    let mut last = whole.clone();
    let mut seen = vec![(600, 4)];
    loop {
        let budget = last.peak_bytes() - 1;
        match Plan::fit(&demand, budget) {
            Ok(plan) => {
                assert!(plan.peak_bytes() <= budget);
                seen.push((plan.shape.rows, plan.shape.kept_layers));
                last = plan;
            }
            Err(TrainError::Memory { needed, allowed, .. }) => {
                assert_eq!((needed, allowed), (last.peak_bytes(), budget));
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(seen[1], (300, 4), "half the pass first: {seen:?}");
    assert_eq!(seen.last(), Some(&(70, 0)), "one sequence and nothing kept at last: {seen:?}");
    assert!(seen.contains(&(256, 0)), "{seen:?}");
    let message = Plan::fit(&demand, 1 << 10).expect_err("a kilobyte is too little").to_string();
    assert!(message.contains("weights of the base") && message.contains("1024"), "{message}");
}
