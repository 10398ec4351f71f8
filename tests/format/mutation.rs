//! Sound files with random damage: always an answer, never a panic.

use parr::format::gguf::Gguf;
use parr::format::safetensors;
use parr::quant::Quant;
use proptest::prelude::*;

/// One kind of damage at one place.
#[derive(Clone, Debug)]
pub enum Damage {
    Flip(usize, u8),
    /// Overwrites eight bytes: lengths and counts become absurd.
    Number(usize, u64),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
}

pub fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let at = 0usize..4096;
    let one = prop_oneof![
        4 => (at.clone(), 1u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        2 => (at.clone(), any::<u64>()).prop_map(|(at, value)| Damage::Number(at, value)),
        2 => (at.clone(), 0u64..300).prop_map(|(at, value)| Damage::Number(at, value)),
        1 => at.clone().prop_map(Damage::Cut),
        1 => (at.clone(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, b)| Damage::Insert(at, b)),
        1 => (at, 1usize..40).prop_map(|(at, len)| Damage::Remove(at, len)),
    ];
    prop::collection::vec(one, 1..5)
}

pub fn damage(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match damage {
            Damage::Flip(at, bits) => bytes[at % len] ^= bits,
            Damage::Number(at, value) => {
                for (byte, new) in bytes[at % len..].iter_mut().zip(value.to_le_bytes()) {
                    *byte = new;
                }
            }
            Damage::Cut(at) => bytes.truncate(at % len),
            Damage::Insert(at, new) => drop(bytes.splice(at % len..at % len, new.iter().copied())),
            Damage::Remove(at, count) => drop(bytes.drain(at % len..(at % len + count).min(len))),
        }
    }
    bytes
}

fn sound_gguf() -> Vec<u8> {
    let tensors: Vec<(String, [usize; 2], Quant)> = Quant::ALL
        .iter()
        .map(|quant| (format!("blk.0.{quant}"), [2, quant.block_weights()], *quant))
        .collect();
    let tensors: Vec<(&str, &[usize], Quant)> =
        tensors.iter().map(|(name, shape, quant)| (name.as_str(), &shape[..], *quant)).collect();
    super::gguf::write(&super::gguf::every_type(), &tensors)
}

fn sound_safetensors() -> Vec<u8> {
    let json = r#"{"__metadata__":{"format":"pt"},
        "a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "b.weight":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},
        "c.weight":{"dtype":"F16","shape":[2,2,2],"data_offsets":[32,48]}}"#;
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + 48, 7);
    bytes
}

proptest! {
    #![proptest_config(crate::support::cases(1024))]

    #[test]
    fn damaged_gguf_files_never_panic(damages in damages()) {
        let bytes = damage(sound_gguf(), &damages);
        match Gguf::parse("damaged.gguf".as_ref(), &bytes) {
            Ok(gguf) => {
                // Whatever still parses keeps its promise: all data lies in the file.
                let total: usize = gguf.tensors().iter().map(|tensor| tensor.byte_len()).sum();
                prop_assert!(total <= bytes.len());
            }
            Err(error) => prop_assert!(error.to_string().contains("damaged.gguf")),
        }
    }

    #[test]
    fn damaged_safetensors_files_never_panic(damages in damages()) {
        let bytes = damage(sound_safetensors(), &damages);
        match safetensors::parse("damaged.st".as_ref(), &bytes, 0) {
            Ok(parsed) => {
                let total: usize = parsed.tensors.iter().map(|tensor| tensor.byte_len()).sum();
                prop_assert!(total <= bytes.len());
            }
            Err(error) => prop_assert!(error.to_string().contains("damaged.st")),
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Gguf::parse("noise".as_ref(), &bytes).is_err());
        prop_assert!(safetensors::parse("noise".as_ref(), &bytes, 0).is_err());
        let after_magic = [&b"GGUF\x03\0\0\0"[..], &bytes].concat();
        let _ = Gguf::parse("noise".as_ref(), &after_magic);
    }
}
