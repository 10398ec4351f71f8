//! `short_conv_input` and `short_conv`: widths that no vec4 or chunk divides, numbers of taps, both cache formats; decode,
//! ragged prefill, sequences that are packed without padding, and branches of a shared prefix that are shorter than the
//! filter.

use super::Case;
use super::check::{Check, GUARD};
use super::rope::{pack_rows, unpack};
use crate::ops::{
    KvFormat, QueryTile, ShapeError, SharedPrefix, ShortConvShape, short_conv, short_conv_input,
};
use crate::reference;

/// Columns: multiples of 8 and of 4 and others, and more than one workgroup.
pub(super) const WIDTHS: [usize; 7] = [1, 6, 12, 33, 64, 260, 1000];

/// Taps of a filter: none before the row's own, LFM2's number, and more.
pub(super) const TAPS: [usize; 3] = [1, 3, 4];

/// Positions of a slot.
const CONTEXT: usize = 40;

pub(super) fn cases() -> Vec<Case> {
    let formats = [KvFormat::F16, KvFormat::F32];
    let filters = formats.into_iter().flat_map(|kv| TAPS.map(|taps| filter(kv, taps)));
    formats.into_iter().map(input).chain(filters).collect()
}

/// The values of cached rows, without padding.
pub(super) fn rounded(kv: KvFormat, width: usize, words: &[u32]) -> Vec<f32> {
    let values = unpack(kv, words);
    values.chunks_exact(width.next_multiple_of(8)).flat_map(|row| &row[..width]).copied().collect()
}

fn input(kv: KvFormat) -> Case {
    // Half floats round to 2^-11; the mean square of that, with room for a carried last bit.
    let bound = if kv == KvFormat::F16 { 3e-7 } else { 1e-12 };
    Case::new("short_conv_input", kv.name(), bound, move |check| {
        for width in WIDTHS {
            for (slots, context, places) in [
                (3, CONTEXT, vec![[CONTEXT, 5], [CONTEXT, 6], [0, 39], [2 * CONTEXT, 0]]),
                (7, 1, vec![[0, 0], [0, 1], [0, 2], [3, 0], [4, 0], [4, 1]]),
            ] {
                check.shape(format!("{} rows of {width}, {slots} slots", places.len()));
                let shape = ShortConvShape { width, taps: 3, positions: slots * context, kv };
                let bcx = check.values(places.len() * 3 * width);
                let expected = reference::short_conv_input(width, &bcx);
                inputs(check, &shape, &bcx, &places, Some(&expected))?;
            }
            // What the format cannot hold is NaN.
            check.shape(format!("inputs of {width} columns beyond the format"));
            let shape = ShortConvShape { width, taps: 3, positions: 2, kv };
            let large = if kv == KvFormat::F16 { 300.0 } else { 1e20 };
            inputs(check, &shape, &vec![large; 6 * width], &[[0, 0], [0, 1]], None)?;
        }
        Ok(())
    })
}

/// Runs `short_conv_input` on `bcx`, and compares what is written at `places` with `expected`, or with NaN. Other places
/// must stay as they were.
fn inputs(
    check: &mut Check<'_>,
    shape: &ShortConvShape,
    bcx: &[f32],
    places: &[[usize; 2]],
    expected: Option<&[f32]>,
) -> Result<(), ShapeError> {
    let device = check.device();
    let rows_at: Vec<[u32; 2]> = places.iter().map(|place| place.map(|at| at as u32)).collect();
    let rows_at = device.upload("conformance", &rows_at)?;
    let bcx = check.activation(3 * shape.width, bcx)?;
    let u = device.upload("conformance", &vec![GUARD; shape.cache_len()])?;
    check.run(|rec| short_conv_input(rec, shape, &bcx, &rows_at, &u, places.len()))?;
    let found = device.read(&u, 0, u.len())?;
    let (step, padded) = (shape.position_words(), shape.width.next_multiple_of(8));
    let mut written = Vec::new();
    for &[base, position] in places {
        let row = unpack(shape.kv, &found[(base + position) * step..][..step]);
        if row[shape.width..padded].iter().any(|value| value.to_bits() != 0) {
            check.fault("it wrote beyond the width".to_owned());
        }
        written.extend_from_slice(&row[..shape.width]);
    }
    match expected {
        Some(expected) => {
            let held = rounded(shape.kv, shape.width, &pack_rows(shape.kv, shape.width, expected));
            check.compare_values("u", &written, &held);
        }
        None if written.iter().all(|value| value.is_nan()) => {}
        None => check.fault("an input that the format cannot hold is not NaN".to_owned()),
    }
    for (at, words) in found.chunks_exact(step).enumerate() {
        let visited = places.iter().any(|[base, position]| base + position == at);
        if !visited && words.iter().any(|&word| word != GUARD) {
            check.fault(format!("it wrote at place {at}"));
        }
    }
    Ok(())
}

