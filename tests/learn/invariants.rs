//! What must not matter to a pass: how a batch is cut, packed and kept, and who else is in it.

use parr::generate::{CancelToken, Generator, GeneratorOptions, Request};
use parr::gpu::{Device, KernelFamily};
use parr::model::Model;
use parr::model::lora::{AdapterBank, AdapterId, LoraWeights, Projection, Projections, ScalarHead};
use parr::ops::KvFormat;
use parr::train::{Evaluated, Learner, Pass, PassShape, Reading, Sequence, TokenStats};

use super::{golden_path, load, lora, mean_loss, random_adapter, relative_distance, shape, targets};
use crate::support::{gpu, synthetic};

const TINY: &str = "tiny/llama3-rope-gqa";

fn ids(n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|at| ((at * at * 31 + at * 7 + 13 * seed + 3) % 512) as u32).collect()
}

/// Eight sequences of unequal length, all of whose tokens are targets.
fn eight(adapter: AdapterId) -> Vec<Sequence> {
    [9, 31, 4, 17, 25, 2, 40, 12]
        .iter()
        .enumerate()
        .map(|(seed, &n)| Sequence::with_targets(&ids(n, seed), &vec![true; n], Some(adapter)))
        .collect()
}

struct Setup {
    model: Model,
    bank: AdapterBank,
    adapter: AdapterId,
}

fn setup(device: &Device, capacity: usize) -> Setup {
    setup_of(device, TINY, capacity)
}

/// A golden model, or a random one of LFM2.
fn model_of(device: &Device, name: &str) -> Model {
    if name == "lfm2" {
        let directory = tempfile::tempdir().expect("a scratch directory");
        synthetic::write_directory(&synthetic::LFM2, &synthetic::weights(&synthetic::LFM2), directory.path());
        return load(device, directory.path());
    }
    load(device, &golden_path(name))
}

fn setup_of(device: &Device, name: &str, capacity: usize) -> Setup {
    let model = model_of(device, name);
    let bank = AdapterBank::new(&model, 8, Projections::ALL, capacity).expect("a small bank fits");
    let weights = random_adapter(lora(8, Projections::ALL), model.config(), 1);
    let adapter = bank.attach(&weights, None).expect("the adapter fits");
    Setup { model, bank, adapter }
}

impl Setup {
    fn learner(&self, rows: usize, recomputed: usize) -> Learner {
        Learner::new(
            &self.model,
            &self.bank,
            &[self.adapter],
            &shape(&self.model, rows, recomputed),
            super::ADAMW,
        )
        .expect("a small pass fits")
    }

    /// Loss and gradients of `sequences`, one unit each, in passes of at most `rows` tokens.
    fn gradients(&self, sequences: &[Sequence], rows: usize, recomputed: usize) -> (f64, usize, LoraWeights) {
        let mut learner = self.learner(rows, recomputed);
        let targets = targets(sequences);
        let units: Vec<Vec<Sequence>> = sequences.iter().map(|sequence| vec![sequence.clone()]).collect();
        learner.clear().expect("gradients can be cleared");
        let learned =
            learner.accumulate(&units, &mut |_, stats| mean_loss(targets, stats)).expect("a sound pass");
        (learned.loss, learned.passes, learner.read_gradients(0).expect("gradients can be read").0)
    }
}

fn on(family: KernelFamily, test: impl Fn(&Device)) {
    let _turn = gpu::turn();
    test(&gpu::device(family));
}

#[test]
fn eight_at_once_are_eight_one_by_one(family: KernelFamily) {
    on(family, |device| {
        let setup = setup(device, 1);
        let sequences = eight(setup.adapter);
        let (together, passes, at_once) = setup.gradients(&sequences, 140, 0);
        assert_eq!(passes, 1);
        let (apart, passes, accumulated) = setup.gradients(&sequences, 40, 0);
        assert!(passes >= 4, "{passes} passes");
        assert!((together - apart).abs() <= 1e-6 * together, "loss {together} and {apart}");
        let distance = relative_distance(&accumulated, &at_once);
        assert!(distance <= 2e-6, "gradients {distance:.1e} apart");
    });
}

