//! Any bytes as a GGUF file: an error or a header whose tensors lie in the file, never a panic.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use parr::format::gguf::Gguf;

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::parse(Path::new("fuzz.gguf"), bytes) else { return };
    // No two tensors overlap, so together they cannot be longer than the file.
    let total: usize = gguf.tensors().iter().map(|tensor| tensor.byte_len()).sum();
    assert!(total <= bytes.len());
    for tensor in gguf.tensors() {
        let row = tensor.quant.row_bytes(tensor.cols()).expect("rows are whole blocks");
        assert_eq!(row * tensor.rows(), tensor.byte_len());
    }
    for (key, _) in gguf.metadata() {
        let _ = (gguf.count(key), gguf.float(key), gguf.string(key), gguf.flag(key));
        let _ = (gguf.token(key), gguf.strings(key), gguf.floats(key), gguf.integers(key));
    }
});
