//! AdamW (arXiv 1711.05101) for the trainable adapters, on the device.

use super::error::TrainError;
use crate::gpu::{Buffer, Device, DeviceError, Recording};
use crate::model::AdapterGradients;
use crate::model::lora::AdapterBank;
use crate::ops::{self, AdamWStep, GRAD_NORM_PARTS, buffer_bytes};

/// Settings of AdamW, named as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay rate of the first moment, the mean of the gradients.
    pub beta1: f64,
    /// Decay rate of the second moment, the mean of the squared gradients.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Fraction by which a step of rate 1 reduces every value, in addition to the gradient's update.
    pub weight_decay: f64,
    /// Largest joint norm of the gradients. Larger gradients are scaled down to it; `None` turns clipping
    /// off.
    pub max_grad_norm: Option<f64>,
}

/// First and second moments of all trainable values, and the number of steps taken.
#[derive(Debug)]
pub(super) struct Optimizer {
    pub settings: AdamW,
    /// Number of steps taken.
    pub steps: u64,
    /// First and second moments by layer, then those of the heads.
    pub moments: Vec<[Buffer<f32>; 2]>,
    partials: Buffer<f32>,
}

impl Optimizer {
    pub fn new(device: &Device, gradients: &AdapterGradients, settings: AdamW) -> Result<Self, DeviceError> {
        let buffers = gradients.layers.iter().chain([&gradients.heads]);
        let moments = buffers
            .clone()
            .map(|buffer| {
                Ok([
                    device.buffer("first moments", buffer.len())?,
                    device.buffer("second moments", buffer.len())?,
                ])
            })
            .collect::<Result<_, DeviceError>>()?;
        let partials = device.buffer("partial gradient norms", buffers.count() * GRAD_NORM_PARTS)?;
        Ok(Optimizer { settings, steps: 0, moments, partials })
    }

    /// Device memory in bytes for `layers` buffers of `adapter_values` values and one buffer of `head_values`
    /// values. The gradients are not included.
    pub fn bytes(layers: usize, adapter_values: usize, head_values: usize) -> u64 {
        let buffer = buffer_bytes::<f32>;
        2 * (layers as u64 * buffer(adapter_values) + buffer(head_values))
            + buffer((layers + 1) * GRAD_NORM_PARTS)
    }

    /// Takes one step of learning rate `rate` with the accumulated gradients. Returns their joint norm before
    /// clipping.
    ///
    /// # Errors
    ///
    /// * [`TrainError::NotFinite`] if a gradient is NaN or infinite; nothing is changed then;
    /// * [`TrainError::Device`] if the device fails.
    pub fn step(
        &mut self,
        bank: &AdapterBank,
        gradients: &AdapterGradients,
        rate: f64,
    ) -> Result<f64, TrainError> {
        let device = bank.device().clone();
        let norm = self.norm(&device, gradients)?;
        let AdamW { beta1, beta2, eps, weight_decay, max_grad_norm } = self.settings;
        let steps = self.steps + 1;
        // As PyTorch clips: gradients with a norm just below the bound stay unchanged.
        let grad_scale = match max_grad_norm {
            Some(most) => (most / (norm + 1e-6)).min(1.0),
            None => 1.0,
        };
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        let step = AdamWStep {
            lr: rate,
            beta1,
            beta2,
            eps,
            weight_decay,
            bias_correction1: correction(beta1),
            bias_correction2: correction(beta2),
            grad_scale,
        };
        let mut rec = Recording::new(&device);
        let layers = gradients.layers.len();
        for (index, [first, second]) in self.moments.iter().enumerate() {
            let (params, grads) = if index < layers {
                (bank.layer(index).buffer, &gradients.layers[index])
            } else {
                (bank.heads(), &gradients.heads)
            };
            // Trainable adapters are in the first slots of the bank, so both offsets are 0.
            ops::adamw(&mut rec, &step, params, 0, grads, first, second, 0, grads.len())?;
        }
        rec.submit()?;
        self.steps = steps;
        Ok(norm)
    }

    /// The joint norm of all gradients.
    fn norm(&self, device: &Device, gradients: &AdapterGradients) -> Result<f64, TrainError> {
        let mut rec = Recording::new(device);
        let buffers = || gradients.layers.iter().chain([&gradients.heads]);
        for (index, grads) in buffers().enumerate() {
            let at = index * GRAD_NORM_PARTS;
            ops::grad_norm(&mut rec, grads, 0, grads.len(), &self.partials, at)?;
        }
        rec.submit()?;
        let partials = device.read(&self.partials, 0, self.partials.len())?;
        let mut total = 0.0;
        for (index, parts) in partials.chunks_exact(GRAD_NORM_PARTS).enumerate() {
            let sum: f64 = parts.iter().map(|&part| f64::from(part)).sum();
            if !sum.is_finite() {
                let what = if index < gradients.layers.len() {
                    format!("the gradient of the adapters in layer {index}")
                } else {
                    "the gradient of the scalar heads".to_owned()
                };
                return Err(TrainError::NotFinite { what, step: self.steps + 1 });
            }
            total += sum;
        }
        Ok(total.sqrt())
    }
}
