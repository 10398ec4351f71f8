//! 32-bit floats.

use super::table::{PackRows, QuantFormat};
use super::{DeviceWords, Quant, quads};

/// One value, little-endian.
type Block = [u8; 4];

const _: () = assert!(size_of::<Block>() == 4);

pub(super) struct F32;

impl QuantFormat for F32 {
    type Block = Block;
    const QUANT: Quant = Quant::F32;
    const NAME: &'static str = "f32";
    const FRAGMENT: &'static str = "weight/f32";
    const GGML_TYPE: u32 = 0;
    const WEIGHTS: usize = 1;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 32, quants: 32, scales: 0 };
    const PACK: PackRows = quads::pack_plain_rows::<32>;

    fn decode(block: &Block, out: &mut [f32]) {
        out[0] = f32::from_le_bytes(*block);
    }

    fn encode(weights: &[f32]) -> Block {
        weights[0].to_le_bytes()
    }
}
