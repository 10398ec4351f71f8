//! The server, asked over real connections.

/// Adapters that come and go, and share a batch.
mod adapters;
/// Chats: streams, choices, log-probabilities, JSON.
mod chat;
/// Texts that are continued and scored.
mod completions;
/// Full queues, clients that leave, the drain.
mod load;
/// Ollama's interface.
mod ollama;
/// The page, and what the server reports about itself.
mod page;
/// Sets of principles, and replies steered by them.
mod principles;
/// The program as a process: signals, ports.
#[cfg(all(unix, feature = "cli"))]
pub(crate) mod program;
/// What is refused, and how.
mod refused;
/// Training runs.
mod runs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parr::generate::{CancelToken, Generator, GeneratorOptions, Reply, Request, Sampling};
use parr::gpu::DeviceOptions;
use parr::model::{LoadOptions, Model};
use parr::serve::{ServeOptions, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;
use ureq::http::Response;

use crate::support::{gpu, model};

/// A server for one test. It ends with the test.
struct Running {
    server: Server,
    model: Model,
    name: String,
    options: ServeOptions,
    folder: TempDir,
    agent: Agent,
    _turn: gpu::Turn,
}

pub(crate) fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(300)))
        .build();
    config.into()
}

/// Serves `model` as `name`, with options that `change` changes.
fn serve(path: &Path, name: &str, change: impl FnOnce(&mut ServeOptions)) -> Running {
    let turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let model = Model::load(&device, path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint");
    let folder = tempfile::tempdir().expect("a scratch directory");
    let mut options = ServeOptions {
        port: 0,
        slots: 2,
        context: Some(256),
        principles: folder.path().join("principles"),
        runs: folder.path().join("runs"),
        ..ServeOptions::default()
    };
    change(&mut options);
    let server = Server::start(Some((name, &model)), options.clone()).expect("a free port");
    Running { server, model, name: name.to_owned(), options, folder, agent: agent(), _turn: turn }
}

fn tiny_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny/llama3-rope-gqa")
}

/// A random model without a tokenizer, called `tiny`. Its prompts are token ids.
fn tiny(change: impl FnOnce(&mut ServeOptions)) -> Running {
    serve(&tiny_path(), "tiny", change)
}

/// SmolLM2, called `smollm2`.
fn smollm2(change: impl FnOnce(&mut ServeOptions)) -> Running {
    serve(&model::smollm2(), "smollm2", change)
}

pub(crate) fn parsed(mut response: Response<ureq::Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().expect("a text");
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}

impl Running {
    /// Ends the server, and starts another with the same folders. `between` runs while there is none.
    fn restart(&mut self, between: impl FnOnce(&Path)) {
        assert!(self.server.drain(Duration::from_secs(60)));
        between(self.folder.path());
        let started = Server::start(Some((&self.name, &self.model)), self.options.clone());
        self.server = started.expect("a free port");
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.local_addr())
    }

    fn get(&self, path: &str) -> (u16, Value) {
        parsed(self.agent.get(self.url(path)).call().expect("an answer"))
    }

    fn delete(&self, path: &str) -> (u16, Value) {
        parsed(self.agent.delete(self.url(path)).call().expect("an answer"))
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        parsed(self.agent.post(self.url(path)).send(body.to_string()).expect("an answer"))
    }

    fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        parsed(self.agent.put(self.url(path)).send(body.to_string()).expect("an answer"))
    }

    /// Posts `body` and returns the reply, which must be a success.
    fn ask(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.post(path, body);
        assert!((200..300).contains(&status), "{status}: {value}");
        value
    }

    /// A connection for requests that a client library would not send.
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.local_addr()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream
    }

    /// Sends `request` as it is, and returns the status and the body.
    fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("sent");
        answer(stream)
    }

    /// The data of all events of a stream, in order, without the last `[DONE]`.
    fn events(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut response = self.agent.post(self.url(path)).send(body.to_string()).expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        let mut events = Vec::new();
        let mut done = false;
        for line in BufReader::new(response.body_mut().as_reader()).lines() {
            let line = line.expect("a text");
            match line.strip_prefix("data: ") {
                Some("[DONE]") => done = true,
                Some(data) => events.push(serde_json::from_str(data).expect("JSON")),
                None => {}
            }
        }
        assert!(done, "no end of the stream: {events:?}");
        events
    }

    /// What a generator of its own replies to the same request.
    fn alone(&self, request: Request) -> Reply {
        let options = GeneratorOptions { slots: 1, context: 256, ..GeneratorOptions::default() };
        let mut generator = Generator::new(&self.model, options).expect("a small cache");
        generator.generate(&[request], &CancelToken::new(), &mut |_| {}).expect("a sound request").remove(0)
    }

    /// Waits until `ready`, and fails after a minute.
    fn until(&self, what: &str, ready: impl Fn() -> bool) {
        let begun = Instant::now();
        while !ready() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A value of `/metrics`.
    fn metric(&self, name: &str) -> f64 {
        let mut response = self.agent.get(self.url("/metrics")).call().expect("an answer");
        let text = response.body_mut().read_to_string().expect("a text");
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }
}

/// Status and body of an answer on a connection that then closes, or that has a length.
fn answer(stream: TcpStream) -> (u16, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    reader.read_line(&mut head).expect("a status line");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut length = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).expect("a header") == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("the body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn user(text: &str) -> Value {
    json!([{ "role": "user", "content": text }])
}

/// The joined texts of a stream of chat chunks, for one choice.
fn joined(events: &[Value], index: u64) -> String {
    let of_choice = |event: &Value| {
        let choices = event["choices"].as_array().cloned().unwrap_or_default();
        choices.into_iter().filter(move |choice| choice["index"] == index).collect::<Vec<_>>()
    };
    let text = |choice: Value| choice["delta"]["content"].as_str().unwrap_or_default().to_owned();
    events.iter().flat_map(of_choice).map(text).collect()
}

/// A completion that takes a while: nothing ends it but its length.
fn long(running: &Running, stream: bool) -> Value {
    let ends = running.model.end_tokens().into_iter().map(|id| (id.to_string(), json!(-100)));
    let bias: serde_json::Map<String, Value> = ends.collect();
    json!({ "prompt": [1, 2, 3], "seed": 1, "max_tokens": 250, "stream": stream, "logit_bias": bias })
}

fn sampling(seed: u64) -> Sampling {
    Sampling { temperature: 1.0, top_p: 1.0, seed, ..Sampling::default() }
}
