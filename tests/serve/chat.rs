//! Chats: streams, choices, log-probabilities, JSON.

use serde_json::{Value, json};

use super::{joined, sampling, smollm2, user};
use parr::generate::Request;
use parr::tokenizer::Message;

const CHAT: &str = "/v1/chat/completions";

fn content(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"].as_str().expect("a text")
}

#[test]
fn a_stream_joins_to_the_whole_reply_and_a_seed_repeats_it() {
    let running = smollm2(|_| {});
    let body =
        json!({ "model": "smollm2", "messages": user("Name three rivers."), "seed": 7, "max_tokens": 24 });
    let whole = running.ask(CHAT, &body);
    assert_eq!((&whole["object"], &whole["model"]), (&json!("chat.completion"), &json!("smollm2")));
    assert_eq!(whole["parr"]["seed"], 7);
    let usage = &whole["usage"];
    assert_eq!(
        usage["total_tokens"],
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );

    let mut streaming = body.clone();
    streaming["stream"] = true.into();
    streaming["stream_options"] = json!({ "include_usage": true });
    let events = running.events(CHAT, &streaming);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(joined(&events, 0), content(&whole));
    let last = events.last().expect("events");
    assert_eq!((&last["choices"], &last["parr"]["seed"]), (&json!([]), &json!(7)));
    assert_eq!(last["usage"]["completion_tokens"], usage["completion_tokens"]);
    let reason =
        events.iter().filter_map(|event| event["choices"][0]["finish_reason"].as_str()).collect::<Vec<_>>();
    assert_eq!(reason, [whole["choices"][0]["finish_reason"].as_str().unwrap()]);

    // The same as a generator alone.
    let format = running.model.chat_format().expect("it chats").clone();
    let prompt =
        format.encode_chat(&[Message::new("user", "Name three rivers.")], true).expect("a sound chat");
    let stop_ids = format.end_of_turn().into();
    let request = Request { prompt, sampling: sampling(7), max_tokens: 24, stop_ids, ..Request::default() };
    assert_eq!(running.alone(request).text, content(&whole));

    // Without a seed there is a fresh one, which repeats the reply.
    let mut fresh = body.clone();
    fresh["seed"] = Value::Null;
    let fresh = running.ask(CHAT, &fresh);
    let mut again = body;
    again["seed"] = fresh["parr"]["seed"].clone();
    assert_eq!(content(&running.ask(CHAT, &again)), content(&fresh));
}

#[test]
fn choices_have_seeds_that_count_up() {
    let running = smollm2(|_| {});
    let body = json!({ "messages": user("Tell me a joke."), "seed": 3, "max_tokens": 12, "n": 3 });
    let reply = running.ask(CHAT, &body);
    let texts: Vec<&str> = reply["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["message"]["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 3);
    for (place, text) in texts.iter().enumerate() {
        let one = json!({ "messages": user("Tell me a joke."), "seed": 3 + place, "max_tokens": 12 });
        assert_eq!(content(&running.ask(CHAT, &one)), *text);
    }
    let mut streaming = body;
    streaming["stream"] = true.into();
    let events = running.events(CHAT, &streaming);
    for (place, text) in texts.iter().enumerate() {
        assert_eq!(joined(&events, place as u64), *text);
    }
}

#[test]
fn stop_texts_end_a_reply_and_are_left_out() {
    let running = smollm2(|_| {});
    let mut body =
        json!({ "messages": user("Count from one to five in words."), "temperature": 0, "max_tokens": 40 });
    let whole = running.ask(CHAT, &body);
    let text = content(&whole);
    let stop = text.split_whitespace().nth(2).expect("some words").to_owned();
    body["stop"] = json!([stop]);
    let stopped = running.ask(CHAT, &body);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(content(&stopped), &text[..text.find(&stop).unwrap()]);
    body["max_tokens"] = 1.into();
    assert_eq!(running.ask(CHAT, &body)["choices"][0]["finish_reason"], "length");
}

