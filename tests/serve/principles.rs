//! Sets of principles, and replies steered by them.

use serde_json::{Value, json};

use super::{joined, smollm2, tiny, user};

const CHAT: &str = "/v1/chat/completions";

fn rows() -> Value {
    json!([
        { "id": "kind-1", "name": "Warmth", "definition": "Be warm.", "negative": null, "weight": 2.0, "on": true },
        { "id": "kind-2", "name": "Length", "definition": "Be brief.", "negative": null, "weight": 1.0, "on": false },
    ])
}

#[test]
fn sets_are_saved_and_read_back() {
    let running = tiny(|_| {});
    let listed = running.get("/v1/principles").1;
    let shipped = listed["data"].as_array().unwrap().len();
    assert!(
        listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|set| set["name"] == "honest" && set["source"] == "shipped")
    );

    let (status, saved) =
        running.put("/v1/principles/kind", &json!({ "title": "Kindness", "principles": rows() }));
    assert_eq!(status, 200, "{saved}");
    assert_eq!((&saved["source"], &saved["title"]), (&json!("file"), &json!("Kindness")));
    assert_eq!(saved["principles"], rows());
    assert_eq!(running.get("/v1/principles/kind").1, saved);
    assert_eq!(running.get("/v1/principles").1["data"].as_array().unwrap().len(), shipped + 1);
    // The file is one that the rest of Parr reads: without the principle that is off.
    let file = running.folder.path().join("principles/kind.toml");
    let set = parr::principles::PrincipleSet::read(&file).expect("a sound file");
    assert_eq!(set.principles.len(), 1);

    // A change on disk is a conflict.
    let hash = saved["hash"].clone();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("# edited\n{text}")).unwrap();
    let (status, error) = running.put("/v1/principles/kind", &json!({ "principles": rows(), "hash": hash }));
    assert_eq!((status, &error["error"]["code"]), (409, &json!("changed_on_disk")), "{error}");
    let now = running.get("/v1/principles/kind").1;
    assert!(now["text"].as_str().unwrap().starts_with("# edited"));
    let (status, saved) =
        running.put("/v1/principles/kind", &json!({ "text": now["text"], "hash": now["hash"] }));
    assert_eq!((status, &saved["hash"]), (200, &now["hash"]));

    // Shipped sets stay, and names are no paths.
    let (status, error) = running.put("/v1/principles/honest", &json!({ "principles": rows() }));
    assert_eq!((status, &error["error"]["code"]), (403, &json!("shipped")), "{error}");
    for name in ["Kind", "a%20b", "..%2Fx", "x.toml"] {
        let (status, _) = running.put(&format!("/v1/principles/{name}"), &json!({ "principles": rows() }));
        assert_eq!(status, 400, "{name}");
    }
    let wrong = json!({ "principles": [{ "definition": "" }] });
    let (status, error) = running.put("/v1/principles/kind", &wrong);
    assert_eq!((status, &error["error"]["mistakes"][0]["index"]), (422, &json!(0)), "{error}");
    let other = json!({ "text": text.replace("id = \"kind\"", "id = \"other\"") });
    assert_eq!(running.put("/v1/principles/kind", &other).0, 422);
}

#[test]
fn mistakes_are_named_by_line() {
    let running = tiny(|_| {});
    let check = |body: Value| running.ask("/v1/principles/check", &body);
    let sound = check(json!({ "principles": rows() }));
    assert_eq!((&sound["ok"], &sound["mistakes"]), (&json!(true), &json!([])));
    assert_eq!(sound["principles"], rows());
    let text = "id = \"x\"\ntitle = \"X\"\ndescription = \"D\"\nuse = \"always\"\n\n[[principle]]\nid = \"X\"\ndimension = \"A\"\ndefinition = \"A.\"\n";
    let wrong = check(json!({ "text": text }));
    assert_eq!(
        (&wrong["ok"], &wrong["mistakes"][0]["line"], &wrong["mistakes"][0]["index"]),
        (&json!(false), &json!(7), &json!(0))
    );
    let syntax = check(json!({ "text": "id = \n[[principle]]" }));
    assert_eq!((&syntax["ok"], &syntax["mistakes"][0]["line"]), (&json!(false), &json!(1)));
    let sentences = check(json!({ "text": "Be brief.\nBe kind.\n" }));
    assert_eq!(sentences["principles"].as_array().unwrap().len(), 2);
    assert_eq!(running.post("/v1/principles/check", &json!({})).0, 400);
}

