//! Any text as a chat template: compiled and rendered within its limits, or an error.
//!
//! The template ends at the first zero byte; what follows is the content of a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parr::tokenizer::{ChatTemplate, Message};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (source, content) = text.split_once('\0').unwrap_or((text, "hello"));
    let Ok(template) = ChatTemplate::compile(source, "<s>", "</s>") else { return };
    let messages = [
        Message::new("system", "be brief"),
        Message::new("user", content),
        Message::new("assistant", "hi"),
        Message::new("user", "bye"),
    ];
    for count in [1, 2, 4] {
        let _ = template.render(&messages[..count], true);
    }
});
