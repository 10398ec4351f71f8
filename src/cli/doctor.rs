//! `parr doctor`: lists the GPUs, and checks that one computes correctly.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::GlobalArgs;
use super::error::CliError;
use super::output::{OutputFile, write_row};
use super::table::Table;
use super::terminal;
use parr::conformance::{self, CheckResult, DeviceReport, Rates};
use parr::file::read_text;
use parr::gpu::{
    AdapterSummary, Capabilities, Device, DeviceOptions, KernelFamily, Measurements, RefusedKernel,
};
use parr::output::Mark;

const LONG_ABOUT: &str = "\
Shows the GPUs of this machine and the features of the chosen one. Then runs
every kernel on it, in every storage format and on odd shapes, and compares the
results with plain CPU loops. `worst` is the largest normalised mean square
error of a case, `bound` is the limit.

The first run on a machine compiles all kernels and may take minutes. Later runs
find them in the driver's cache.

--full checks both kernel families, if the GPU can run both, and measures how
fast plain kernels multiply, add and read.

REPORTs are files that --json wrote, on this or on other machines. Then no GPU
is used: the checks are shown side by side, and --html writes them as a page.

The exit code is 1 if there is no GPU or if a check failed. Please report a
failed check with the output of --json.";

const EXAMPLES: &str = "\
Examples:
  parr doctor
  parr doctor --gpus                    only list the GPUs
  parr doctor --gpu llvmpipe            check Mesa's software driver
  parr doctor --kernels tiled           check the other kernel family
  parr doctor --full --json > desktop.json
  parr doctor --html machines.html desktop.json phone.json";

/// Check that this machine's GPU computes correctly
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// Compare these reports instead of checking a GPU
    #[arg(value_name = "REPORT", conflicts_with_all = ["gpus", "full"])]
    reports: Vec<PathBuf>,

    /// Only list the GPUs, software drivers included
    #[arg(long, conflicts_with_all = ["full", "html"])]
    gpus: bool,

    /// Check both kernel families, and measure the rates of plain kernels
    #[arg(long)]
    full: bool,

    /// Also write the results as an HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

/// The report of this machine, with the list of its GPUs.
#[derive(Serialize)]
struct Printed<'a> {
    gpus: Vec<Value>,
    #[serde(flatten)]
    report: &'a DeviceReport,
}

impl DoctorArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let inputs: Vec<&Path> = self.reports.iter().map(PathBuf::as_path).collect();
        let html = OutputFile::of(self.html.as_deref(), Mark::Page, &inputs)?;
        let reports = if self.reports.is_empty() {
            let gpus = Device::adapters();
            if self.gpus && !gpus.is_empty() {
                return self.list(&gpus);
            }
            vec![self.check(&gpus, global)?]
        } else {
            let reports = self.reports.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
            if self.json {
                write_row(&reports)?;
            } else {
                write!(terminal::stdout(), "{}", side_by_side(&reports))?;
            }
            reports
        };
        if let Some(file) = html {
            file.write(|out| out.write_all(conformance::to_html(&reports).as_bytes()))?;
        }
        let failed: usize = reports.iter().map(|report| report.failed).sum();
        let all: usize = reports.iter().map(|report| report.checks.len()).sum();
        match failed {
            0 => {
                global.note(format!("all {all} checks passed"));
                Ok(())
            }
            _ => Err(CliError::Check(format!("{failed} of {all} checks failed"))),
        }
    }

    fn list(&self, gpus: &[AdapterSummary]) -> Result<(), CliError> {
        if self.json {
            return write_row(&json!({ "gpus": gpus.iter().map(gpu_json).collect::<Vec<_>>() }));
        }
        write!(terminal::stdout(), "{}", gpu_table(gpus))?;
        Ok(())
    }

    /// Checks the chosen GPU and prints the results.
    fn check(&self, gpus: &[AdapterSummary], global: &GlobalArgs) -> Result<DeviceReport, CliError> {
        // Without a GPU this error lists what to install.
        let device = global.open_device()?;
        let mut report = DeviceReport::new(&device);
        if !self.json {
            let offers = device_table(device.capabilities(), &report.kernels);
            writeln!(terminal::stdout(), "{}\n{offers}", gpu_table(gpus))?;
            for RefusedKernel { kernel, family, variant } in &report.refused_kernels {
                writeln!(
                    terminal::stdout(),
                    "The driver refused {kernel} of the family {family} ({variant}); the other family is used."
                )?;
            }
            if let Some(file) = device.refused_kernels_file().filter(|file| file.exists()) {
                writeln!(terminal::stdout(), "To try refused kernels again, delete {}.", file.display())?;
            }
        }
        check(&device, &mut report, global);
        if self.full {
            match Rates::measure(&device) {
                Ok(rates) => report.rates = Some(rates),
                // The results of the checks must not be lost with them.
                Err(error) => global.note(format!("note: plain kernels could not be measured: {error}")),
            }
            // An adapter whose subgroups are too small has one family.
            if let Ok(other) = other_family(&device, global) {
                check(&other, &mut report, global);
            }
        }
        if self.json {
            write_row(&Printed { gpus: gpus.iter().map(gpu_json).collect(), report: &report })?;
            return Ok(report);
        }
        let faults: String = report
            .checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| format!("{} {}: {}\n", check.kernels, check.variant, check.note))
            .collect();
        write!(terminal::stdout(), "{}{faults}", check_table(&report.checks))?;
        if let Some(rates) = report.rates {
            let (flops, bytes) = (rates.flops_per_second / 1e9, rates.read_bytes_per_second / 1e9);
            writeln!(
                terminal::stdout(),
                "plain kernels: {flops:.1} GFLOP/s multiply and add, {bytes:.1} GB/s read"
            )?;
        }
        Ok(report)
    }
}

