//! Every architecture against transformers, on tiny random models: log-probabilities, loss, gradients of a LoRA.
//! `tests/golden/make_architectures.py` wrote them.

use std::collections::BTreeMap;
use std::fs;

use parr::generate::{CancelToken, Generator, GeneratorOptions};
use parr::gpu::KernelFamily;
use parr::model::ModelConfig;
use parr::model::lora::{AdapterBank, LoraPair, LoraWeights, Projection, Projections};
use parr::ops::KvFormat;
use parr::train::{Learner, Sequence};
use safetensors::SafeTensors;

use super::{ADAMW, distance, golden_path, load, lora, mean_loss, peft, shape};
use crate::support::gpu;

/// Every folder of goldens.
fn names() -> Vec<String> {
    let entries = fs::read_dir(golden_path("architectures")).expect("goldens");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    assert!(names.len() >= 15, "{names:?}");
    names
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Option<Vec<f32>> {
    Some(bytemuck::pod_collect_to_vec(file.tensor(name).ok()?.data()))
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
    logits.iter().map(|logit| f64::from(logit - top) - sum.ln()).collect()
}

/// Projections that Phi-3 joins, as PEFT names them, and the projections in their order.
const JOINED: [(&str, &[Projection]); 2] = [
    ("self_attn.qkv_proj", &[Projection::Q, Projection::K, Projection::V]),
    ("mlp.gate_up_proj", &[Projection::Gate, Projection::Up]),
];

/// The factors of joined projections with `prefix` before their names, by layer: A, then B.
fn joined(file: &SafeTensors<'_>, prefix: &str, layer: usize, module: &str) -> Option<LoraPair> {
    let stem = format!("{prefix}base_model.model.model.layers.{layer}.{module}");
    let factor = |which: &str| floats(file, &format!("{stem}.lora_{which}.weight"));
    Some(LoraPair { a: factor("A")?, b: factor("B")? })
}

/// PyTorch's adapter. The parts of a joined projection share its A, and have their rows of its B.
fn adapter(file: &SafeTensors<'_>, config: &ModelConfig) -> LoraWeights {
    let mut weights = peft(file, "init.", lora(4, Projections::ALL), config);
    for (layer, pairs) in weights.layers.iter_mut().enumerate() {
        for (module, parts) in JOINED {
            let Some(LoraPair { a, mut b }) = joined(file, "init.", layer, module) else { continue };
            for &part in parts {
                let rest = b.split_off(4 * part.shape(config).0);
                pairs.insert(part, LoraPair { a: a.clone(), b: std::mem::replace(&mut b, rest) });
            }
        }
    }
    weights
}

/// Largest relative distance of our gradients from PyTorch's. The gradient of a joined A is the sum over its parts.
fn furthest(file: &SafeTensors<'_>, found: &LoraWeights, config: &ModelConfig) -> (f64, usize) {
    let (mut worst, mut compared) = (0f64, 0);
    let expected = peft(file, "grad.", lora(4, Projections::ALL), config);
    for (layer, (found, expected)) in found.layers.iter().zip(&expected.layers).enumerate() {
        let mut pairs: Vec<(LoraPair, LoraPair)> =
            expected.iter().map(|(projection, pair)| (found[projection].clone(), pair.clone())).collect();
        for (module, parts) in JOINED {
            let Some(expected) = joined(file, "grad.", layer, module) else { continue };
            let mut a = vec![0.0; expected.a.len()];
            let mut b = Vec::new();
            for part in parts {
                a.iter_mut().zip(&found[part].a).for_each(|(sum, value)| *sum += value);
                b.extend_from_slice(&found[part].b);
            }
            pairs.push((LoraPair { a, b }, expected));
        }
        for (found, expected) in pairs {
            worst = worst.max(distance(&found.a, &expected.a)).max(distance(&found.b, &expected.b));
            compared += 2;
        }
    }
    (worst, compared)
}

/// `recomputed` layers keep nothing for their backward pass.
fn architectures(family: KernelFamily, recomputed: usize) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let mut worst: BTreeMap<String, (f64, f64, f64)> = BTreeMap::new();
    for name in names() {
        let folder = golden_path("architectures").join(&name);
        let bytes = fs::read(folder.join("expected.safetensors")).expect("a golden file");
        let file = SafeTensors::deserialize(&bytes).expect("golden tensors");
        let ids: Vec<i64> = bytemuck::pod_collect_to_vec(file.tensor("ids").expect("ids").data());
        let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
        let model = load(&device, &folder);
        assert!(model.notes().is_empty(), "{name}: {:?}", model.notes());

        let options = GeneratorOptions {
            slots: 1,
            context: ids.len(),
            kv: KvFormat::F32,
            ..GeneratorOptions::default()
        };
        let mut logits = Vec::new();
        Generator::new(&model, options)
            .expect("a small cache fits")
            .logits(&ids, None, &CancelToken::new(), &mut |rows| logits.extend_from_slice(rows))
            .expect("known ids have logits");
        let expected = floats(&file, "logits").expect("logits");
        let vocab = model.config().vocab;
        let rows = logits.chunks_exact(vocab).zip(expected.chunks_exact(vocab));
        let apart = rows.flat_map(|(ours, theirs)| {
            log_softmax(ours).into_iter().zip(log_softmax(theirs)).map(|(a, b)| (a - b).abs())
        });
        let logprob = apart.fold(0.0, f64::max);

        let weights = adapter(&file, model.config());
        let bank = AdapterBank::new(&model, 4, Projections::ALL, 1).expect("a small bank fits");
        let id = bank.attach(&weights, None).expect("PyTorch's adapter fits");
        let pass = shape(&model, ids.len(), recomputed.min(model.config().layers.len()));
        let mut learner = Learner::new(&model, &bank, &[id], &pass, ADAMW).expect("a small pass fits");
        let sequence = Sequence::with_targets(&ids, &vec![true; ids.len()], Some(id));
        let targets = sequence.readings.len();
        let learned = learner
            .step(&[vec![sequence]], &mut |_, stats| mean_loss(targets, stats), 0.0)
            .expect("a sound step");
        let loss = f64::from(floats(&file, "loss").expect("the loss")[0]);
        let (gradients, _) = learner.read_gradients(0).expect("gradients can be read");
        let (gradient, compared) = furthest(&file, &gradients, model.config());
        assert!(compared >= 8 * model.config().layers.len(), "{name}: {compared} factors");
        let found = (logprob, (learned.loss - loss).abs(), gradient);
        println!(
            "{name} {}: log-probabilities {:.1e}, loss {:.1e}, gradients {:.1e}",
            family.name(),
            found.0,
            found.1,
            found.2
        );
        worst.insert(name, found);
    }
    for (name, (logprob, loss, gradient)) in worst {
        assert!(logprob <= 1e-4, "{name}: log-probabilities differ by {logprob:.1e}");
        assert!(loss <= 1e-4, "{name}: the loss differs by {loss:.1e}");
        assert!(gradient <= 1e-3, "{name}: gradients differ by {gradient:.1e}");
    }
}

#[test]
fn every_architecture_computes_as_in_transformers_on_lane8() {
    architectures(KernelFamily::Lane8, 0);
}

#[test]
fn every_architecture_computes_as_in_transformers_on_tiled_and_recomputed() {
    architectures(KernelFamily::Tiled, 9);
}
