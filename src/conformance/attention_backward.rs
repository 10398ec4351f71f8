//! `attention_backward`: every head width, grouping and cache format; packed sequences of unequal
//! length, one of them a single token; sequences in slots; branches of a shared prefix; windows.

use super::Case;
use super::attention::{CAP, CAPPED, capped, oracle};
use super::check::{Check, GUARD};
use super::rope::{HEAD_DIMS, pack, unpack};
use crate::ops::{
    AttentionSaved, AttentionShape, KeyTile, KvFormat, QueryTile, ShapeError, SharedPrefix,
    attention_backward,
};
use crate::reference;

pub(super) fn cases() -> Vec<Case> {
    // The cache's format only changes how it is read.
    let halves = [6, 64].map(|head_dim| case(KvFormat::F16, head_dim, None));
    let whole = HEAD_DIMS.map(|head_dim| case(KvFormat::F32, head_dim, None));
    let capped = CAPPED.map(|head_dim| case(KvFormat::F32, head_dim, Some(CAP)));
    halves.into_iter().chain(whole).chain(capped).collect()
}

/// Positions of a slot.
const CONTEXT: usize = 60;

fn case(kv: KvFormat, head_dim: usize, cap: Option<(f32, f32)>) -> Case {
    // The oracle reads the cache's rounded values, so the cache format adds no error.
    let name = format!("{} head_dim {head_dim}{}", kv.name(), if cap.is_some() { ", capped" } else { "" });
    Case::new("attention_backward", name, 1e-11, move |check| {
        for (heads, kv_heads, window) in [
            (1, 1, None),
            (2, 2, Some(33)),
            (3, 1, None),
            (6, 2, Some(7)),
            (8, 2, Some(64)),
            (8, 1, None),
            (4, 1, Some(1)),
        ] {
            // Around the 8, 16 and 64 of a step, and one token alone.
            let lengths = [17, 1, 40, 65];
            let rows = lengths.iter().sum();
            let shape = AttentionShape {
                heads,
                kv_heads,
                head_dim,
                slots: rows,
                context: 1,
                window,
                scale: AttentionShape::usual_scale(head_dim),
                cap: None,
                kv,
            };
            let shape = capped(shape, cap);
            check.shape(format!("packed, {heads} heads, {kv_heads} kv heads, window {window:?}"));
            let sequences = sequences(check, &shape, &lengths);
            gradients(check, &shape, &sequences, &[0, 17, 18, 58])?;
            // Three branches of the first sequence, and a sequence of its own.
            let lengths = [37, 1, 18, 5, 20];
            let rows = lengths.iter().sum();
            let shape = AttentionShape { slots: rows, ..shape };
            check.shape(format!("branches, {heads} heads, {kv_heads} kv heads, window {window:?}"));
            let mut sequences = self::sequences(check, &shape, &lengths);
            sequences[1..4].iter_mut().for_each(|branch| branch.behind = Some(0));
            gradients(check, &shape, &sequences, &[0, 0, 1, 19, 61])?;
        }
        let shape = AttentionShape {
            heads: 6,
            kv_heads: 2,
            head_dim,
            slots: 3,
            context: CONTEXT,
            window: None,
            scale: AttentionShape::usual_scale(head_dim),
            cap: None,
            kv,
        };
        let shape = capped(shape, cap);
        check.shape("in slots".to_owned());
        let sequences = sequences(check, &shape, &[33, 24, 9]);
        let found = gradients(check, &shape, &sequences, &[CONTEXT, 2 * CONTEXT, 0])?;
        check.shape("alone".to_owned());
        let mut first_row = 0;
        for sequence in &sequences {
            let alone = gradients(check, &shape, std::slice::from_ref(sequence), &[0])?;
            let packed = &found[first_row..][..alone.len()];
            first_row += alone.len();
            if alone.iter().zip(packed).any(|(a, b)| a.to_bits() != b.to_bits()) {
                check.fault("a sequence's gradient depends on its neighbours".to_owned());
            }
        }
        Ok(())
    })
}

/// The inputs and the result of attention on one sequence, and the gradient of the result; all `(rows,
/// heads, head_dim)`.
struct Sequence {
    rows: usize,
    /// Index of the sequence before it whose branch it is.
    behind: Option<usize>,
    q: Vec<f32>,
    k_words: Vec<u32>,
    v_words: Vec<u32>,
    k: Vec<f32>,
    v: Vec<f32>,
    d_out: Vec<f32>,
}

fn sequences(check: &mut Check<'_>, shape: &AttentionShape, lengths: &[usize]) -> Vec<Sequence> {
    let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let padded_dim = shape.head_dim.next_multiple_of(8);
    let rounded = |words: &[u32]| -> Vec<f32> {
        let values = unpack(shape.kv, words);
        values.chunks_exact(padded_dim).flat_map(|head| &head[..shape.head_dim]).copied().collect()
    };
    let sequence = |&rows: &usize| {
        // Sharper scores than real ones, so that a wrong key would show.
        let q = check.values(rows * width).iter().map(|v| 4.0 * v).collect();
        let k_words = pack(shape, &check.values(rows * kv_width));
        let v_words = pack(shape, &check.values(rows * kv_width));
        let d_out = check.values(rows * width);
        let (k, v) = (rounded(&k_words), rounded(&v_words));
        Sequence { rows, behind: None, q, k, v, k_words, v_words, d_out }
    };
    lengths.iter().map(sequence).collect()
}

