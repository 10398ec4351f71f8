//! bfloat16: the upper half of an f32; encoding rounds to nearest, ties to even.

use half::bf16;

use super::table::{PackRows, QuantFormat};
use super::{DeviceWords, Quant, quads};

/// One value, little-endian.
type Block = [u8; 2];

const _: () = assert!(size_of::<Block>() == 2);

pub(super) struct Bf16;

impl QuantFormat for Bf16 {
    type Block = Block;
    const QUANT: Quant = Quant::Bf16;
    const NAME: &'static str = "bf16";
    const FRAGMENT: &'static str = "weight/bf16";
    const GGML_TYPE: u32 = 30;
    const WEIGHTS: usize = 1;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 32, quants: 16, scales: 0 };
    const PACK: PackRows = quads::pack_plain_rows::<16>;

    fn decode(block: &Block, out: &mut [f32]) {
        out[0] = bf16::from_le_bytes(*block).to_f32();
    }

    fn encode(weights: &[f32]) -> Block {
        bf16::from_f32(weights[0]).to_le_bytes()
    }
}
