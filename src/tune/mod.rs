//! Finds the fastest kernels of a device by measuring them.
//!
//! A product of rows of x with a quantized weight can be divided among workgroups in several ways: a [`Tile`].
//! Which one is fastest depends on the device, its driver, the format of the weight, the number of rows and the
//! number of outputs. So each tile is first checked against a plain CPU loop and then timed. The times are stored
//! by device in the cache directory, and [`Device::open`] uses them from then on.
//!
//! Neither tiles nor the place of the weights affect results, except that one family of kernels differs from the
//! other in last bits. [`tune`] chooses the other family only if it is faster by a third.
//!
//! ```no_run
//! use parr::generate::CancelToken;
//! use parr::gpu::{Device, DeviceOptions};
//! use parr::tune::{self, TuneOptions};
//!
//! let model = "smollm2.gguf".as_ref();
//! let device = Device::open(&DeviceOptions::default())?;
//! let products = tune::untuned(&device, tune::products(model, None)?);
//! if !products.is_empty() {
//!     let options = TuneOptions::first_load();
//!     let report = tune::tune(&device, &products, &options, &CancelToken::new(), &mut |_| {})?;
//!     device.store_tuned(Some(&report.tuned))?;
//! }
//! // From here on, the results are used.
//! let device = Device::open(&DeviceOptions::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod measure;

use std::path::Path;
use std::time::{Duration, Instant};

pub use error::TuneError;

use crate::format::{Checkpoint, LoadError};
use crate::generate::CancelToken;
use crate::gpu::{Device, KernelFamily, Loads, MEASURED_ROWS, Outputs, ProductTimes, Tile, TileTime, Tuned};
use crate::model::{ModelConfig, Product};
use crate::ops::linear_tiles;
use crate::quant::Quant;
use measure::{Measured, Paired};

/// How much to measure.
#[derive(Clone, Debug, Default)]
pub struct TuneOptions {
    /// Measuring ends after this time. Products that were not measured by then keep the usual tile. `None`: no
    /// limit.
    pub budget: Option<Duration>,
    /// Whether to measure the other kernel family too, if the device can run it.
    pub families: bool,
}

impl TuneOptions {
    /// The options for the first load of a model on a device: at most 20 seconds.
    pub fn first_load() -> Self {
        TuneOptions { budget: Some(Duration::from_secs(20)), families: false }
    }

    /// Everything, without a limit of time.
    pub fn full() -> Self {
        TuneOptions { budget: None, families: true }
    }
}

/// How far [`tune`] is.
#[derive(Clone, Debug)]
pub struct TuneProgress {
    /// Measurements so far.
    pub done: usize,
    /// Number of measurements if the budget allows all.
    pub total: usize,
    /// What is being measured, such as `q4_1, 576 outputs, 16 rows`.
    pub what: String,
}

/// The results of [`tune`].
#[derive(Clone, Debug)]
pub struct TuneReport {
    /// The times, for [`Device::store_tuned`].
    pub tuned: Tuned,
    /// The choices that were measured, in order.
    pub choices: Vec<TileChoice>,
    /// Tiles that gave wrong results on this device, as text. They are never used.
    pub wrong: Vec<String>,
    /// Whether the budget sufficed.
    pub complete: bool,
}

/// The fastest tile of one product.
#[derive(Clone, Debug, PartialEq)]
pub struct TileChoice {
    /// The product.
    pub product: Product,
    /// Rows of x.
    pub rows: usize,
    /// Where the weight was read.
    pub loads: Loads,
    /// The tile that the rules choose, and its time in microseconds.
    pub usual: (Tile, f64),
    /// The fastest tile and its time.
    pub fastest: (Tile, f64),
}

/// The products of the model at `path`, those that read most weights first. `quant` is as in
/// [`LoadOptions`](crate::model::LoadOptions).
///
/// # Errors
///
/// As [`Checkpoint::open`], and for architectures that Parr does not know.
pub fn products(path: &Path, quant: Option<Quant>) -> Result<Vec<Product>, LoadError> {
    let checkpoint = Checkpoint::open(path)?;
    let config = ModelConfig::from_checkpoint(&checkpoint)?;
    Ok(Product::of_checkpoint(&checkpoint, &config, quant))
}

/// Those of `products` that were not measured on `device`, one of each class.
pub fn untuned(device: &Device, products: Vec<Product>) -> Vec<Product> {
    let tuning = device.tuning();
    let mut left = classes(&products);
    if let Some(tuned) = &tuning.tuned {
        left.retain(|product| {
            tuned.product(product.quant.name(), Outputs::of(product.outputs), tuning.loads).is_none()
        });
    }
    left
}

