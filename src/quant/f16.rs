//! IEEE half floats; encoding rounds to nearest, ties to even.

use half::f16;

use super::table::{PackRows, QuantFormat};
use super::{DeviceWords, Quant, quads};

/// One value, little-endian.
type Block = [u8; 2];

const _: () = assert!(size_of::<Block>() == 2);

pub(super) struct F16;

impl QuantFormat for F16 {
    type Block = Block;
    const QUANT: Quant = Quant::F16;
    const NAME: &'static str = "f16";
    const FRAGMENT: &'static str = "weight/f16";
    const GGML_TYPE: u32 = 1;
    const WEIGHTS: usize = 1;
    const GROUP: usize = 32;
    const DEVICE: DeviceWords = DeviceWords { weights: 32, quants: 16, scales: 0 };
    const PACK: PackRows = quads::pack_plain_rows::<16>;

    fn decode(block: &Block, out: &mut [f32]) {
        out[0] = f16::from_le_bytes(*block).to_f32();
    }

    fn encode(weights: &[f32]) -> Block {
        f16::from_f32(weights[0]).to_le_bytes()
    }
}
