//! `rope`: the rotation, the layout of q, and the writes into the cache.

use super::Case;
use super::check::{Check, GUARD};
use crate::ops::{AttentionShape, KvFormat, RopeTable, rope};
use crate::reference;

/// Head widths: common ones, and odd ones that end inside a chunk or a block.
pub(super) const HEAD_DIMS: [usize; 7] = [6, 16, 64, 80, 96, 128, 256];

/// Head widths with the number of dimensions that are rotated, and the factor of cosines and sines.
pub(super) const ROTATED: [(usize, usize, f32); 2] = [(16, 6, 1.0), (128, 96, 1.25)];

pub(super) fn cases() -> Vec<Case> {
    let formats = [KvFormat::F16, KvFormat::F32];
    let whole = HEAD_DIMS.into_iter().map(|head_dim| (head_dim, head_dim, 1.0));
    whole.chain(ROTATED).flat_map(|rotated| formats.map(|kv| case(kv, rotated))).collect()
}

/// Multiplies the first `rotary` dimensions of every head.
pub(super) fn scaled(values: &mut [f32], (head_dim, rotary, factor): (usize, usize, f32)) {
    for head in values.chunks_exact_mut(head_dim) {
        head[..rotary].iter_mut().for_each(|value| *value *= factor);
    }
}

/// Keys or values in the format of the cache, `(positions, kv_heads, head_dim)`, heads padded with
/// zeros to whole chunks of 8.
pub(super) fn pack(shape: &AttentionShape, values: &[f32]) -> Vec<u32> {
    pack_rows(shape.kv, shape.head_dim, values)
}

/// Rows of `width` values in the format of a cache, padded with zeros to whole chunks of 8.
pub(super) fn pack_rows(kv: KvFormat, width: usize, values: &[f32]) -> Vec<u32> {
    let mut words = Vec::new();
    for row in values.chunks_exact(width) {
        let mut padded = row.to_vec();
        padded.resize(width.next_multiple_of(8), 0.0);
        match kv {
            KvFormat::F16 => words.extend(padded.chunks_exact(2).map(|pair| {
                let [low, high] = [pair[0], pair[1]].map(|v| u32::from(half::f16::from_f32(v).to_bits()));
                low | high << 16
            })),
            KvFormat::F32 => words.extend(padded.iter().map(|v| v.to_bits())),
        }
    }
    words
}

/// The values of those words, including padding.
pub(super) fn unpack(kv: KvFormat, words: &[u32]) -> Vec<f32> {
    match kv {
        KvFormat::F16 => words
            .iter()
            .flat_map(|&word| [word as u16, (word >> 16) as u16])
            .map(|bits| half::f16::from_bits(bits).to_f32())
            .collect(),
        KvFormat::F32 => words.iter().map(|&word| f32::from_bits(word)).collect(),
    }
}

/// Positions of the longest sequence.
const LONGEST: usize = 40;

fn case(kv: KvFormat, rotated: (usize, usize, f32)) -> Case {
    let (head_dim, rotary, _) = rotated;
    // Half floats round to 2^-11; the mean square of that, with room for a carried last bit.
    let bound = if kv == KvFormat::F16 { 3e-7 } else { 1e-12 };
    let variant = if rotary == head_dim { String::new() } else { format!(", {rotary} rotated") };
    Case::new("rope", format!("{} head_dim {head_dim}{variant}", kv.name()), bound, move |check| {
        // Slots of 40 positions, and sequences packed one after another.
        for (heads, kv_heads, slots, context, places) in [
            (1, 1, 3, LONGEST, vec![(0, 0)]),
            (3, 1, 3, LONGEST, vec![(1, 5), (1, 6), (1, 7)]),
            (8, 2, 3, LONGEST, vec![(2, 39), (0, 0), (1, 17)]),
            (2, 1, 7, 1, vec![(0, 0), (0, 1), (0, 2), (3, 0), (4, 0), (4, 1)]),
        ] {
            let shape = AttentionShape {
                heads,
                kv_heads,
                head_dim,
                slots,
                context,
                window: None,
                scale: AttentionShape::usual_scale(head_dim),
                cap: None,
                kv,
            };
            check.shape(format!("{heads} heads, {kv_heads} kv heads, {} rows", places.len()));
            one_shape(check, &shape, rotated, &places)?;
        }
        if rotary == head_dim { beyond(check, kv, head_dim) } else { Ok(()) }
    })
}

