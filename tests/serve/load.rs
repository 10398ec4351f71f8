//! Full queues, clients that leave, the drain.

use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Running, long, tiny};

const COMPLETIONS: &str = "/v1/completions";

fn head(body: &str) -> String {
    format!("POST {COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn is_idle(running: &Running) -> bool {
    running.metric("parr_running") == 0.0 && running.metric("parr_waiting") == 0.0
}

#[test]
fn a_full_queue_refuses_with_a_time_to_retry() {
    let running = tiny(|options| (options.slots, options.queue) = (1, 2));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |_| {
            scope.spawn(|| {
                let sent =
                    running.agent.post(running.url(COMPLETIONS)).send(long(&running, false).to_string());
                let response = sent.expect("an answer");
                if response.status().as_u16() == 429 {
                    assert_eq!(response.headers()["retry-after"], "1");
                }
                response.status().as_u16()
            })
        };
        let asked: Vec<_> = (0..8).map(ask).collect();
        asked.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    // The first is in the queue too until the scheduler takes it.
    assert!(count(200) >= 2 && count(429) >= 1 && count(200) + count(429) == 8, "{statuses:?}");
    let (status, error) = running.post(COMPLETIONS, &json!({ "prompt": [1], "n": 3 }));
    assert_eq!((status, &error["error"]["type"]), (429, &json!("rate_limit_error")), "all or none: {error}");
    assert_eq!(running.post(COMPLETIONS, &json!({ "prompt": [1], "n": 2 })).0, 200);
}

#[test]
fn a_client_that_leaves_cancels_its_replies() {
    let running = tiny(|options| options.slots = 1);
    for stream in [true, false] {
        let mut connection = running.connect();
        connection.write_all(head(&long(&running, stream).to_string()).as_bytes()).unwrap();
        running.until("it begins", || {
            running.metric("parr_running") > 0.0 || running.metric("parr_replies_total") > 0.0
        });
        if stream {
            let mut reader = BufReader::new(&connection);
            let mut line = String::new();
            while !line.starts_with("data: ") {
                line.clear();
                assert!(reader.read_line(&mut line).unwrap() > 0, "the stream begins");
            }
        }
        let drawn = running.metric("parr_reply_tokens_total");
        drop(connection);
        running.until("it ends", || is_idle(&running));
        let more = running.metric("parr_reply_tokens_total") - drawn;
        assert!(more < 240.0, "{more} tokens after the client had left");
    }
}

#[test]
fn a_reader_that_waits_does_not_hold_up_others() {
    let running = tiny(|options| options.slots = 2);
    let mut slow = running.connect();
    slow.write_all(head(&long(&running, true).to_string()).as_bytes()).unwrap();
    let begun = Instant::now();
    for _ in 0..3 {
        running.ask(COMPLETIONS, &json!({ "prompt": [4], "max_tokens": 4 }));
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    // Its own reply is whole.
    let mut done = false;
    for line in BufReader::new(slow).lines() {
        if line.unwrap().contains("[DONE]") {
            done = true;
            break;
        }
    }
    assert!(done);
}

#[test]
fn replies_end_at_their_deadline() {
    let running = tiny(|options| {
        options.slots = 1;
        options.request_timeout = Some(Duration::from_millis(1));
    });
    let reply = running.ask(COMPLETIONS, &long(&running, false));
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert!(reply["usage"]["completion_tokens"].as_u64().unwrap() < 250, "{reply}");
}

#[test]
fn a_drain_lets_requests_end_and_takes_no_more() {
    let running = tiny(|options| options.slots = 1);
    // A connection from before the drain.
    let mut early = running.connect();
    std::thread::scope(|scope| {
        let reply = scope.spawn(|| running.ask(COMPLETIONS, &long(&running, false)));
        running.until("it begins", || running.metric("parr_running") > 0.0);
        let drained = scope.spawn(|| running.server.drain(Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(50));
        let sent = early.write_all(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if sent.is_ok() {
            let mut line = String::new();
            let read = BufReader::new(&early).read_line(&mut line);
            // Closed, or refused.
            assert!(read.is_err() || line.is_empty() || line.contains("503"), "{line}");
        }
        let reply = reply.join().expect("an answer");
        assert_eq!(reply["choices"][0]["finish_reason"], "length");
        assert!(drained.join().expect("no panic"), "all requests ended in time");
    });
    assert!(std::net::TcpStream::connect(running.server.local_addr()).is_err());
    assert!(running.server.drain(Duration::ZERO), "a second drain has nothing to do");
}

#[test]
fn a_drain_has_a_limit() {
    let running = tiny(|options| options.slots = 1);
    std::thread::scope(|scope| {
        let cut = scope.spawn(|| {
            running.agent.post(running.url(COMPLETIONS)).send(long(&running, false).to_string()).is_err()
        });
        running.until("it begins", || running.metric("parr_running") > 0.0);
        let begun = Instant::now();
        let in_time = running.server.drain(Duration::from_millis(1));
        assert!(begun.elapsed() < Duration::from_secs(30));
        let cut = cut.join().expect("no panic");
        assert!(in_time || cut, "the request ended or was cut off");
    });
}
