//! Any bytes as a `tokenizer.json`: an error, or a tokenizer that encodes and decodes within its limits.
//!
//! The file ends at the first zero byte; what follows is the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parr::tokenizer::{Specials, Tokenizer};

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (file, text) = bytes.split_at(at);
    let Ok(tokenizer) = Tokenizer::from_json(file) else { return };
    let text = String::from_utf8_lossy(text.get(1..).unwrap_or_default());
    for text in [text.as_ref(), "Hello, world  123\n\n<s>é 日本\u{301}"] {
        for specials in [Specials::Parse, Specials::AsText] {
            let Ok(ids) = tokenizer.encode_raw(text, specials) else { continue };
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_len()), "ids are in the vocabulary");
            let mut stream = tokenizer.stream();
            let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
            streamed.push_str(&stream.finish());
            assert_eq!(streamed, tokenizer.decode(&ids, true), "streaming is decoding");
            tokenizer.decode(&ids, false);
        }
    }
    let _ = tokenizer.to_json();
});
