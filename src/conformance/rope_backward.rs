//! `rope_backward`: rotates q and k back in place and does not change v or other columns.

use super::Case;
use super::rope::{HEAD_DIMS, ROTATED, scaled};
use crate::ops::{AttentionShape, KvFormat, RopeTable, rope_backward};
use crate::reference;

/// Positions of the longest sequence.
const LONGEST: usize = 40;

pub(super) fn cases() -> Vec<Case> {
    let whole = HEAD_DIMS.into_iter().map(|head_dim| (head_dim, head_dim, 1.0));
    whole.chain(ROTATED).map(case).collect()
}

fn case(rotated: (usize, usize, f32)) -> Case {
    let (head_dim, rotary, magnitude) = rotated;
    Case::new("rope_backward", format!("head_dim {head_dim}, {rotary} rotated"), 1e-12, move |check| {
        // Packed sequences: bases do not matter to a rotation, positions do.
        for (heads, kv_heads, places) in [
            (1, 1, vec![[0, 0]]),
            (3, 1, vec![[0, 0], [0, 1], [0, 2], [3, 0]]),
            (8, 2, vec![[7, 39], [7, 38], [0, 0], [3, 17], [3, 18]]),
        ] {
            let rows = places.len();
            check.shape(format!("{heads} heads, {kv_heads} kv heads, {rows} rows"));
            let kv = KvFormat::F32;
            let shape = AttentionShape {
                heads,
                kv_heads,
                head_dim,
                slots: rows,
                context: 1,
                window: None,
                scale: AttentionShape::usual_scale(head_dim),
                cap: None,
                kv,
            };
            let frequencies = reference::rope::inverse_frequencies(rotary, 10_000.0);
            let table = RopeTable::new(check.device(), &frequencies, magnitude, LONGEST)?;
            let width = (heads + 2 * kv_heads) * head_dim;
            let d_qkv = check.values(rows * width);
            let d_device = check.activation(width, &d_qkv)?;
            let rows_at = check.device().upload("conformance", &places)?;
            check.run(|rec| rope_backward(rec, &shape, &d_device, &rows_at, &table, rows))?;

            let positions: Vec<u32> = places.iter().map(|&[_, position]| position).collect();
            let turned = (heads + kv_heads) * head_dim;
            let d_rotated: Vec<f32> =
                d_qkv.chunks_exact(width).flat_map(|row| &row[..turned]).copied().collect();
            let mut turned_back =
                reference::rope::rope_backward(&d_rotated, &positions, heads + kv_heads, &frequencies);
            scaled(&mut turned_back, rotated);
            let mut expected = d_qkv;
            for (row, back) in expected.chunks_exact_mut(width).zip(turned_back.chunks_exact(turned)) {
                row[..turned].copy_from_slice(back);
            }
            check.compare("d_qkv", &d_device, &expected)?;
        }
        Ok(())
    })
}
