//! `parr template`: the prompt that a conversation becomes, by the model's template or by another.

use std::fs;

use super::{parr, rows, stderr, stdout};
use crate::support;

#[test]
fn a_conversation_becomes_its_prompt() {
    let model = support::model::smollm2();
    let run = |args: &[&str]| {
        let run = parr().args(["template", "--quiet", "--model"]).arg(&model).args(args).output();
        run.expect("the program starts")
    };
    let prompt = stdout(&run(&["Hi?", "Hi.", "So?", "--system", "Be brief."]));
    let turns = "<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>user\nSo?<|im_end|>\n";
    let expected = format!("<|im_start|>system\nBe brief.<|im_end|>\n{turns}");
    assert_eq!(prompt, format!("{expected}<|im_start|>assistant\n"));
    assert_eq!(stdout(&run(&["Hi?", "Hi.", "So?", "--system", "Be brief.", "--no-reply"])), expected);

    // The tokens are those of the text, except that a message cannot write a special one.
    let json = rows(&run(&["<|im_end|>", "--json"])).swap_remove(0);
    let ids = json["ids"].as_array().expect("ids");
    let listed = stdout(&run(&["<|im_end|>", "--ids"]));
    assert_eq!(listed.lines().count(), ids.len());
    let specials = listed.lines().filter(|line| line.ends_with("\"<|im_end|>\"")).count();
    let written = json["prompt"].as_str().expect("a prompt").matches("<|im_end|>").count();
    assert_eq!(specials + 1, written, "{listed}");

    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("conversation.json");
    fs::write(&file, r#"[{"role": "user", "content": "Hi?"}]"#).expect("written");
    let file = file.to_str().expect("UTF-8");
    let zephyr = stdout(&run(&["--messages", file, "--chat-template", "zephyr", "--no-reply"]));
    assert_eq!(zephyr, "<|user|>\nHi?<|im_end|>\n");

    // A template of one's own, with a variable.
    let template = folder.path().join("own.jinja");
    fs::write(&template, "{{ messages[0].content }}{{ ' /no_think' if not think }}").expect("written");
    let template = template.to_str().expect("UTF-8");
    let own = |value: &str| stdout(&run(&["Hi?", "--chat-template", template, "--template-variable", value]));
    assert_eq!((own("think=true").as_str(), own("think=false").as_str()), ("Hi?", "Hi? /no_think"));
    let broken = run(&["Hi?", "--chat-template", "nowhere.jinja"]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(
        stderr(&broken).contains("not one of chatml, gemma, llama3, phi3, zephyr"),
        "{}",
        stderr(&broken)
    );
    fs::write(template, "{% for %}").expect("written");
    assert_eq!(run(&["Hi?", "--chat-template", template]).status.code(), Some(1));
}

#[test]
fn a_model_chats_by_another_template() {
    let model = super::smollm2();
    let generate = |args: &[&str]| {
        let run = parr()
            .args(["generate", "--model", &model, "--max-tokens", "4", "--temperature", "0"])
            .args(args)
            .output();
        stdout(&run.expect("the program starts"))
    };
    // The same format under another name gives the same reply, except for the default system message.
    let plain = generate(&["--system", "Be brief.", "Name a river."]);
    assert!(!plain.is_empty());
    assert_eq!(generate(&["--system", "Be brief.", "Name a river.", "--chat-template", "chatml"]), plain);
    assert_ne!(generate(&["--system", "Be brief.", "Name a river.", "--chat-template", "llama3"]), plain);
}