/// The same adapter with the other kernel family.
fn other_family(device: &Device, global: &GlobalArgs) -> Result<Device, parr::gpu::DeviceError> {
    let family = Some(match device.tuning().family {
        KernelFamily::Lane8 => KernelFamily::Tiled,
        KernelFamily::Tiled => KernelFamily::Lane8,
    });
    let measurements = Measurements::Ignored;
    Device::open(&DeviceOptions { family, measurements, ..global.device_options() })
}

/// A report that --json wrote.
fn read(path: &Path) -> Result<DeviceReport, CliError> {
    let text =
        read_text(path).map_err(|source| CliError::Input { path: path.display().to_string(), source })?;
    serde_json::from_str(&text).map_err(|error| CliError::Line {
        path: path.display().to_string(),
        line: error.line(),
        reason: format!("this is no report of `parr doctor --json`: {error}"),
    })
}

/// The checks of several reports by op.
fn side_by_side(reports: &[DeviceReport]) -> Table {
    let names = reports.iter().map(|report| report.device.name.as_str());
    let heads: Vec<&str> = ["op", "family"].into_iter().chain(names).collect();
    let mut table = Table::new(&heads);
    for row in conformance::compare(reports) {
        let results = row.results.iter().map(|one| one.map_or("-".to_owned(), |one| one.to_string()));
        table.row([row.op.clone(), row.family.clone()].into_iter().chain(results));
    }
    table
}

/// Runs all cases, with a progress bar.
fn check(device: &Device, report: &mut DeviceReport, global: &GlobalArgs) {
    let cases = conformance::cases();
    let bar = global.bar(Some(cases.len() as u64), "{bar:30} {pos}/{len} {msg}");
    for case in &cases {
        bar.set_message(format!("{} {}", case.op(), case.variant()));
        report.add(device, case.op(), &case.run(device));
        bar.inc(1);
    }
    bar.finish_and_clear();
}

fn check_table(checks: &[CheckResult]) -> Table {
    let mut table = Table::new(&["result", "kernels", "variant", "shapes", "worst", "bound"]);
    for check in checks {
        table.row([
            if check.passed { "pass".to_owned() } else { "FAIL".to_owned() },
            check.kernels.clone(),
            check.variant.clone(),
            check.shapes.to_string(),
            format!("{:.1e}", check.worst_nmse),
            format!("{:.0e}", check.bound),
        ]);
    }
    table
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
