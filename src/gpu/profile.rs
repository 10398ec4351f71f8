//! Time on the device, by kernel.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// The time of one kernel, summed over its dispatches.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// Name of the kernel, such as `linear/matmul_lane8`.
    pub kernel: String,
    /// Number of dispatches.
    pub calls: u64,
    /// Time on the device, in nanoseconds.
    pub nanos: u64,
}

/// Sums of calls and nanoseconds by kernel name.
#[derive(Debug, Default)]
pub(super) struct Profile {
    times: Mutex<BTreeMap<&'static str, (u64, u64)>>,
}

impl Profile {
    pub(super) fn add(&self, kernel: &'static str, nanos: u64) {
        let mut times = self.times.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let entry = times.entry(kernel).or_default();
        entry.0 += 1;
        entry.1 += nanos;
    }

    /// The sums so far, longest first; the counters are reset to zero.
    pub(super) fn take(&self) -> Vec<KernelTime> {
        let mut times = self.times.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut list: Vec<KernelTime> = std::mem::take(&mut *times)
            .into_iter()
            .map(|(kernel, (calls, nanos))| KernelTime { kernel: kernel.to_owned(), calls, nanos })
            .collect();
        list.sort_by_key(|time| std::cmp::Reverse(time.nanos));
        list
    }
}
