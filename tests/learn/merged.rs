//! A merged adapter is the unmerged one.

use std::ops::ControlFlow;

use parr::adapter::{Adapter, Card, MergeOptions, merge};
use parr::format::Checkpoint;
use parr::generate::{CancelToken, Generator, GeneratorOptions};
use parr::gpu::KernelFamily;
use parr::model::lora::{AdapterBank, Projections};
use parr::ops::KvFormat;
use parr::quant::Quant;

use super::{golden_path, load, lora, random_adapter};
use crate::support::gpu;

#[test]
fn a_merged_adapter_gives_the_logits_of_the_unmerged_one(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let folder = tempfile::tempdir().expect("a scratch directory");
    for name in ["tiny/llama-mha-untied", "tiny/llama3-rope-gqa", "tiny/qwen2-bias", "architectures/lfm2"] {
        let path = golden_path(name);
        let model = load(&device, &path);
        let weights = random_adapter(lora(6, Projections::ALL), model.config(), 4);
        let adapter = Adapter { weights, head: None, card: Card::default() };
        let merged = folder.path().join(format!("{}-{}", name.replace('/', "-"), family.name()));
        let base = Checkpoint::open(&path).expect("a sound checkpoint opens");
        let options = MergeOptions { quant: Some(Quant::F32) };
        merge(&base, &adapter, &merged, &options, &mut |_| ControlFlow::Continue(()))
            .expect("f32 holds every sum");

        let ids: Vec<u32> = (0..40).map(|at| (at * at * 31 + at * 7 + 3) % 157).collect();
        let options =
            GeneratorOptions { slots: 1, context: 64, kv: KvFormat::F32, ..GeneratorOptions::default() };
        let (bank, attached) = AdapterBank::holding(&model, &[&adapter.weights]).expect("a small bank fits");
        let mut logits = [Vec::new(), Vec::new(), Vec::new()];
        let mut read = |generator: &mut Generator, adapter, out: usize| {
            let keep = &mut |rows: &[f32]| logits[out].extend_from_slice(rows);
            generator.logits(&ids, adapter, &CancelToken::new(), keep).expect("known ids have logits");
        };
        let mut with_bank = Generator::with_adapters(&model, options, &bank).expect("a small cache fits");
        read(&mut with_bank, Some(attached[0]), 0);
        read(&mut with_bank, None, 1);
        read(&mut Generator::new(&load(&device, &merged), options).expect("a small cache fits"), None, 2);
        let furthest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let (apart, changed) = (furthest(&logits[0], &logits[2]), furthest(&logits[0], &logits[1]));
        println!("{name} {}: {apart:.1e} apart, the base is {changed:.1e} away", family.name());
        assert!(apart <= 1e-4, "{name} {}: {apart:.1e} apart", family.name());
        assert!(changed >= 0.05, "{name}: the adapter changes {changed:.1e} only");
    }
}
