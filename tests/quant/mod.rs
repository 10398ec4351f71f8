//! Storage formats against vectors from another implementation, and against each other.

mod fragments;

use std::path::PathBuf;

use parr::quant::Quant;
use proptest::prelude::*;

/// The bytes of `tests/golden/quant/NAME`.
pub fn golden(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/quant", name].iter().collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The f32 values of `tests/golden/quant/NAME`.
pub fn golden_f32(name: &str) -> Vec<f32> {
    golden(name).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn decoded(quant: Quant, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; bytes.len() / quant.block_bytes() * quant.block_weights()];
    quant.decode(bytes, &mut out);
    out
}

fn encoded(quant: Quant, weights: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    quant.encode(weights, &mut out);
    out
}

/// Root of the mean squared error over the root of the mean square.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let norm: f64 = expected.iter().map(|b| square(*b)).sum();
    (error / norm).sqrt()
}

#[test]
fn decodes_as_the_gguf_package_does() {
    for quant in &Quant::ALL[2..] {
        let found = decoded(*quant, &golden(&format!("{quant}.blocks")));
        let expected = golden_f32(&format!("{quant}.f32"));
        assert_eq!(found.len(), 512, "{quant}");
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(a, b, "{quant}: weight {i}");
        }
    }
}

#[test]
fn encodes_as_the_gguf_package_does() {
    let weights = golden_f32("weights.f32");
    for quant in [Quant::Bf16, Quant::Q4_0, Quant::Q4_1, Quant::Q5_0, Quant::Q5_1, Quant::Q8_0] {
        let found = encoded(quant, &weights);
        let expected = golden(&format!("{quant}.encoded"));
        assert_eq!(found.len(), expected.len(), "{quant}");
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(
                a,
                b,
                "{quant}: byte {} of block {}",
                i % quant.block_bytes(),
                i / quant.block_bytes()
            );
        }
    }
}

#[test]
fn half_floats_are_read_and_rounded_as_ieee_says() {
    let bytes = [0x00, 0x3C, 0x00, 0xC0, 0x01, 0x00, 0xFF, 0x7B];
    assert_eq!(decoded(Quant::F16, &bytes), [1.0, -2.0, 2.0f32.powi(-24), 65504.0]);
    // 1 + 2^-11 lies half way between two halves; the even one is 1.
    assert_eq!(encoded(Quant::F16, &[1.0 + 2.0f32.powi(-11), 65504.0]), [0x00, 0x3C, 0xFF, 0x7B]);
    assert_eq!(encoded(Quant::F32, &[1.5]), 1.5f32.to_le_bytes());
    assert_eq!(decoded(Quant::F32, &(-0.1f32).to_le_bytes()), [-0.1]);
}

#[test]
fn errors_of_normal_weights_stay_below_the_step_size() {
    // For weights of a normal distribution: measured when written, plus a tenth.
    let bounds = [
        (Quant::F32, 0.0),
        (Quant::F16, 0.0003),
        (Quant::Bf16, 0.002),
        (Quant::Q4_0, 0.096),
        (Quant::Q4_1, 0.085),
        (Quant::Iq4Nl, 0.085),
        (Quant::Q5_0, 0.047),
        (Quant::Q5_1, 0.042),
        (Quant::Q8_0, 0.006),
        (Quant::Q2K, 0.30),
        (Quant::Q3K, 0.17),
        (Quant::Q4K, 0.08),
        (Quant::Q5K, 0.04),
        (Quant::Q6K, 0.02),
        (Quant::Iq4Xs, 0.084),
        (Quant::Iq3Xxs, 0.195),
        (Quant::Iq3S, 0.149),
        (Quant::Iq2Xxs, 0.371),
        (Quant::Iq2Xs, 0.315),
        (Quant::Iq2S, 0.272),
    ];
    let weights = &golden_f32("weights.f32")[..512];
    assert_eq!(bounds.len(), Quant::ALL.len());
    for (quant, bound) in bounds {
        let error = relative_error(&decoded(quant, &encoded(quant, weights)), weights);
        println!("{quant}: relative error {error:.4}");
        assert!(error <= bound, "{quant}: relative error {error}, allowed {bound}");
        assert!(error >= bound * 0.5, "{quant}: relative error {error} makes {bound} a loose bound");
    }
}

