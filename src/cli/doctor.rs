//! `parr doctor`: what this machine has.

use std::io::{Write, stdout};

use clap::Args;
use serde_json::{Value, json};

use super::GlobalArgs;
use super::error::CliError;
use super::output::write_row;
use super::table::Table;
use crate::gpu::{AdapterSummary, Capabilities, Device};

const LONG_ABOUT: &str = "\
Shows the adapters of this machine and what the chosen one offers.

Exits with 1 if there is no adapter.";

const EXAMPLES: &str = "\
Examples:
  parr doctor
  parr doctor --adapters                list the adapters, and no more
  parr doctor --adapter llvmpipe        look at Mesa's software driver
  parr doctor --json > report.json";

/// Show the adapters and what they offer
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// List the adapters and stop
    #[arg(long)]
    adapters: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let adapters = Device::adapters();
        if self.adapters && !adapters.is_empty() {
            if self.json {
                return write_row(
                    &json!({ "adapters": adapters.iter().map(adapter_json).collect::<Vec<_>>() }),
                );
            }
            write!(stdout(), "{}", adapter_table(&adapters))?;
            return Ok(());
        }
        // Without an adapter this says what to install.
        let device = global.open_device()?;
        let family = device.tuning().family.name();
        if self.json {
            return write_row(&json!({
                "adapters": adapters.iter().map(adapter_json).collect::<Vec<_>>(),
                "device": device_json(device.capabilities()),
                "kernels": family,
            }));
        }
        let offers = device_table(device.capabilities(), family);
        write!(stdout(), "{}\n{offers}", adapter_table(&adapters))?;
        Ok(())
    }
}

fn adapter_table(adapters: &[AdapterSummary]) -> Table {
    let mut table = Table::new(&["adapter", "name", "kind", "backend", "driver"]);
    for adapter in adapters {
        let AdapterSummary { index, name, backend, kind, driver } = adapter;
        table.row([&index.to_string(), name, *kind, backend, driver]);
    }
    table
}

fn adapter_json(adapter: &AdapterSummary) -> Value {
    let AdapterSummary { index, name, backend, kind, driver } = adapter;
    json!({ "index": index, "name": name, "backend": backend, "kind": kind, "driver": driver })
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
