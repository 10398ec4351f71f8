//! `parr tune`, and the measurements before the first load of a model on a device.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::quant;
use super::output::write_row;
use super::table::Table;
use super::terminal;
use std::sync::Arc;

use parr::gpu::{Device, DeviceOptions, Measurements, Tuned};
use parr::hub::{self, CATALOG};
use parr::model::Product;
use parr::quant::Quant;
use parr::tune::{self, TileChoice, TuneError, TuneOptions, TuneReport};

const LONG_ABOUT: &str = "\
Measures the kernels for a model's weights on this GPU and stores the fastest.
Every command uses them from then on. Each kernel is first checked against a
plain CPU loop.

The first load of a model on a GPU does the same in at most 20 seconds, unless
--no-tune is given. This command has no limit of time, and it also measures the
other kernel family.

The results are in tuning.json in the cache folder, by GPU and driver version.
They do not change a model's replies, except that one kernel family differs from
the other in the last bits.";

const EXAMPLES: &str = "\
Examples:
  parr tune
  parr tune llama3.2-1b --budget 60
  parr tune --json > tuning.json
  parr tune --reset                     forget the results of this GPU";

/// Find the fastest kernels of this machine's GPU by measuring them
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct TuneArgs {
    /// Model whose weights are measured: a name from `parr pull`, a GGUF file or a Hugging Face directory
    #[arg(value_name = "MODEL", default_value = CATALOG[0].name)]
    model: String,

    /// Weight format for a safetensors model: q4_0, q8_0, f16, ... [default: as stored]
    #[arg(long, value_name = "FORMAT", value_parser = quant)]
    quant: Option<Quant>,

    /// End after this time; kernels that were not measured by then stay as they are
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    budget: Option<Duration>,

    /// Remove the results of this GPU instead
    #[arg(long)]
    reset: bool,

    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

impl TuneArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        if global.kernels.is_some() || global.loads.is_some() {
            let text = "--kernels and --loads choose what this command measures: leave them out";
            return Err(CliError::Usage(text.to_owned()));
        }
        let path = if self.reset { None } else { Some(hub::resolve(&self.model)?) };
        // Earlier results do not count.
        let device = global
            .open_with(DeviceOptions { measurements: Measurements::Ignored, ..global.device_options() })?;
        let Some(path) = path else {
            store(&device, None)?;
            global.note("removed the results of this GPU");
            return Ok(());
        };
        let products = tune::products(&path, self.quant)?;
        let report =
            measure(&device, &products, &TuneOptions { budget: self.budget, families: true }, global)?;
        store(&device, Some(&report))?;
        if self.json {
            return write_row(&report_json(&device, &report));
        }
        let mut out = terminal::stdout();
        write!(out, "{}", table(&report))?;
        let tuned = &report.tuned;
        let rate = tuned.flops_per_second.unwrap_or(0.0) / 1e9;
        let family = tuned.family.unwrap_or(device.tuning().family).name();
        let loads = tuned.loads.unwrap_or(device.tuning().loads).name();
        writeln!(out, "kernels {family}, weights in {loads}; up to {rate:.1} GFLOP/s")?;
        for wrong in &report.wrong {
            writeln!(out, "wrong results, never used: {wrong}")?;
        }
        if !report.complete {
            global.note("the budget was too short for all kernels");
        }
        if let Some(file) = device.tuned_file() {
            global.note(format!("stored in {}", file.display()));
        }
        Ok(())
    }
}

/// Measures with a progress bar; ctrl-C ends it.
fn measure(
    device: &Device,
    products: &[Product],
    options: &TuneOptions,
    global: &GlobalArgs,
) -> Result<TuneReport, CliError> {
    let bar = global.bar(None, "measuring {bar:30} {pos}/{len} {msg}");
    let report = interruptible(|token| {
        tune::tune(device, products, options, token, &mut |progress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
            bar.set_message(progress.what);
        })
    });
    bar.finish_and_clear();
    match report {
        Err(TuneError::Cancelled) => Err(CliError::Interrupted),
        report => Ok(report.map_err(parr::Error::from)?),
    }
}

