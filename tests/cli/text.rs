//! Tokenizers and templates as commands meet them: what they show, where texts end, what their faults stop.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{feed, needs_gpu, parr, rows, stderr, stdout, tiny};

/// A byte-level tokenizer: 256 letters, `<s>`, which begins raw texts, and `</s>`.
fn letters() -> Value {
    let hidden = (0..=255u8).filter(|byte| !matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff));
    let hidden: Vec<u8> = hidden.collect();
    let letter = |byte: u8| match hidden.iter().position(|&other| other == byte) {
        Some(place) => char::from_u32(0x100 + place as u32).expect("a letter"),
        None => char::from(byte),
    };
    let vocab: serde_json::Map<String, Value> =
        (0..=255u8).map(|byte| (letter(byte).to_string(), json!(byte))).collect();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(256, "<s>"), special(257, "</s>")],
        "normalizer": null, "pre_tokenizer": byte_level, "decoder": byte_level,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [256], "tokens": ["<s>"]}}},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []},
    })
}

/// The tiny model with a tokenizer, a template and end tokens.
fn model(tokenizer: &Value, template: Option<&str>, eos: &[u32]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let from = tiny();
    let copy = |name: &str| {
        fs::copy(Path::new(&from).join(name), folder.path().join(name)).expect("copied");
    };
    copy("model.safetensors");
    let config = fs::read_to_string(Path::new(&from).join("config.json")).expect("a golden file");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    config["eos_token_id"] = json!(eos);
    fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).expect("written");
    if let Some(template) = template {
        fs::write(folder.path().join("chat_template.jinja"), template).expect("written");
    }
    folder
}

#[test]
fn raw_text_ends_at_the_tokens_that_the_model_names() {
    needs_gpu();
    let raw = |folder: &Path| {
        let arguments =
            ["generate", "-q", "--raw", "ab", "--json", "--temperature", "0", "--max-tokens", "8"];
        let run = parr().args(arguments).arg("--model").arg(folder).output().expect("the program starts");
        rows(&run).swap_remove(0)
    };
    let free = raw(model(&letters(), None, &[]).path());
    assert_eq!(free["finish"], "length");
    let drawn: Vec<u32> =
        free["tokens"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect();
    let at = drawn.iter().position(|id| *id == drawn[3]).expect("it is there");
    for template in [None, Some("{% for m in messages %}{{ m.content }}</s>{% endfor %}")] {
        let ended = raw(model(&letters(), template, &[500, drawn[3]]).path());
        assert_eq!(ended["finish"], "end_of_text");
        assert_eq!(ended["tokens"], json!(drawn[..=at]));
    }
}

#[test]
fn faults_of_tokenizer_and_template_stop_only_what_needs_them() {
    needs_gpu();
    let mut unknown = letters();
    unknown["model"]["type"] = json!("WordPiece");
    let open = "{% for m in messages %}";
    for (tokenizer, template, tokenizes, reason) in [
        (letters(), open, true, "chat template line 1"),
        (unknown, "x", false, "tokenizer model `WordPiece` is not supported"),
    ] {
        let folder = model(&tokenizer, Some(template), &[]);
        let run = |arguments: &[&str]| {
            feed(parr().args(arguments).arg("--model").arg(folder.path()), "{\"ids\": [1, 2, 3]}\n")
        };
        assert_eq!(rows(&run(&["logprobs", "-q", "-"])).len(), 1);
        let raw = run(&["generate", "-q", "--raw", "hi", "--max-tokens", "1"]);
        let cut = run(&["tokenize", "hi"]);
        assert_eq!((raw.status.success(), cut.status.success()), (tokenizes, tokenizes), "{}", stderr(&raw));
        let chat = run(&["generate", "-q", "hi", "--max-tokens", "1"]);
        assert_eq!(chat.status.code(), Some(1));
        // Tokenize tells it too, as an error or as a note.
        for told in [stderr(&chat), stderr(&cut)] {
            assert!(told.contains(reason), "{told}");
        }
    }
}

#[test]
fn a_text_that_begins_with_the_start_token_gets_a_note() {
    needs_gpu();
    let folder = model(&letters(), None, &[]);
    let run = |arguments: &[&str], input: &str| {
        feed(parr().args(arguments).arg("--model").arg(folder.path()), input)
    };
    let twice = run(&["logprobs", "-"], "{\"text\": \"<s>hi\"}\n{\"text\": \"<s>ho\"}\n");
    assert_eq!(rows(&twice)[0]["ids"], json!([256, 256, 104, 105]));
    assert_eq!(stderr(&twice).matches("<s>, the start token (bos)").count(), 1, "{}", stderr(&twice));
    for (arguments, input, told) in [
        (&["logprobs", "-"][..], "{\"text\": \"hi<s>\"}\n", false),
        (&["logprobs", "-", "-q"][..], "{\"text\": \"<s>hi\"}\n", false),
        (&["generate", "--raw", "<s>hi", "--max-tokens", "1"][..], "", true),
        (&["generate", "--raw", "hi", "--max-tokens", "1"][..], "", false),
        (&["tokenize", "--specials", "<s>hi"][..], "", true),
        (&["tokenize", "<s>hi"][..], "", false),
    ] {
        let run = run(arguments, input);
        assert!(run.status.success(), "{}", stderr(&run));
        assert_eq!(stderr(&run).contains("start token"), told, "{arguments:?}: {}", stderr(&run));
    }
}

#[test]
fn tokens_are_shown_with_their_spaces() {
    let mut pieces = letters();
    pieces["model"]["vocab"] = json!({"<unk>": 0, "<s>": 1, "▁": 2, "a": 3, "b": 4, "▁a": 5, "▁b": 6});
    pieces["model"]["merges"] = json!(["▁ a", "▁ b"]);
    pieces["added_tokens"] = json!([]);
    pieces["post_processor"] = Value::Null;
    pieces["pre_tokenizer"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    pieces["decoder"] = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    let folder = model(&pieces, None, &[]);
    let run = |flags: &[&str]| {
        let run = parr().args(["tokenize", "a b"]).args(flags).arg("--model").arg(folder.path()).output();
        run.expect("the program starts")
    };
    assert_eq!(rows(&run(&["--json"])), [json!({"ids": [5, 6], "tokens": [" a", " b"]})]);
    assert_eq!(stdout(&run(&[])), "5\t\" a\"\n6\t\" b\"\n");
    let whole = parr().args(["tokenize", "--decode", "5 6", "--model"]).arg(folder.path()).output();
    assert_eq!(stdout(&whole.expect("the program starts")), "a b\n");
}

#[test]
fn hostile_tokenizer_files_end_in_an_error() {
    let doubling = json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "xxxxxxxx"});
    for (key, value, reason) in [
        (
            "normalizer",
            json!({"type": "Replace", "pattern": {"String": ""}, "content": "x"}),
            "a pattern is empty",
        ),
        ("normalizer", json!({"type": "Sequence", "normalizers": vec![doubling; 12]}), "write more than"),
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0}), "length 0"),
        ("decoder", json!({"type": "Strip", "content": " ", "start": 0, "stop": 9}), "decoder `Strip`"),
    ] {
        let mut file = letters();
        file[key] = value;
        let folder = model(&file, None, &[]);
        let run = parr().args(["tokenize", "hello", "--model"]).arg(folder.path()).output();
        let run = run.expect("the program starts");
        assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
        let said = stderr(&run);
        assert!(said.contains(reason) && !said.contains("panicked"), "{said}");
    }
}
