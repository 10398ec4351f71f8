//! The page, and what the server reports about itself.

use serde_json::json;

use super::{agent, smollm2, tiny};
use parr::serve::{ServeOptions, Server};

#[test]
fn the_page_is_served_with_a_strict_policy_and_a_tag() {
    let running = tiny(|_| {});
    for (path, kind) in [("/", "text/html"), ("/studio.js", "text/javascript"), ("/studio.css", "text/css")] {
        let response = running.agent.get(running.url(path)).call().expect("an answer");
        let headers = response.headers();
        assert!(headers["content-type"].to_str().unwrap().starts_with(kind), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let tag = headers["etag"].to_str().unwrap().to_owned();
        let again =
            running.agent.get(running.url(path)).header("If-None-Match", &tag).call().expect("an answer");
        assert_eq!(again.status().as_u16(), 304);
        let other =
            running.agent.get(running.url(path)).header("If-None-Match", "\"x\"").call().expect("an answer");
        assert_eq!(other.status().as_u16(), 200);
    }
    let without = tiny_without_page();
    assert_eq!(without.0, 404);
}

/// The status of the page of a server without one.
fn tiny_without_page() -> (u16, serde_json::Value) {
    let options = ServeOptions { port: 0, studio: false, ..ServeOptions::default() };
    let server = Server::start(None, options).expect("a free port");
    super::parsed(agent().get(format!("http://{}/", server.local_addr())).call().expect("an answer"))
}

#[test]
fn a_server_without_a_model_offers_to_pull_one() {
    let server =
        Server::start(None, ServeOptions { port: 0, ..ServeOptions::default() }).expect("a free port");
    let get = |path: &str| {
        super::parsed(agent().get(format!("http://{}{path}", server.local_addr())).call().expect("an answer"))
    };
    assert_eq!(get("/health").1["status"], "no_model");
    assert_eq!(get("/v1/server").1["model"], json!(null));
    assert_eq!(get("/v1/models").1["data"], json!([]));
    let catalog = get("/v1/catalog").1;
    let first = &catalog["data"][0];
    assert_eq!(
        (&first["name"], &first["parameters"], &first["licence"]),
        (&json!("smollm2"), &json!("135M"), &json!("Apache-2.0"))
    );
    assert!(catalog["current"].is_null() && first["cached"].is_boolean());
    let (status, error) = get("/v1/adapters");
    assert_eq!((status, &error["error"]["code"]), (503, &json!("no_model")));
    assert_eq!(get("/metrics").0, 200);
}

#[test]
fn the_server_describes_itself() {
    let running = smollm2(|options| options.api_key = None);
    let server = running.get("/v1/server").1;
    assert_eq!(
        (&server["model"], &server["context"], &server["slots"]),
        (&json!("smollm2"), &json!(256), &json!(2))
    );
    if cfg!(feature = "shipped-reward") {
        assert_eq!(server["reward"], "smollm2-principles");
    }
    let health = running.get("/health").1;
    assert_eq!((&health["status"], &health["model"]), (&json!("ok"), &json!("smollm2")));
    assert!(health["adapter"].is_string());
    let model = running.get("/v1/models/smollm2").1;
    assert_eq!(model["parr"], json!({ "adapter": null, "context": 256, "license": "Apache-2.0" }));
    let tokenizer = running.model.tokenizer().unwrap();
    let ids = json!(tokenizer.encode("Hello", parr::tokenizer::Specials::Parse).unwrap());
    assert_eq!(running.ask("/tokenize", &json!({ "text": "Hello" }))["ids"], ids);
    let other = json!({ "prompt": "Hello", "add_special_tokens": false });
    assert_eq!(running.ask("/tokenize", &other)["tokens"], ids);
    assert_eq!(running.ask("/detokenize", &json!({ "tokens": ids }))["prompt"], "Hello");
    assert_eq!(running.get("/tokenizer_info").1["eos_token"], "<|im_end|>");
}

#[test]
fn metrics_are_in_prometheus_format() {
    let running = tiny(|_| {});
    running.ask("/v1/completions", &json!({ "prompt": [1, 2], "max_tokens": 3 }));
    running.post("/v1/completions", &json!({}));
    let mut response = running.agent.get(running.url("/metrics")).call().expect("an answer");
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.body_mut().read_to_string().unwrap();
    let mut named = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "#" => {
                assert!(matches!(words[1], "HELP" | "TYPE"), "{line}");
                named.push(words[2].to_owned());
            }
            name => {
                let base = name.split('{').next().unwrap();
                let of = |name: &String| {
                    base.strip_prefix(name.as_str())
                        .is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
                };
                assert!(named.iter().any(of), "{line}");
                assert!(words.last().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
    }
    assert_eq!(running.metric("parr_reply_tokens_total"), 3.0);
    assert_eq!(running.metric("parr_prompt_tokens_total"), 2.0);
    assert_eq!(running.metric("parr_first_token_seconds_count"), 1.0);
    let failed = "parr_http_requests_total{method=\"POST\",route=\"/v1/completions\",status=\"400\"}";
    assert_eq!(running.metric(failed), 1.0);
}