#[test]
fn packed_is_padded(family: KernelFamily) {
    on(family, |device| {
        let setup = setup(device, 1);
        let sequences = eight(setup.adapter);
        let padded: Vec<Sequence> = sequences
            .iter()
            .map(|sequence| {
                let mut padded = sequence.clone();
                padded.ids.resize(40, 0);
                padded
            })
            .collect();
        let (loss, _, packed) = setup.gradients(&sequences, 320, 0);
        let (same_loss, _, same) = setup.gradients(&padded, 320, 0);
        assert!((loss - same_loss).abs() <= 1e-6 * loss, "loss {loss} and {same_loss}");
        let distance = relative_distance(&same, &packed);
        assert!(distance <= 2e-6, "gradients {distance:.1e} apart");
    });
}

#[test]
fn recomputed_layers_give_the_same_bits(family: KernelFamily) {
    on(family, |device| {
        for name in [TINY, "lfm2"] {
            let setup = setup_of(device, name, 1);
            let sequences = eight(setup.adapter);
            let kept = setup.gradients(&sequences, 140, 0);
            for recomputed in 1..=setup.model.config().layers.len().min(3) {
                let again = setup.gradients(&sequences, 140, recomputed);
                assert!(again == kept, "{name}: {recomputed} layers recomputed");
            }
        }
    });
}

/// The pass's log-probabilities of every sequence.
fn forward(pass: &mut Pass, sequences: &[Sequence]) -> Vec<Vec<f32>> {
    let TokenStats { logprob, .. } = pass.forward(sequences).expect("sound sequences");
    let mut rest = &logprob[..];
    sequences
        .iter()
        .map(|sequence| rest.split_off(..sequence.readings.len()).expect("as many").to_vec())
        .collect()
}

