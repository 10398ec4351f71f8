//! PPO's loss through a mixed pass of policy and critic: along the gradient that the device found, the loss
//! that the device finds must rise by the gradient's norm.

use std::collections::BTreeMap;
use std::ops::Range;

use parr::gpu::KernelFamily;
use parr::model::lora::{AdapterBank, AdapterId, LoraConfig, LoraWeights, Projections, ScalarHead};
use parr::random::{Philox, Purpose};
use parr::train::objective::{Clip, Evaluated, Objective, Ppo, PpoBatch, PpoToken, TokenStats};
use parr::train::{Learner, Reading, Sequence, Unit};

use super::{load, tiny};
use crate::learn::{ADAMW, golden_path, shape};
use crate::support::gpu;

fn draw(step: u32, index: usize) -> f64 {
    f64::from(Philox::new(21).uniform(Purpose::Conformance, step, index as u32, 0) - 0.5)
}

fn away_from_zero(mut weights: LoraWeights, step: u32) -> LoraWeights {
    for (at, pair) in weights.layers.iter_mut().flat_map(BTreeMap::values_mut).enumerate() {
        let value = |index: usize| 0.2 * draw(step + at as u32, index) as f32;
        pair.b.iter_mut().enumerate().for_each(|(index, b)| *b = value(index));
    }
    weights
}

/// Three replies, each read by the policy and behind it by the critic; the same one if `shared`.
fn units(vocab: usize, policy: AdapterId, value: AdapterId) -> Vec<Unit> {
    let shared = policy == value;
    let unit = |&(prompt, reply, seed): &(usize, usize, usize)| {
        let n = prompt + reply;
        let ids: Vec<u32> = (0..n).map(|at| ((at * at * 31 + at * 7 + seed) % vocab) as u32).collect();
        let sequence = |adapter, target: bool, head| Sequence {
            ids: ids.clone(),
            adapter: Some(adapter),
            readings: (prompt..n)
                .map(|place| Reading { position: place - 1, target: target.then(|| ids[place]), head })
                .collect(),
            ..Sequence::default()
        };
        let mut unit = vec![sequence(policy, true, shared)];
        unit.extend((!shared).then(|| sequence(value, false, true)));
        unit
    };
    [(3, 8, 1), (6, 1, 2), (2, 13, 5)].iter().map(unit).collect()
}

/// What a rollout may have said of the replies: some ratios are beyond their bounds, some values too.
fn tokens(units: &[Unit], now: &TokenStats) -> Vec<PpoToken> {
    let (mut at, mut tokens) = (0, Vec::new());
    for unit in units {
        let n = unit[0].readings.len();
        let value_at = if unit.len() == 2 { at + n } else { at };
        for place in 0..n {
            let (policy, value) = (at + place, value_at + place);
            tokens.push(PpoToken {
                policy,
                value,
                old_logprob: f64::from(now.logprob[policy]) + draw(1, policy),
                advantage: 4.0 * draw(2, policy),
                old_value: f64::from(now.value[value]) + draw(3, policy),
                target: f64::from(now.value[value]) + 6.0 * draw(4, policy),
            });
        }
        at = value_at + n;
    }
    tokens
}

fn moved(weights: &LoraWeights, along: &LoraWeights, step: f64) -> LoraWeights {
    let mut moved = weights.clone();
    let pairs = moved.layers.iter_mut().flat_map(BTreeMap::values_mut);
    for (pair, along) in pairs.zip(along.layers.iter().flat_map(BTreeMap::values)) {
        for (value, d) in pair.a.iter_mut().zip(&along.a).chain(pair.b.iter_mut().zip(&along.b)) {
            *value = (f64::from(*value) + step * f64::from(*d)) as f32;
        }
    }
    moved
}

fn squared(weights: &LoraWeights) -> f64 {
    let pairs = weights.layers.iter().flat_map(BTreeMap::values);
    pairs.flat_map(|pair| pair.a.iter().chain(&pair.b)).map(|&value| f64::from(value).powi(2)).sum()
}

