//! What is refused, and how: always with an error object.

use serde_json::{Value, json};

use super::{tiny, user};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// An error object with this status.
fn is_error(answer: &(u16, Value), status: u16, kind: &str) {
    let error = &answer.1["error"];
    assert_eq!((answer.0, error["type"].as_str()), (status, Some(kind)), "{answer:?}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer:?}");
    assert!(error.get("param").is_some() && error.get("code").is_some(), "{answer:?}");
}

#[test]
fn wrong_requests_get_error_objects() {
    let running = tiny(|_| {});
    let text = |path: &str, body: &str| {
        super::parsed(running.agent.post(running.url(path)).send(body).expect("an answer"))
    };
    let invalid = "invalid_request_error";
    for body in ["{", "nope", "[1]", "\"x\"", "{\"prompt\": }", "\u{0}"] {
        is_error(&text(COMPLETIONS, body), 400, invalid);
    }
    for (path, body, param) in [
        (COMPLETIONS, json!({}), "prompt"),
        (COMPLETIONS, json!({ "prompt": [] }), "prompt"),
        (COMPLETIONS, json!({ "prompt": { "a": 1 } }), "prompt"),
        (COMPLETIONS, json!({ "prompt": [1, 99999] }), "prompt"),
        (COMPLETIONS, json!({ "prompt": vec![1; 300] }), "prompt"),
        (COMPLETIONS, json!({ "prompt": [1], "temperature": "hot" }), "temperature"),
        (COMPLETIONS, json!({ "prompt": [1], "temperature": -1 }), "temperature"),
        (COMPLETIONS, json!({ "prompt": [1], "n": 0 }), "n"),
        (COMPLETIONS, json!({ "prompt": [1], "max_tokens": -5 }), "max_tokens"),
        (COMPLETIONS, json!({ "prompt": [1], "stream": "yes" }), "stream"),
        (COMPLETIONS, json!({ "prompt": [1], "suffix": "x" }), "suffix"),
        (COMPLETIONS, json!({ "prompt": [1], "best_of": 4 }), "best_of"),
        (CHAT, json!({}), "messages"),
        (CHAT, json!({ "messages": "Hi" }), "messages"),
        (CHAT, json!({ "messages": [] }), "messages"),
        (CHAT, json!({ "messages": [{ "content": "no role" }] }), "messages"),
        (CHAT, json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] }), "messages"),
        (CHAT, json!({ "messages": user("Hi"), "tools": [{}] }), "tools"),
        (CHAT, json!({ "messages": user("Hi"), "best_of": 17 }), "best_of"),
        (CHAT, json!({ "messages": user("Hi"), "tell": "everybody" }), "tell"),
        (CHAT, json!({ "messages": user("Hi"), "top_logprobs": 2 }), "top_logprobs"),
        (CHAT, json!({ "messages": user("Hi"), "response_format": { "type": "xml" } }), "response_format"),
        ("/v1/score", json!({ "prompt": "x" }), "replies"),
        ("/v1/adapters", json!({ "name": "x" }), "path"),
        ("/v1/adapters", json!({ "name": "../x", "path": "x" }), "name"),
        ("/v1/runs", json!({ "kind": "magic" }), "kind"),
        ("/v1/runs", json!({ "kind": "sft", "name": "../x" }), "name"),
        ("/v1/runs", json!({ "kind": "sft", "minutes": 0 }), "minutes"),
        ("/v1/runs", json!({ "kind": "sft", "data": "missing.jsonl" }), "data"),
        ("/v1/runs", json!({ "kind": "sft", "settings": { "colour": 1 } }), "settings"),
        ("/tokenize", json!({}), "text"),
    ] {
        let answer = running.post(path, &body);
        is_error(&answer, 400, invalid);
        assert_eq!(answer.1["error"]["param"], param, "{path} {body}: {answer:?}");
    }
    for (path, body) in [
        (COMPLETIONS, json!({ "model": "gpt-4", "prompt": [1] })),
        (CHAT, json!({ "model": "tiny:missing", "messages": user("Hi") })),
        (CHAT, json!({ "messages": user("Hi"), "principles": "missing" })),
    ] {
        is_error(&running.post(path, &body), 404, invalid);
    }
    for path in [
        "/v1/nothing",
        "/v1/models/nothing",
        "/v1/runs/nothing",
        "/v1/principles/nothing",
        "/v1/principles/..%2Fx",
        "/%ff",
    ] {
        is_error(&running.get(path), 404, invalid);
    }
    is_error(&running.delete("/v1/adapters/nothing"), 404, invalid);
    is_error(&running.get(CHAT), 405, invalid);
    is_error(&running.post("/v1/runs/nothing/pause", &json!({})), 404, invalid);
    is_error(&running.post("/v1/catalog/nothing/pull", &json!({})), 404, invalid);
    is_error(&running.post("/v1/catalog/smollm2/open", &json!({})), 409, invalid);
    // Ollama's clients read a text.
    let (status, error) = text("/api/chat", "{");
    assert_eq!(status, 400);
    assert!(error["error"].is_string(), "{error}");
    // The server is as well as before.
    assert_eq!(
        running.ask(COMPLETIONS, &json!({ "prompt": [1], "max_tokens": 2 }))["usage"]["completion_tokens"],
        2
    );
}

