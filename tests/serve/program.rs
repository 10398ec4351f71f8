//! `parr serve` as a process: what it prints, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::json;

use super::{agent, parsed, tiny_path};
use crate::support::gpu;

/// A server in a process of its own, and its address.
pub(crate) struct Process {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(port: &str) -> (Command, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_parr"));
    command.arg("serve").arg(tiny_path()).args(["--port", port, "--context", "256", "--slots", "1"]);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    (command, folder)
}

fn start() -> Process {
    start_with(|_| ()).unwrap_or_else(|said| panic!("it ended: {said}"))
}

/// Starts the server with a changed command. `Err` with what it printed if it ends before it listens.
pub(crate) fn start_with(change: impl FnOnce(&mut Command)) -> Result<Process, String> {
    let (mut command, folder) = command("0");
    change(&mut command);
    let mut child = command.spawn().expect("the program starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut process = Process { child, stderr, address: String::new(), _folder: folder };
    let mut said = String::new();
    loop {
        let mut line = String::new();
        if process.stderr.read_line(&mut line).expect("a text") == 0 {
            return Err(said);
        }
        said.push_str(&line);
        if let Some((_, address)) = line.split_once("serving llama3-rope-gqa on ") {
            address.trim().clone_into(&mut process.address);
            return Ok(process);
        }
    }
}

impl Process {
    /// Asks the server to end. Returns its exit code and what it printed since it listened.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        signal(&self, "TERM");
        let code = self.child.wait().expect("it ends").code();
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("a text");
        (code, rest)
    }
}

fn signal(process: &Process, name: &str) {
    let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", process.child.id())]).status();
    assert!(kill.expect("there is a shell").success());
}

#[test]
fn a_signal_lets_requests_end_and_the_exit_code_is_0() {
    let _turn = gpu::turn();
    gpu::open(&parr::gpu::DeviceOptions::default());
    for name in ["TERM", "INT"] {
        let mut process = start();
        let url = format!("{}/v1/completions", process.address);
        let ends = (0..512).map(|id| (id.to_string(), json!(if id < 3 { -100 } else { 0 })));
        let bias: serde_json::Map<String, serde_json::Value> = ends.collect();
        let body = json!({ "prompt": [5, 6, 7], "max_tokens": 200, "logit_bias": bias });
        let asked =
            std::thread::spawn(move || parsed(agent().post(url).send(body.to_string()).expect("an answer")));
        let metrics = format!("{}/metrics", process.address);
        let begun = || {
            let (_, text) = parsed(agent().get(&metrics).call().expect("an answer"));
            !text.as_str().unwrap_or_default().contains("parr_running 0\n")
                || !text.as_str().unwrap_or_default().contains("parr_replies_total 0\n")
        };
        while !begun() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        signal(&process, name);
        let (status, reply) = asked.join().expect("an answer");
        assert_eq!(status, 200, "{reply}");
        assert_eq!(process.child.wait().expect("it ends").code(), Some(0), "{name}");
        let mut rest = String::new();
        process.stderr.read_to_string(&mut rest).expect("a text");
        assert!(rest.contains("requests in progress end first"), "{rest}");
        assert!(rest.contains("request method=POST path=\"/v1/completions\" status=200"), "{rest}");
    }
}

#[test]
fn a_port_in_use_is_an_error_before_anything_is_served() {
    let _turn = gpu::turn();
    gpu::open(&parr::gpu::DeviceOptions::default());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let (mut command, _folder) = command(&port.to_string());
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("error: cannot listen on 127.0.0.1:{port}")), "{said}");
}
