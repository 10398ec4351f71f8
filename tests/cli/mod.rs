//! The `parr` program as a person or a script meets it: arguments, output, exit codes.

mod doctor;
mod pull;

use std::process::{Command, Output};

/// The built program, with an environment that says nothing.
fn parr() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parr"));
    for name in ["PARR_ADAPTER", "PARR_KERNELS", "HF_ENDPOINT", "HF_TOKEN"] {
        command.env_remove(name);
    }
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on standard output")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on standard error")
}

#[test]
fn wrong_usage_exits_with_2_and_failure_with_1() {
    let usage = parr().args(["pull", "no-such-name"]).output().expect("the program starts");
    assert_eq!(usage.status.code(), Some(2));
    assert!(stderr(&usage).starts_with("error: cannot pull `no-such-name`"), "{}", stderr(&usage));

    let unknown = parr().arg("fly").output().expect("the program starts");
    assert_eq!(unknown.status.code(), Some(2));

    let closed = parr().args(["pull", "org/repo"]).env("HF_ENDPOINT", "http://127.0.0.1:1").output();
    let closed = closed.expect("the program starts");
    assert_eq!(closed.status.code(), Some(1));
    assert!(stderr(&closed).starts_with("error: cannot reach http://127.0.0.1:1/"), "{}", stderr(&closed));
}
