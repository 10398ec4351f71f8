//! Time on the device, by kernel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::pipeline::ComputePipeline;

/// The time of one kernel, summed over its dispatches.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// Name of the kernel, such as `linear/matmul_lane8`.
    pub kernel: String,
    /// Number of dispatches.
    pub calls: u64,
    /// Time on the device, in nanoseconds.
    pub nanos: u64,
    /// Floating-point operations.
    pub flops: u64,
    /// The variants that ran, such as `weight/q4_1 MT=8 TN=4`, the one that took longest first.
    pub variants: Vec<String>,
}

/// The sums of one variant.
#[derive(Debug)]
struct VariantTime {
    pipeline: Arc<ComputePipeline>,
    calls: u64,
    nanos: u64,
    flops: u64,
}

/// Sums by kernel name and variant. Variants are few, so a list is enough.
#[derive(Debug, Default)]
pub(super) struct Profile {
    times: Mutex<BTreeMap<&'static str, Vec<VariantTime>>>,
}

impl Profile {
    pub(super) fn add(&self, pipeline: &Arc<ComputePipeline>, nanos: u64, flops: u64) {
        let mut times = self.times.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let variants = times.entry(pipeline.name).or_default();
        match variants.iter_mut().find(|known| Arc::ptr_eq(&known.pipeline, pipeline)) {
            Some(known) => {
                known.calls += 1;
                known.nanos += nanos;
                known.flops += flops;
            }
            None => variants.push(VariantTime { pipeline: Arc::clone(pipeline), calls: 1, nanos, flops }),
        }
    }

    /// The sums so far, longest first; the counters are reset to zero.
    pub(super) fn take(&self) -> Vec<KernelTime> {
        let mut times = self.times.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let sum = |(kernel, mut variants): (&'static str, Vec<VariantTime>)| {
            variants.sort_by_key(|variant| std::cmp::Reverse(variant.nanos));
            KernelTime {
                kernel: kernel.to_owned(),
                calls: variants.iter().map(|variant| variant.calls).sum(),
                nanos: variants.iter().map(|variant| variant.nanos).sum(),
                flops: variants.iter().map(|variant| variant.flops).sum(),
                variants: variants.iter().map(|variant| variant.pipeline.variant.describe()).collect(),
            }
        };
        let mut list: Vec<KernelTime> = std::mem::take(&mut *times).into_iter().map(sum).collect();
        list.sort_by_key(|time| std::cmp::Reverse(time.nanos));
        list
    }
}
