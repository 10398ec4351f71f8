//! The tokenizer and the chat template, under llama.cpp's keys.

use std::fs;

use serde_json::Value as Json;

use super::ConvertError;
use super::sentence_piece::{self, SentencePieceFile};
use crate::file::AtFile;
use crate::format::gguf::{Array, GgufWriter, Value};
use crate::format::{Checkpoint, LoadError};
use crate::model::ModelConfig;
use crate::model::text::{self, Text};
use crate::tokenizer::{Specials, Tokenizer, Vocab, pre_tokenizer_names};

/// GGUF's kinds of tokens.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// Texts on which pre-tokenizers differ. The one that cuts all of them as the model's own tokenizer does is taken.
const TEXTS: [&str; 12] = [
    "Hello, World! It's 3 o'clock, we'll see; they'd say I'M HERE.",
    "  two  spaces,\ttabs\t\tand   three   spaces ",
    "lines\n\n\nand\r\n\r\n more \n  lines\n",
    "1 12 123 1234 12345 1234567890 3.14159 1,000,000",
    "snake_case camelCase HTMLParser x=y+1; // done!!! ???",
    "\u{4F60}\u{597D}\u{FF0C}\u{4E16}\u{754C}\u{3002} \u{3053}\u{3093}\u{306B}\u{3061}\u{306F} \u{C548}\u{B155}",
    "na\u{EF}ve caf\u{E9} e\u{301}t\u{E9} \u{DF}\u{E5}\u{F8} \u{410}\u{431}\u{432} \u{3B1}\u{3B2}",
    "\u{1F600}\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467} \u{2764}\u{FE0F} \u{20AC}5 \u{2026} \u{201C}quoted\u{201D}",
    "http://example.com/a/b?c=d&e=f#g user@example.org C:\\path\\file",
    "def f(x):\n    return {'a': [1, 2], \"b\": None}\n\n\n",
    "\u{E2A}\u{E27}\u{E31}\u{E2A}\u{E14}\u{E35} \u{923}\u{94D}\u{92F}\u{93E} \u{627}\u{644}\u{639} x\u{B2} \u{BD} \u{2163}",
    "'S 'T 'RE don't DON'T y'all / // /// ... !!!\n\n \n",
];

/// Writes the tokenizer and the chat template of `checkpoint`. A directory without a tokenizer gives a file without one.
pub(super) fn write(
    writer: &mut GgufWriter,
    checkpoint: &Checkpoint,
    config: &ModelConfig,
) -> Result<(), ConvertError> {
    let text = text::load(checkpoint);
    text.check_tokenizer()?;
    let Some(tokenizer) = text.tokenizer() else {
        writer.set("tokenizer.ggml.model", Value::String("none".to_owned()));
        return Ok(());
    };
    let json = checkpoint.json_beside("tokenizer.json")?.unwrap_or_default();
    let byte_level = json["model"]["type"] == "BPE" && mentions(&json, "ByteLevel");
    let mut vocab = if byte_level {
        byte_level_vocab(checkpoint, &json, tokenizer)?
    } else if let Some(path) = checkpoint.file_beside("tokenizer.model") {
        let bytes = fs::read(&path).map_err(LoadError::io("read", &path))?;
        sentence_piece_vocab(sentence_piece::parse(&path, &bytes)?, &json)
    } else {
        let what = "its tokenizer is neither byte-level BPE nor beside a SentencePiece file";
        return Err(ConvertError::no_place(
            checkpoint.path(),
            what,
            "add its tokenizer.model to the directory",
        ));
    };
    // llama.cpp takes the number of rows of the embedding from this list.
    let types = vocab.token_types.get_or_insert_default();
    for id in vocab.tokens.len()..config.vocab {
        vocab.tokens.push(format!("[PAD{id}]"));
        types.push(UNUSED);
        if let Some(scores) = &mut vocab.scores {
            scores.push(-1000.0);
        }
    }
    let (bos, eos) = (tokenizer.bos(), tokenizer.eos());
    let mut set = |name: &str, value: Value| writer.set(&format!("tokenizer.ggml.{name}"), value);
    set("model", Value::String(vocab.model));
    if !vocab.pre.is_empty() {
        set("pre", Value::String(vocab.pre));
    }
    set("tokens", Value::Array(Array::String(vocab.tokens)));
    set("token_type", Value::Array(Array::I32(vocab.token_types.unwrap_or_default())));
    if let Some(scores) = vocab.scores {
        set("scores", Value::Array(Array::F32(scores)));
    }
    if let Some(merges) = vocab.merges {
        set("merges", Value::Array(Array::String(merges)));
    }
    if let Some(prefix) = vocab.add_space_prefix {
        set("add_space_prefix", Value::Bool(prefix));
    }
    for (name, id) in [("bos_token_id", bos), ("eos_token_id", eos), ("eot_token_id", other_end(&text))] {
        if let Some(id) = id {
            set(name, Value::U32(id));
        }
    }
    set("add_bos_token", Value::Bool(tokenizer.add_bos()));
    if let Some(chat) = text.chat() {
        writer.set("tokenizer.chat_template", Value::String(chat.template().source().to_owned()));
    }
    Ok(())
}

/// A token that ends a reply, in addition to the one that ends a text.
fn other_end(text: &Text) -> Option<u32> {
    let eos = text.tokenizer().and_then(Tokenizer::eos);
    text.end_tokens().into_iter().find(|id| Some(*id) != eos)
}

