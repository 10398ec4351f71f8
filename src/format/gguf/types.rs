//! ggml's tensor types: what a number in a file means, also of types that this library does not read.

use crate::quant::Quant;

/// How a tensor is stored.
pub(super) enum Storage {
    /// In a format that this library reads.
    Read(Quant),
    /// In another format of ggml: its name, weights in a block, bytes of a block.
    Other(&'static str, usize, usize),
    /// In a format that ggml no longer has: its name.
    Removed(&'static str),
    /// In a format of this number, which is not known.
    Unknown(u32),
}

/// Types that this library does not read: number, name, weights in a block, bytes of a block.
const OTHER: &[(u32, &str, usize, usize)] = &[
    (9, "Q8_1", 32, 40),
    (15, "Q8_K", 256, 292),
    (19, "IQ1_S", 256, 50),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

/// Types that ggml has removed, and whose blocks are not described any more.
const REMOVED: &[(u32, &str)] = &[
    (4, "Q4_2"),
    (5, "Q4_3"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];

impl Storage {
    pub(super) fn of(number: u32) -> Storage {
        if let Some(quant) = Quant::from_ggml(number) {
            return Storage::Read(quant);
        }
        if let Some(&(_, name, weights, bytes)) = OTHER.iter().find(|(known, ..)| *known == number) {
            return Storage::Other(name, weights, bytes);
        }
        let removed = REMOVED.iter().find(|(known, _)| *known == number);
        removed.map_or(Storage::Unknown(number), |&(_, name)| Storage::Removed(name))
    }

    /// Weights and bytes of a block, where they are known.
    pub(super) fn block(&self) -> Option<(usize, usize)> {
        match *self {
            Storage::Read(quant) => Some((quant.block_weights(), quant.block_bytes())),
            Storage::Other(_, weights, bytes) => Some((weights, bytes)),
            Storage::Removed(_) | Storage::Unknown(_) => None,
        }
    }

    /// The format for messages: `q4_k`, `IQ1_S`, `ggml type 77`.
    pub(super) fn name(&self) -> String {
        match self {
            Storage::Read(quant) => quant.name().to_owned(),
            Storage::Other(name, ..) | Storage::Removed(name) => (*name).to_owned(),
            Storage::Unknown(number) => format!("ggml type {number}"),
        }
    }

    /// Why a tensor of this format cannot be read.
    pub(super) fn unread(&self) -> String {
        match self {
            Storage::Unknown(number) => format!("has ggml type {number}, which is not known"),
            Storage::Removed(name) => format!("has format {name}, which ggml has removed"),
            other => format!("has format {}, which Parr does not read", other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_meaning() {
        let mut numbers: Vec<u32> = OTHER.iter().map(|(number, ..)| *number).collect();
        numbers.extend(REMOVED.iter().map(|(number, _)| *number));
        numbers.extend(Quant::ALL.iter().map(|quant| quant.ggml_type()));
        numbers.sort_unstable();
        let all: Vec<u32> = (0..=41).collect();
        assert_eq!(numbers, all);
    }
}
