//! Adapters in one batch: a row's result is its own, bit for bit; what does not fit is refused.

use parr::gpu::{Buffer, Device, KernelFamily, Recording};
use parr::ops::{
    Activation, LoraParams, LoraPart, LoraRows, LoraRun, LoraSite, LoraTile, ShapeError, lora, lora_expand,
    lora_expand_backward, lora_grad_a, lora_grad_b, lora_shrink, lora_shrink_backward,
};
use parr::random::{Philox, Purpose, uniform01};

use crate::support::gpu;

const ROWS: usize = 60;
const ADAPTERS: usize = 3;

/// Three parts, the second at an odd column.
fn site(rank: usize) -> LoraSite {
    let part = |first_col, cols| LoraPart { first_col, cols };
    let parts = vec![part(0, 65), part(65, 40), part(110, 30)];
    let mut site = LoraSite { rank, inputs: 150, outputs: 140, parts, a: 0, b: 0 };
    site.b = site.a_len();
    site
}

fn values(stream: u32, len: usize) -> Vec<f32> {
    let random = Philox::new(7);
    let value = |i| uniform01(random.block(Purpose::Conformance, stream, i, 0)[0]) * 2.0 - 1.0;
    (0..len as u32).map(value).collect()
}

/// An activation of random rows; those for which `kept` is false are NaN.
fn activation(device: &Device, stream: u32, width: usize, rows: &[usize], kept: &[bool]) -> Activation {
    let all = values(stream, ROWS * width);
    let mut made = Activation::new(device, "rows", rows.len(), width).expect("a small activation");
    let mut padded = vec![0.0; rows.len() * made.stride];
    for (target, &row) in padded.chunks_exact_mut(made.stride).zip(rows) {
        let source = if kept[row] { &all[row * width..][..width] } else { &[f32::NAN].repeat(width)[..] };
        target[..width].copy_from_slice(source);
    }
    made.buffer = device.upload("rows", &padded).expect("a small buffer");
    made
}

/// What the ops that go by tiles make of `rows` of the batch under `tiles`: h, d_h, y and d_x of each row,
/// as bits. What `lora` adds to y is what its two halves add.
fn results(
    device: &Device,
    site: &LoraSite,
    params: LoraParams<'_>,
    tiles: &[LoraTile],
    rows: &[usize],
    kept: &[bool],
) -> Vec<Vec<u32>> {
    let wide = |stream, width| activation(device, stream, width, rows, kept);
    let (x, d_y) = (wide(1, site.inputs), wide(2, site.outputs));
    let (y, d_x) = (wide(3, site.outputs), wide(4, site.inputs));
    let (scratch, y_at_once) = (wide(6, site.h_width()), wide(3, site.outputs));
    let h = Activation::new(device, "h", rows.len(), site.h_width()).expect("a small activation");
    let d_h = Activation::new(device, "d_h", rows.len(), site.h_width()).expect("a small activation");
    let buffer = device.upload("tiles", tiles).expect("a small buffer");
    let tile_rows = tiles.iter().map(|tile| tile.rows as usize).max().expect("a tile");
    let tiles = LoraRows { tiles: &buffer, n_tiles: tiles.len(), tile_rows };
    let mut rec = Recording::new(device);
    lora_shrink(&mut rec, site, params, tiles, &x, &h).expect("it fits");
    lora_expand(&mut rec, site, params, tiles, &h, &y).expect("it fits");
    lora_expand_backward(&mut rec, site, params, tiles, &d_y, &d_h).expect("it fits");
    lora_shrink_backward(&mut rec, site, params, tiles, &d_h, &d_x).expect("it fits");
    assert_eq!(rec.dispatches(), 4, "one for all parts and adapters");
    lora(&mut rec, site, params, tiles, &x, &scratch, &y_at_once).expect("it fits");
    rec.submit().expect("a sound recording");
    let read = |made: &Activation| device.read(&made.buffer, 0, made.buffer.len()).expect("a device");
    let bits = |made: &Activation| read(made).into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&y_at_once), bits(&y), "both halves at once");
    let read = [&h, &d_h, &y, &d_x].map(|made| (read(made), made.stride));
    let row = |index: usize| {
        let of = |(all, stride): &(Vec<f32>, usize)| all[index * stride..][..*stride].to_vec();
        read.iter().flat_map(of).map(f32::to_bits).collect()
    };
    (0..rows.len()).map(row).collect()
}

