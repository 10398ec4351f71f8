//! `attention`: every head width, grouping and cache format, decode, ragged prefill and sequences that
//! are packed without padding, branches of a shared prefix, windows.

use super::Case;
use super::check::{Check, GUARD};
use super::rope::{HEAD_DIMS, pack, unpack};
use crate::ops::{AttentionShape, KvFormat, QueryTile, ShapeError, SharedPrefix, attention};
use crate::reference;

pub(super) fn cases() -> Vec<Case> {
    let formats = [KvFormat::F16, KvFormat::F32];
    let plain = HEAD_DIMS.into_iter().flat_map(|head_dim| formats.map(|kv| case(kv, head_dim, None)));
    let capped = CAPPED.into_iter().flat_map(|head_dim| formats.map(|kv| case(kv, head_dim, Some(CAP))));
    plain.chain(capped).collect()
}

/// Head widths with capped scores.
pub(super) const CAPPED: [usize; 2] = [6, 256];
/// Factor and cap of these scores: a cap that most of them feel.
pub(super) const CAP: (f32, f32) = (0.8, 2.5);

/// The scale and the cap of a shape.
pub(super) fn capped(shape: AttentionShape, capped: Option<(f32, f32)>) -> AttentionShape {
    match capped {
        Some((scale, cap)) => AttentionShape { scale, cap: Some(cap), ..shape },
        None => shape,
    }
}

/// The same shape for the oracle.
pub(super) fn oracle(shape: &AttentionShape) -> reference::AttentionShape {
    let &AttentionShape { heads, kv_heads, head_dim, window, cap, .. } = shape;
    reference::AttentionShape { heads, kv_heads, head_dim, window, scale: Some(shape.scale), cap }
}

/// Positions of a slot.
const CONTEXT: usize = 100;

/// Rows of one sequence, at consecutive positions.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The sequence's base: a row's key is at base + position of the cache.
    base: usize,
    first: usize,
    rows: usize,
    /// Index of an earlier run whose positions up to `first` the sequence shares.
    behind: Option<usize>,
}

const fn run(slot: usize, first: usize, rows: usize) -> Run {
    Run { base: slot * CONTEXT, first, rows, behind: None }
}

/// A branch of the first run, whose rows are at `place` of the cache.
const fn branch(place: usize, first: usize, rows: usize) -> Run {
    Run { base: place - first, first, rows, behind: Some(0) }
}

fn case(kv: KvFormat, head_dim: usize, cap: Option<(f32, f32)>) -> Case {
    // The oracle reads the cache's rounded values, so the cache format adds no error.
    let name = format!("{} head_dim {head_dim}{}", kv.name(), if cap.is_some() { ", capped" } else { "" });
    Case::new("attention", name, 1e-11, move |check| {
        // One token of each sequence: around the 32 keys of a step, at the start and far out.
        let decode = [run(2, 0, 1), run(0, 31, 1), run(1, 32, 1), run(3, 97, 1)];
        // Whole and partial tiles of 16 rows, from the start and after a shared prefix.
        let prefill = [run(1, 0, 17), run(3, 30, 5), run(0, 63, 1), run(2, 50, 20)];
        // Whole sequences, one after another: the last key of each is followed by another's first.
        let packed = [(0, 17), (17, 1), (18, 40), (58, 33)].map(|(base, rows)| Run {
            base,
            first: 0,
            rows,
            behind: None,
        });
        // Behind 37 shared rows, branches around a tile of 16 rows, and one behind a part of them.
        let branches = [run(0, 0, 37), branch(37, 37, 1), branch(38, 37, 19), branch(57, 30, 5)];
        for (heads, kv_heads, window) in [
            (1, 1, None),
            (2, 2, Some(33)),
            (3, 1, None),
            (6, 2, Some(7)),
            (8, 2, Some(64)),
            (8, 1, None),
            (4, 1, Some(1)),
        ] {
            let slotted = AttentionShape {
                heads,
                kv_heads,
                head_dim,
                slots: 4,
                context: CONTEXT,
                window,
                scale: AttentionShape::usual_scale(head_dim),
                cap: None,
                kv,
            };
            let slotted = capped(slotted, cap);
            let rowwise = AttentionShape { slots: 91, context: 1, ..slotted };
            for (name, shape, runs) in [
                ("decode", slotted, decode),
                ("prefill", slotted, prefill),
                ("packed", rowwise, packed),
                ("branches", rowwise, branches),
            ] {
                check.shape(format!("{name}, {heads} heads, {kv_heads} kv heads, window {window:?}"));
                // Training needs the log-sum-exp too; one grouping is enough to check it.
                let lse = name == "packed" && heads == 3 * kv_heads;
                one_shape(check, &shape, &runs, name == "decode", lse)?;
            }
        }
        a_key_that_is_nan(check, head_dim, kv)
    })
}

