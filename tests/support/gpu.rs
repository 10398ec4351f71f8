//! Devices for tests: two at a time, optional or required by `GPU_TESTS`.

use std::sync::{Condvar, Mutex, MutexGuard};

use parr::gpu::{Device, DeviceError, DeviceOptions, KernelFamily, Measurements};

use super::harness::{ignore, waiting};

/// Tests that use the adapter now, and tests that wait to be alone with it.
struct Users {
    now: usize,
    waiting_alone: usize,
}

static USERS: Mutex<Users> = Mutex::new(Users { now: 0, waiting_alone: 0 });
static ENDED: Condvar = Condvar::new();

/// A software adapter computes on every core, but compiles on one, so two tests keep two cores busy.
const MOST: usize = 2;

/// A test's right to use the adapter; it ends when it is dropped.
pub struct Turn {
    places: usize,
}

/// Waits until at most one other test uses the adapter.
pub fn turn() -> Turn {
    take(1)
}

/// Waits until no other test uses the adapter: for tests that measure time, or the memory of this process.
pub fn alone() -> Turn {
    take(MOST)
}

fn users() -> MutexGuard<'static, Users> {
    USERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn take(places: usize) -> Turn {
    waiting(|| {
        let mut users = users();
        users.waiting_alone += usize::from(places == MOST);
        // Who wants to be alone comes before others.
        let room =
            |users: &mut Users| users.now + places <= MOST && (places == MOST || users.waiting_alone == 0);
        let mut users =
            ENDED.wait_while(users, |users| !room(users)).unwrap_or_else(|poisoned| poisoned.into_inner());
        users.waiting_alone -= usize::from(places == MOST);
        users.now += places;
        Turn { places }
    })
}

impl Drop for Turn {
    fn drop(&mut self) {
        users().now -= self.places;
        ENDED.notify_all();
    }
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
/// whatever `GPU_TESTS` is. Measurements that are stored on the machine do not matter to tests.
pub fn open(options: &DeviceOptions) -> Device {
    let required = required();
    let mut options = options.clone();
    if matches!(options.measurements, Measurements::Stored) {
        options.measurements = Measurements::Ignored;
    }
    match Device::open(&options) {
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