/// One product of each class: the one that reads most weights. Formats with less than a hundredth of the weights
/// are left out.
fn classes(products: &[Product]) -> Vec<Product> {
    let all: usize = products.iter().map(Product::weights).sum();
    let mut chosen: Vec<Product> = Vec::new();
    for product in products {
        let of_format: usize =
            products.iter().filter(|other| other.quant == product.quant).map(Product::weights).sum();
        let known = |other: &Product| {
            other.quant == product.quant && Outputs::of(other.outputs) == Outputs::of(product.outputs)
        };
        if of_format * 100 >= all && !chosen.iter().any(known) {
            chosen.push(*product);
        }
    }
    chosen
}

/// Another tile or place of weights is chosen only if it is faster by this factor, and another family by that one.
const MARGIN: f64 = 1.03;
const FAMILY_MARGIN: f64 = 4.0 / 3.0;
/// A tile whose first time is above this multiple of the usual one's is not measured again.
const CLOSE: f64 = 1.15;

/// Numbers of rows that decide between families and between places of weights: one sequence, 16, and a prompt.
const DECIDING_ROWS: [usize; 3] = [1, 16, 64];

/// Measures the tiles of `products` on `device`. Earlier results of the device stay, if it was opened with them.
/// Results apply only after [`Device::store_tuned`] and another [`Device::open`].
///
/// # Errors
///
/// * [`TuneError::Cancelled`];
/// * [`TuneError::Device`] if the device fails. A driver that refuses a kernel costs the device.
pub fn tune(
    device: &Device,
    products: &[Product],
    options: &TuneOptions,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(TuneProgress),
) -> Result<TuneReport, TuneError> {
    let classes = classes(products);
    let report = TuneReport {
        tuned: device.tuning().tuned.as_deref().cloned().unwrap_or_else(Tuned::new),
        choices: Vec::new(),
        wrong: Vec::new(),
        complete: true,
    };
    let total = classes.len() * MEASURED_ROWS.len();
    let deadline = options.budget.map(|budget| Instant::now() + budget);
    let mut tuner = Tuner { device, deadline, cancel, progress, done: 0, total, report };
    let Some(&first) = classes.first() else { return Ok(tuner.report) };
    let (family, loads) = tuner.family_and_loads(first, options)?;
    for product in classes {
        if tuner.is_late() {
            tuner.report.complete = false;
            tuner.report.tuned.skip(product.quant.name(), product.outputs, loads);
            continue;
        }
        tuner.product(product, family, loads)?;
    }
    Ok(tuner.report)
}

/// A running [`tune`].
struct Tuner<'a> {
    device: &'a Device,
    deadline: Option<Instant>,
    cancel: &'a CancelToken,
    progress: &'a mut dyn FnMut(TuneProgress),
    done: usize,
    total: usize,
    report: TuneReport,
}

