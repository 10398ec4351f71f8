//! Q8_0: 32 weights, 8 signed bits each, one scale: `w = d * q`.

use bytemuck::{Pod, Zeroable};

use super::table::{BlockFormat, PackRows, QuantFormat, pack_blocks};
use super::{DeviceWords, Packed, Quant, quads};

#[repr(C)]
#[derive(Copy, Clone, Pod, Zeroable)]
pub(super) struct Block {
    /// Scale, f16.
    d: [u8; 2],
    /// The weights, in order.
    qs: [i8; 32],
}

const _: () = assert!(size_of::<Block>() == 34);

pub(super) struct Q8_0;

impl QuantFormat for Q8_0 {
    type Block = Block;
    const QUANT: Quant = Quant::Q8_0;
    const NAME: &'static str = "q8_0";
    const FRAGMENT: &'static str = "weight/q8_0";
    const GGML_TYPE: u32 = 8;
    const WEIGHTS: usize = 32;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 64, quants: 16, scales: 1 };
    const PACK: PackRows = pack_blocks::<Self>;

    fn decode(block: &Block, out: &mut [f32]) {
        let d = quads::half(block.d);
        for (w, q) in out.iter_mut().zip(block.qs) {
            *w = f32::from(q) * d;
        }
    }

    fn encode(weights: &[f32]) -> Block {
        let d = quads::extreme(weights).abs() / 127.0;
        let id = quads::reciprocal(d);
        let qs = std::array::from_fn(|i| (weights[i] * id).round() as i8);
        Block { d: quads::to_half(d).0, qs }
    }
}

impl BlockFormat for Q8_0 {
    fn pack(block: &Block, index: usize, packed: &mut Packed) {
        packed.quants.extend(quads::words::<8>(bytemuck::cast_slice(&block.qs)));
        packed.push_half(index, block.d, 1);
    }
}