fn holds(family: KernelFamily, shared: bool, golden: bool, temperature: f32) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = if golden {
        load(&device, &golden_path("tiny/llama3-rope-gqa"))
    } else {
        tiny(&device, folder.path())
    };
    let lora = LoraConfig { rank: 4, alpha: 8.0, rs_lora: false, targets: Projections::ALL };
    let fresh = |seed| LoraWeights::fresh(lora, model.config(), seed).expect("sound settings");
    let (mut policy, mut value) = (away_from_zero(fresh(1), 100), away_from_zero(fresh(2), 200));
    let hidden = model.config().hidden;
    let mut head = ScalarHead { weight: (0..hidden).map(|k| draw(9, k) as f32).collect(), bias: 0.25 };
    let bank = AdapterBank::new(&model, 4, Projections::ALL, 2).expect("a small bank fits");
    let first = bank.attach(&policy, shared.then_some(&head)).expect("it fits");
    let second = if shared { first } else { bank.attach(&value, Some(&head)).expect("it fits") };
    let learning = if shared { vec![first] } else { vec![first, second] };
    let mut learner =
        Learner::new(&model, &bank, &learning, &shape(&model, 100, 0), ADAMW).expect("a small pass fits");

    learner.set_temperature(temperature);

    let units = units(model.config().vocab, first, second);
    let now = learner.read(&units).expect("sound sequences");
    let tokens = tokens(&units, &now);
    let ppo = Ppo { clip: Clip::symmetric(0.2), value_radius: 0.3, value_weight: 0.5, entropy_weight: 0.05 };
    let normalizer = tokens.len() as f64;
    // All of it is one pass, so places are those of the whole.
    let loss = &mut |_: Range<usize>, stats: &TokenStats| -> Evaluated {
        ppo.evaluate(stats, &PpoBatch { tokens: tokens.clone(), normalizer })
    };
    learner.clear().expect("gradients can be cleared");
    let learned = learner.accumulate(&units, loss).expect("a sound pass");
    assert_eq!(learned.passes, 1);
    let clipped = |name: &str| learned.metrics.iter().any(|(one, part)| *one == name && *part > 0.1);
    assert!(clipped("policy/clipfrac_avg") && clipped("val/clipfrac_avg"), "{:?}", learned.metrics);
    let (d_policy, mut d_head) = learner.read_gradients(0).expect("gradients can be read");
    let d_value = (!shared).then(|| {
        let (d_value, d_second) = learner.read_gradients(1).expect("gradients can be read");
        d_head = d_second;
        d_value
    });

    // The head's gradient is exact in itself: values are linear in it.
    let d_head_squared =
        d_head.weight.iter().chain([&d_head.bias]).map(|&d| f64::from(d).powi(2)).sum::<f64>();
    let mut rises = |name: &str, slope: f64, place: &mut dyn FnMut(f64)| {
        assert!(slope > 1e-8, "{name}: nothing to measure, {slope:.1e}");
        // So short that hardly a token crosses a bound, so long that single precision sees it.
        let step = 2e-3 / slope;
        let mut at = |step: f64| {
            place(step);
            learner.evaluate(&units, loss).expect("a sound pass").0
        };
        let found = (at(step) - at(-step)) / (2.0 * step);
        at(0.0);
        let apart = (found - slope).abs() / slope;
        println!("{} {name}: slope {slope:.4e}, found {found:.4e}", family.name());
        assert!(apart <= 0.03, "{name}: slope {slope:.4e}, found {found:.4e}");
    };
    let with_head = head.clone();
    rises("policy", squared(&d_policy), &mut |step| {
        let weights = moved(&policy, &d_policy, step);
        bank.replace(first, &weights, shared.then_some(&with_head)).expect("it fits");
    });
    if let Some(d_value) = &d_value {
        rises("critic", squared(d_value), &mut |step| {
            bank.replace(second, &moved(&value, d_value, step), Some(&with_head)).expect("it fits");
        });
    }
    let weights = if shared { &mut policy } else { &mut value };
    rises("head", d_head_squared, &mut |step| {
        let by = |value: f32, d: f32| (f64::from(value) + step * f64::from(d)) as f32;
        let weight = with_head.weight.iter().zip(&d_head.weight).map(|(&value, &d)| by(value, d)).collect();
        head = ScalarHead { weight, bias: by(with_head.bias, d_head.bias) };
        bank.replace(second, weights, Some(&head)).expect("it fits");
    });
}

#[test]
fn policy_critic_and_head_follow_the_loss(family: KernelFamily) {
    holds(family, false, true, 1.0);
    holds(family, false, true, 0.6);
}

#[test]
fn so_they_do_on_another_model_and_at_another_temperature() {
    holds(KernelFamily::Lane8, false, false, 1.3);
}

#[test]
fn so_does_a_critic_on_the_policy() {
    holds(KernelFamily::Lane8, true, true, 1.0);
}