#[test]
fn replies_follow_principles_of_every_form() {
    let running = smollm2(|_| {});
    let reply = |principles: Value, tell: &str| {
        let body = json!({
            "messages": user("How are you?"), "temperature": 0, "max_tokens": 8, "principles": principles, "tell": tell,
        });
        running.ask(CHAT, &body)
    };
    let tokens = |reply: &Value| reply["usage"]["prompt_tokens"].as_u64().unwrap();
    let plain = reply(Value::Null, "system");
    assert!(plain["parr"].get("principles").is_none());
    let told = reply("Answer like a pirate.\nBe brief.".into(), "system");
    assert_eq!(
        told["parr"]["principles"][1],
        json!({ "id": "mine-2", "name": "Principle 2", "definition": "Be brief.", "weight": 1.0 })
    );
    assert!(tokens(&told) > tokens(&plain));
    assert_eq!(tokens(&reply("honest".into(), "none")), tokens(&plain));
    assert!(tokens(&reply("honest".into(), "user")) > tokens(&plain));
    running.put("/v1/principles/kind", &json!({ "principles": rows() }));
    let saved = reply("kind".into(), "system");
    assert_eq!(saved["parr"]["principles"].as_array().unwrap().len(), 1, "one is off: {saved}");
    let headed = super::parsed(
        running
            .agent
            .post(running.url(CHAT))
            .header("X-Parr-Principles", "kind")
            .send(json!({ "messages": user("How are you?"), "temperature": 0, "max_tokens": 8 }).to_string())
            .expect("an answer"),
    );
    assert_eq!(headed.1["parr"]["principles"], saved["parr"]["principles"]);
    assert_eq!(headed.1["choices"][0]["message"], saved["choices"][0]["message"]);
}

#[cfg(feature = "shipped-reward")]
#[test]
fn a_reward_model_chooses_and_scores() {
    let running = smollm2(|options| options.slots = 4);
    let mut body = json!({
        "messages": user("Say hello."), "seed": 5, "max_tokens": 12, "temperature": 0.9,
        "principles": "Use exclamation marks.\nBe brief.", "best_of": 3, "reward": "smollm2-principles",
    });
    let reply = running.ask(CHAT, &body);
    let candidates = reply["parr"]["candidates"].as_array().expect("candidates").clone();
    assert_eq!((candidates.len(), &candidates[0]["seed"]), (3, &json!(5)));
    let chosen: Vec<&Value> = candidates.iter().filter(|one| one["chosen"] == true).collect();
    assert_eq!((chosen.len(), &chosen[0]["text"]), (1, &reply["choices"][0]["message"]["content"]));
    let best = candidates.iter().filter_map(|one| one["score"].as_f64()).fold(f64::MIN, f64::max);
    assert_eq!(chosen[0]["score"].as_f64(), Some(best));
    assert!(
        candidates.iter().all(|one| one["by_principle"].as_array().is_some_and(|scores| scores.len() == 2))
    );

    // The same while it streams, with progress.
    body["stream"] = true.into();
    body["parr_progress"] = true.into();
    let events = running.events(CHAT, &body);
    assert_eq!(joined(&events, 0), reply["choices"][0]["message"]["content"].as_str().unwrap());
    assert_eq!(events.last().unwrap()["parr"], reply["parr"]);
    let stages: Vec<&str> = events
        .iter()
        .filter(|event| event["object"] == "parr.progress")
        .map(|event| event["stage"].as_str().unwrap())
        .collect();
    assert!(stages.contains(&"generating") && stages.contains(&"scoring"), "{stages:?}");
    // Each candidate is what its seed gives alone.
    let alone = json!({
        "messages": user("Say hello."), "seed": candidates[1]["seed"], "max_tokens": 12, "temperature": 0.9,
        "principles": "Use exclamation marks.\nBe brief.",
    });
    assert_eq!(running.ask(CHAT, &alone)["choices"][0]["message"]["content"], candidates[1]["text"]);

    // The same scores by /v1/score.
    let texts: Vec<&Value> = candidates.iter().map(|one| &one["text"]).collect();
    let score = json!({ "prompt": "Say hello.", "replies": texts, "principles": "Use exclamation marks.\nBe brief." });
    let scores = running.ask("/v1/score", &score);
    assert_eq!(scores["reward"], "smollm2-principles");
    for (score, candidate) in scores["scores"].as_array().unwrap().iter().zip(&candidates) {
        let near =
            |one: &Value, other: &Value| (one.as_f64().unwrap() - other.as_f64().unwrap()).abs() < 1e-3;
        assert!(near(&score["score"], &candidate["score"]), "{score} {candidate}");
        assert!(near(&score["by_principle"][1], &candidate["by_principle"][1]), "{score} {candidate}");
    }
    let rows = json!([{ "definition": "Use exclamation marks.", "weight": 2.0 }]);
    let scored = running.ask(
        "/v1/score",
        &json!({ "prompt": "Say hello.", "replies": ["Hi!!!", "Hi."], "principles": rows }),
    );
    assert!(scored["scores"][0]["score"].as_f64() > scored["scores"][1]["score"].as_f64(), "{scored}");
    let (status, _) =
        running.post("/v1/score", &json!({ "prompt": "x", "replies": ["y"], "reward": "missing" }));
    assert_eq!(status, 404);
}