#[test]
fn a_mixed_batch_is_one_by_one_and_the_base_stays_itself(family: KernelFamily) {
    on(family, |device| {
        let Setup { model, bank, adapter } = setup(device, 3);
        let narrow = [Projection::V].into_iter().collect();
        let other = bank.attach(&random_adapter(lora(3, narrow), model.config(), 2), None).expect("it fits");
        let answers =
            [Some(adapter), None, Some(other), Some(adapter), Some(other), None, None, Some(adapter)];
        let mut sequences = eight(adapter);
        for (sequence, answer) in sequences.iter_mut().zip(answers) {
            sequence.adapter = answer;
        }
        let mut pass = Pass::new(&model, &bank, 1, &shape(&model, 140, 0)).expect("a small pass fits");
        let mixed = forward(&mut pass, &sequences);
        for (sequence, mixed) in sequences.iter().zip(&mixed) {
            let alone = forward(&mut pass, std::slice::from_ref(sequence)).remove(0);
            if device.tuning().family == KernelFamily::Lane8 {
                assert_eq!(&alone, mixed, "bit for bit");
            }
            let apart = alone.iter().zip(mixed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart <= 1e-4, "{apart:.1e}");
        }
        let base: Vec<f32> =
            forward(&mut pass, &[Sequence { adapter: None, ..sequences[0].clone() }]).remove(0);
        let apart = base.iter().zip(&mixed[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart > 1e-2, "the adapter changes nothing: {apart:.1e}");
    });
}

#[test]
fn sequences_that_do_not_learn_leave_no_gradient(family: KernelFamily) {
    on(family, |device| {
        let Setup { model, bank, adapter } = setup(device, 2);
        let frozen = bank
            .attach(&random_adapter(lora(8, Projections::ALL), model.config(), 2), None)
            .expect("it fits");
        let learning = eight(adapter);
        let setup = Setup { model, bank, adapter };
        let (_, _, alone) = setup.gradients(&learning, 280, 0);
        let mut mixed: Vec<Sequence> = eight(frozen);
        mixed.splice(3..3, learning.iter().cloned());
        // The loss is normalised by all readings: twice as many here.
        let (_, _, mut found) = setup.gradients(&mixed, 280, 0);
        for pair in found.layers.iter_mut().flat_map(|pairs| pairs.values_mut()) {
            pair.a.iter_mut().chain(&mut pair.b).for_each(|value| *value *= 2.0);
        }
        let distance = relative_distance(&found, &alone);
        assert!(distance <= 2e-6, "{distance:.1e}");
    });
}

#[test]
fn generation_and_training_agree_on_log_probabilities(family: KernelFamily) {
    on(family, |device| {
        agree_on_log_probabilities(device, TINY);
        agree_on_log_probabilities(device, "lfm2");
    });
}

fn agree_on_log_probabilities(device: &Device, name: &str) {
    let Setup { model, bank, adapter } = setup_of(device, name, 1);
    let options =
        GeneratorOptions { slots: 3, context: 64, kv: KvFormat::F32, ..GeneratorOptions::default() };
    let mut generator = Generator::with_adapters(&model, options, &bank).expect("a small cache fits");
    let requests: Vec<Request> = [(5, Some(adapter)), (20, None), (11, Some(adapter))]
        .map(|(n, answers)| Request {
            prompt: ids(n, n),
            adapter: answers,
            max_tokens: 24,
            ..Request::default()
        })
        .into();
    let replies =
        generator.generate(&requests, &CancelToken::new(), &mut |_| {}).expect("sound requests are served");
    let sequences: Vec<Sequence> = requests
        .iter()
        .zip(&replies)
        .map(|(request, reply)| {
            let whole = [&request.prompt[..], &reply.tokens].concat();
            let drawn: Vec<bool> = (0..whole.len()).map(|at| at >= request.prompt.len()).collect();
            Sequence::with_targets(&whole, &drawn, request.adapter)
        })
        .collect();
    let mut pass = Pass::new(&model, &bank, 1, &shape(&model, 140, 0)).expect("a small pass fits");
    let mut worst: f32 = 0.0;
    for (trained, reply) in forward(&mut pass, &sequences).iter().zip(&replies) {
        assert_eq!(trained.len(), 24);
        for (a, b) in trained.iter().zip(&reply.logprobs) {
            worst = worst.max((a - b).abs());
        }
    }
    println!("{}: {worst:.1e}", device.tuning().family.name());
    if device.tuning().family == KernelFamily::Lane8 {
        // The sampler and the statistics sum a row of logits in different orders.
        assert!(worst <= 2e-6, "{worst:.1e}");
    }
    assert!(worst <= 1e-3, "{worst:.1e}");
    // Scoring by the generator is the same arithmetic to the last bit.
    let rows: Vec<Vec<u32>> = sequences.iter().map(|sequence| sequence.ids.clone()).collect();
    let scored =
        generator.token_stats(&rows[..1], Some(adapter), 1.0, &CancelToken::new()).expect("known ids");
    let all = Sequence::with_targets(&rows[0], &vec![true; rows[0].len()], Some(adapter));
    let trained = forward(&mut pass, &[all]).remove(0);
    let scored: Vec<f32> = scored[0].iter().map(|stat| stat.logprob).collect();
    if device.tuning().family == KernelFamily::Lane8 {
        assert_eq!(trained, scored);
    }
    let apart = trained.iter().zip(&scored).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart <= 1e-3, "{apart:.1e}");
}

