//! What was measured on a device decides the kernels of its products.

use std::sync::Arc;

use parr::generate::CancelToken;
use parr::gpu::{
    DeviceOptions, KernelFamily, Loads, Measurements, Outputs, ProductTimes, Recording, Tile, TileTime, Tuned,
};
use parr::model::Product;
use parr::ops::{Activation, LinearPart, Store, Weight, linear};
use parr::quant::Quant;
use parr::tune::{self, TuneError, TuneOptions};

use crate::support::gpu;

const OUTPUTS: usize = 70;
const COLS: usize = 96;
const ROWS: usize = 19;

/// The bits of a product on a device with these measurements, and the variant that ran.
fn product(measurements: Measurements) -> (Vec<u32>, String) {
    let (family, loads) = (Some(KernelFamily::Lane8), Some(Loads::Buffers));
    let device = gpu::open(&DeviceOptions { family, loads, measurements, ..DeviceOptions::default() });
    let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as f32 / 97.0 - 1.3;
    let mut bytes = Vec::new();
    Quant::Q4_0.encode(&(0..OUTPUTS * COLS).map(value).collect::<Vec<_>>(), &mut bytes);
    let part = LinearPart { quant: Quant::Q4_0, rows: OUTPUTS, bytes: &bytes };
    let weight = Weight::upload(&device, "a weight", &[part], COLS).expect("it fits");
    let x: Vec<f32> = (0..ROWS * COLS).map(value).collect();
    let buffer = device.upload("rows", &x).expect("they fit");
    let x = Activation { buffer, rows: ROWS, width: COLS, stride: COLS };
    let y = Activation::new(&device, "results", ROWS, OUTPUTS).expect("they fit");
    let mut rec = Recording::new(&device);
    linear(&mut rec, &weight, &x, &y, ROWS, Store::Overwrite).expect("shapes agree");
    let variant = rec.specializations().next().expect("one dispatch").1;
    rec.submit().expect("a sound recording");
    let y = device.read(&y.buffer, 0, ROWS * y.stride).expect("a read");
    (y.iter().map(|v| v.to_bits()).collect(), variant)
}

#[test]
fn the_measured_tile_runs_and_gives_the_same_bits() {
    let _turn = gpu::turn();
    let (usual, _) = product(Measurements::Ignored);
    for (rows, cols) in [(4, 2), (4, 4), (8, 4), (16, 8)] {
        let tile = Tile::Lane8 { rows, cols };
        let mut tuned = Tuned::new();
        let others = [(4, 4), (8, 4), (16, 8)].map(|(rows, cols)| (Tile::Lane8 { rows, cols }, 50.0));
        let times = others.into_iter().chain([(tile, 1.0)]);
        // The device cannot run a tile of the other family here, however fast it was, and a damaged file may name a
        // tile that does not exist.
        let unknown = Tile::Lane8 { rows: 1000, cols: 1000 };
        let times = times.chain([(Tile::Tiled, 0.1), (unknown, 0.1)]);
        tuned.insert(ProductTimes {
            format: "q4_0".into(),
            outputs: Outputs::of(OUTPUTS),
            loads: Loads::Buffers,
            times: times.map(|(tile, micros)| TileTime { rows: 64, tile, micros }).collect(),
        });
        let (found, variant) = product(Measurements::Given(Arc::new(tuned)));
        assert!(variant.contains(&format!("MT={rows} TN={cols}")), "{tile}: {variant}");
        assert!(found == usual, "{tile} gives other bits than the usual tile");
    }
}

#[test]
fn a_cancelled_measurement_ends_with_an_error_and_an_exhausted_one_with_results() {
    let _turn = gpu::turn();
    let device =
        gpu::open(&DeviceOptions { measurements: Measurements::Ignored, ..DeviceOptions::default() });
    let products = [Product { quant: Quant::Q4_0, outputs: 64, inputs: 64, count: 1 }];
    let cancel = CancelToken::new();
    cancel.cancel();
    let run = |options: &TuneOptions, cancel: &CancelToken| {
        tune::tune(&device, &products, options, cancel, &mut |_| {})
    };
    assert!(matches!(run(&TuneOptions::full(), &cancel), Err(TuneError::Cancelled)));

    let none = TuneOptions { budget: Some(std::time::Duration::ZERO), families: false };
    let report = run(&none, &CancelToken::new()).expect("no time is no error");
    assert!(!report.complete && report.choices.is_empty());
    // Marked as seen, so that the next load does not measure again.
    let options = DeviceOptions {
        measurements: Measurements::Given(Arc::new(report.tuned)),
        ..DeviceOptions::default()
    };
    assert!(tune::untuned(&gpu::open(&options), products.to_vec()).is_empty());
    assert_eq!(tune::untuned(&device, products.to_vec()), products);
}