/// Runs the op on `sequences`, whose position 0 is at `bases` in the cache, and compares; returns the rows of
/// `d_qkv`.
fn gradients(
    check: &mut Check<'_>,
    shape: &AttentionShape,
    sequences: &[Sequence],
    bases: &[usize],
) -> Result<Vec<f32>, ShapeError> {
    let head_dim = shape.head_dim;
    let (width, kv_width) = (shape.heads * head_dim, shape.kv_heads * head_dim);
    // Values outside the sequences are NaN.
    let mut k_words = vec![GUARD; shape.cache_len()];
    let mut v_words = k_words.clone();
    let (mut q, mut rows_at, mut d_out) = (Vec::new(), Vec::new(), Vec::new());
    let (mut out, mut lse) = (Vec::new(), Vec::new());
    let mut gradients: Vec<reference::AttentionGradients> = Vec::new();
    for (sequence, &base) in sequences.iter().zip(bases) {
        let shared = sequence.behind.map_or(0, |at| sequences[at].rows);
        let at = (base + shared) * shape.position_words();
        k_words[at..][..sequence.k_words.len()].copy_from_slice(&sequence.k_words);
        v_words[at..][..sequence.v_words.len()].copy_from_slice(&sequence.v_words);
        let like = oracle(shape);
        let positions: Vec<u32> = (shared as u32..(shared + sequence.rows) as u32).collect();
        let Sequence { q: q_rows, d_out: d_rows, .. } = sequence;
        let whole = |own: &[f32], of: fn(&Sequence) -> &Vec<f32>| -> Vec<f32> {
            [sequence.behind.map_or(&[][..], |at| of(&sequences[at])), own].concat()
        };
        let (k, v) = (whole(&sequence.k, |one| &one.k), whole(&sequence.v, |one| &one.v));
        out.extend(reference::attention(like, q_rows, &positions, &k, &v));
        lse.extend(reference::attention::log_sum_exp(like, q_rows, &positions, &k));
        let mut found = reference::attention_backward(like, q_rows, &positions, &k, &v, d_rows);
        if let Some(at) = sequence.behind {
            let first = &mut gradients[at];
            for (sums, more) in [(&mut first.d_k, &mut found.d_k), (&mut first.d_v, &mut found.d_v)] {
                let own = more.split_off(shared * kv_width);
                sums.iter_mut().zip(std::mem::replace(more, own)).for_each(|(sum, more)| *sum += more);
            }
        }
        gradients.push(found);
        for head in q_rows.chunks_exact(head_dim) {
            q.extend_from_slice(head);
            q.resize(q.len().next_multiple_of(32), 0.0);
        }
        d_out.extend_from_slice(d_rows);
        rows_at.extend(positions.iter().map(|&position| [base as u32, position]));
    }
    let mut expected = Vec::new();
    for (sequence, gradients) in sequences.iter().zip(&gradients) {
        for row in 0..sequence.rows {
            expected.extend_from_slice(&gradients.d_q[row * width..][..width]);
            expected.extend_from_slice(&gradients.d_k[row * kv_width..][..kv_width]);
            expected.extend_from_slice(&gradients.d_v[row * kv_width..][..kv_width]);
        }
    }
    let device = check.device();
    let query_tiles = QueryTile::cut_branches(sequences.iter().map(|sequence| {
        let prefix =
            |at: usize| SharedPrefix { base: bases[at] as u32, positions: sequences[at].rows as u32 };
        (sequence.rows, sequence.behind.map(prefix).unwrap_or_default())
    }));
    let key_tiles = KeyTile::cut_branches(sequences.iter().enumerate().map(|(at, sequence)| {
        let behind = sequences.iter().filter(|other| other.behind == Some(at));
        (sequence.rows, behind.map(|branch| branch.rows).sum())
    }));
    let query_tiles_device = device.upload("conformance", &query_tiles)?;
    let key_tiles_device = device.upload("conformance", &key_tiles)?;
    let rows_at = device.upload("conformance", &rows_at)?;
    let q = check.activation(shape.q_width(), &q)?;
    let k = device.upload("conformance", &k_words)?;
    let v = device.upload("conformance", &v_words)?;
    let out = check.activation(width, &out)?;
    let lse = device.upload("conformance", &lse)?;
    let d_out = check.activation(width, &d_out)?;
    let delta = check.guarded(&vec![f32::from_bits(GUARD); 2 * lse.len()])?;
    let d_qkv = check.output(d_out.rows, width + 2 * kv_width)?;
    let saved = AttentionSaved { q: &q, k: &k, v: &v, out: &out, lse: &lse };
    check.run(|rec| {
        attention_backward(
            rec,
            shape,
            &query_tiles_device,
            query_tiles.len(),
            QueryTile::MAX_ROWS,
            &key_tiles_device,
            key_tiles.len(),
            &rows_at,
            &saved,
            &d_out,
            &delta,
            &d_qkv,
            CONTEXT,
            d_out.rows,
        )
    })?;
    check.compare("d_qkv", &d_qkv, &expected)?;
    check.read_guarded("delta", &delta)?;
    let found = device.read(&d_qkv.buffer, 0, d_qkv.rows * d_qkv.stride)?;
    // Each part separately too: the gradients of values are larger than those of queries and keys.
    for (what, from, to) in
        [("d_q", 0, width), ("d_k", width, width + kv_width), ("d_v", width + kv_width, d_qkv.width)]
    {
        let columns = |values: &[f32], stride: usize| -> Vec<f32> {
            values.chunks_exact(stride).flat_map(|row| &row[from..to]).copied().collect()
        };
        check.compare_values(what, &columns(&found, d_qkv.stride), &columns(&expected, d_qkv.width));
    }
    Ok(found)
}
