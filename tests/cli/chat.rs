//! `parr chat` with a pipe for a person.

use std::fs;

use serde_json::Value;

use super::{feed, parr, smollm2, stderr, stdout};

fn chat(model: &str) -> std::process::Command {
    let mut command = parr();
    command.args(["chat", model, "--temperature", "0", "--context", "512"]);
    command
}

#[test]
fn turns_build_on_each_other_and_only_replies_are_printed() {
    let model = smollm2();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("chat.jsonl");
    let input = format!(
        "What is the capital of France?\n/stats\n/set temprature 1\n/set max_tokens 12\n\
         And of Italy?\n/regen\n/save {}\n/quit\nnever said\n",
        path.display()
    );
    let run = feed(&mut chat(&model), &input);
    assert!(run.status.success(), "{}", stderr(&run));
    assert!(stdout(&run).starts_with("The capital of France is Paris.\n"), "{}", stdout(&run));
    let said = stderr(&run);
    assert!(said.contains("prompt 37 tokens (0 reused)"), "{said}");
    assert!(said.contains("unknown setting `temprature`"), "{said}");

    let saved: Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("saved")).expect("one JSON value");
    let messages = saved["messages"].as_array().expect("an array");
    let roles: Vec<&str> = messages.iter().filter_map(|message| message["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"], "/regen replaces a reply");
    assert_eq!(messages[1]["content"], "The capital of France is Paris.");
}

/// A person's ctrl-C is SIGINT to the process.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_reply_and_not_the_chat() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Command, Stdio};

    let model = smollm2();
    let mut command = chat(&model);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    writeln!(stdin, "Tell me a long story about a river and all the towns on its way.").expect("it reads");
    // The first byte of the reply: from here on it is under way.
    let mut first = [0];
    stdout.read_exact(&mut first).expect("a reply begins");
    // The shell's own kill: a bare Debian has no other.
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(kill.expect("there is a shell").success());
    let mut reply = String::new();
    stdout.read_line(&mut reply).expect("the reply ends");

    writeln!(stdin, "/reset\nWhat is the capital of France?").expect("it still reads");
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("another reply");
    let end = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert!(end.status.success(), "{said}");
    assert!(rest.ends_with("The capital of France is Paris.\n"), "{rest}");
    assert!(said.contains("(stopped)"), "{said}");
}

#[test]
fn a_model_that_was_not_pulled_names_the_command() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    for (arguments, advice) in [
        (&["chat"][..], "run `parr pull smollm2`"),
        (&["chat", "org/repo:q4"], "run `parr pull org/repo:q4`"),
        (&["chat", "no/such/file.gguf"], "it is no file or directory"),
    ] {
        let run =
            parr().args(arguments).env("PARR_CACHE", cache.path()).output().expect("the program starts");
        assert_eq!(run.status.code(), Some(1));
        assert!(stderr(&run).contains(advice), "{}", stderr(&run));
    }
}