/// Keys and values that the cache cannot hold are stored as NaN, and all others as they are.
fn beyond(check: &mut Check<'_>, kv: KvFormat, head_dim: usize) -> Result<(), crate::ops::ShapeError> {
    check.shape("keys and values that are not finite, or beyond f16".to_owned());
    let device = check.device();
    let shape = AttentionShape {
        heads: 1,
        kv_heads: 1,
        head_dim,
        slots: 1,
        context: 2,
        window: None,
        scale: AttentionShape::usual_scale(head_dim),
        cap: None,
        kv,
    };
    let frequencies = reference::rope::inverse_frequencies(head_dim, 10_000.0);
    let table = RopeTable::new(device, &frequencies, 1.0, 2)?;
    // The largest float that rounds to a finite f16, the next, and others; at position 0 nothing turns.
    let largest = f32::from_bits(0x477f_efff);
    let odd = [largest, -65_520.0, 1e6, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let mut row = check.values(3 * head_dim);
    row[head_dim..head_dim + 6].copy_from_slice(&odd);
    row[2 * head_dim..2 * head_dim + 6].copy_from_slice(&odd);
    let qkv = check.activation(3 * head_dim, &row)?;
    let rows_at = device.upload("conformance", &[[0, 0]])?;
    let q = check.output(1, shape.q_width())?;
    let cache = vec![GUARD; shape.cache_len()];
    let (k, v) = (device.upload("conformance", &cache)?, device.upload("conformance", &cache)?);
    check.run(|rec| rope(rec, &shape, &qkv, &rows_at, &table, &q, &k, &v, 1))?;
    let turned = reference::rope::rope(&row[head_dim..2 * head_dim], &[0], 1, &frequencies);
    for (what, cache, expected) in [("k", k, &turned[..]), ("v", v, &row[2 * head_dim..])] {
        let found = unpack(kv, &device.read(&cache, 0, shape.position_words())?);
        for (dim, (found, expected)) in found.iter().zip(expected).enumerate() {
            let held = if kv == KvFormat::F16 { expected.abs() <= largest } else { expected.is_finite() };
            let right = if held { found.is_finite() } else { found.is_nan() };
            if !right {
                check.fault(format!("{what}: {expected} of dimension {dim} is stored as {found}"));
            }
        }
    }
    Ok(())
}

fn one_shape(
    check: &mut Check<'_>,
    shape: &AttentionShape,
    rotated: (usize, usize, f32),
    places: &[(u32, u32)],
) -> Result<(), crate::ops::ShapeError> {
    let (device, rows, head_dim) = (check.device(), places.len(), shape.head_dim);
    let frequencies = reference::rope::inverse_frequencies(rotated.1, 10_000.0);
    let table = RopeTable::new(device, &frequencies, rotated.2, LONGEST)?;
    let width = (shape.heads + 2 * shape.kv_heads) * head_dim;
    let qkv = check.values(rows * width);
    let qkv_device = check.activation(width, &qkv)?;
    let place = |&(slot, position): &(u32, u32)| [slot * shape.context as u32, position];
    let rows_at: Vec<[u32; 2]> = places.iter().map(place).collect();
    let rows_at = device.upload("conformance", &rows_at)?;
    let q = check.output(rows, shape.q_width())?;
    let empty = vec![GUARD; shape.cache_len()];
    let k = device.upload("conformance", &empty)?;
    let v = device.upload("conformance", &empty)?;
    check.run(|rec| rope(rec, shape, &qkv_device, &rows_at, &table, &q, &k, &v, rows))?;

    let positions: Vec<u32> = places.iter().map(|&(_, position)| position).collect();
    let columns = |from: usize, heads: usize| -> Vec<f32> {
        let part = qkv.chunks_exact(width).flat_map(|row| &row[from * head_dim..(from + heads) * head_dim]);
        part.copied().collect()
    };
    let turned = |values: Vec<f32>, heads| {
        let mut turned = reference::rope::rope(&values, &positions, heads, &frequencies);
        scaled(&mut turned, rotated);
        turned
    };
    let expected_q = turned(columns(0, shape.heads), shape.heads);
    let mut padded_q = Vec::new();
    for head in expected_q.chunks_exact(head_dim) {
        padded_q.extend_from_slice(head);
        padded_q.resize(padded_q.len().next_multiple_of(32), 0.0);
    }
    check.compare("q", &q, &padded_q)?;

    let expected_k = turned(columns(shape.heads, shape.kv_heads), shape.kv_heads);
    let expected_v = columns(shape.heads + shape.kv_heads, shape.kv_heads);
    for (what, cache, expected) in [("k", k, expected_k), ("v", v, expected_v)] {
        let found = device.read(&cache, 0, cache.len())?;
        let step = shape.position_words();
        let mut written = Vec::new();
        let mut visited = vec![false; found.len() / step];
        for &(slot, position) in places {
            let at = slot as usize * shape.context + position as usize;
            visited[at] = true;
            written.extend(unpack(shape.kv, &found[at * step..(at + 1) * step]));
        }
        check.compare_values(what, &written, &unpack(shape.kv, &pack(shape, &expected)));
        for (at, words) in found.chunks_exact(step).enumerate() {
            if !visited[at] && words.iter().any(|&word| word != GUARD) {
                check.fault(format!(
                    "{what}: wrote at position {} of slot {}",
                    at % shape.context,
                    at / shape.context
                ));
            }
        }
    }
    Ok(())
}