/// Rows of one sequence, at consecutive positions.
#[derive(Clone, Copy)]
struct Run {
    /// The sequence's base: a row's input is at base + position of the cache.
    base: usize,
    first: usize,
    rows: usize,
    /// Index of an earlier run whose positions up to `first` the sequence shares.
    behind: Option<usize>,
}

const fn run(base: usize, first: usize, rows: usize) -> Run {
    Run { base, first, rows, behind: None }
}

/// A branch of the first run, whose rows are at `place` of the cache.
const fn branch(place: usize, first: usize, rows: usize) -> Run {
    Run { base: place - first, first, rows, behind: Some(0) }
}

fn filter(kv: KvFormat, taps: usize) -> Case {
    // The oracle reads the cache's rounded values, so the cache format adds no error.
    Case::new("short_conv", format!("{}, {taps} taps", kv.name()), 1e-12, move |check| {
        let slot = |slot: usize, first, rows| run(slot * CONTEXT, first, rows);
        let decode = vec![slot(2, 0, 1), slot(0, 31, 1), slot(1, 1, 1), slot(3, 2, 1)];
        let prefill = vec![slot(1, 0, 17), slot(3, 30, 5), slot(0, 2, 1), slot(2, 1, 20)];
        let packed = vec![run(0, 0, 17), run(17, 0, 1), run(18, 0, 2), run(20, 0, 33)];
        let branches = vec![run(0, 0, 18), branch(18, 18, 1), branch(19, 18, 19), branch(38, 5, 4)];
        // A prefix that is shorter than the filter, and branches that are too.
        let short = vec![run(0, 0, 1), branch(1, 1, 1), branch(2, 1, 2), branch(4, 1, 5)];
        for width in WIDTHS {
            for (name, runs, slotted) in [
                ("decode", &decode, true),
                ("prefill", &prefill, true),
                ("packed", &packed, false),
                ("branches", &branches, false),
                ("a short prefix", &short, false),
            ] {
                check.shape(format!("{name}, {width} columns"));
                let positions = if slotted { 4 * CONTEXT } else { 60 };
                let shape = ShortConvShape { width, taps, positions, kv };
                one_shape(check, &shape, runs, name == "decode")?;
            }
        }
        Ok(())
    })
}

fn one_shape(
    check: &mut Check<'_>,
    shape: &ShortConvShape,
    runs: &[Run],
    decode: bool,
) -> Result<(), ShapeError> {
    let (device, width) = (check.device(), shape.width);
    let step = shape.position_words();
    let (taps, bias) = (check.values(width * shape.taps), check.values(width));
    // Values that no row may read are NaN.
    let mut words = vec![GUARD; shape.cache_len()];
    let (mut bcx, mut rows_at, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let mut known: Vec<Vec<f32>> = Vec::new();
    for run in runs {
        let end = run.first + run.rows;
        let shared = run.behind.map_or(0, |_| run.first);
        let packed = pack_rows(shape.kv, width, &check.values((end - shared) * width));
        words[(run.base + shared) * step..][..packed.len()].copy_from_slice(&packed);
        let mut history = run.behind.map_or(Vec::new(), |earlier| known[earlier][..shared * width].to_vec());
        history.extend(rounded(shape.kv, width, &packed));
        let positions: Vec<u32> = (run.first..end).map(|position| position as u32).collect();
        let rows = check.values(run.rows * 3 * width);
        expected.extend(reference::short_conv(&rows, &positions, &history, &taps, &bias));
        known.push(history);
        rows_at.extend(positions.iter().map(|&position| [run.base as u32, position]));
        bcx.extend(rows);
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
    let bcx = check.activation(3 * width, &bcx)?;
    let u = device.upload("conformance", &words)?;
    let taps = device.upload("conformance", &shape.taps_buffer(&taps, Some(&bias)))?;
    let y = check.output(rows, width)?;
    check.run(|rec| {
        short_conv(rec, shape, &tiles_device, tiles.len(), tile_rows, &rows_at, &bcx, &u, &taps, &y)
    })?;
    check.compare("y", &y, &expected)?;
    Ok(())
}
