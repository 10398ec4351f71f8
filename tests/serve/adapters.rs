//! Adapters that come and go, and share a batch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Running, long, tiny};
use parr::adapter::{Adapter, Card};
use parr::model::Model;
use parr::random::{Philox, Purpose};
use parr::train::config::LoraSettings;

const COMPLETIONS: &str = "/v1/completions";

/// Writes an adapter with pseudo-random factors that change what the model writes.
fn written(model: &Model, folder: &Path, name: &str, rank: usize, seed: u64) -> PathBuf {
    let settings = LoraSettings { rank, ..LoraSettings::default() };
    let mut weights = settings.fresh(model.config(), seed).expect("sound settings");
    for (at, pair) in weights.layers.iter_mut().flat_map(BTreeMap::values_mut).enumerate() {
        for (index, value) in pair.b.iter_mut().enumerate() {
            let draw = Philox::new(seed).uniform(Purpose::Conformance, at as u32, index as u32, 0);
            *value = 0.4 * (draw - 0.5);
        }
    }
    let path = folder.join(name);
    Adapter { weights, head: None, card: Card::default() }.write_peft(&path).expect("a writable folder");
    path
}

fn tokens(running: &Running, model: &str, seed: u64) -> Value {
    let body =
        json!({ "model": model, "prompt": [5, 4, 3, 2, 1], "seed": seed, "max_tokens": 24, "logprobs": 0 });
    running.ask(COMPLETIONS, &body)["choices"][0]["logprobs"]["tokens"].clone()
}

#[test]
fn requests_with_different_adapters_share_a_batch() {
    let running = tiny(|options| options.slots = 4);
    for (name, rank, seed) in [("one", 4, 1), ("two", 16, 2)] {
        let path = written(&running.model, running.folder.path(), name, rank, seed);
        let entry = running.ask("/v1/adapters", &json!({ "name": name, "path": path }));
        assert_eq!(
            (&entry["name"], &entry["rank"], &entry["loaded"]),
            (&json!(name), &json!(rank), &json!(true))
        );
    }
    let names: Vec<Value> = running.get("/v1/models").1["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(names, ["tiny", "tiny:one", "tiny:two"]);
    let models = ["tiny", "tiny:one", "tiny:two"];
    let alone: Vec<Value> = models.iter().map(|model| tokens(&running, model, 9)).collect();
    assert!(alone[0] != alone[1] && alone[1] != alone[2] && alone[0] != alone[2], "{alone:?}");
    for _ in 0..3 {
        let together: Vec<Value> = std::thread::scope(|scope| {
            let ask = |model| {
                scope.spawn({
                    let running = &running;
                    move || tokens(running, model, 9)
                })
            };
            let asked: Vec<_> = models.iter().map(|model| ask(*model)).collect();
            asked.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        assert_eq!(together, alone);
    }
    // Scores of prompts depend on the adapter too.
    let score = |model: &str| {
        let body =
            json!({ "model": model, "prompt": [5, 4, 3], "max_tokens": 0, "echo": true, "logprobs": 0 });
        running.ask(COMPLETIONS, &body)["choices"][0]["logprobs"]["token_logprobs"].clone()
    };
    assert_ne!(score("tiny"), score("tiny:one"));
    // After a removal the others stay, and the name is free.
    assert_eq!(running.delete("/v1/adapters/one").0, 204);
    assert_eq!(running.post(COMPLETIONS, &json!({ "model": "tiny:one", "prompt": [1] })).0, 404);
    assert_eq!(tokens(&running, "tiny:two", 9), alone[2]);
    let path = written(&running.model, running.folder.path(), "three", 4, 3);
    running.ask("/v1/adapters", &json!({ "name": "one", "path": path }));
    let renewed = tokens(&running, "tiny:one", 9);
    assert!(renewed != alone[1] && renewed != alone[0], "a cached prompt of the former adapter is not used");
}

#[test]
fn adapters_that_do_not_fit_are_refused_with_the_reason() {
    let running = tiny(|options| (options.adapter_rank, options.adapter_slots) = (8, 1));
    let folder = running.folder.path();
    let post = |name: &str, path: &Path| running.post("/v1/adapters", &json!({ "name": name, "path": path }));
    let large = written(&running.model, folder, "large", 16, 1);
    let (status, error) = post("large", &large);
    assert_eq!(status, 422, "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("rank"), "{error}");
    let (status, error) = post("none", &folder.join("none"));
    assert_eq!((status, &error["error"]["param"]), (422, &json!("path")), "{error}");
    let small = written(&running.model, folder, "small", 8, 2);
    assert_eq!(post("small", &small).0, 201);
    assert_eq!(post("small", &small).0, 409);
    let (status, error) = post("another", &small);
    assert_eq!((status, &error["error"]["code"]), (422, &json!("no_adapter_slot")), "{error}");
    let listed = running.get("/v1/adapters").1;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(running.metric("parr_adapters"), 1.0);
}

#[test]
fn a_removal_waits_until_nobody_uses_the_adapter() {
    let running = tiny(|options| options.slots = 2);
    let path = written(&running.model, running.folder.path(), "one", 4, 1);
    running.ask("/v1/adapters", &json!({ "name": "one", "path": path }));
    let mut body = long(&running, false);
    body["model"] = "tiny:one".into();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| running.ask(COMPLETIONS, &body));
        running.until("the reply begins", || running.metric("parr_running") > 0.0);
        assert_eq!(running.delete("/v1/adapters/one").0, 204);
        let reply = long.join().expect("an answer");
        assert_eq!(reply["choices"][0]["finish_reason"], "length", "{reply}");
    });
    assert_eq!(running.get("/v1/adapters").1["data"], json!([]));
}

#[test]
fn after_a_loss_of_the_gpu_the_model_and_its_adapters_are_loaded_again() {
    let running = tiny(|_| {});
    let path = written(&running.model, running.folder.path(), "one", 4, 1);
    running.ask("/v1/adapters", &json!({ "name": "one", "path": path }));
    let before = ["tiny", "tiny:one"].map(|model| tokens(&running, model, 9));
    let echo =
        json!({ "model": "tiny:one", "prompt": [5, 4, 3], "max_tokens": 0, "echo": true, "logprobs": 0 });
    let scored = running.ask(COMPLETIONS, &echo)["choices"].clone();
    // The app takes the GPU away, which the server may not undo.
    running.model.device().release();
    let (status, error) = running.post(COMPLETIONS, &json!({ "prompt": [1], "max_tokens": 2 }));
    assert_eq!((status, &error["error"]["code"]), (503, &json!("gpu_lost")), "{error}");
    // Everything from before is lost now, and the GPU is there.
    running.model.reload().expect("the driver opens it again");
    assert_eq!(["tiny", "tiny:one"].map(|model| tokens(&running, model, 9)), before);
    assert_eq!(running.ask(COMPLETIONS, &echo)["choices"], scored);
    assert_eq!(running.get("/v1/adapters").1["data"][0]["loaded"], true);
    assert!(running.metric("parr_gpu_losses_total") >= 1.0);
}
