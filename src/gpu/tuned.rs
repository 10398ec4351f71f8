//! What was measured on a device, remembered on disk: the fastest tile of each product.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::by_device;
use super::tile::Tile;
use super::tuning::{KernelFamily, Loads};
use crate::cache;

/// A class of products by their number of outputs. Few outputs give few workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// Up to 511.
    Few,
    /// 512 to 2047.
    Some,
    /// 2048 and more.
    Many,
}

impl Outputs {
    /// The class of a matrix with this number of outputs.
    pub fn of(outputs: usize) -> Self {
        match outputs {
            ..512 => Outputs::Few,
            512..2048 => Outputs::Some,
            _ => Outputs::Many,
        }
    }
}

/// The numbers of rows of x for which products are measured. Other numbers go by the next larger one, or the last.
pub const MEASURED_ROWS: [usize; 6] = [1, 2, 4, 8, 16, 64];

/// The measured number of rows that stands for `rows`.
fn measured_rows(rows: usize) -> usize {
    MEASURED_ROWS.into_iter().find(|measured| *measured >= rows).unwrap_or(MEASURED_ROWS[5])
}

/// The time of one product with one tile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileTime {
    /// Rows of x, one of [`MEASURED_ROWS`].
    pub rows: usize,
    /// The tile.
    pub tile: Tile,
    /// Microseconds of one product.
    pub micros: f64,
}

/// The measured times of one class of products.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProductTimes {
    /// Format of the weight, such as `q4_1`.
    pub format: String,
    /// Class by outputs.
    pub outputs: Outputs,
    /// Where the kernels read the weight.
    pub loads: Loads,
    /// Times, in any order.
    pub times: Vec<TileTime>,
}

impl ProductTimes {
    /// The fastest tile for `rows` rows among those that `allowed` accepts.
    ///
    /// A tile of 4 rows computes 5 rows in the time of 8. So the measured time is scaled by the number of tiles.
    pub fn fastest(&self, rows: usize, allowed: impl Fn(Tile) -> bool) -> Option<Tile> {
        let measured = measured_rows(rows);
        let tiles = |rows: usize, time: &TileTime| rows.div_ceil(time.tile.rows().max(1)) as f64;
        let micros = |time: &TileTime| time.micros * tiles(rows, time) / tiles(measured, time);
        let times = self.times.iter().filter(|time| time.rows == measured && allowed(time.tile));
        times.min_by(|a, b| micros(a).total_cmp(&micros(b))).map(|time| time.tile)
    }
}

/// The results of tuning on one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// The version of Parr that measured.
    pub parr: String,
    /// The faster kernel family, if both were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<KernelFamily>,
    /// Where reading weights is faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loads: Option<Loads>,
    /// Floating-point operations per second of the fastest product with many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops_per_second: Option<f64>,
    /// Times by class of product.
    pub products: Vec<ProductTimes>,
}

impl Tuned {
    /// Results without any measurement, of this version of Parr.
    pub fn new() -> Self {
        Tuned { parr: env!("CARGO_PKG_VERSION").to_owned(), ..Tuned::default() }
    }

    /// The times of a class of products, if it was measured.
    pub fn product(&self, format: &str, outputs: Outputs, loads: Loads) -> Option<&ProductTimes> {
        let fits = |product: &&ProductTimes| {
            product.outputs == outputs && product.loads == loads && product.format == format
        };
        self.products.iter().find(fits)
    }

    /// Adds measured times in place of older ones of the same class.
    pub fn insert(&mut self, times: ProductTimes) {
        let same = |old: &ProductTimes| {
            (old.outputs, old.loads) == (times.outputs, times.loads) && old.format == times.format
        };
        self.products.retain(|old| !same(old));
        self.products.push(times);
    }

    /// Marks a class of products as seen, so that it is not measured again. Without times the usual tiles are used.
    pub fn skip(&mut self, format: &str, outputs: usize, loads: Loads) {
        let outputs = Outputs::of(outputs);
        self.insert(ProductTimes { format: format.to_owned(), outputs, loads, times: Vec::new() });
    }

    /// Whether a file could hold this: files may be damaged.
    fn is_sound(&self) -> bool {
        let mut times = self.products.iter().flat_map(|product| &product.times);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        times.all(|time| positive(time.micros)) && self.flops_per_second.is_none_or(positive)
    }
}

/// The file with the results of all devices of this machine, and the entry of one of them.
#[derive(Clone, Debug)]
pub(super) struct TunedFile {
    path: Option<PathBuf>,
    device: String,
}

