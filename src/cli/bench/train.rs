//! Speed and memory of a training step.

use std::time::Instant;

use serde::Serialize;

use super::measure::{KernelShare, shares};
use crate::cli::error::CliError;
use parr::gpu::Device;
use parr::model::Model;
use parr::model::lora::{AdapterBank, LoraConfig, LoraWeights, Projections};
use parr::train::objective::{Objective, Supervised, SupervisedBatch};
use parr::train::{AdamW, Demand, Learner, Plan, Sequence, Unit};

/// Size of the measured training step.
#[derive(Clone, Copy)]
pub(super) struct TrainShape {
    pub sequences: usize,
    pub tokens: usize,
    pub rank: usize,
    /// Bytes of device memory.
    pub budget: u64,
}

/// Speed and memory of training.
#[derive(Serialize)]
pub(super) struct Train {
    pub sequences: usize,
    pub tokens: usize,
    pub rank: usize,
    pub seconds: f64,
    pub tokens_per_second: f64,
    /// Tokens of the largest pass.
    pub pass_tokens: usize,
    /// Layers whose activations are kept, out of `layers`.
    pub kept_layers: usize,
    pub layers: usize,
    pub planned_bytes: u64,
    pub peak_device_bytes: u64,
    pub kernels: Vec<KernelShare>,
}

/// Measures a step of AdamW on every token of random sequences: forward, loss, backward, update.
pub(super) fn train(
    device: &Device,
    model: &Model,
    shape: TrainShape,
    repeats: usize,
) -> Result<Train, CliError> {
    let TrainShape { sequences, tokens, rank, budget } = shape;
    let config = model.config();
    device.reset_peak_memory();
    let lora = LoraConfig { rank, alpha: 2.0 * rank as f32, rs_lora: false, targets: Projections::ALL };
    let demand = Demand {
        model: config,
        model_bytes: model.device_bytes(),
        rank,
        targets: lora.targets,
        adapters: 1,
        trainable: 1,
        learning_layers: config.layers.len(),
        step_tokens: sequences * tokens,
        longest: tokens,
        beside_bytes: 0,
        max_binding_bytes: device.capabilities().max_binding_bytes,
    };
    let plan = Plan::fit(&demand, budget)?;
    let bank = AdapterBank::new(model, rank, lora.targets, 1)?;
    let adapter = bank.attach(&LoraWeights::fresh(lora, config, 0)?, None)?;
    let settings = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, max_grad_norm: Some(1.0) };
    let mut learner = Learner::new(model, &bank, &[adapter], &plan.shape, settings)?;
    let sequence = |number: usize| {
        let id = |at: usize| ((at * at * 31 + at * 7 + number * 1009) % config.vocab) as u32;
        let ids: Vec<u32> = (0..tokens).map(id).collect();
        Sequence::with_targets(&ids, &vec![true; tokens], Some(adapter))
    };
    let units: Vec<Unit> = (0..sequences).map(|number| vec![sequence(number)]).collect();
    let targets: usize = units.iter().flatten().map(|sequence| sequence.readings.len()).sum();
    let mut run = || -> Result<f64, CliError> {
        let start = Instant::now();
        learner.step(
            &units,
            &mut |_, stats| {
                Supervised.evaluate(stats, &SupervisedBatch::uniform(stats.logprob.len(), targets))
            },
            1e-4,
        )?;
        device.wait()?;
        Ok(start.elapsed().as_secs_f64())
    };
    run()?;
    let mut seconds = (0..repeats).map(|_| run()).collect::<Result<Vec<f64>, _>>()?;
    seconds.sort_by(f64::total_cmp);
    let seconds = seconds[seconds.len() / 2];
    device.take_profile();
    device.set_profiling(true);
    let profiled = run();
    device.set_profiling(false);
    profiled?;
    Ok(Train {
        sequences,
        tokens,
        rank,
        seconds,
        tokens_per_second: (sequences * tokens) as f64 / seconds,
        pass_tokens: plan.shape.rows,
        kept_layers: plan.shape.kept_layers,
        layers: config.layers.len(),
        planned_bytes: plan.peak_bytes(),
        peak_device_bytes: device.memory().peak_bytes,
        kernels: shares(&device.take_profile()),
    })
}
