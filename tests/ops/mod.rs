//! Every kernel of both families against its oracle, on this machine's adapter.
//!
//! One test per op and family, so that a failure names both.

use std::collections::BTreeSet;
use std::sync::Mutex;

use parr::conformance;
use parr::gpu::{Device, DeviceError, DeviceOptions, KernelFamily};

/// A software adapter uses every core by itself.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A device for `family`; `None` where the adapter cannot run it, or there is none and `GPU_TESTS`
/// does not insist.
fn device(family: KernelFamily) -> Option<Device> {
    let wanted = std::env::var("GPU_TESTS").unwrap_or_default();
    if wanted == "skip" {
        println!("skipped: GPU_TESTS=skip");
        return None;
    }
    match Device::open(&DeviceOptions { family: Some(family), ..DeviceOptions::default() }) {
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

fn check(op: &str, family: KernelFamily) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let Some(device) = device(family) else { return };
    let mut failures = Vec::new();
    let mut ran = BTreeSet::new();
    for case in conformance::cases().iter().filter(|case| case.op() == op) {
        let start = std::time::Instant::now();
        let report = case.run(&device);
        println!(
            "{} {}: {} shapes, error {:.1e} of {:.0e}, {} ms {}",
            report.kernel,
            report.variant,
            report.cases,
            report.worst_nmse,
            report.bound,
            start.elapsed().as_millis(),
            report.note,
        );
        if !report.passed {
            failures.push(format!("{} {}: {}", report.kernel, report.variant, report.note));
        }
        ran.extend(report.specializations);
    }
    assert!(!ran.is_empty(), "no kernel ran for {op}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

macro_rules! ops {
    ($($op:ident)*) => {
        mod lane8 {
            $(#[test] fn $op() { super::check(stringify!($op), parr::gpu::KernelFamily::Lane8); })*
        }
        mod tiled {
            $(#[test] fn $op() { super::check(stringify!($op), parr::gpu::KernelFamily::Tiled); })*
        }
        /// The ops that have a test, held against the list of cases.
        const TESTED: &[&str] = &[$(stringify!($op)),*];
    };
}

ops!(embed rms_norm head_norm linear rope attention swiglu token_stats sample);

#[test]
fn every_op_has_a_test() {
    let ops: BTreeSet<_> = conformance::cases().iter().map(|case| case.op()).collect();
    assert_eq!(ops, TESTED.iter().copied().collect());
}
