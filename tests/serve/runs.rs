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
    // Another run may be reading it.
    if !data.exists() {
        std::fs::write(&data, (0..16).map(row).collect::<String>()).unwrap();
    }
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
fn runs_outlive_the_server() {
    let steps = 60;
    let adapter = |running: &Running, name: &str| {
        let path = format!("runs/{name}/adapter/adapter_model.safetensors");
        std::fs::read(running.folder.path().join(path)).expect("an adapter")
    };
    let mut running = tiny(|options| options.adapter_slots = 2);
    start(&running, Some("whole"), steps);
    running.until("it ends", || status(&running, "whole") == "finished");
    start(&running, Some("cut"), steps);
    let step = |running: &Running| running.get("/v1/runs/cut").1["step"].as_u64().unwrap();
    running.until("it steps", || step(&running) >= 2);
    let ask = |running: &Running| {
        let body = json!({ "model": "tiny:whole", "prompt": [7, 38, 69], "temperature": 0, "max_tokens": 8, "logprobs": 0 });
        running.ask("/v1/completions", &body)["choices"].clone()
    };
    let before = ask(&running);
    // The drain saves a state. A crash would not have written the last status.
    running.restart(|folder| {
        let path = folder.join("runs/cut.run.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let (rest, last) = text.trim_end().rsplit_once('\n').unwrap();
        assert!(last.contains("cancelled"), "{last}");
        std::fs::write(path, format!("{rest}\n{}", &last[..9])).unwrap();
    });

    let listed = running.get("/v1/runs").1["data"].clone();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["whole", "cut"]);
    assert_eq!((&listed[0]["status"], &listed[0]["adapter"]), (&json!("finished"), &json!("whole")));
    assert_eq!(ask(&running), before, "its adapter is served");
    let interrupted = running.get("/v1/runs/cut").1;
    assert_eq!(interrupted["status"], "cancelled");
    assert!(interrupted["error"].as_str().unwrap().contains("resume"), "{interrupted}");
    assert!(step(&running) >= 2 && step(&running) < steps as u64, "{interrupted}");
    assert_eq!(running.post("/v1/runs/whole/resume", &json!({})).0, 409);

    let resumed = running.ask("/v1/runs/cut/resume", &json!({}));
    assert!(matches!(resumed["status"].as_str(), Some("queued" | "running")), "{resumed}");
    let all = events(&running, "cut", None);
    assert_eq!(all.last().unwrap().2["status"], "finished", "{:?}", all.last());
    let of_steps = all.iter().filter(|(_, name, _)| name == "step");
    let mut seen: Vec<u64> = of_steps.map(|(_, _, value)| value["step"].as_u64().unwrap()).collect();
    seen.dedup();
    assert_eq!(seen, (1..=steps as u64).collect::<Vec<_>>(), "steps from before the restart, and after");
    assert_eq!(adapter(&running, "cut"), adapter(&running, "whole"), "as if it had not been interrupted");
    // The past of a run does not end it.
    let ends = all.iter().filter(|(_, name, value)| name == "status" && value["status"] == "cancelled");
    assert_eq!(ends.count(), 0);

    // A file that is no file of a run is left alone.
    running.restart(|folder| std::fs::write(folder.join("runs/odd.run.jsonl"), "{}\n").unwrap());
    assert_eq!(running.get("/v1/runs").1["data"].as_array().unwrap().len(), 2);
    let odd =
        json!({ "kind": "sft", "name": "odd", "steps": 1, "data": running.folder.path().join("rows.jsonl") });
    assert_eq!(running.post("/v1/runs", &odd).0, 409);
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
