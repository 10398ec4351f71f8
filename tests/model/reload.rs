//! A device that is gone, opened again, with the model loaded again.

use parr::ErrorKind;
use parr::generate::{CancelToken, Request};
use parr::gpu::{DeviceOptions, KernelFamily};
use parr::model::{LoadOptions, Model};
use parr::ops::KvFormat;

use super::{generate, generator, tiny};
use crate::support::gpu;

fn request() -> Request {
    Request { prompt: vec![1, 2, 3], max_tokens: 8, ..Request::default() }
}

/// Bytes of this process in memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells it");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") << 10
}

#[test]
fn a_reloaded_model_gives_the_same_tokens_in_the_same_memory() {
    let _turn = gpu::alone();
    for family in [KernelFamily::Lane8, KernelFamily::Tiled] {
        let device = gpu::device(family);
        let model = tiny(&device, "qwen2-bias");
        let clone = model.clone();
        let expected = generate(&mut generator(&model, 2, 64, KvFormat::F16), &[request()]);
        let held = device.memory().current_bytes;
        #[cfg(target_os = "linux")]
        let mut before = None;
        for round in 0..6 {
            let mut lost = generator(&model, 2, 64, KvFormat::F16);
            generate(&mut lost, &[request()]);
            device.release();
            let error = lost.generate(&[request()], &CancelToken::new(), &mut |_| {});
            assert_eq!(error.expect_err("it is gone").kind(), ErrorKind::DeviceLost);
            drop(lost);
            model.reload().expect("the driver opens it again");
            model.reload().expect("nothing to do");
            assert!(!device.is_lost());
            let replies = generate(&mut generator(&clone, 2, 64, KvFormat::F16), &[request()]);
            assert_eq!(replies, expected, "round {round}");
            let now = device.memory().current_bytes;
            assert!(now.abs_diff(held) * 20 <= held, "{now} bytes are held, {held} were before");
            // The first rounds fill caches of the driver.
            #[cfg(target_os = "linux")]
            if round == 2 {
                before = Some(resident());
            }
        }
        #[cfg(target_os = "linux")]
        {
            let (before, after) = (before.expect("six rounds"), resident());
            assert!(after <= before + before / 20, "{after} bytes are resident, {before} were before");
        }
    }
}

#[test]
fn what_was_made_before_a_loss_stays_lost() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let model = tiny(&device, "qwen2-bias");
    let mut stale = generator(&model, 1, 64, KvFormat::F32);
    generate(&mut stale, &[request()]);
    device.release();
    assert!(device.is_released());
    model.reload().expect("the driver opens it again");
    assert!(!device.is_released());
    let error =
        stale.generate(&[request()], &CancelToken::new(), &mut |_| {}).expect_err("its cache is gone");
    assert_eq!(error.kind(), ErrorKind::DeviceLost, "{error}");
}

#[test]
fn a_model_whose_file_was_replaced_is_not_reloaded() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let copy = |name: &str| {
        for entry in std::fs::read_dir(super::golden_path("tiny").join(name)).expect("it is there") {
            let entry = entry.expect("it can be listed");
            if entry.path().is_file() {
                std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("it can be copied");
            }
        }
    };
    copy("qwen2-bias");
    let model = Model::load(&device, folder.path(), &LoadOptions::default(), &mut |_| {}).expect("it loads");
    copy("llama-mha-untied");
    device.release();
    let error = model.reload().expect_err("it is another model");
    assert!(error.to_string().contains("has changed since the model was loaded from it"), "{error}");
    copy("qwen2-bias");
    model.reload().expect("the right files are back");
}
