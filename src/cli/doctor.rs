//! `parr doctor`: lists the GPUs, and checks that one computes correctly.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::GlobalArgs;
use super::error::CliError;
use super::output::write_row;
use super::table::Table;
use super::terminal;
use parr::conformance::{self, CaseReport};
use parr::gpu::{AdapterSummary, Capabilities, Device, RefusedKernel};

const LONG_ABOUT: &str = "\
Shows the GPUs of this machine and the features of the chosen one. Then runs
every kernel on it, in every storage format and on odd shapes, and compares the
results with plain CPU loops. `worst` is the largest normalised mean square
error of a case, `bound` is the limit.

The first run on a machine compiles all kernels and may take minutes. Later runs
find them in the driver's cache.

The exit code is 1 if there is no GPU or if a check fails. Please report a
failed check with the output of --json.";

const EXAMPLES: &str = "\
Examples:
  parr doctor
  parr doctor --gpus                    only list the GPUs
  parr doctor --gpu llvmpipe            check Mesa's software driver
  parr doctor --kernels tiled           check the other kernel family
  parr doctor --json > report.json";

/// Check that this machine's GPU computes correctly
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// Only list the GPUs, software drivers included
    #[arg(long)]
    gpus: bool,

    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let gpus = Device::adapters();
        if self.gpus && !gpus.is_empty() {
            if self.json {
                return write_row(&json!({ "gpus": gpus.iter().map(gpu_json).collect::<Vec<_>>() }));
            }
            write!(terminal::stdout(), "{}", gpu_table(&gpus))?;
            return Ok(());
        }
        // Without a GPU this error lists what to install.
        let device = global.open_device()?;
        let family = device.tuning().family.name();
        if !self.json {
            let offers = device_table(device.capabilities(), family);
            writeln!(terminal::stdout(), "{}\n{offers}", gpu_table(&gpus))?;
            for RefusedKernel { kernel, family, variant } in device.refused_kernels() {
                writeln!(
                    terminal::stdout(),
                    "The driver refused {kernel} of the family {family} ({variant}); the other family is used."
                )?;
            }
            if let Some(file) = device.refused_kernels_file().filter(|file| file.exists()) {
                writeln!(terminal::stdout(), "To try refused kernels again, delete {}.", file.display())?;
            }
        }
        let reports = check(&device, global);
        let failed = reports.iter().filter(|report| !report.passed).count();
        if self.json {
            write_row(&json!({
                "parr": env!("CARGO_PKG_VERSION"),
                "gpus": gpus.iter().map(gpu_json).collect::<Vec<_>>(),
                "device": device_json(device.capabilities()),
                "kernels": family,
                "loads": device.tuning().loads.name(),
                "refused_kernels": device.refused_kernels(),
                "checks": reports.iter().map(check_json).collect::<Vec<_>>(),
                "failed": failed,
            }))?;
        } else {
            let faults: String = reports
                .iter()
                .filter(|report| !report.passed)
                .map(|report| format!("{} {}: {}\n", report.kernel, report.variant, report.note))
                .collect();
            write!(terminal::stdout(), "{}{faults}", check_table(&reports))?;
        }
        match failed {
            0 => {
                global.note(format!("all {} checks passed", reports.len()));
                Ok(())
            }
            _ => Err(CliError::Check(format!("{failed} of {} checks failed", reports.len()))),
        }
    }
}

/// Runs all cases, with a progress bar.
fn check(device: &Device, global: &GlobalArgs) -> Vec<CaseReport> {
    let cases = conformance::cases();
    let bar = global.bar(Some(cases.len() as u64), "{bar:30} {pos}/{len} {msg}");
    let reports = cases
        .iter()
        .map(|case| {
            bar.set_message(format!("{} {}", case.op(), case.variant()));
            let report = case.run(device);
            bar.inc(1);
            report
        })
        .collect();
    bar.finish_and_clear();
    reports
}

fn check_table(reports: &[CaseReport]) -> Table {
    let mut table = Table::new(&["result", "kernels", "variant", "shapes", "worst", "bound"]);
    for report in reports {
        table.row([
            if report.passed { "pass".to_owned() } else { "FAIL".to_owned() },
            report.kernel.clone(),
            report.variant.clone(),
            report.cases.to_string(),
            format!("{:.1e}", report.worst_nmse),
            format!("{:.0e}", report.bound),
        ]);
    }
    table
}

fn check_json(report: &CaseReport) -> Value {
    json!({
        "kernels": report.kernel,
        "variant": report.variant,
        "shapes": report.cases,
        "worst_nmse": report.worst_nmse,
        "bound": report.bound,
        "passed": report.passed,
        "note": report.note,
    })
}

fn gpu_table(gpus: &[AdapterSummary]) -> Table {
    let mut table = Table::new(&["gpu", "name", "kind", "backend", "driver", "usable"]);
    for gpu in gpus {
        let AdapterSummary { index, name, backend, kind, driver, lacking } = gpu;
        let usable = lacking.as_ref().map_or("yes".to_owned(), |reason| format!("no: {reason}"));
        table.row([&index.to_string(), name, *kind, backend, driver, &usable]);
    }
    table
}

fn gpu_json(gpu: &AdapterSummary) -> Value {
    let AdapterSummary { index, name, backend, kind, driver, lacking } = gpu;
    json!({
        "index": index, "name": name, "backend": backend, "kind": kind, "driver": driver, "lacking": lacking
    })
}

fn device_table(device: &Capabilities, family: &str) -> Table {
    let yes_no = |has: bool| if has { "yes" } else { "no" };
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    let (smallest, largest) = device.subgroup_sizes;
    let mut table = Table::new(&["chosen", &device.adapter]);
    table.row(["kernel family", family]);
    table.row(["subgroups", &format!("{}, {smallest} to {largest} lanes", yes_no(device.subgroups))]);
    table.row(["f16 arithmetic", yes_no(device.f16)]);
    table.row(["timestamps", yes_no(device.timestamps)]);
    table.row(["immediates", &format!("{} bytes", device.immediate_bytes)]);
    table.row(["largest binding", &mebibytes(device.max_binding_bytes)]);
    table.row(["largest buffer", &mebibytes(device.max_buffer_bytes)]);
    table.row(["workgroup memory", &format!("{} KiB", device.max_workgroup_bytes >> 10)]);
    table.row(["workgroup lanes", &device.max_workgroup_lanes.to_string()]);
    table
}

fn device_json(device: &Capabilities) -> Value {
    json!({
        "name": device.adapter,
        "backend": device.backend,
        "driver": device.driver,
        "kind": device.kind,
        "subgroups": device.subgroups,
        "subgroup_sizes": device.subgroup_sizes,
        "f16": device.f16,
        "timestamps": device.timestamps,
        "immediate_bytes": device.immediate_bytes,
        "max_binding_bytes": device.max_binding_bytes,
        "max_buffer_bytes": device.max_buffer_bytes,
        "max_workgroup_bytes": device.max_workgroup_bytes,
        "max_workgroup_lanes": device.max_workgroup_lanes,
    })
}