fn store(device: &Device, report: Option<&TuneReport>) -> Result<(), CliError> {
    device.store_tuned(report.map(|report| &report.tuned)).map_err(|source| CliError::File {
        path: device.tuned_file().map_or_else(PathBuf::new, Path::to_owned),
        source,
    })
}

impl GlobalArgs {
    /// A device on which the kernels for `products` were measured: `device`, or the same one opened again with new
    /// results. Measuring is left out if a flag forbids it or chooses kernels, or if results could not be stored.
    pub(super) fn tuned(
        &self,
        device: Device,
        products: impl FnOnce() -> Vec<Product>,
    ) -> Result<Device, CliError> {
        if self.no_tune || self.kernels.is_some() || self.loads.is_some() || device.tuned_file().is_none() {
            return Ok(device);
        }
        let products = tune::untuned(&device, products());
        let mut known = device.tuning().tuned.as_deref().cloned().unwrap_or_else(Tuned::new);
        if products.is_empty() || device.store_tuned(Some(&known)).is_err() {
            return Ok(device);
        }
        let name = &device.capabilities().adapter;
        self.note(format!("measuring kernels on {name}, once, for up to 20 s (--no-tune leaves it out)"));
        let measurements = match measure(&device, &products, &TuneOptions::first_load(), self) {
            Ok(report) => {
                for wrong in &report.wrong {
                    self.note(format!("note: wrong results, never used: {wrong}"));
                }
                // Without the file, the next load measures again.
                let _ = device.store_tuned(Some(&report.tuned));
                Measurements::Given(Arc::new(report.tuned))
            }
            Err(CliError::Interrupted) => return Err(CliError::Interrupted),
            Err(error) => {
                self.note(format!("note: the kernels could not be measured: {error}"));
                // The next load must not fail in the same way again, after as long a time.
                for product in &products {
                    known.skip(product.quant.name(), product.outputs, device.tuning().loads);
                }
                let _ = device.store_tuned(Some(&known));
                Measurements::Given(Arc::new(known))
            }
        };
        drop(device);
        Ok(self.open_with(DeviceOptions { measurements, ..self.device_options() })?)
    }

    /// The same for the model at `path`.
    pub(super) fn tuned_for(
        &self,
        device: Device,
        path: &Path,
        quant: Option<Quant>,
    ) -> Result<Device, CliError> {
        // A model that cannot be read is reported when it is loaded.
        self.tuned(device, || tune::products(path, quant).unwrap_or_default())
    }
}

fn table(report: &TuneReport) -> Table {
    let mut table =
        Table::new(&["format", "outputs", "rows", "usual tile", "us", "fastest tile", "us", "gain"]);
    for TileChoice { product, rows, usual, fastest, .. } in &report.choices {
        table.row([
            product.quant.name().to_owned(),
            product.outputs.to_string(),
            rows.to_string(),
            usual.0.to_string(),
            format!("{:.1}", usual.1),
            fastest.0.to_string(),
            format!("{:.1}", fastest.1),
            format!("{:.2}", usual.1 / fastest.1),
        ]);
    }
    table
}

fn report_json(device: &Device, report: &TuneReport) -> Value {
    let choices = report.choices.iter().map(|choice| {
        json!({
            "format": choice.product.quant.name(),
            "outputs": choice.product.outputs,
            "inputs": choice.product.inputs,
            "rows": choice.rows,
            "loads": choice.loads.name(),
            "usual": { "tile": choice.usual.0.to_string(), "micros": choice.usual.1 },
            "fastest": { "tile": choice.fastest.0.to_string(), "micros": choice.fastest.1 },
        })
    });
    let (tuning, tuned) = (device.tuning(), &report.tuned);
    json!({
        "parr": env!("CARGO_PKG_VERSION"),
        "adapter": device.capabilities().adapter,
        "driver": device.capabilities().driver,
        "kernels": tuned.family.unwrap_or(tuning.family).name(),
        "loads": tuned.loads.unwrap_or(tuning.loads).name(),
        "flops_per_second": tuned.flops_per_second,
        "complete": report.complete,
        "wrong": report.wrong,
        "choices": choices.collect::<Vec<_>>(),
    })
}
