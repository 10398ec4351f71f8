//! Any bytes as a safetensors file: an error or tensors that cover its data, never a panic.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use parr::format::safetensors;

fuzz_target!(|bytes: &[u8]| {
    let Ok(parsed) = safetensors::parse(Path::new("fuzz.safetensors"), bytes, 0) else { return };
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("the header was read")) as usize;
    let total: usize = parsed.tensors.iter().map(|tensor| tensor.byte_len()).sum();
    assert!(8 + header + total <= bytes.len());
    if parsed.unread.is_empty() {
        assert_eq!(8 + header + total, bytes.len());
    }
});