/// A key that is NaN makes every row NaN that sees it, and no other.
fn a_key_that_is_nan(check: &mut Check<'_>, head_dim: usize, kv: KvFormat) -> Result<(), ShapeError> {
    const ROWS: usize = 40;
    const FAULT: usize = 17;
    check.shape(format!("key {FAULT} of {ROWS} is NaN"));
    let window = Some(9);
    let shape = AttentionShape {
        heads: 2,
        kv_heads: 1,
        head_dim,
        slots: 1,
        context: ROWS,
        window,
        scale: AttentionShape::usual_scale(head_dim),
        cap: None,
        kv,
    };
    let mut keys = check.values(ROWS * head_dim);
    keys[FAULT * head_dim + head_dim - 1] = f32::NAN;
    let (k, v) = (pack(&shape, &keys), pack(&shape, &check.values(ROWS * head_dim)));
    let device = check.device();
    let (k, v) = (device.upload("conformance", &k)?, device.upload("conformance", &v)?);
    let q = check.values(ROWS * shape.q_width());
    let q = check.activation(shape.q_width(), &q)?;
    let places: Vec<[u32; 2]> = (0..ROWS as u32).map(|position| [0, position]).collect();
    let rows_at = device.upload("conformance", &places)?;
    let tiles = QueryTile::cut(&[ROWS]);
    let tiles_device = device.upload("conformance", &tiles)?;
    let out = check.output(ROWS, 2 * head_dim)?;
    check.run(|rec| {
        let (tiles, n_tiles) = (&tiles_device, tiles.len());
        let most = QueryTile::MAX_ROWS;
        attention(rec, &shape, tiles, n_tiles, most, &rows_at, &q, &k, &v, &out, None, ROWS)
    })?;
    let found = device.read(&out.buffer, 0, ROWS * out.stride)?;
    for (row, values) in found.chunks_exact(out.stride).enumerate() {
        let values = &values[..2 * head_dim];
        let sees = (FAULT..FAULT + 9).contains(&row);
        let right =
            if sees { values.iter().all(|v| v.is_nan()) } else { values.iter().all(|v| v.is_finite()) };
        if !right {
            check.fault(format!("row {row} is wrong: it sees the key: {sees}"));
        }
    }
    Ok(())
}

fn one_shape(
    check: &mut Check<'_>,
    shape: &AttentionShape,
    runs: &[Run],
    decode: bool,
    lse: bool,
) -> Result<(), ShapeError> {
    let (device, head_dim) = (check.device(), shape.head_dim);
    let width = shape.heads * head_dim;
    let row_values = shape.kv_heads * head_dim;
    let step = shape.position_words();
    let padded_dim = head_dim.next_multiple_of(8);
    // Values that no row may read are NaN: other slots, and positions after the end of a slot's sequence.
    let mut k_words = vec![GUARD; shape.cache_len()];
    let mut v_words = k_words.clone();
    let (mut q_padded, mut rows_at) = (Vec::new(), Vec::new());
    let (mut expected, mut expected_lse) = (Vec::new(), Vec::new());
    let mut known: Vec<[Vec<f32>; 2]> = Vec::new();
    for run in runs {
        let end = run.first + run.rows;
        let shared = run.behind.map_or(0, |_| run.first);
        // Sharper scores than real ones, so that a wrong key would show.
        let q: Vec<f32> = check.values(run.rows * width).iter().map(|v| 4.0 * v).collect();
        let mut cached = [Vec::new(), Vec::new()];
        for (which, words) in [&mut k_words, &mut v_words].into_iter().enumerate() {
            let packed = pack(shape, &check.values((end - shared) * row_values));
            let at = (run.base + shared) * step;
            words[at..at + packed.len()].copy_from_slice(&packed);
            let rounded = unpack(shape.kv, &packed);
            let heads = rounded.chunks_exact(padded_dim).flat_map(|head| &head[..head_dim]);
            if let Some(earlier) = run.behind {
                cached[which].extend_from_slice(&known[earlier][which][..shared * row_values]);
            }
            cached[which].extend(heads);
        }
        let positions: Vec<u32> = (run.first..end).map(|p| p as u32).collect();
        let like = oracle(shape);
        expected.extend(reference::attention(like, &q, &positions, &cached[0], &cached[1]));
        expected_lse.extend(reference::attention::log_sum_exp(like, &q, &positions, &cached[0]));
        known.push(cached);
        rows_at.extend(positions.iter().map(|&p| [run.base as u32, p]));
        for head in q.chunks_exact(head_dim) {
            q_padded.extend_from_slice(head);
            q_padded.resize(q_padded.len().next_multiple_of(32), 0.0);
        }
    }
    let tiles = QueryTile::cut_branches(runs.iter().map(|run| {
        let prefix =
            |earlier: usize| SharedPrefix { base: runs[earlier].base as u32, positions: run.first as u32 };
        (run.rows, run.behind.map(prefix).unwrap_or_default())
    }));
    let tile_rows = if decode { 1 } else { QueryTile::MAX_ROWS };
    let rows = rows_at.len();
    let tiles_device = device.upload("conformance", &tiles)?;
    let rows_at = device.upload("conformance", &rows_at)?;
    let q = check.activation(shape.q_width(), &q_padded)?;
    let k = device.upload("conformance", &k_words)?;
    let v = device.upload("conformance", &v_words)?;
    let out = check.output(rows, width)?;
    let lse_device = check.guarded(&vec![f32::from_bits(GUARD); rows * shape.heads])?;
    let lse_wanted = lse.then_some(&lse_device);
    check.run(|rec| {
        let (tiles, n_tiles) = (&tiles_device, tiles.len());
        attention(rec, shape, tiles, n_tiles, tile_rows, &rows_at, &q, &k, &v, &out, lse_wanted, CONTEXT)
    })?;
    check.compare("out", &out, &expected)?;
    if lse {
        let found = check.read_guarded("lse", &lse_device)?;
        check.compare_values("lse", &found, &expected_lse);
    }
    Ok(())
}