#[test]
fn large_bodies_are_refused() {
    let running = tiny(|_| {});
    let large = format!("{{\"prompt\": \"{}\"}}", "x".repeat(5 << 20));
    let mut stream = running.connect();
    use std::io::Write;
    let head =
        format!("POST {COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", large.len());
    stream.write_all(head.as_bytes()).unwrap();
    // The answer comes before the body is read.
    let (status, body) = super::answer(stream);
    assert_eq!(status, 413, "{body}");
    // Without a length, it comes when there is too much.
    let mut stream = running.connect();
    let head =
        format!("POST {COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    for _ in 0..5 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let (status, body) = super::answer(stream);
    assert_eq!(status, 413, "{body}");
}

#[test]
fn other_hosts_and_origins_are_refused() {
    let running = tiny(|options| {
        options.allowed_origins = vec!["https://app.example".to_owned()];
        options.allowed_hosts = vec!["gpu.example".to_owned()];
    });
    let port = running.server.local_addr().port();
    let get = |host: &str, more: &str| {
        running.raw(&format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"))
    };
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "gpu.example".to_owned()] {
        assert_eq!(get(&host, "").0, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8017", "192.168.1.9", "localhost.evil.example"] {
        let (status, body) = get(host, "");
        assert_eq!(status, 403, "{host}");
        is_error(&(status, serde_json::from_str(&body).expect("JSON")), 403, "invalid_request_error");
    }
    assert_eq!(get("localhost", "Origin: http://localhost\r\n").0, 200);
    assert_eq!(get("localhost", "Origin: https://app.example\r\n").0, 200);
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        assert_eq!(get("localhost", &format!("Origin: {origin}\r\n")).0, 403, "{origin}");
    }
    assert_eq!(get("localhost", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n").0, 403);
    let preflight =
        running.agent.options(running.url("/v1/models")).header("Origin", "https://app.example").call();
    let preflight = preflight.expect("an answer");
    assert_eq!(preflight.status().as_u16(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "https://app.example");
    // Lines that are no request.
    for wrong in
        ["nonsense\r\n\r\n", "GET / HTTP/9\r\n\r\n", "GET /v1/models HTTP/1.1\r\nHost: a\r\nHost\r\n\r\n"]
    {
        assert_eq!(running.raw(wrong).0, 400, "{wrong}");
    }
    assert_eq!(get("localhost", "").0, 200);
}

#[test]
fn a_key_is_needed_where_one_is_set() {
    let running = tiny(|options| options.api_key = Some("secret".to_owned()));
    for path in ["/health", "/", "/studio.js", "/studio.css"] {
        assert_eq!(running.get(path).0, 200, "{path}");
    }
    for path in ["/v1/models", "/metrics", "/v1/server", "/api/tags", "/v1/nothing"] {
        is_error(&running.get(path), 401, "authentication_error");
    }
    let with = |key: &str| {
        running
            .agent
            .get(running.url("/v1/models"))
            .header("Authorization", key)
            .call()
            .expect("an answer")
            .status()
    };
    assert_eq!(with("Bearer secret").as_u16(), 200);
    for wrong in ["Bearer secre", "Bearer secret1", "Basic secret", "secret", ""] {
        assert_eq!(with(wrong).as_u16(), 401, "{wrong}");
    }
}
