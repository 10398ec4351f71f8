//! Training runs.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use super::{Running, tiny};

/// Starts a run of fine-tuning on rows of token ids.
fn start(running: &Running, name: Option<&str>, steps: usize) -> Value {
    let data = running.folder.path().join("rows.jsonl");
    let row = |seed: u32| {
        let ids: Vec<u32> = (0..12).map(|at| (at * 7 + seed * 31) % 512).collect();
        json!({ "ids": ids, "loss_mask": vec![1; 12] }).to_string() + "\n"
    };
    std::fs::write(&data, (0..16).map(row).collect::<String>()).unwrap();
    let mut body = json!({
        "kind": "sft", "steps": steps, "data": data,
        "settings": { "batch": { "sequences": 2 }, "lora": { "rank": 4 }, "evaluation": { "held_out": 2 } },
    });
    if let Some(name) = name {
        body["name"] = name.into();
    }
    let (status, run) = running.post("/v1/runs", &body);
    assert_eq!(status, 201, "{run}");
    run
}

fn status(running: &Running, id: &str) -> String {
    running.get(&format!("/v1/runs/{id}")).1["status"].as_str().unwrap_or_default().to_owned()
}

/// Id, name and data of the events of a run after `last`, until it ends.
fn events(running: &Running, id: &str, last: Option<usize>) -> Vec<(usize, String, Value)> {
    let mut request = running.agent.get(running.url(&format!("/v1/runs/{id}/events")));
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last.to_string());
    }
    let mut response = request.call().expect("an answer");
    let (mut events, mut number, mut name) = (Vec::new(), 0, String::new());
    for line in BufReader::new(response.body_mut().as_reader()).lines() {
        let line = line.expect("a text");
        match line.split_once(": ") {
            Some(("id", value)) => number = value.parse().unwrap(),
            Some(("event", value)) => name = value.to_owned(),
            Some(("data", value)) => {
                events.push((number, name.clone(), serde_json::from_str(value).unwrap()))
            }
            _ => {}
        }
    }
    events
}

#[test]
fn a_run_reports_its_steps_and_its_adapter_is_served() {
    let running = tiny(|_| {});
    let run = start(&running, Some("harbour"), 3);
    assert_eq!((&run["id"], &run["kind"], &run["adapter"]), (&json!("harbour"), &json!("sft"), &Value::Null));
    let all = events(&running, "harbour", None);
    let steps: Vec<&Value> =
        all.iter().filter(|(_, name, _)| name == "step").map(|(_, _, value)| value).collect();
    assert_eq!(steps.iter().map(|step| step["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(
        steps
            .iter()
            .all(|step| step["loss"].is_number() && step["steps"] == 3 && step["seconds"].is_number())
    );
    let (_, name, last) = all.last().unwrap();
    assert_eq!(
        (name.as_str(), &last["status"], &last["adapter"]),
        ("status", &json!("finished"), &json!("harbour")),
        "{last}"
    );
    assert_eq!(all.iter().map(|(id, _, _)| *id).collect::<Vec<_>>(), (1..=all.len()).collect::<Vec<_>>());
    // A client that continues gets the rest.
    let rest = events(&running, "harbour", Some(all.len() - 1));
    assert_eq!(rest, all[all.len() - 1..]);
    let metrics = running.get("/v1/runs/harbour/metrics").1;
    assert_eq!(metrics["data"].as_array().unwrap().iter().collect::<Vec<_>>(), steps);

    let body = |model: &str| json!({ "model": model, "prompt": [7, 38, 69], "temperature": 0, "max_tokens": 8, "logprobs": 0 });
    let with = running.ask("/v1/completions", &body("tiny:harbour"));
    let without = running.ask("/v1/completions", &body("tiny"));
    assert_ne!(with["choices"][0]["logprobs"], without["choices"][0]["logprobs"]);
    let file = running.folder.path().join("runs/harbour/adapter/adapter_model.safetensors");
    assert!(file.is_file());
    assert_eq!(running.post("/v1/runs/harbour/pause", &json!({})).0, 409);
    assert_eq!(running.post("/v1/runs/harbour/cancel", &json!({})).0, 409);
    assert_eq!(running.metric("parr_runs_finished"), 1.0);
    // The name is taken, and the next run gets one of its own.
    let again = json!({ "kind": "sft", "name": "harbour", "data": running.folder.path().join("rows.jsonl") });
    assert_eq!(running.post("/v1/runs", &again).0, 409);
    let next = start(&running, None, 1);
    assert_eq!(next["id"], "sft-1");
    running.until("it ends", || status(&running, "sft-1") == "finished");
    assert_eq!(running.get("/v1/runs").1["data"].as_array().unwrap().len(), 2);
}

#[test]
fn a_run_can_be_paused_resumed_and_cancelled() {
    let running = tiny(|_| {});
    let id = start(&running, Some("long"), 100_000)["id"].as_str().unwrap().to_owned();
    let post = |what: &str| {
        running.ask(&format!("/v1/runs/{id}/{what}"), &json!({}))["status"].as_str().unwrap().to_owned()
    };
    let step = || running.get(&format!("/v1/runs/{id}")).1["step"].as_u64().unwrap();
    running.until("it steps", || step() >= 1);
    // Another run waits, and replies do not.
    let waiting = start(&running, Some("waiting"), 1);
    assert_eq!(waiting["status"], "queued");
    running.ask("/v1/completions", &json!({ "prompt": [1], "max_tokens": 2 }));
    assert_eq!(post("pause"), "paused");
    // The present step ends.
    let mut before = step();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let now = step();
        if now == before {
            break;
        }
        before = now;
    }
    assert_eq!(post("resume"), "running");
    running.until("it continues", || step() > before);
    post("cancel");
    running.until("it ends", || status(&running, &id) == "cancelled");
    assert!(running.folder.path().join("runs/long/checkpoints").is_dir(), "its state is saved");
    running.until("the next one runs", || status(&running, "waiting") == "finished");
    // One that waits is cancelled at once.
    let first = start(&running, Some("first"), 100_000);
    let second = start(&running, Some("second"), 1);
    assert_eq!(running.ask("/v1/runs/second/cancel", &json!({}))["status"], "cancelled", "{second}");
    running.ask("/v1/runs/first/cancel", &json!({}));
    running.until("it ends", || status(&running, "first") == "cancelled");
    assert_eq!(first["kind"], "sft");
}

#[test]
fn a_run_that_fails_says_why() {
    let running = tiny(|_| {});
    let data = running.folder.path().join("wrong.jsonl");
    std::fs::write(&data, "{\"ids\": [1, 2, 99999], \"loss_mask\": [0, 1, 1]}\n").unwrap();
    running.ask("/v1/runs", &json!({ "kind": "sft", "name": "wrong", "steps": 1, "data": data }));
    running.until("it ends", || status(&running, "wrong") == "failed");
    let run = running.get("/v1/runs/wrong").1;
    assert!(run["error"].as_str().unwrap().contains("99999"), "{run}");
    assert_eq!(
        running.ask("/v1/completions", &json!({ "prompt": [1], "max_tokens": 2 }))["object"],
        "text_completion"
    );
}
