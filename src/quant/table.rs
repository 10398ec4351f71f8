//! The trait that each format's file implements, and the table of all formats.

use bytemuck::Pod;

use super::{DeviceWords, Packed, Quant};

/// One storage format: its block in the file, and how to read, make and repack it.
pub(super) trait QuantFormat {
    /// ggml's block, byte for byte; made of byte arrays, so that it needs no alignment in a file.
    type Block: Pod;
    const QUANT: Quant;
    const NAME: &'static str;
    const FRAGMENT: &'static str;
    /// ggml's number for the format.
    const GGML_TYPE: u32;
    /// Weights in one block.
    const WEIGHTS: usize;
    /// Weights that share one scale and offset on the device.
    const GROUP: usize;
    const DEVICE: DeviceWords;
    /// How whole rows become device words.
    const PACK: PackRows;

    /// Writes the `WEIGHTS` weights of `block` to `out`.
    fn decode(block: &Self::Block, out: &mut [f32]);

    /// Quantizes `WEIGHTS` weights.
    fn encode(weights: &[f32]) -> Self::Block;
}

/// Appends the device words of whole rows, given their bytes and the bytes of one row.
pub(super) type PackRows = fn(&[u8], usize, &mut Packed);

/// A format whose blocks are repacked one by one: [`pack_blocks`].
pub(super) trait BlockFormat: QuantFormat {
    /// Appends the device words of `block`, the `index`th of its tensor.
    fn pack(block: &Self::Block, index: usize, packed: &mut Packed);
}

/// Appends the device words of whole rows, which need no padding.
pub(super) fn pack_blocks<F: BlockFormat>(bytes: &[u8], _row_bytes: usize, packed: &mut Packed) {
    for (index, block) in blocks::<F>(bytes).iter().enumerate() {
        F::pack(block, index, packed);
    }
}

/// A [`QuantFormat`] as a value: the entry of [`FORMATS`].
pub(super) struct Format {
    quant: Quant,
    pub(super) name: &'static str,
    pub(super) fragment: &'static str,
    pub(super) ggml_type: u32,
    pub(super) block_weights: usize,
    pub(super) block_bytes: usize,
    pub(super) group: usize,
    pub(super) device: DeviceWords,
    pub(super) decode: fn(&[u8], &mut [f32]),
    pub(super) encode: fn(&[f32], &mut Vec<u8>),
    pub(super) pack: PackRows,
}

/// Every format, in the order of [`Quant`].
pub(super) const FORMATS: &[Format] = &[
    entry::<super::f32::F32>(),
    entry::<super::f16::F16>(),
    entry::<super::bf16::Bf16>(),
    entry::<super::q4_0::Q4_0>(),
    entry::<super::q4_1::Q4_1>(),
    entry::<super::iq4_nl::Iq4Nl>(),
    entry::<super::q5_0::Q5_0>(),
    entry::<super::q5_1::Q5_1>(),
    entry::<super::q8_0::Q8_0>(),
    entry::<super::q2_k::Q2K>(),
    entry::<super::q3_k::Q3K>(),
    entry::<super::q4_k::Q4K>(),
    entry::<super::q5_k::Q5K>(),
    entry::<super::q6_k::Q6K>(),
    entry::<super::iq4_xs::Iq4Xs>(),
    entry::<super::iq3::Iq3Xxs>(),
    entry::<super::iq3::Iq3S>(),
    entry::<super::iq2::Iq2Xxs>(),
    entry::<super::iq2::Iq2Xs>(),
    entry::<super::iq2::Iq2S>(),
];

const _: () = {
    assert!(FORMATS.len() == Quant::ALL.len());
    let mut i = 0;
    while i < FORMATS.len() {
        assert!(FORMATS[i].quant as usize == i && Quant::ALL[i] as usize == i);
        i += 1;
    }
};

const fn entry<F: QuantFormat>() -> Format {
    Format {
        quant: F::QUANT,
        name: F::NAME,
        fragment: F::FRAGMENT,
        ggml_type: F::GGML_TYPE,
        block_weights: F::WEIGHTS,
        block_bytes: size_of::<F::Block>(),
        group: F::GROUP,
        device: F::DEVICE,
        decode: decode::<F>,
        encode: encode::<F>,
        pack: F::PACK,
    }
}

fn blocks<F: QuantFormat>(bytes: &[u8]) -> &[F::Block] {
    const { assert!(align_of::<F::Block>() == 1, "a block may lie anywhere in a file") }
    bytemuck::cast_slice(bytes)
}

fn decode<F: QuantFormat>(bytes: &[u8], out: &mut [f32]) {
    let blocks = blocks::<F>(bytes);
    assert_eq!(out.len(), blocks.len() * F::WEIGHTS, "{}: blocks and weights disagree", F::NAME);
    for (block, weights) in blocks.iter().zip(out.chunks_exact_mut(F::WEIGHTS)) {
        F::decode(block, weights);
    }
}

fn encode<F: QuantFormat>(weights: &[f32], out: &mut Vec<u8>) {
    assert_eq!(weights.len() % F::WEIGHTS, 0, "{}: weights must fill whole blocks", F::NAME);
    out.reserve(weights.len() / F::WEIGHTS * size_of::<F::Block>());
    for weights in weights.chunks_exact(F::WEIGHTS) {
        out.extend_from_slice(bytemuck::bytes_of(&F::encode(weights)));
    }
}
