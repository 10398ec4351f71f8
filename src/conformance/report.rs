//! The results of a device as a file, and several such files side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CaseReport, Rates};
use crate::gpu::{Capabilities, Device, RefusedKernel, Tuned};

/// Facts about a device and the results of its checks: what `parr doctor --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// The version of Parr that ran the checks.
    pub parr: String,
    /// What the device can do.
    pub device: DeviceFacts,
    /// The kernel family in use.
    pub kernels: String,
    /// Where kernels read weights.
    pub loads: String,
    /// What plain kernels reach, if it was measured.
    #[serde(default)]
    pub rates: Option<Rates>,
    /// The results of tuning, if there are any.
    #[serde(default)]
    pub tuned: Option<Tuned>,
    /// Kernels that the driver refused.
    #[serde(default)]
    pub refused_kernels: Vec<RefusedKernel>,
    /// One entry for each case that ran.
    pub checks: Vec<CheckResult>,
    /// Number of checks that failed.
    pub failed: usize,
}

/// What a device can do: [`Capabilities`], for a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Capabilities")]
pub struct DeviceFacts {
    pub name: String,
    pub backend: String,
    pub driver: String,
    pub kind: String,
    pub subgroups: bool,
    pub subgroup_sizes: (u32, u32),
    pub f16: bool,
    pub timestamps: bool,
    pub immediate_bytes: u32,
    pub max_binding_bytes: u64,
    pub max_buffer_bytes: u64,
    pub max_workgroup_bytes: u32,
    pub max_workgroup_lanes: u32,
}

/// The result of one case: [`CaseReport`], for a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The op, such as `linear`.
    #[serde(default)]
    pub op: String,
    /// The kernel family.
    #[serde(default)]
    pub family: String,
    /// The kernels that ran, separated by `, `.
    pub kernels: String,
    /// The storage format or other variant.
    pub variant: String,
    /// Number of shapes compared.
    pub shapes: usize,
    /// Largest normalised mean square error.
    pub worst_nmse: f64,
    /// Largest allowed error.
    pub bound: f64,
    /// Whether all was right.
    pub passed: bool,
    /// The first fault; empty if there is none.
    pub note: String,
}

impl DeviceReport {
    /// A report of `device` without any checks so far.
    pub fn new(device: &Device) -> DeviceReport {
        let capabilities = device.capabilities();
        let Capabilities { subgroups, subgroup_sizes, f16, timestamps, immediate_bytes, .. } = *capabilities;
        DeviceReport {
            parr: env!("CARGO_PKG_VERSION").to_owned(),
            device: DeviceFacts {
                name: capabilities.adapter.clone(),
                backend: capabilities.backend.clone(),
                driver: capabilities.driver.clone(),
                kind: capabilities.kind.to_owned(),
                subgroups,
                subgroup_sizes,
                f16,
                timestamps,
                immediate_bytes,
                max_binding_bytes: capabilities.max_binding_bytes,
                max_buffer_bytes: capabilities.max_buffer_bytes,
                max_workgroup_bytes: capabilities.max_workgroup_bytes,
                max_workgroup_lanes: capabilities.max_workgroup_lanes,
            },
            kernels: device.tuning().family.name().to_owned(),
            loads: device.tuning().loads.name().to_owned(),
            rates: None,
            tuned: device.tuning().tuned.as_deref().cloned(),
            refused_kernels: device.refused_kernels(),
            checks: Vec::new(),
            failed: 0,
        }
    }

    /// Adds the result of a case that ran on `device`, whose family may be another than that in use.
    pub fn add(&mut self, device: &Device, op: &str, report: &CaseReport) {
        self.failed += usize::from(!report.passed);
        self.checks.push(CheckResult {
            op: op.to_owned(),
            family: device.tuning().family.name().to_owned(),
            kernels: report.kernel.clone(),
            variant: report.variant.clone(),
            shapes: report.cases,
            // JSON has no infinity.
            worst_nmse: report.worst_nmse.min(f64::MAX),
            bound: report.bound,
            passed: report.passed,
            note: report.note.clone(),
        });
    }
}