impl TunedFile {
    /// The entry of the adapter's driver in the cache directory.
    pub fn of(info: &wgpu::AdapterInfo) -> Self {
        let path = cache::directory().map(|directory| directory.join("tuning.json"));
        let mut device = by_device::key(info);
        if info.device_type == wgpu::DeviceType::Cpu {
            // The adapter's name is the same on every CPU.
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let avx512 = if super::tuning::avx512() { ", AVX-512" } else { "" };
            device.push_str(&format!(", {threads} threads{avx512}"));
        }
        TunedFile { path, device }
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The results for the device, if this version of Parr measured some.
    pub fn read(&self) -> Option<Tuned> {
        let value = by_device::read::<Value>(self.path.as_deref()?).remove(&self.device)?;
        let tuned: Tuned = serde_json::from_value(value).ok()?;
        (tuned.parr == env!("CARGO_PKG_VERSION") && tuned.is_sound()).then_some(tuned)
    }

    /// Writes the results of the device, or removes them. Those of other devices stay.
    pub fn write(&self, tuned: Option<&Tuned>) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        // Entries of other versions of Parr stay as they are.
        let mut table = by_device::read::<Value>(path);
        match tuned {
            Some(tuned) => {
                table.insert(self.device.clone(), serde_json::to_value(tuned)?);
            }
            None if table.remove(&self.device).is_none() => return Ok(()),
            None => {}
        }
        by_device::write(path, &table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Tile = Tile::Lane8 { rows: 4, cols: 4 };
    const LARGE: Tile = Tile::Lane8 { rows: 16, cols: 8 };

    fn times(times: &[(usize, Tile, f64)]) -> ProductTimes {
        let times = times.iter().map(|&(rows, tile, micros)| TileTime { rows, tile, micros }).collect();
        ProductTimes { format: "q4_1".into(), outputs: Outputs::Many, loads: Loads::Buffers, times }
    }

    #[test]
    fn a_tile_with_empty_rows_costs_as_much_as_a_full_one() {
        let times = times(&[(16, SMALL, 100.0), (16, LARGE, 80.0), (64, SMALL, 400.0), (64, LARGE, 300.0)]);
        let fastest = |rows| times.fastest(rows, |_| true);
        assert_eq!(fastest(16), Some(LARGE));
        assert_eq!(fastest(13), Some(LARGE), "four tiles of 4 rows take 100");
        assert_eq!(fastest(12), Some(SMALL), "three take 75");
        assert_eq!(fastest(64), Some(LARGE));
        assert_eq!(fastest(65), Some(LARGE), "5 large tiles take 375, 17 small ones 425");
        assert_eq!(fastest(8), None, "not measured");
        assert_eq!(times.fastest(16, |tile| tile != LARGE), Some(SMALL));
    }

    #[test]
    fn results_are_kept_by_device_and_version() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let path = folder.path().join("cache/tuning.json");
        let of = |device: &str| TunedFile { path: Some(path.clone()), device: device.to_owned() };
        assert_eq!(of("one").read(), None, "there is no file");
        of("one").write(None).expect("nothing to remove");
        assert!(!path.exists());

        let mut tuned = Tuned::new();
        tuned.loads = Some(Loads::Textures);
        tuned.insert(times(&[(16, SMALL, 1.0)]));
        tuned.insert(times(&[(16, SMALL, 2.0), (1, Tile::Matvec { rows: 1, subgroups: true }, 0.5)]));
        assert_eq!(tuned.products.len(), 1, "the second is in place of the first");
        of("one").write(Some(&tuned)).expect("writable");
        of("two").write(Some(&Tuned { parr: "0.0.0".into(), ..tuned.clone() })).expect("writable");
        assert_eq!(of("one").read(), Some(tuned.clone()));
        assert_eq!(of("two").read(), None, "another version measured it");
        of("one").write(None).expect("writable");
        assert_eq!(of("one").read(), None);

        let negative = r#"{"rows": 1, "tile": "tiled", "micros": -1}"#;
        let product =
            format!(r#"{{"format": "f32", "outputs": "few", "loads": "buffers", "times": [{negative}]}}"#);
        let version = env!("CARGO_PKG_VERSION");
        for damaged in [
            "{\"one\": 3}".to_owned(),
            "{\"one".to_owned(),
            format!(r#"{{"one": {{"parr": "{version}", "products": [{product}]}}}}"#),
        ] {
            std::fs::write(&path, damaged).expect("writable");
            assert_eq!(of("one").read(), None);
        }
        of("one").write(Some(&tuned)).expect("a damaged file is replaced");
        assert_eq!(of("one").read(), Some(tuned));
    }
}