#[test]
fn heads_are_read_where_they_are_asked_for(family: KernelFamily) {
    on(family, |device| {
        let Setup { model, bank, .. } = setup(device, 2);
        let head = parr::model::lora::ScalarHead {
            weight: (0..model.config().hidden).map(|k| (k as f32 * 0.7).sin()).collect(),
            bias: 0.25,
        };
        let weights = random_adapter(lora(4, Projections::ALL), model.config(), 9);
        let valued = bank.attach(&weights, Some(&head)).expect("it fits");
        let reading =
            |position| Reading { position, target: (position % 2 == 0).then_some(7), head: position > 2 };
        let sequence = Sequence {
            ids: ids(12, 1),
            adapter: Some(valued),
            readings: (0..12).map(reading).collect(),
            ..Sequence::default()
        };
        let mut pass = Pass::new(&model, &bank, 0, &shape(&model, 40, 0)).expect("a small pass fits");
        let stats = pass.forward(&[sequence.clone(), sequence.clone()]).expect("a sound sequence");
        assert_eq!(stats.value[..12], stats.value[12..]);
        for position in 0..12 {
            assert_eq!(stats.value[position] != 0.0, position > 2, "value at {position}");
            assert_eq!(stats.logprob[position] != 0.0, position % 2 == 0, "log-probability at {position}");
        }
        let last =
            Sequence { readings: vec![Reading { position: 11, target: None, head: true }], ..sequence };
        let alone = pass.forward(&[last]).expect("a sound sequence").value;
        if device.tuning().family == KernelFamily::Lane8 {
            assert_eq!(alone, stats.value[11..12]);
        }
        assert!((alone[0] - stats.value[11]).abs() <= 1e-4, "{} and {}", alone[0], stats.value[11]);
    });
}

/// What a unit of `sequences` reads, and the gradients of `adapter` if its readings have the gradients `given`.
fn back(
    model: &Model,
    bank: &AdapterBank,
    adapter: AdapterId,
    sequences: Vec<Sequence>,
    given: &Evaluated,
) -> (TokenStats, (LoraWeights, ScalarHead)) {
    let mut learner = Learner::new(model, bank, &[adapter], &shape(model, 200, 1), super::ADAMW)
        .expect("a small pass fits");
    learner.clear().expect("gradients can be cleared");
    let mut read = TokenStats::default();
    learner
        .accumulate(&[sequences], &mut |_, stats| {
            read = stats.clone();
            given.clone()
        })
        .expect("a sound pass");
    (read, learner.read_gradients(0).expect("gradients can be read"))
}

/// Scores and gradients of three branches of one prefix, and of a sequence of its own, are those of four plain
/// sequences.
#[test]
fn branches_are_sequences_that_share_their_prefix(family: KernelFamily) {
    on(family, |device| {
        for name in [TINY, "tiny/qwen2-bias", "lfm2"] {
            let model = model_of(device, name);
            let bank = AdapterBank::new(&model, 8, Projections::ALL, 1).expect("a small bank fits");
            let head = ScalarHead {
                weight: (0..model.config().hidden).map(|k| (k as f32 * 0.7).sin()).collect(),
                bias: 0.25,
            };
            let weights = random_adapter(lora(8, Projections::ALL), model.config(), 1);
            let adapter = bank.attach(&weights, Some(&head)).expect("the adapter fits");
            let prefix = ids(37, 1);
            let branches = [ids(1, 2), ids(18, 3), ids(5, 4)];
            let other = Sequence::with_head(ids(20, 5), adapter);
            let plain: Vec<Sequence> = branches
                .iter()
                .map(|branch| Sequence::with_head([&prefix[..], branch].concat(), adapter))
                .chain([other.clone()])
                .collect();
            let shared = vec![Sequence::with_branches(&prefix, &branches, adapter), other];
            assert_eq!(shared[0].ids.len(), 37 + 24);
            let found = [plain, shared].map(|sequences| {
                // Unlike gradients, so that none can stand in for another.
                let d_value: Vec<f32> = (0..4).map(|at| 0.5 - 0.3 * at as f32).collect();
                let none = vec![0.0; 4];
                let given =
                    Evaluated { d_value, d_logprob: none.clone(), d_entropy: none, ..Evaluated::default() };
                let (stats, gradients) = back(&model, &bank, adapter, sequences, &given);
                (stats.value, gradients)
            });
            let [(plain, (plain_layers, plain_head)), (shared, (layers, head))] = found;
            if device.tuning().family == KernelFamily::Lane8 {
                assert_eq!(shared, plain, "{name}: bit for bit");
            }
            let apart = shared.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart <= 1e-4, "{name}: values {apart:.1e} apart");
            let distance = relative_distance(&layers, &plain_layers);
            assert!(distance <= 2e-6, "{name}: gradients {distance:.1e} apart");
            let apart = head.weight.iter().zip(&plain_head.weight).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f32::max) <= 1e-4, "{name}: the head's gradient");
        }
    });
}