impl Tuner<'_> {
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn show(&mut self, what: String) -> Result<(), TuneError> {
        if self.cancel.is_cancelled() {
            return Err(TuneError::Cancelled);
        }
        (self.progress)(TuneProgress { done: self.done, total: self.total, what });
        Ok(())
    }

    /// The family and the place of weights for all products: those of earlier results, or the faster ones.
    fn family_and_loads(
        &mut self,
        product: Product,
        options: &TuneOptions,
    ) -> Result<(KernelFamily, Loads), TuneError> {
        let (tuning, narrow) = (self.device.tuning(), self.device.capabilities().is_narrow());
        let usual = (tuning.family, tuning.loads);
        if self.report.tuned.loads.is_some() {
            return Ok(usual);
        }
        let other = match usual.0 {
            KernelFamily::Lane8 => Some(KernelFamily::Tiled),
            KernelFamily::Tiled => Some(KernelFamily::Lane8).filter(|_| !narrow),
        };
        let mut family = usual.0;
        if let Some(other) = other.filter(|_| options.families)
            && self.speedup(product, usual, (other, usual.1))? > FAMILY_MARGIN
        {
            family = other;
            self.report.tuned.family = Some(family);
        }
        let other = match usual.1 {
            Loads::Buffers => Loads::Textures,
            Loads::Textures => Loads::Buffers,
        };
        let faster = self.speedup(product, (family, usual.1), (family, other))? > MARGIN;
        let loads = if faster { other } else { usual.1 };
        self.report.tuned.loads = Some(loads);
        Ok((family, loads))
    }

    /// How much faster the usual tiles of `other` are than those of `usual`: the geometric mean at
    /// [`DECIDING_ROWS`]. 0 if one of them gives wrong results.
    fn speedup(
        &mut self,
        product: Product,
        usual: (KernelFamily, Loads),
        other: (KernelFamily, Loads),
    ) -> Result<f64, TuneError> {
        let both =
            [Measured::new(self.device, product, usual.1)?, Measured::new(self.device, product, other.1)?];
        let mut logarithms = 0.0;
        for rows in DECIDING_ROWS {
            let (family, loads) = (other.0.name(), other.1.name());
            self.show(format!("{family}, weights in {loads}, {rows} rows"))?;
            let tile = |(family, loads), measured: &Measured<'_>| {
                linear_tiles(self.device, family, loads, measured.outputs(), rows)[0]
            };
            let tiles = [tile(usual, &both[0]), tile(other, &both[1])];
            for ((measured, tile), loads) in both.iter().zip(tiles).zip([usual.1, other.1]) {
                if !self.is_right(measured, tile, rows, loads)? {
                    return Ok(0.0);
                }
            }
            let paired = Paired::measure((&both[0], tiles[0]), (&both[1], tiles[1]), rows)?;
            logarithms -= paired.ratio.ln();
        }
        Ok((logarithms / DECIDING_ROWS.len() as f64).exp())
    }

    fn is_right(
        &mut self,
        measured: &Measured<'_>,
        tile: Tile,
        rows: usize,
        loads: Loads,
    ) -> Result<bool, TuneError> {
        let right = measured.is_right(tile, rows)?;
        if !right {
            let format = measured.product().quant.name();
            let text = format!("{tile}, {format} in {}, {rows} rows", loads.name());
            if !self.report.wrong.contains(&text) {
                self.report.wrong.push(text);
            }
        }
        Ok(right)
    }

    /// Measures all tiles of a product.
    fn product(&mut self, product: Product, family: KernelFamily, loads: Loads) -> Result<(), TuneError> {
        let measured = Measured::new(self.device, product, loads)?;
        let mut times: Vec<TileTime> = Vec::new();
        for rows in MEASURED_ROWS {
            self.show(format!("{}, {} outputs, {rows} rows", product.quant.name(), product.outputs))?;
            let mut found: Vec<(Tile, f64)> = Vec::new();
            for tile in linear_tiles(self.device, family, loads, measured.outputs(), rows) {
                if self.is_late() && !found.is_empty() {
                    self.report.complete = false;
                    break;
                }
                if self.is_right(&measured, tile, rows, loads)? {
                    let repeats = measured.repeats(tile, rows)?;
                    found.push((tile, measured.seconds(tile, rows, repeats)?));
                }
            }
            self.done += 1;
            let Some(&(usual, _)) = found.first() else { continue };
            let fastest = self.fastest(&measured, rows, &mut found)?;
            let micros = |seconds: f64| seconds * 1e6;
            times.extend(found.iter().map(|&(tile, seconds)| TileTime {
                rows,
                tile,
                micros: micros(seconds),
            }));
            if rows == MEASURED_ROWS[MEASURED_ROWS.len() - 1] {
                let rate = measured.flops(rows) / fastest.1;
                let best = &mut self.report.tuned.flops_per_second;
                *best = Some(best.map_or(rate, |best| best.max(rate)));
            }
            let usual = found.iter().copied().find(|(tile, _)| *tile == usual).unwrap_or(fastest);
            let timed = |(tile, seconds)| (tile, micros(seconds));
            let choice = TileChoice { product, rows, loads, usual: timed(usual), fastest: timed(fastest) };
            self.report.choices.push(choice);
        }
        let (format, outputs) = (product.quant.name().to_owned(), Outputs::of(product.outputs));
        self.report.tuned.insert(ProductTimes { format, outputs, loads, times });
        Ok(())
    }

    /// The fastest of the tiles in `found`, the usual one first, whose times get more exact. A tile that seems faster
    /// than the usual one is measured again, in turn with it: the shortest of many times is short by chance, too.
    fn fastest(
        &self,
        measured: &Measured<'_>,
        rows: usize,
        found: &mut [(Tile, f64)],
    ) -> Result<(Tile, f64), TuneError> {
        let mut fastest = found[0];
        let mut order: Vec<usize> = (1..found.len()).collect();
        order.sort_by(|&a, &b| found[a].1.total_cmp(&found[b].1));
        // The one behind the first may be ahead of it in fact.
        for index in order.into_iter().take(2) {
            if self.is_late() || found[index].1 > fastest.1 * CLOSE {
                continue;
            }
            let paired = Paired::measure((measured, fastest.0), (measured, found[index].0), rows)?;
            let [before, after] = paired.shortest;
            for (tile, seconds) in found.iter_mut() {
                if *tile == fastest.0 {
                    *seconds = before;
                }
            }
            found[index].1 = after;
            fastest = if paired.ratio * MARGIN < 1.0 { found[index] } else { (fastest.0, before) };
        }
        // No other tile must come out ahead now.
        for (_, seconds) in found.iter_mut().filter(|(tile, _)| *tile != fastest.0) {
            *seconds = seconds.max(fastest.1);
        }
        Ok(fastest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(quant: Quant, outputs: usize, count: usize) -> Product {
        Product { quant, outputs, inputs: 1000, count }
    }

    #[test]
    fn one_product_of_each_class_is_measured() {
        let products = [
            product(Quant::Q4K, 3000, 10),
            product(Quant::Q6K, 49_000, 1),
            product(Quant::Q4K, 4000, 5),
            product(Quant::Q4K, 600, 10),
            product(Quant::Q4K, 200, 10),
            product(Quant::F32, 10, 1),
        ];
        let found = classes(&products);
        assert_eq!(found, [products[0], products[1], products[3], products[4]]);
    }
}
