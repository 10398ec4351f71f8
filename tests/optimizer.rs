//! AdamW and the norm of gradients, oracle and kernels, against PyTorch's in `golden/adamw.json`.

use std::path::Path;

use parr::gpu::{Buffer, Device, KernelFamily, Recording};
use parr::ops::{self, AdamWStep, GRAD_NORM_PARTS};
use parr::reference;
use serde::Deserialize;

use crate::support::gpu;

#[derive(Deserialize)]
struct Run {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    initial: Vec<f32>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    lr: f64,
    grads: Vec<f32>,
    norm: f64,
    grad_scale: f64,
    params: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
}

fn golden() -> Vec<Run> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/adamw.json");
    serde_json::from_slice(&std::fs::read(path).expect("the golden")).expect("the golden is JSON")
}

/// Asserts equality to `units` roundings of f32, of the larger of the two and `floor`: an element may
/// come close to zero by cancellation, and its error does not.
fn close(what: &str, found: &[f32], expected: &[f32], floor: impl Fn(usize) -> f32, units: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        let allowed = units * f32::EPSILON * floor(i).max(a.abs()).max(b.abs());
        assert!((a - b).abs() <= allowed, "{what}: element {i} is {a:e}, PyTorch has {b:e}");
    }
}

fn check_step(number: usize, step: &Step, params: &[f32], m: &[f32], v: &[f32]) {
    // What went into the means is as large as the gradient; a parameter's error is that of a step.
    let grad = |i: usize| step.grads[i].abs() * step.grad_scale as f32;
    close(&format!("m of step {number}"), m, &step.m, grad, 4.0);
    close(&format!("v of step {number}"), v, &step.v, |_| f32::MIN_POSITIVE, 8.0);
    close(&format!("parameters of step {number}"), params, &step.params, |_| step.lr as f32, 4.0);
}

#[test]
fn the_oracle_steps_as_pytorch_does() {
    for run in golden() {
        let rule = reference::AdamW {
            beta1: run.beta1,
            beta2: run.beta2,
            eps: run.eps,
            weight_decay: run.weight_decay,
        };
        let mut params = run.initial.clone();
        let (mut m, mut v) = (vec![0.0; params.len()], vec![0.0; params.len()]);
        for (number, step) in (1..).zip(&run.steps) {
            let norm = reference::grad_norm(&step.grads);
            assert!((norm / step.norm - 1.0).abs() < 1e-6, "step {number}: norm {norm}");
            let (lr, scale) = (step.lr, step.grad_scale);
            reference::adamw(&rule, number, lr, scale, &mut params, &step.grads, &mut m, &mut v);
            check_step(number as usize, step, &params, &m, &v);
        }
    }
}

fn steps_as_pytorch_does(device: &Device) {
    let upload = |data: &[f32]| -> Buffer<f32> { device.upload("golden", data).expect("a few values fit") };
    for run in golden() {
        let len = run.initial.len();
        let params = upload(&run.initial);
        let (m, v) = (upload(&vec![0.0; len]), upload(&vec![0.0; len]));
        let partials = upload(&[0.0; GRAD_NORM_PARTS]);
        for (number, step) in (1..).zip(&run.steps) {
            let grads = upload(&step.grads);
            let coefficients = AdamWStep {
                lr: step.lr,
                beta1: run.beta1,
                beta2: run.beta2,
                eps: run.eps,
                weight_decay: run.weight_decay,
                bias_correction1: 1.0 - run.beta1.powi(number),
                bias_correction2: 1.0 - run.beta2.powi(number),
                grad_scale: step.grad_scale,
            };
            let mut rec = Recording::new(device);
            ops::grad_norm(&mut rec, &grads, 0, len, &partials, 0).expect("shapes agree");
            ops::adamw(&mut rec, &coefficients, &params, 0, &grads, &m, &v, 0, len).expect("shapes agree");
            rec.submit().expect("a sound recording");
            let read = |buffer: &Buffer<f32>| device.read(buffer, 0, buffer.len()).expect("a read");
            let norm = read(&partials).iter().map(|&sum| f64::from(sum)).sum::<f64>().sqrt();
            assert!((norm / step.norm - 1.0).abs() < 1e-6, "step {number}: norm {norm}");
            check_step(number as usize, step, &read(&params), &read(&m), &read(&v));
        }
    }
}

#[test]
fn the_kernels_step_as_pytorch_does(family: KernelFamily) {
    let _turn = gpu::turn();
    steps_as_pytorch_does(&gpu::device(family));
}
