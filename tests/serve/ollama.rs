//! Ollama's interface.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use super::{Running, smollm2, user};

fn lines(running: &Running, path: &str, body: &Value) -> Vec<Value> {
    let mut response = running.agent.post(running.url(path)).send(body.to_string()).expect("an answer");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let lines = BufReader::new(response.body_mut().as_reader()).lines();
    lines.map(|line| serde_json::from_str(&line.expect("a text")).expect("JSON")).collect()
}

#[test]
fn chats_and_texts_stream_as_lines() {
    let running = smollm2(|_| {});
    let options = json!({ "seed": 4, "num_predict": 12, "temperature": 0.7 });
    let mut body =
        json!({ "model": "smollm2:latest", "messages": user("Name a river."), "options": options });
    let parts = lines(&running, "/api/chat", &body);
    let text: String = parts.iter().map(|part| part["message"]["content"].as_str().unwrap()).collect();
    let last = parts.last().unwrap();
    assert_eq!((&last["done"], parts[0]["done"].as_bool()), (&json!(true), Some(false)));
    assert!(last["eval_count"].as_u64().unwrap() <= 12 && last["prompt_eval_count"].as_u64().unwrap() > 0);
    body["stream"] = false.into();
    assert_eq!(running.ask("/api/chat", &body)["message"]["content"], text.as_str());

    let body = json!({ "model": "smollm2", "prompt": "Name a river.", "options": options });
    let parts = lines(&running, "/api/generate", &body);
    let generated: String = parts.iter().map(|part| part["response"].as_str().unwrap()).collect();
    assert_eq!(generated, text, "the same chat");
    let raw = json!({ "model": "smollm2", "prompt": "One, two,", "raw": true, "stream": false, "options": options });
    assert_ne!(running.ask("/api/generate", &raw)["response"], "");

    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "maximum": 9, "minimum": 0 } },
        "required": ["n"], "additionalProperties": false });
    let body = json!({ "model": "smollm2", "messages": user("A number?"), "format": schema, "stream": false,
        "options": { "seed": 1, "num_predict": 30 } });
    let reply = running.ask("/api/chat", &body);
    let value: Value = serde_json::from_str(reply["message"]["content"].as_str().unwrap()).expect("JSON");
    assert!(value["n"].is_u64(), "{value}");
}

#[test]
fn the_model_is_listed_and_shown() {
    let running = smollm2(|_| {});
    let tags = running.get("/api/tags").1;
    assert_eq!(tags["models"][0]["name"], "smollm2");
    let shown = running.ask("/api/show", &json!({ "model": "smollm2" }));
    assert!(shown["template"].as_str().unwrap().contains("im_start"));
    assert_eq!(shown["license"], "Apache-2.0");
    assert_eq!(running.get("/api/version").1["version"], env!("CARGO_PKG_VERSION"));
    let loaded = running.ask("/api/generate", &json!({ "model": "smollm2" }));
    assert_eq!(loaded["done_reason"], "load");
    let (status, error) = running.post("/api/chat", &json!({ "model": "llama3", "messages": user("Hi") }));
    assert_eq!(status, 404);
    assert!(error["error"].as_str().unwrap().contains("smollm2"), "{error}");
}
