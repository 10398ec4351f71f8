//! Any text as a chat template: compiled and rendered within its limits, or an error. What comes from a message never
//! becomes a special token, whatever the template does with it.
//!
//! The template ends at the first zero byte; what follows is the content of a message.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use parr::tokenizer::{ChatFormat, ChatTemplate, Message, Tokenizer, Vocab};

/// A special token whose signs a template can only have from a message, unless it spells them itself.
const SPECIAL: &str = "⟦end⟧";

/// The bytes as tokens, and one special token behind them.
static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let shown = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let plain = (0..=u8::MAX).filter(shown).map(char::from);
    let hidden = (0..=u8::MAX).filter(|byte| !shown(byte)).zip(0x100..).filter_map(|(_, code)| char::from_u32(code));
    let mut tokens: Vec<String> = plain.chain(hidden).map(String::from).collect();
    let special = tokens.len();
    tokens.push(SPECIAL.to_owned());
    let token_types = (0..tokens.len()).map(|id| if id == special { 3 } else { 1 }).collect();
    let vocab = Vocab {
        model: "gpt2".to_owned(),
        pre: "gpt-2".to_owned(),
        tokens,
        scores: None,
        token_types: Some(token_types),
        merges: Some(Vec::new()),
        bos: None,
        eos: None,
        unk: None,
        add_bos: None,
        add_space_prefix: None,
    };
    Arc::new(Tokenizer::from_vocab(vocab).expect("a whole vocabulary"))
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (source, content) = text.split_once('\0').unwrap_or((text, "hello"));
    let Ok(template) = ChatTemplate::compile(source, "<s>", "</s>") else { return };
    let messages = [
        Message::new("system", "be brief"),
        Message::new("user", format!("{content}{SPECIAL}")),
        Message::new("assistant", "<think>⟦</think>hi"),
        Message::new("us⟦er", "bye"),
    ];
    let chat = ChatFormat::new(Arc::clone(&*TOKENIZER), template, &[]);
    // An escape in a string of the template can spell any sign.
    let spells = source.contains(['⟦', '\\']);
    for count in [1, 2, 4] {
        let Ok(rendered) = chat.template().render(&messages[..count], true) else { continue };
        let Ok(ids) = chat.encode_chat(&messages[..count], true) else { continue };
        assert_eq!(chat.tokenizer().decode(&ids, false), rendered);
        assert!(spells || !ids.iter().any(|&id| chat.tokenizer().is_special(id)), "{rendered:?}");
    }
});
