//! Devices for tests: one at a time, optional or required by `GPU_TESTS`.

use std::sync::{Mutex, MutexGuard};

use parr::gpu::{Device, DeviceError, DeviceOptions, KernelFamily};

use super::harness::{ignore, waiting};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until no other test uses the adapter: a software one takes every core by itself.
pub fn turn() -> MutexGuard<'static, ()> {
    waiting(|| ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Whether `GPU_TESTS` is `require`. With `skip` the running test ends as ignored; the default is `auto`.
pub fn required() -> bool {
    match std::env::var("GPU_TESTS").as_deref() {
        Ok("skip") => ignore("GPU_TESTS=skip"),
        Ok(wanted) => wanted == "require",
        Err(_) => false,
    }
}

/// A device for `options`. Without one the running test ends as ignored; with `GPU_TESTS=require` it fails.
///
/// An adapter that cannot run the kernel family of `options` is no fault of the machine: the test is ignored
/// whatever `GPU_TESTS` is.
pub fn open(options: &DeviceOptions) -> Device {
    let required = required();
    match Device::open(options) {
        Ok(device) => device,
        Err(error) if required && !matches!(error, DeviceError::Family { .. }) => {
            panic!("GPU_TESTS=require, but {error}")
        }
        Err(error) => ignore(error),
    }
}

/// A device that runs `family`.
pub fn device(family: KernelFamily) -> Device {
    open(&DeviceOptions { family: Some(family), ..DeviceOptions::default() })
}
