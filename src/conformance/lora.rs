//! `lora`, `lora_shrink`, `lora_expand`, `lora_grad`: every rank and layout of parts, batches of several
//! adapters in mixed order with rows that have none, decode and training.

use std::ops::Range;

use super::Case;
use super::check::{Check, GUARD};
use crate::gpu::Buffer;
use crate::ops::{
    Activation, LoraParams, LoraPart, LoraRows, LoraRun, LoraSite, LoraTile, ShapeError, lora, lora_expand,
    lora_expand_backward, lora_grad_a, lora_grad_b, lora_shrink, lora_shrink_backward,
};
use crate::reference;

/// Error of a sum of several hundred products in f32.
const BOUND: f64 = 1e-12;

const ADAPTERS: usize = 3;

type Body = fn(&mut Check<'_>, &LoraSite, &[LoraRun], usize) -> Result<(), ShapeError>;

pub(super) fn cases() -> Vec<Case> {
    let ops: [(&'static str, Body); 3] =
        [("lora_shrink", shrinks), ("lora_expand", expands), ("lora_grad", gradients)];
    let each = ops.into_iter().flat_map(|(op, body)| [4, 8, 12, 16, 64].map(|rank| case(op, rank, body)));
    // Above these ranks, `lora` is `lora_shrink` and `lora_expand`.
    [4, 8, 12, 16].map(|rank| case("lora", rank, both)).into_iter().chain(each).collect()
}

fn case(op: &'static str, rank: usize, body: Body) -> Case {
    Case::new(op, format!("rank {rank}"), BOUND, move |check| {
        for site in sites(rank) {
            for (name, runs, rows) in batches() {
                let parts: Vec<_> = site.parts.iter().map(|p| (p.first_col, p.cols)).collect();
                check.shape(format!("{name}, {} inputs, parts {parts:?} of {}", site.inputs, site.outputs));
                body(check, &site, &runs, rows)?;
            }
        }
        Ok(())
    })
}

/// One to three parts: whole, with gaps in between, at columns and with widths that are not multiples of
/// 4, across the tiles of 32 and 64 columns.
fn sites(rank: usize) -> Vec<LoraSite> {
    let site = |inputs, outputs, parts: &[(usize, usize)]| {
        let parts = parts.iter().map(|&(first_col, cols)| LoraPart { first_col, cols }).collect();
        // Neither factor is first, and there is a gap between the two.
        let mut site = LoraSite { rank, inputs, outputs, parts, a: 64, b: 0 };
        site.b = site.a + site.a_len() + 32;
        site
    };
    vec![
        site(96, 64, &[(0, 64)]),
        site(33, 30, &[(0, 30)]),
        site(200, 192, &[(0, 64), (64, 96), (160, 32)]),
        site(64, 131, &[(4, 60), (100, 31)]),
        site(70, 99, &[(0, 33), (66, 33)]),
        site(31, 150, &[(1, 70), (71, 3), (75, 75)]),
    ]
}

/// Name, runs and rows of each batch. Rows 0 and 3 of every batch have no adapter.
fn batches() -> Vec<(&'static str, Vec<LoraRun>, usize)> {
    let run = |first_row, rows, adapter, scale| LoraRun { first_row, rows, adapter, scale };
    vec![
        // Rows of one adapter need not be adjacent or in the order of the tiles.
        ("decode", vec![run(4, 1, 2, 0.5), run(1, 1, 0, 2.0), run(2, 1, 2, 0.5)], 5),
        ("few rows", vec![run(1, 2, 1, 1.5), run(4, 4, 0, 0.25)], 8),
        ("rollout", vec![run(4, 7, 1, 0.5)], 12),
        ("training", vec![run(56, 37, 0, 1.0), run(4, 52, 1, 2.0), run(1, 2, 2, 0.5)], 95),
    ]
}

/// The factors of one adapter at a site.
struct Adapter {
    /// `(parts * rank, inputs)`.
    a: Vec<f32>,
    /// `(cols, rank)` of each part.
    b: Vec<Vec<f32>>,
}

fn adapter_len(site: &LoraSite) -> usize {
    site.b + site.b_len() + 32
}

/// Random factors, and a buffer with them in the layout of [`LoraSite`]. Values outside the factors are
/// NaN; the padding of rows is zero.
fn adapters(check: &mut Check<'_>, site: &LoraSite) -> Result<(Vec<Adapter>, Buffer<f32>), ShapeError> {
    let mut adapters = Vec::new();
    let mut words = Vec::new();
    for _ in 0..ADAPTERS {
        let a = check.values(site.h_width() * site.inputs);
        let b: Vec<_> = site.parts.iter().map(|part| check.values(part.cols * site.rank)).collect();
        let mut mine = vec![f32::from_bits(GUARD); adapter_len(site)];
        lay_out(site, &a, &b, &mut mine);
        words.extend(mine);
        adapters.push(Adapter { a, b });
    }
    Ok((adapters, check.guarded(&words)?))
}

/// Writes factors or gradients, with their padding, to an adapter's range.
fn lay_out(site: &LoraSite, a: &[f32], b: &[Vec<f32>], place: &mut [f32]) {
    place[site.a..site.a + site.a_len()].fill(0.0);
    for (row, values) in a.chunks_exact(site.inputs).enumerate() {
        let at = site.a + row * site.a_stride();
        place[at..at + site.inputs].copy_from_slice(values);
    }
    place[site.b..site.b + site.b_len()].fill(0.0);
    for (part, b) in b.iter().enumerate() {
        for (col, values) in b.chunks_exact(site.rank).enumerate() {
            for (row, &value) in values.iter().enumerate() {
                place[site.b + row * site.b_stride() + site.b_column(part) + col] = value;
            }
        }
    }
}

/// Columns `cols` of the rows `rows` of a matrix `width` wide.
fn window(data: &[f32], width: usize, rows: Range<usize>, cols: Range<usize>) -> Vec<f32> {
    rows.flat_map(|row| data[row * width..][cols.clone()].iter().copied()).collect()
}

fn put_window(data: &mut [f32], width: usize, rows: Range<usize>, cols: Range<usize>, values: &[f32]) {
    for (row, values) in rows.zip(values.chunks_exact(cols.len())) {
        data[row * width..][cols.clone()].copy_from_slice(values);
    }
}

fn rows_of(run: &LoraRun) -> Range<usize> {
    run.first_row..run.first_row + run.rows
}

/// Columns of y and of h that belong to each part.
fn columns(site: &LoraSite) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let part = |(index, part): (usize, &LoraPart)| {
        (part.first_col..part.first_col + part.cols, index * site.rank..(index + 1) * site.rank)
    };
    site.parts.iter().enumerate().map(part)
}

/// Runs `record` with the tiles of `runs`.
fn by_tiles(
    check: &mut Check<'_>,
    runs: &[LoraRun],
    record: impl FnOnce(&mut crate::gpu::Recording, LoraRows<'_>) -> Result<(), ShapeError>,
) -> Result<(), ShapeError> {
    let most = LoraTile::most_rows(check.device());
    let tiles = LoraTile::cut(runs, most);
    let tile_rows = tiles.iter().map(|tile| tile.rows as usize).max().unwrap_or(0);
    let buffer = check.device().upload("conformance", &tiles)?;
    check.run(|rec| record(rec, LoraRows { tiles: &buffer, n_tiles: tiles.len(), tile_rows }))
}

/// Zeros, which rows without an adapter must keep.
fn zeros(check: &Check<'_>, rows: usize, width: usize) -> Result<Activation, ShapeError> {
    Ok(check.activation(width, &vec![0.0; rows * width])?)
}

/// `lora`. The scratch is NaN at first, so that unwritten values are found.
fn both(check: &mut Check<'_>, site: &LoraSite, runs: &[LoraRun], rows: usize) -> Result<(), ShapeError> {
    let (adapters, buffer) = adapters(check, site)?;
    let params = LoraParams { buffer: &buffer, adapter_len: adapter_len(site) };
    let x = check.values(rows * site.inputs);
    let mut y = check.values(rows * site.outputs);
    let found = check.activation(site.outputs, &y)?;
    for run in runs {
        let adapter = &adapters[run.adapter];
        let x = window(&x, site.inputs, rows_of(run), 0..site.inputs);
        let h = reference::lora_shrink(&adapter.a, site.h_width(), &x);
        for ((of_y, of_h), b) in columns(site).zip(&adapter.b) {
            let h = window(&h, site.h_width(), 0..run.rows, of_h);
            let mut sum = window(&y, site.outputs, rows_of(run), of_y.clone());
            reference::lora_expand(b, site.rank, run.scale, &h, &mut sum);
            put_window(&mut y, site.outputs, rows_of(run), of_y, &sum);
        }
    }
    let x = check.activation(site.inputs, &x)?;
    let h = check.activation(site.h_width(), &vec![f32::from_bits(GUARD); rows * site.h_width()])?;
    by_tiles(check, runs, |rec, tiles| lora(rec, site, params, tiles, &x, &h, &found))?;
    check.compare("y", &found, &y)?;
    Ok(())
}

/// `lora_shrink` and `lora_expand_backward`.
fn shrinks(check: &mut Check<'_>, site: &LoraSite, runs: &[LoraRun], rows: usize) -> Result<(), ShapeError> {
    let (adapters, buffer) = adapters(check, site)?;
    let params = LoraParams { buffer: &buffer, adapter_len: adapter_len(site) };
    let x = check.values(rows * site.inputs);
    let d_y = check.values(rows * site.outputs);
    let mut h = vec![0.0; rows * site.h_width()];
    let mut d_h = h.clone();
    for run in runs {
        let adapter = &adapters[run.adapter];
        let x = window(&x, site.inputs, rows_of(run), 0..site.inputs);
        let shrunk = reference::lora_shrink(&adapter.a, site.h_width(), &x);
        put_window(&mut h, site.h_width(), rows_of(run), 0..site.h_width(), &shrunk);
        for ((of_y, of_h), b) in columns(site).zip(&adapter.b) {
            let d_y = window(&d_y, site.outputs, rows_of(run), of_y);
            let shrunk = reference::lora_expand_backward(b, site.rank, run.scale, &d_y);
            put_window(&mut d_h, site.h_width(), rows_of(run), of_h, &shrunk);
        }
    }
    let x = check.activation(site.inputs, &x)?;
    let found = zeros(check, rows, site.h_width())?;
    by_tiles(check, runs, |rec, tiles| lora_shrink(rec, site, params, tiles, &x, &found))?;
    check.compare("h", &found, &h)?;
    let d_y = check.activation(site.outputs, &d_y)?;
    let found = zeros(check, rows, site.h_width())?;
    by_tiles(check, runs, |rec, tiles| lora_expand_backward(rec, site, params, tiles, &d_y, &found))?;
    check.compare("d_h", &found, &d_h)?;
    Ok(())
}

/// `lora_expand` and `lora_shrink_backward`.
fn expands(check: &mut Check<'_>, site: &LoraSite, runs: &[LoraRun], rows: usize) -> Result<(), ShapeError> {
    let (adapters, buffer) = adapters(check, site)?;
    let params = LoraParams { buffer: &buffer, adapter_len: adapter_len(site) };
    let h = check.values(rows * site.h_width());
    let mut y = check.values(rows * site.outputs);
    let mut d_x = check.values(rows * site.inputs);
    let y_device = check.activation(site.outputs, &y)?;
    let d_x_device = check.activation(site.inputs, &d_x)?;
    for run in runs {
        let adapter = &adapters[run.adapter];
        for ((of_y, of_h), b) in columns(site).zip(&adapter.b) {
            let h = window(&h, site.h_width(), rows_of(run), of_h);
            let mut sum = window(&y, site.outputs, rows_of(run), of_y.clone());
            reference::lora_expand(b, site.rank, run.scale, &h, &mut sum);
            put_window(&mut y, site.outputs, rows_of(run), of_y, &sum);
        }
        let h = window(&h, site.h_width(), rows_of(run), 0..site.h_width());
        let mut sum = window(&d_x, site.inputs, rows_of(run), 0..site.inputs);
        reference::lora_shrink_backward(&adapter.a, site.h_width(), &h, &mut sum);
        put_window(&mut d_x, site.inputs, rows_of(run), 0..site.inputs, &sum);
    }
    let h = check.activation(site.h_width(), &h)?;
    by_tiles(check, runs, |rec, tiles| lora_expand(rec, site, params, tiles, &h, &y_device))?;
    check.compare("y", &y_device, &y)?;
    by_tiles(check, runs, |rec, tiles| lora_shrink_backward(rec, site, params, tiles, &h, &d_x_device))?;
    check.compare("d_x", &d_x_device, &d_x)?;
    Ok(())
}

/// `lora_grad_a` and `lora_grad_b`, over each run.
fn gradients(
    check: &mut Check<'_>,
    site: &LoraSite,
    runs: &[LoraRun],
    rows: usize,
) -> Result<(), ShapeError> {
    // Not a whole number of adapters before the gradients.
    let before = 36;
    let h = check.values(rows * site.h_width());
    let x = check.values(rows * site.inputs);
    let d_y = check.values(rows * site.outputs);
    let mut d_a = check.values(site.h_width() * site.inputs);
    let mut d_b: Vec<_> = site.parts.iter().map(|part| check.values(part.cols * site.rank)).collect();
    let mut words = vec![0.0; before + adapter_len(site)];
    lay_out(site, &d_a, &d_b, &mut words[before..]);
    let grads = check.guarded(&words)?;
    let (h_device, x_device) = (check.activation(site.h_width(), &h)?, check.activation(site.inputs, &x)?);
    let d_y_device = check.activation(site.outputs, &d_y)?;
    for run in runs {
        let rows = rows_of(run);
        let x = window(&x, site.inputs, rows.clone(), 0..site.inputs);
        let d_h = window(&h, site.h_width(), rows.clone(), 0..site.h_width());
        reference::lora_grad_a(&d_h, site.h_width(), &x, &mut d_a);
        for ((of_y, of_h), d_b) in columns(site).zip(&mut d_b) {
            let h = window(&h, site.h_width(), rows.clone(), of_h);
            let d_y = window(&d_y, site.outputs, rows.clone(), of_y);
            reference::lora_grad_b(&h, site.rank, run.scale, &d_y, d_b);
        }
        check.run(|rec| {
            lora_grad_a(rec, site, rows.clone(), &h_device, &x_device, &grads, before)?;
            lora_grad_b(rec, site, rows, run.scale, &h_device, &d_y_device, &grads, before)
        })?;
    }
    lay_out(site, &d_a, &d_b, &mut words[before..]);
    let found = check.read_guarded("gradients", &grads)?;
    if let Some(at) = found.iter().zip(&words).position(|(found, &wanted)| wanted == 0.0 && *found != 0.0) {
        check.fault(format!("gradients: wrote {} to the padding at {at}", found[at]));
    }
    check.compare_values("gradients", &found, &words);
    Ok(())
}