/// Log-probabilities, entropies and gradients of three replies to one prompt are the same whether each is a sequence of its
/// own or a branch that begins with the prompt's last token.
#[test]
fn replies_share_their_prompt(family: KernelFamily) {
    on(family, |device| {
        for name in [TINY, "tiny/qwen2-bias", "lfm2"] {
            let model = model_of(device, name);
            let bank = AdapterBank::new(&model, 8, Projections::ALL, 1).expect("a small bank fits");
            let weights = random_adapter(lora(8, Projections::ALL), model.config(), 1);
            let adapter = bank.attach(&weights, None).expect("the adapter fits");
            let (prompt, replies) = (ids(37, 1), [ids(1, 2), ids(18, 3), ids(5, 4)]);
            let extend = |sequence: &mut Sequence, prompt: &[u32], reply: &[u32]| {
                sequence.ids.extend_from_slice(prompt);
                let first = sequence.ids.len() - 1;
                sequence.ids.extend_from_slice(&reply[..reply.len() - 1]);
                let read = |(nth, &id)| Reading { position: first + nth, target: Some(id), head: false };
                sequence.readings.extend(reply.iter().enumerate().map(read));
            };
            let empty = Sequence { adapter: Some(adapter), ..Sequence::default() };
            let plain: Vec<Sequence> = replies
                .iter()
                .map(|reply| {
                    let mut sequence = empty.clone();
                    extend(&mut sequence, &prompt, reply);
                    sequence
                })
                .collect();
            let mut shared = Sequence { ids: prompt[..36].to_vec(), ..empty };
            for reply in &replies {
                shared.branches.push(shared.ids.len());
                extend(&mut shared, &prompt[36..], reply);
            }
            assert_eq!(shared.ids.len(), 36 + 24);
            let found = [plain, vec![shared]].map(|sequences| {
                // Unlike gradients, so that none can stand in for another.
                let d_logprob: Vec<f32> = (0..24).map(|at| 0.5 - 0.03 * at as f32).collect();
                let d_entropy: Vec<f32> = (0..24).map(|at| 0.01 * at as f32 - 0.1).collect();
                let given = Evaluated { d_logprob, d_entropy, ..Evaluated::default() };
                let (stats, (layers, _)) = back(&model, &bank, adapter, sequences, &given);
                ([stats.logprob, stats.entropy].concat(), layers)
            });
            let [(plain, plain_layers), (shared, layers)] = found;
            assert_eq!(plain.len(), 48);
            if device.tuning().family == KernelFamily::Lane8 {
                assert_eq!(shared, plain, "{name}: bit for bit");
            }
            let apart = shared.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart <= 1e-5, "{name}: readings {apart:.1e} apart");
            let distance = relative_distance(&layers, &plain_layers);
            assert!(distance <= 5e-6, "{name}: gradients {distance:.1e} apart");
        }
    });
}

#[test]
fn a_branch_without_tokens_is_refused() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let Setup { model, bank, adapter } = setup(&device, 1);
    let mut pass = Pass::new(&model, &bank, 0, &shape(&model, 100, 0)).expect("a small pass fits");
    for branches in [vec![vec![]], vec![ids(2, 1), vec![], ids(1, 2)]] {
        let sequence = Sequence::with_branches(&ids(5, 1), &branches, adapter);
        let error = pass.forward(&[sequence]).expect_err("an empty branch").to_string();
        assert!(error.contains("a branch is empty"), "{error}");
    }
    let sequence = Sequence { branches: vec![7, 4], ids: ids(9, 1), ..Sequence::default() };
    assert!(pass.forward(&[sequence]).is_err(), "they do not ascend");
    let sequence = Sequence { branches: vec![10], ids: ids(9, 1), ..Sequence::default() };
    assert!(pass.forward(&[sequence]).is_err(), "it begins behind the end");
}