fn alone_and_together(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    // `lora` has a kernel of its own up to rank 16.
    [12, 20].into_iter().for_each(|rank| alone_and_together_of(&device, &site(rank)));
}

fn alone_and_together_of(device: &Device, site: &LoraSite) {
    let adapter_len = site.b + site.b_len();
    let mut factors = values(5, ADAPTERS * adapter_len);
    for factors in factors.chunks_exact_mut(adapter_len) {
        // Zero padding, as the layout asks.
        for row in factors[..site.b].chunks_exact_mut(site.a_stride()) {
            row[site.inputs..].fill(0.0);
        }
        for row in factors[site.b..].chunks_exact_mut(site.b_stride()) {
            for (index, part) in site.parts.iter().enumerate() {
                row[site.b_column(index) + part.cols..site.b_column(index + 1)].fill(0.0);
            }
        }
    }
    let buffer = device.upload("factors", &factors).expect("a small buffer");
    let params = LoraParams { buffer: &buffer, adapter_len };
    let run = |first_row, rows, adapter, scale| LoraRun { first_row, rows, adapter, scale };
    // Adapters in mixed order, whole tiles and parts of them; rows 0, 30 and 31 have none.
    let runs = [run(32, 28, 2, 0.5), run(1, 19, 0, 2.0), run(25, 5, 0, 2.0), run(20, 5, 1, 1.25)];
    let mut of_row = vec![None; ROWS];
    for run in runs {
        of_row[run.first_row..run.first_row + run.rows].fill(Some(run));
    }
    let kept: Vec<bool> = of_row.iter().map(Option::is_some).collect();
    let all: Vec<usize> = (0..ROWS).collect();
    let results = |tiles: &[LoraTile], rows: &[usize]| results(device, site, params, tiles, rows, &kept);
    let together = results(&LoraTile::cut(&runs, LoraTile::most_rows(device)), &all);
    let differently = [3, 7].map(|most| results(&LoraTile::cut(&runs, most), &all));
    for (row, together) in together.iter().enumerate() {
        let Some(run) = of_row[row] else { continue };
        assert!(together.iter().all(|&bits| f32::from_bits(bits).is_finite()), "row {row} caught a NaN");
        assert_eq!(together, &differently[0][row], "row {row} in tiles of 3");
        assert_eq!(together, &differently[1][row], "row {row} in tiles of 7");
        let tile = LoraTile::cut(&[LoraRun { first_row: 0, rows: 1, ..run }], 1);
        let alone = results(&tile, &[row]);
        assert_eq!(together, &alone[0], "row {row} alone");
    }
}

#[test]
fn a_rows_result_is_the_same_alone_and_in_any_batch_lane8() {
    alone_and_together(KernelFamily::Lane8);
}

#[test]
fn a_rows_result_is_the_same_alone_and_in_any_batch_tiled() {
    alone_and_together(KernelFamily::Tiled);
}

