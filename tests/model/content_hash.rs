//! The hash of the files that a model came from.

use std::fs;

use parr::format::Checkpoint;
use parr::gpu::DeviceOptions;
use parr::model::Model;
use parr::quant::Quant;

use super::{golden_path, load};
use crate::support;

#[test]
fn a_model_is_hashed_once() {
    let _turn = support::gpu::turn();
    let device = support::gpu::open(&DeviceOptions::default());
    let golden = golden_path("tiny/llama-mha-untied");
    let folder = tempfile::tempdir().expect("a scratch directory");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden.join(name), folder.path().join(name)).expect("a scratch directory is writable");
    }
    let on_disk = || Checkpoint::open(folder.path()).and_then(|found| found.content_hash()).expect("sound");
    let model = load(&device, folder.path());
    let hash = model.content_hash().expect("readable").expect("it came from files").to_owned();
    assert_eq!(hash, on_disk());

    // The weights in memory are those that were read, whatever the files hold later.
    let mut config = fs::read(folder.path().join("config.json")).expect("just copied");
    config.push(b'\n');
    fs::write(folder.path().join("config.json"), config).expect("a scratch directory is writable");
    assert_ne!(on_disk(), hash);
    assert_eq!(model.clone().content_hash().expect("known"), Some(hash.as_str()));

    let random = Model::random(&device, model.config(), Quant::F32, 1).expect("it fits");
    assert_eq!(random.content_hash().expect("nothing to read"), None);
}
