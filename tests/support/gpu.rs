//! Devices for tests: one at a time, skipped or required as `GPU_TESTS` says.

use std::sync::{Mutex, MutexGuard};

use parr::gpu::{Device, DeviceError, DeviceOptions, KernelFamily};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until no other test uses the adapter: a software one takes every core by itself.
pub fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A device for `options`; `None` where the adapter cannot run its kernel family, or there is no
/// adapter and `GPU_TESTS` does not insist (`require`, `auto` or `skip`; `auto` without).
pub fn open(options: &DeviceOptions) -> Option<Device> {
    let wanted = std::env::var("GPU_TESTS").unwrap_or_default();
    if wanted == "skip" {
        println!("skipped: GPU_TESTS=skip");
        return None;
    }
    match Device::open(options) {
        Ok(device) => Some(device),
        // What an adapter cannot do is no fault of the machine, whatever `GPU_TESTS` says.
        Err(error) if wanted == "require" && !matches!(error, DeviceError::Family { .. }) => {
            panic!("GPU_TESTS=require, but {error}")
        }
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// A device that runs `family`.
pub fn device(family: KernelFamily) -> Option<Device> {
    open(&DeviceOptions { family: Some(family), ..DeviceOptions::default() })
}