#[test]
fn tiles_cover_the_rows_of_their_runs_once() {
    let run = |first_row, rows, adapter| LoraRun { first_row, rows, adapter, scale: 2.0 };
    let tiles = LoraTile::cut(&[run(9, 5, 1), run(0, 1, 0), run(20, 4, 1)], 4);
    let of = |tile: &LoraTile| (tile.first_row, tile.rows, tile.adapter);
    let found: Vec<_> = tiles.iter().map(of).collect();
    assert_eq!(found, [(9, 4, 1), (13, 1, 1), (0, 1, 0), (20, 4, 1)]);
    assert!(tiles.iter().all(|tile| tile.scale == 2.0));
    assert!(LoraTile::cut(&[], 4).is_empty());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_recorded() {
    let device = Device::noop(KernelFamily::Tiled).expect("the noop back end is built in");
    let good = site(12);
    let adapter_len = good.b + good.b_len();
    let make = |width| Activation::new(&device, "rows", 4, width).expect("a small activation");
    let (x, h, y) = (make(good.inputs), make(good.h_width()), make(good.outputs));
    let buffer: Buffer<f32> = device.buffer("factors", adapter_len).expect("a small buffer");
    let tiles: Buffer<LoraTile> = device.buffer("tiles", 2).expect("a small buffer");
    let params = LoraParams { buffer: &buffer, adapter_len };
    let rows = LoraRows { tiles: &tiles, n_tiles: 2, tile_rows: 4 };
    let mut rec = Recording::new(&device);
    let refused = |what: &str, result: Result<(), ShapeError>| {
        assert!(matches!(result, Err(ShapeError::Mismatch { .. })), "{what}: {result:?}");
    };
    let short = LoraParams { adapter_len: adapter_len - 32, ..params };
    let ragged = LoraParams { adapter_len: adapter_len + 4, ..params };
    refused("an adapter that ends early", lora_expand(&mut rec, &good, short, rows, &h, &y));
    refused("adapters at odd places", lora_shrink(&mut rec, &good, ragged, rows, &x, &h));
    let more = LoraRows { n_tiles: 3, ..rows };
    refused("an x of another width for both halves", lora(&mut rec, &good, params, rows, &y, &h, &y));
    refused("a y of another width for both halves", lora(&mut rec, &good, params, rows, &x, &h, &x));
    refused("more tiles than there are", lora_shrink(&mut rec, &good, params, more, &x, &h));
    let high = LoraRows { tile_rows: LoraTile::most_rows(&device) + 1, ..rows };
    refused("tiles that no kernel covers", lora_expand(&mut rec, &good, params, high, &h, &y));
    refused("x of another width", lora_shrink(&mut rec, &good, params, rows, &y, &h));
    refused("h of another width", lora_shrink_backward(&mut rec, &good, params, rows, &x, &x));
    refused("d_y of another width", lora_expand_backward(&mut rec, &good, params, rows, &x, &h));
    refused("more rows than there are", lora_grad_a(&mut rec, &good, 2..5, &h, &x, &buffer, 0));
    refused("gradients that do not fit", lora_grad_b(&mut rec, &good, 0..4, 1.0, &h, &y, &buffer, 4));
    let part = |first_col, cols| LoraPart { first_col, cols };
    for (what, site) in [
        ("a rank that is no multiple of 4", LoraSite { rank: 6, ..good.clone() }),
        ("no rank", LoraSite { rank: 0, ..good.clone() }),
        ("no part", LoraSite { parts: vec![], ..good.clone() }),
        ("four parts", LoraSite { parts: [0, 1, 2, 3].map(|at| part(at, 1)).to_vec(), ..good.clone() }),
        ("an empty part", LoraSite { parts: vec![part(0, 0)], ..good.clone() }),
        ("parts that overlap", LoraSite { parts: vec![part(0, 9), part(8, 9)], ..good.clone() }),
        ("parts beyond y", LoraSite { parts: vec![part(100, 41)], ..good.clone() }),
        ("a factor at an odd place", LoraSite { b: good.b + 4, ..good.clone() }),
    ] {
        let h = make(site.h_width().max(1));
        refused(what, lora_shrink(&mut rec, &site, params, rows, &x, &h));
    }
    lora_grad_a(&mut rec, &good, 3..3, &h, &x, &buffer, 0).expect("no rows are no fault");
    assert_eq!(rec.dispatches(), 0);
    lora_shrink(&mut rec, &good, params, rows, &x, &h).expect("it fits");
    lora_grad_b(&mut rec, &good, 0..4, 1.0, &h, &y, &buffer, 0).expect("it fits");
    assert_eq!(rec.dispatches(), 2);
}
