//! Whole models on this machine's adapter.

/// Shapes beyond the goldens, against the oracle.
mod architectures;
/// The hash of the files that a model came from.
mod content_hash;
/// Scores of ends with shared beginnings.
mod continuations;
/// Files that disagree with themselves.
mod files;
/// PyTorch's logits, log-probabilities and greedy texts.
mod golden;
/// Batches, prefixes and seeds leave a sequence's result alone.
mod invariance;
/// NaN and infinity: errors that name the first layer.
mod not_finite;
/// A device that is gone, opened again, with the model loaded again.
mod reload;
/// What a generator refuses, and how replies end.
mod requests;
/// Many callers on one generator.
mod scheduler;

use std::path::{Path, PathBuf};

use parr::generate::{CancelToken, Generator, GeneratorOptions, Reply, Request};
use parr::gpu::Device;
use parr::model::{LoadOptions, Model};
use parr::ops::KvFormat;

use crate::support::synthetic;

fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn load(device: &Device, path: &Path) -> Model {
    Model::load(device, path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint loads")
}

/// A tiny golden model, or a random one of LFM2, which has no golden with this vocabulary.
fn tiny(device: &Device, name: &str) -> Model {
    if name == "lfm2" {
        let directory = tempfile::tempdir().expect("a scratch directory");
        synthetic::write_directory(&synthetic::LFM2, &synthetic::weights(&synthetic::LFM2), directory.path());
        return load(device, directory.path());
    }
    load(device, &golden_path("tiny").join(name))
}

fn generator(model: &Model, slots: usize, context: usize, kv: KvFormat) -> Generator {
    Generator::new(model, GeneratorOptions { slots, context, kv, ..GeneratorOptions::default() })
        .expect("a small cache fits")
}

fn generate(generator: &mut Generator, requests: &[Request]) -> Vec<Reply> {
    generator.generate(requests, &CancelToken::new(), &mut |_| {}).expect("sound requests are served")
}

fn logprobs(generator: &mut Generator, ids: &[u32]) -> Vec<f32> {
    let stats =
        generator.token_stats(&[ids.to_vec()], None, 1.0, &CancelToken::new()).expect("known ids are scored");
    stats[0].iter().map(|stat| stat.logprob).collect()
}

fn furthest(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
