//! Every kernel of both families against its oracle, on this machine's adapter.
//!
//! One test per op and family, so that a failure names both.

mod lora;

use std::collections::BTreeSet;

use parr::conformance;
use parr::gpu::{Device, DeviceOptions, KernelFamily, Lane8Tile, Loads, Specialization};
use parr::ops::KERNELS;

use crate::support::gpu;

/// Operands that are larger than their texture.
mod operands;
/// What a recording does besides dispatches.
mod recording;
/// A limit of llvmpipe.
mod rounds;
/// What writes leave behind.
#[cfg(target_os = "linux")]
mod staged;
/// Kernels that were measured.
mod tuned;

fn check(op: &str, kernels: &[&str], family: KernelFamily) {
    let _turn = gpu::turn();
    // Other ops know nothing of these tiles, and of where weights are.
    let tiles = if family == KernelFamily::Lane8 && op == "linear" {
        Lane8Tile::ALL.map(Some).to_vec()
    } else {
        vec![None]
    };
    let loads = if ["embed", "linear", "linear_backward"].contains(&op) {
        [Loads::Buffers, Loads::Textures].map(Some).to_vec()
    } else {
        vec![None]
    };
    let mut failures = Vec::new();
    let mut ran = BTreeSet::new();
    let variants = loads.into_iter().flat_map(|loads| tiles.iter().map(move |&tile| (loads, tile)));
    // Products with textures have one full tile.
    let variants = variants.filter(|(loads, tile)| {
        *loads != Some(Loads::Textures) || tile.is_none_or(|tile| tile == Lane8Tile::Middle)
    });
    for (loads, lane8_tile) in variants {
        let family = Some(family);
        let options = DeviceOptions { family, loads, lane8_tile, ..DeviceOptions::default() };
        let device = gpu::open(&options);
        run(&device, op, &mut ran, &mut failures);
    }
    assert!(!ran.is_empty(), "no kernel ran for {op}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let others: BTreeSet<_> =
        ran.iter().map(|(name, _)| *name).filter(|name| !kernels.contains(name)).collect();
    assert!(others.is_empty(), "{op} ran {others:?}: name them in the list of ops");
    let missing = never_ran(&ran);
    assert!(missing.is_empty(), "{} variants never ran:\n{}", missing.len(), missing.join("\n"));
}

/// Runs every case of `op`, and adds to what `ran` and to what failed.
fn run(device: &Device, op: &str, ran: &mut BTreeSet<(&'static str, String)>, failures: &mut Vec<String>) {
    for case in conformance::cases().iter().filter(|case| case.op() == op) {
        let start = std::time::Instant::now();
        let report = case.run(device);
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
}

/// Registered variants of the kernels in `ran` that are not in it, but for those that reduce in the
/// way that this family and adapter do not.
fn never_ran(ran: &BTreeSet<(&'static str, String)>) -> Vec<String> {
    let mut missing = Vec::new();
    for spec in KERNELS.iter().filter(|spec| ran.iter().any(|(name, _)| *name == spec.name)) {
        let reduces =
            |text: &str| text.split(' ').find(|word| word.starts_with("reduce/")).map(str::to_owned);
        let ways: BTreeSet<_> =
            ran.iter().filter(|(name, _)| *name == spec.name).map(|(_, text)| reduces(text)).collect();
        for text in (spec.variants)().iter().map(Specialization::describe) {
            if ways.contains(&reduces(&text)) && !ran.contains(&(spec.name, text.clone())) {
                missing.push(format!("{} {text}", spec.name));
            }
        }
    }
    missing
}

macro_rules! ops {
    ($($op:ident: $($kernel:literal),+;)*) => {
        mod lane8 {
            $(#[test] fn $op() { super::check(stringify!($op), &[$($kernel),+], parr::gpu::KernelFamily::Lane8); })*
        }
        mod tiled {
            $(#[test] fn $op() { super::check(stringify!($op), &[$($kernel),+], parr::gpu::KernelFamily::Tiled); })*
        }
        /// The ops that have a test, and the kernels that those tests may reach.
        const TESTED: &[(&str, &[&str])] = &[$((stringify!($op), &[$($kernel),+])),*];
    };
}

ops! {
    embed: "embed/embed";
    rms_norm: "norm/rms_norm";
    head_norm: "norm/head_norm";
    rms_norm_backward: "norm/rms_norm_backward";
    head_norm_backward: "norm/head_norm_backward";
    linear: "linear/matmul_lane8", "linear/matmul_tiled", "linear/matvec_tiled";
    linear_backward: "linear/matmul_transposed_lane8", "linear/matmul_transposed_tiled";
    lora: "lora/apply_lane8", "lora/shrink_tiled", "lora/expand_tiled";
    lora_shrink: "lora/shrink_lane8", "lora/shrink_tiled";
    lora_expand: "lora/expand_lane8", "lora/expand_tiled";
    lora_grad: "lora/grad_weight_lane8", "lora/grad_weight_tiled";
    rope: "rope/rope";
    rope_backward: "rope/rope_backward";
    attention: "attention/attention_lane8", "attention/attention_tiled";
    attention_backward: "attention/backward_delta", "attention/backward_q_lane8",
        "attention/backward_q_tiled", "attention/backward_kv_lane8", "attention/backward_kv_tiled";
    cap_logits: "head/cap_logits";
    cap_logits_backward: "head/cap_logits_backward";
    short_conv_input: "conv/short_conv_input";
    short_conv: "conv/short_conv";
    short_conv_backward: "conv/short_conv_backward_gate", "conv/short_conv_backward_input";
    glu: "mlp/glu";
    glu_backward: "mlp/glu_backward";
    gather_rows: "rows/gather";
    scatter_rows: "rows/scatter";
    token_stats: "stats/token_stats";
    token_stats_backward: "stats/token_stats_backward";
    scalar_head: "head/scalar_head";
    scalar_head_backward: "head/scalar_head_backward";
    grad_norm: "optim/grad_norm";
    adamw: "optim/adamw";
    sample: "sample/sample";
    advance: "sample/advance";
    multiply_add: "rate/multiply_add";
}

#[test]
fn every_op_and_every_kernel_has_a_test() {
    let ops: BTreeSet<_> = conformance::cases().iter().map(|case| case.op()).collect();
    assert_eq!(ops, TESTED.iter().map(|(op, _)| *op).collect());
    let kernels: BTreeSet<_> = KERNELS.iter().map(|spec| spec.name).collect();
    assert_eq!(kernels, TESTED.iter().flat_map(|(_, kernels)| kernels.iter().copied()).collect());
}