/// The checks of one op in one family on several devices.
#[derive(Clone, Debug, PartialEq)]
pub struct OpResults {
    /// The op.
    pub op: String,
    /// The kernel family.
    pub family: String,
    /// The results by report, in the order of the reports; `None` if the op was not checked there.
    pub results: Vec<Option<OpResult>>,
}

/// The checks of one op on one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpResult {
    /// Checks that passed.
    pub passed: usize,
    /// Checks.
    pub of: usize,
    /// Largest normalised mean square error.
    pub worst_nmse: f64,
}

/// Short text for tables, such as `27 of 27, 2.4e-14`.
impl std::fmt::Display for OpResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}, {:.1e}", self.passed, self.of, self.worst_nmse)
    }
}

/// The checks of `reports` by family and op, side by side.
pub fn compare(reports: &[DeviceReport]) -> Vec<OpResults> {
    let mut rows: BTreeMap<(&str, &str), Vec<Option<OpResult>>> = BTreeMap::new();
    for (index, report) in reports.iter().enumerate() {
        for check in &report.checks {
            let results = rows.entry((&check.family, &check.op)).or_insert_with(|| vec![None; reports.len()]);
            let result = results[index].get_or_insert(OpResult { passed: 0, of: 0, worst_nmse: 0.0 });
            result.passed += usize::from(check.passed);
            result.of += 1;
            result.worst_nmse = result.worst_nmse.max(check.worst_nmse);
        }
    }
    let row = |((family, op), results): ((&str, &str), _)| OpResults {
        op: op.to_owned(),
        family: family.to_owned(),
        results,
    };
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report with these checks: op, family, error, passed.
    pub fn report(name: &str, checks: &[(&str, &str, f64, bool)]) -> DeviceReport {
        let check = |&(op, family, worst_nmse, passed): &(&str, &str, f64, bool)| CheckResult {
            op: op.into(),
            family: family.into(),
            kernels: format!("x/{op}"),
            variant: "f32".into(),
            shapes: 3,
            worst_nmse,
            bound: 1e-11,
            passed,
            note: if passed { String::new() } else { "3 rows: element 1 is <NaN>".into() },
        };
        DeviceReport {
            parr: "0.1.0".into(),
            device: DeviceFacts {
                name: name.into(),
                backend: "vulkan".into(),
                driver: "d".into(),
                kind: "software".into(),
                subgroups: true,
                subgroup_sizes: (8, 8),
                f16: false,
                timestamps: true,
                immediate_bytes: 0,
                max_binding_bytes: 1 << 27,
                max_buffer_bytes: 1 << 28,
                max_workgroup_bytes: 1 << 15,
                max_workgroup_lanes: 256,
            },
            kernels: "lane8".into(),
            loads: "buffers".into(),
            rates: Some(Rates { flops_per_second: 2e10, read_bytes_per_second: 3e9 }),
            tuned: None,
            refused_kernels: Vec::new(),
            failed: checks.iter().filter(|(.., passed)| !passed).count(),
            checks: checks.iter().map(check).collect(),
        }
    }

    #[test]
    fn checks_of_an_op_are_side_by_side() {
        let one = report("one", &[("linear", "lane8", 1e-14, true), ("linear", "lane8", 3e-14, false)]);
        let two = report("two", &[("linear", "lane8", 2e-14, true), ("glu", "tiled", 0.0, true)]);
        let rows = compare(&[one.clone(), two]);
        let [linear, glu] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((linear.family.as_str(), linear.op.as_str()), ("lane8", "linear"));
        assert_eq!(linear.results[0], Some(OpResult { passed: 1, of: 2, worst_nmse: 3e-14 }));
        assert_eq!(linear.results[1].map(|result| result.to_string()), Some("1 of 1, 2.0e-14".into()));
        assert_eq!((glu.op.as_str(), glu.results[0]), ("glu", None));

        let text = serde_json::to_string(&one).expect("JSON");
        assert_eq!(serde_json::from_str::<DeviceReport>(&text).expect("the same"), one);
    }
}