#[test]
fn a_gradient_that_is_no_number_changes_nothing(family: KernelFamily) {
    on(family, |device| {
        let setup = setup(device, 1);
        let mut learner = setup.learner(140, 0);
        let units: Vec<Vec<Sequence>> =
            eight(setup.adapter).into_iter().map(|sequence| vec![sequence]).collect();
        let readings = units.iter().flatten().map(|sequence| sequence.readings.len()).sum();
        let sound = &mut |_, stats: &TokenStats| mean_loss(readings, stats);
        learner.step(&units, sound, 1e-3).expect("a sound step");
        let before = learner.state().expect("a state can be read");
        for poison in [f32::NAN, f32::INFINITY] {
            let poisoned = &mut |_, stats: &TokenStats| {
                let mut evaluated = mean_loss(readings, stats);
                evaluated.d_logprob[3] = poison;
                evaluated
            };
            let error =
                learner.step(&units, poisoned, 1e-3).expect_err("no step along no number").to_string();
            assert!(error.contains("layer 0") && error.contains("step 2"), "{error}");
            let lost = &mut |_, stats: &TokenStats| {
                let mut evaluated = mean_loss(readings, stats);
                evaluated.loss = f64::from(poison);
                evaluated
            };
            let error = learner.step(&units, lost, 1e-3).expect_err("no step to no number").to_string();
            assert!(error.contains("the loss"), "{error}");
        }
        assert!(learner.state().expect("a state can be read") == before, "adapters or moments changed");
        assert_eq!(learner.steps(), 1);
        learner.step(&units, sound, 1e-3).expect("a sound step after all");
    });
}

/// An adapter of the last layers has the gradients there that it has in a pass over all of them, and its pass
/// ends where it does.
#[test]
fn an_adapter_of_the_last_layers_ends_the_backward_pass(family: KernelFamily) {
    on(family, |device| {
        let model = load(device, &golden_path(TINY));
        let layers = model.config().layers.len();
        let last = layers - 1;
        let weights = random_adapter(lora(8, Projections::ALL), model.config(), 1).of_last_layers(1);
        assert_eq!(weights.first_layer(), last);
        let bank = AdapterBank::new(&model, 8, Projections::ALL, 1).expect("a small bank fits");
        let adapter = bank.attach(&weights, None).expect("the adapter fits");
        assert_eq!(bank.first_layer(), last);
        assert_eq!(bank.read(adapter).expect("it is there").0, weights, "no pairs come into being");
        let setup = Setup { model, bank, adapter };
        let sequences = eight(adapter);
        let (loss, _, whole) = setup.gradients(&sequences, 140, 0);
        for kept_layers in [0, 1, layers] {
            let shape = PassShape { learning_layers: 1, kept_layers, ..shape(&setup.model, 140, 0) };
            let mut learner = Learner::new(&setup.model, &setup.bank, &[adapter], &shape, super::ADAMW)
                .expect("a small pass fits");
            let targets = targets(&sequences);
            let units = vec![sequences.clone()];
            learner.clear().expect("gradients can be cleared");
            let learned =
                learner.accumulate(&units, &mut |_, stats| mean_loss(targets, stats)).expect("a sound pass");
            assert_eq!(learned.loss, loss);
            let found = learner.read_gradients(0).expect("gradients can be read").0;
            assert_eq!(found.layers[last], whole.layers[last], "{kept_layers} kept");
            let below = found.layers[..last].iter().flat_map(|pairs| pairs.values());
            assert!(below.flat_map(|pair| pair.a.iter().chain(&pair.b)).all(|gradient| *gradient == 0.0));
        }
    });
}