/// Whether a part of a pre-tokenizer or decoder has this type.
fn mentions(json: &Json, kind: &str) -> bool {
    fn within(json: &Json, kind: &str) -> bool {
        let parts = ["pretokenizers", "decoders"].iter().filter_map(|key| json[*key].as_array()).flatten();
        json["type"] == kind || parts.into_iter().any(|part| within(part, kind))
    }
    within(&json["pre_tokenizer"], kind) || within(&json["decoder"], kind)
}

/// Spellings and kinds by id, of the vocabulary and the added tokens.
fn spellings(checkpoint: &Checkpoint, json: &Json) -> Result<(Vec<String>, Vec<i32>), ConvertError> {
    let damaged = |rule: &str| {
        ConvertError::no_place(checkpoint.path(), format!("tokenizer.json: {rule}"), "download it again")
    };
    let vocab = json["model"]["vocab"].as_object().ok_or_else(|| damaged("it has no vocabulary"))?;
    let added = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let id_of = |id: &Json| id.as_u64().and_then(|id| usize::try_from(id).ok());
    let ids = vocab.values().chain(added.iter().map(|token| &token["id"])).map(id_of);
    let largest = ids.flatten().max().ok_or_else(|| damaged("its vocabulary is empty"))?;
    if largest > vocab.len() + added.len() + MOST_HOLES {
        return Err(damaged("its ids have large gaps"));
    }
    let mut tokens: Vec<Option<String>> = vec![None; largest + 1];
    let mut types = vec![UNUSED; largest + 1];
    for (token, id) in vocab {
        let id = id_of(id).ok_or_else(|| damaged("an id is not a whole number"))?;
        (tokens[id], types[id]) = (Some(token.clone()), NORMAL);
    }
    for token in added {
        let (Some(id), Some(content)) = (id_of(&token["id"]), token["content"].as_str()) else {
            return Err(damaged("an added token has no id or no content"));
        };
        let special = token["special"].as_bool().unwrap_or(false);
        (tokens[id], types[id]) = (Some(content.to_owned()), if special { CONTROL } else { USER_DEFINED });
    }
    let named = tokens.into_iter().enumerate();
    let tokens = named.map(|(id, token)| token.unwrap_or_else(|| format!("[PAD{id}]"))).collect();
    Ok((tokens, types))
}

/// Ids without a token, at most.
const MOST_HOLES: usize = 1 << 16;

fn byte_level_vocab(
    checkpoint: &Checkpoint,
    json: &Json,
    tokenizer: &Tokenizer,
) -> Result<Vocab, ConvertError> {
    let (tokens, types) = spellings(checkpoint, json)?;
    // A merge is a pair, or in older files both spellings with a space between.
    let merge = |merge: &Json| match merge {
        Json::String(text) => Some(text.clone()),
        pair => Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?)),
    };
    let merges: Option<Vec<String>> =
        json["model"]["merges"].as_array().and_then(|merges| merges.iter().map(merge).collect());
    let Some(merges) = merges else {
        return Err(ConvertError::no_place(
            checkpoint.path(),
            "tokenizer.json has no merges",
            "download it again",
        ));
    };
    let mut vocab = Vocab {
        model: "gpt2".to_owned(),
        pre: String::new(),
        tokens,
        scores: None,
        token_types: Some(types),
        merges: Some(merges),
        bos: tokenizer.bos(),
        eos: tokenizer.eos(),
        unk: None,
        add_bos: Some(tokenizer.add_bos()),
        add_space_prefix: None,
    };
    let encode = |tokenizer: &Tokenizer| -> Option<Vec<Vec<u32>>> {
        TEXTS.iter().map(|text| tokenizer.encode(text, Specials::AsText).ok()).collect()
    };
    let wanted = encode(tokenizer);
    for name in pre_tokenizer_names() {
        let candidate = Vocab { pre: name.to_owned(), ..vocab.clone() };
        let found = Tokenizer::from_vocab(candidate).ok().and_then(|found| encode(&found));
        if found.is_some() && found == wanted {
            vocab.pre = name.to_owned();
            return Ok(vocab);
        }
    }
    let what = "its tokenizer cuts text in a way that no pre-tokenizer of GGUF does";
    Err(ConvertError::no_place(checkpoint.path(), what, "keep using the directory"))
}

/// The vocabulary of a SentencePiece file, with the tokens that `tokenizer.json` adds.
fn sentence_piece_vocab(file: SentencePieceFile, json: &Json) -> Vocab {
    let SentencePieceFile { pieces, space_prefix } = file;
    let mut tokens: Vec<String> = pieces.iter().map(|piece| piece.text.clone()).collect();
    let mut scores: Vec<f32> = pieces.iter().map(|piece| piece.score).collect();
    let mut types: Vec<i32> = pieces.iter().map(|piece| piece.kind).collect();
    for token in json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice) {
        let id = token["id"].as_u64().and_then(|id| usize::try_from(id).ok());
        let (Some(id), Some(content)) = (id, token["content"].as_str()) else { continue };
        if id > tokens.len() + MOST_HOLES {
            continue;
        }
        for hole in tokens.len()..=id {
            tokens.push(format!("[PAD{hole}]"));
            scores.push(-1000.0);
            types.push(UNUSED);
        }
        // The unknown token and single bytes keep their kinds.
        if types[id] != 2 && types[id] != 6 {
            types[id] = if token["special"] == true { CONTROL } else { USER_DEFINED };
        }
        tokens[id] = content.to_owned();
    }
    Vocab {
        model: "llama".to_owned(),
        pre: String::new(),
        tokens,
        scores: Some(scores),
        token_types: Some(types),
        merges: None,
        bos: None,
        eos: None,
        unk: None,
        add_bos: None,
        add_space_prefix: Some(space_prefix),
    }
}
