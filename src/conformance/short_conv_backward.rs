//! `short_conv_backward`: packed sequences of unequal length, one of them a single token; branches of prefixes that are
//! longer and shorter than the filter; every width and number of taps.

use super::Case;
use super::check::{Check, GUARD};
use super::rope::pack_rows;
use super::short_conv::{TAPS, WIDTHS, rounded};
use crate::ops::{
    KeyTile, KvFormat, QueryTile, ShapeError, SharedPrefix, ShortConvShape, short_conv_backward,
};
use crate::reference;

pub(super) fn cases() -> Vec<Case> {
    let formats = [KvFormat::F16, KvFormat::F32];
    formats.into_iter().flat_map(|kv| TAPS.map(|taps| case(kv, taps))).collect()
}

fn case(kv: KvFormat, taps: usize) -> Case {
    Case::new("short_conv_backward", format!("{}, {taps} taps", kv.name()), 1e-12, move |check| {
        for width in WIDTHS {
            let filter = [check.values(width * taps), check.values(width)];
            for (name, runs) in [
                // Around the 16 rows of a tile.
                ("packed", vec![(17, None), (1, None), (2, None), (35, None)]),
                ("branches", vec![(18, None), (1, Some(0)), (18, Some(0)), (5, Some(0)), (20, None)]),
                ("a whole tile, then branches", vec![(16, None), (2, Some(0)), (3, Some(0))]),
                ("a short prefix", vec![(1, None), (1, Some(0)), (4, Some(0)), (2, None), (2, Some(3))]),
            ] {
                check.shape(format!("{name}, {width} columns"));
                let rows: usize = runs.iter().map(|(rows, _)| rows).sum();
                let shape = ShortConvShape { width, taps, positions: rows, kv };
                let sequences: Vec<Sequence> =
                    runs.iter().map(|&(rows, behind)| Sequence::new(check, &shape, rows, behind)).collect();
                let found = gradients(check, &shape, &sequences, &filter)?;
                if name == "packed" {
                    check.shape(format!("alone, {width} columns"));
                    let alone = Sequence { behind: None, ..sequences[3].clone() };
                    let shape = ShortConvShape { positions: alone.rows, ..shape };
                    let alone = gradients(check, &shape, &[alone], &filter)?;
                    let packed = &found[found.len() - alone.len()..];
                    if alone.iter().zip(packed).any(|(a, b)| a.to_bits() != b.to_bits()) {
                        check.fault("a sequence's gradient depends on its neighbours".to_owned());
                    }
                }
            }
        }
        Ok(())
    })
}

/// The inputs of one sequence, and the gradient of its result.
#[derive(Clone)]
struct Sequence {
    rows: usize,
    /// Index of the sequence before it whose branch it is.
    behind: Option<usize>,
    bcx: Vec<f32>,
    words: Vec<u32>,
    u: Vec<f32>,
    d_y: Vec<f32>,
}

impl Sequence {
    fn new(check: &mut Check<'_>, shape: &ShortConvShape, rows: usize, behind: Option<usize>) -> Sequence {
        let width = shape.width;
        let bcx = check.values(rows * 3 * width);
        let words = pack_rows(shape.kv, width, &reference::short_conv_input(width, &bcx));
        let u = rounded(shape.kv, width, &words);
        Sequence { rows, behind, bcx, words, u, d_y: check.values(rows * width) }
    }
}

/// Runs the op on `sequences`, one after another in cache and batch, and compares; returns the rows of `d_bcx`.
fn gradients(
    check: &mut Check<'_>,
    shape: &ShortConvShape,
    sequences: &[Sequence],
    [taps, bias]: &[Vec<f32>; 2],
) -> Result<Vec<f32>, ShapeError> {
    let width = shape.width;
    let starts: Vec<usize> = sequences
        .iter()
        .scan(0, |next, sequence| {
            let start = *next;
            *next += sequence.rows;
            Some(start)
        })
        .collect();
    let shared = |sequence: &Sequence| sequence.behind.map_or(0, |at| sequences[at].rows);
    let (mut rows_at, mut bcx, mut words, mut d_y) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut found: Vec<reference::ShortConvGradients> = Vec::new();
    for (sequence, &start) in sequences.iter().zip(&starts) {
        let shared = shared(sequence);
        let positions: Vec<u32> = (shared as u32..(shared + sequence.rows) as u32).collect();
        let history = [sequence.behind.map_or(&[][..], |at| &sequences[at].u), &sequence.u].concat();
        let mut own =
            reference::short_conv_backward(&sequence.bcx, &positions, &history, taps, bias, &sequence.d_y);
        let rest = own.d_u.split_off(shared * width);
        if let Some(at) = sequence.behind {
            found[at].d_u.iter_mut().zip(&own.d_u).for_each(|(sum, more)| *sum += more);
        }
        own.d_u = rest;
        found.push(own);
        rows_at.extend(positions.iter().map(|&position| [(start - shared.min(start)) as u32, position]));
        bcx.extend_from_slice(&sequence.bcx);
        words.extend_from_slice(&sequence.words);
        d_y.extend_from_slice(&sequence.d_y);
    }
    let mut expected = Vec::new();
    for (sequence, reference::ShortConvGradients { d_c, d_u }) in sequences.iter().zip(&found) {
        for (row, bcx) in sequence.bcx.chunks_exact(3 * width).enumerate() {
            let d_u = &d_u[row * width..][..width];
            let product = |part: &[f32]| d_u.iter().zip(part).map(|(d, a)| d * a).collect::<Vec<f32>>();
            expected.extend(product(&bcx[2 * width..]));
            expected.extend_from_slice(&d_c[row * width..][..width]);
            expected.extend(product(&bcx[..width]));
        }
    }
    let device = check.device();
    let query_tiles = QueryTile::cut_branches(sequences.iter().map(|sequence| {
        let prefix =
            |at: usize| SharedPrefix { base: starts[at] as u32, positions: sequences[at].rows as u32 };
        (sequence.rows, sequence.behind.map(prefix).unwrap_or_default())
    }));
    let key_tiles = KeyTile::cut_branches(sequences.iter().enumerate().map(|(at, sequence)| {
        let behind = sequences.iter().filter(|other| other.behind == Some(at));
        (sequence.rows, behind.map(|branch| branch.rows).sum())
    }));
    let query_device = device.upload("conformance", &query_tiles)?;
    let key_device = device.upload("conformance", &key_tiles)?;
    let rows_at = device.upload("conformance", &rows_at)?;
    words.resize(shape.cache_len(), GUARD);
    let u = device.upload("conformance", &words)?;
    let bcx = check.activation(3 * width, &bcx)?;
    let taps = device.upload("conformance", &shape.taps_buffer(taps, Some(bias)))?;
    let d_y = check.activation(width, &d_y)?;
    let d_bcx = check.output(bcx.rows, 3 * width)?;
    check.run(|rec| {
        short_conv_backward(
            rec,
            shape,
            &query_device,
            query_tiles.len(),
            QueryTile::MAX_ROWS,
            &key_device,
            key_tiles.len(),
            &rows_at,
            &bcx,
            &u,
            &taps,
            &d_y,
            &d_bcx,
        )
    })?;
    check.compare("d_bcx", &d_bcx, &expected)?;
    let values = device.read(&d_bcx.buffer, 0, bcx.rows * d_bcx.stride)?;
    Ok(values.chunks_exact(d_bcx.stride).flat_map(|row| &row[..3 * width]).copied().collect())
}