#[test]
fn constant_and_zero_blocks_survive() {
    for quant in Quant::ALL {
        let zeros = [0.0; 256];
        assert_eq!(decoded(*quant, &encoded(*quant, &zeros)), zeros, "{quant}");
        for value in [0.5f32, -0.5] {
            let weights = [value; 256];
            let found = decoded(*quant, &encoded(*quant, &weights));
            let error = relative_error(&found, &weights);
            assert!(error < 0.002, "{quant}: {value} became {}", found[0]);
        }
    }
}

#[test]
fn names_and_numbers_are_unique_and_reversible() {
    for quant in Quant::ALL {
        assert_eq!(Quant::from_name(quant.name()), Some(*quant));
        assert_eq!(Quant::from_name(&quant.name().to_uppercase()), Some(*quant));
        assert_eq!(Quant::from_ggml(quant.ggml_type()), Some(*quant));
        // Three formats have one device layout.
        let layout = if quant.name().starts_with("iq2_") { "iq2" } else { quant.name() };
        assert_eq!(quant.fragment(), format!("weight/{layout}"));
    }
    assert_eq!(Quant::from_name("q7_k"), None);
    // 9 is ggml's Q8_1, which files do not hold.
    assert_eq!(Quant::from_ggml(9), None);
}

#[test]
fn sizes_are_checked() {
    assert_eq!(Quant::Q4_0.row_bytes(64), Some(36));
    assert_eq!(Quant::Q4_0.row_bytes(33), None);
    assert_eq!(Quant::F32.row_bytes(usize::MAX), None);
    assert_eq!(Quant::Q6K.row_bytes(512), Some(420));
    let len = Quant::F16.packed_len(3, 33).unwrap();
    assert_eq!((len.quants, len.scales), (3 * 32, 0));
    // Three blocks: a pair and a half of [d d, high, high].
    let len = Quant::Q5_0.packed_len(3, 32).unwrap();
    assert_eq!((len.quants, len.scales), (12, 5));
    assert_eq!(Quant::Q4_0.packed_len(usize::MAX / 2, 64), None);
}

#[test]
fn rows_that_are_no_multiple_of_32_are_padded_with_zeros() {
    let weights: Vec<f32> = (1..=66).map(|i| i as f32).collect();
    let packed = Quant::F16.pack(&encoded(Quant::F16, &weights), 2, 33);
    let halves: Vec<u8> = packed.quants.iter().flat_map(|w| w.to_le_bytes()).collect();
    let values = decoded(Quant::F16, &halves);
    assert_eq!(values.len(), 128);
    assert_eq!(values[..33], weights[..33]);
    assert_eq!(values[33..64], [0.0; 31]);
    assert_eq!(values[64..97], weights[33..]);
    assert_eq!(values[97..], [0.0; 31]);
    assert_eq!(Quant::F32.pack(&[], 0, 0), parr::quant::Packed::default());
}

proptest! {
    #![proptest_config(crate::support::cases(64))]

    /// Whatever the floats, infinities and NaN included, encoding gives whole decodable blocks.
    #[test]
    fn encoding_never_panics(bits in prop::collection::vec(any::<u32>(), 256)) {
        let weights: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        for quant in Quant::ALL {
            let bytes = encoded(*quant, &weights);
            prop_assert_eq!(bytes.len(), quant.row_bytes(256).unwrap());
            decoded(*quant, &bytes);
        }
    }

    /// Decoding what was decoded before changes nothing: decoded weights lie on the format's grid.
    #[test]
    fn symmetric_formats_keep_their_own_grid(seed in prop::collection::vec(-1.0f32..1.0, 256)) {
        for quant in [Quant::F16, Quant::Bf16] {
            let once = decoded(quant, &encoded(quant, &seed));
            prop_assert_eq!(decoded(quant, &encoded(quant, &once)), once);
        }
    }
}