#[test]
fn log_probabilities_have_bytes_and_alternatives() {
    let running = smollm2(|_| {});
    let mut body = json!({
        "messages": user("What is the capital of France?"), "temperature": 0, "max_tokens": 12,
        "logprobs": true, "top_logprobs": 3,
    });
    let reply = running.ask(CHAT, &body);
    let entries = reply["choices"][0]["logprobs"]["content"].as_array().expect("entries").clone();
    let mut bytes = Vec::new();
    for entry in &entries {
        let top = entry["top_logprobs"].as_array().expect("alternatives");
        assert_eq!(top.len(), 3);
        // Greedy, so the token is the first of its alternatives.
        assert_eq!((&top[0]["token"], &top[0]["logprob"]), (&entry["token"], &entry["logprob"]));
        assert!(top[1]["logprob"].as_f64() <= top[0]["logprob"].as_f64());
        bytes.extend(entry["bytes"].as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8));
    }
    assert_eq!(String::from_utf8(bytes).unwrap(), content(&reply));
    body["stream"] = true.into();
    let events = running.events(CHAT, &body);
    let streamed: Vec<Value> = events
        .iter()
        .filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .cloned()
        .collect();
    assert_eq!(streamed, entries);
    // A bias of 100 makes a token certain, and -100 impossible.
    let tokenizer = running.model.tokenizer().unwrap();
    let id = tokenizer.token_id("Ġriver").expect("a word of the vocabulary");
    body = json!({ "messages": user("Hi"), "max_tokens": 3, "logit_bias": { (id.to_string()): 100 } });
    assert_eq!(content(&running.ask(CHAT, &body)), " river river river");
}

#[test]
fn replies_follow_a_json_schema() {
    let running = smollm2(|_| {});
    let schema = json!({
        "type": "object",
        "properties": {
            "city": { "type": "string", "maxLength": 20 },
            "people": { "type": "integer", "minimum": 0, "maximum": 99999999 },
            "coast": { "type": "boolean" },
        },
        "required": ["city", "people", "coast"],
        "additionalProperties": false,
    });
    for seed in 0..2 {
        let body = json!({
            "messages": user("Describe a city."), "seed": seed, "max_tokens": 80,
            "response_format": { "type": "json_schema", "json_schema": { "name": "city", "schema": schema } },
        });
        let reply = running.ask(CHAT, &body);
        assert_eq!(reply["choices"][0]["finish_reason"], "stop", "{reply}");
        let value: Value = serde_json::from_str(content(&reply)).expect("JSON");
        let object = value.as_object().expect("an object");
        assert_eq!(object.len(), 3, "{value}");
        assert!(
            value["city"].is_string() && value["people"].is_u64() && value["coast"].is_boolean(),
            "{value}"
        );
    }
    let body = json!({
        "messages": user("Write JSON."), "seed": 1, "max_tokens": 4, "temperature": 0,
        "response_format": { "type": "json_object" },
    });
    assert!(content(&running.ask(CHAT, &body)).starts_with('{'));
    let wrong = json!({ "type": "object", "properties": { "a": { "$ref": "https://example.org/x" } } });
    let body = json!({
        "messages": user("Hi"),
        "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": wrong } },
    });
    let (status, error) = running.post(CHAT, &body);
    assert_eq!((status, &error["error"]["code"]), (400, &json!("invalid_schema")), "{error}");
}

#[test]
fn a_reply_does_not_depend_on_who_else_asks() {
    let running = smollm2(|options| options.slots = 4);
    let body = |seed: u64| json!({ "messages": user("Write a short poem."), "seed": seed, "max_tokens": 16 });
    let together: Vec<String> = std::thread::scope(|scope| {
        let ask = |seed| {
            scope.spawn({
                let running = &running;
                move || content(&running.ask(CHAT, &body(seed))).to_owned()
            })
        };
        let asked: Vec<_> = (0..6).map(ask).collect();
        asked.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    for (seed, text) in together.iter().enumerate() {
        assert_eq!(content(&running.ask(CHAT, &body(seed as u64))), text, "seed {seed}");
    }
}
