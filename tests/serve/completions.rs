//! Texts that are continued and scored.

use serde_json::{Value, json};

use super::{sampling, smollm2, tiny};
use parr::generate::{CancelToken, Generator, GeneratorOptions, Request, StopTokens};

const COMPLETIONS: &str = "/v1/completions";

#[test]
fn prompts_are_texts_or_tokens_and_several_are_answered_in_order() {
    let running = smollm2(|_| {});
    let body = |prompt: Value| json!({ "prompt": prompt, "temperature": 0, "max_tokens": 6 });
    let texts = ["The capital of France is", "One, two, three,"];
    let tokenizer = running.model.tokenizer().unwrap();
    let ids = texts.map(|text| tokenizer.encode_raw(text, parr::tokenizer::Specials::Parse).unwrap());
    let replies = [body(json!(texts)), body(json!(ids))].map(|body| running.ask(COMPLETIONS, &body));
    for reply in &replies {
        for (place, text) in texts.iter().enumerate() {
            let alone = running.ask(COMPLETIONS, &body(json!(text)));
            let choice = &reply["choices"][place];
            assert_eq!(
                (&choice["text"], choice["index"].as_u64()),
                (&alone["choices"][0]["text"], Some(place as u64))
            );
        }
    }
    assert_eq!(replies[0]["usage"]["total_tokens"], replies[1]["usage"]["total_tokens"]);
    let echoed = json!({ "prompt": texts[0], "temperature": 0, "max_tokens": 6, "echo": true });
    let text = running.ask(COMPLETIONS, &echoed)["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(text, format!("{}{}", texts[0], replies[0]["choices"][0]["text"].as_str().unwrap()));
}

#[test]
fn prompts_have_log_probabilities() {
    let running = smollm2(|_| {});
    let text = "The river Seine flows through Paris, €.";
    let body = json!({ "prompt": text, "max_tokens": 1, "temperature": 0, "echo": true, "logprobs": 2 });
    let reply = running.ask(COMPLETIONS, &body);
    let logprobs = &reply["choices"][0]["logprobs"];
    let tokenizer = running.model.tokenizer().unwrap();
    let ids = tokenizer.encode_raw(text, parr::tokenizer::Specials::Parse).unwrap();
    let values: Vec<Option<f64>> =
        logprobs["token_logprobs"].as_array().unwrap().iter().map(Value::as_f64).collect();
    assert_eq!((values.len(), values[0]), (ids.len() + 1, None));
    let options = GeneratorOptions { slots: 1, context: 256, ..GeneratorOptions::default() };
    let mut generator = Generator::new(&running.model, options).unwrap();
    let stats = generator.token_stats(std::slice::from_ref(&ids), None, 1.0, &CancelToken::new()).unwrap();
    for (ours, stat) in values[1..ids.len()].iter().zip(&stats[0]) {
        assert!((ours.unwrap() - f64::from(stat.logprob)).abs() < 1e-3, "{ours:?} and {}", stat.logprob);
    }
    // Offsets count characters, and the text between two of them is the token.
    let offsets: Vec<usize> = logprobs["text_offset"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_u64().unwrap() as usize)
        .collect();
    let whole: Vec<char> = reply["choices"][0]["text"].as_str().unwrap().chars().collect();
    for (place, pair) in offsets.windows(2).enumerate() {
        let token = logprobs["tokens"][place].as_str().unwrap();
        let between: String = whole[pair[0]..pair[1]].iter().collect();
        assert!(token == between || token.starts_with("bytes:"), "{token:?} and {between:?}");
    }
    // The most probable token has the largest value in its list, so that programs see whether a text is greedy.
    let top = &logprobs["top_logprobs"];
    assert!(top[0].is_null());
    for place in 1..values.len() {
        let alternatives = top[place].as_object().unwrap();
        assert!((2..=3).contains(&alternatives.len()));
        let token = logprobs["tokens"][place].as_str().unwrap();
        assert_eq!(alternatives[token].as_f64(), values[place]);
    }
    // `max_tokens` of 0 only scores.
    let body = json!({ "prompt": text, "max_tokens": 0, "echo": true, "logprobs": 0 });
    let reply = running.ask(COMPLETIONS, &body);
    assert_eq!(reply["choices"][0]["text"], text);
    assert_eq!(reply["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len(), ids.len());
}

#[test]
fn a_stream_has_the_text_and_offsets_of_the_whole() {
    let running = smollm2(|_| {});
    let mut body = json!({ "prompt": "Once upon a time", "seed": 5, "max_tokens": 16, "logprobs": 1 });
    let whole = running.ask(COMPLETIONS, &body);
    body["stream"] = true.into();
    let events = running.events(COMPLETIONS, &body);
    let text: String =
        events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap_or_default()).collect();
    assert_eq!(text, whole["choices"][0]["text"].as_str().unwrap());
    for list in ["tokens", "token_logprobs", "text_offset"] {
        let joined: Vec<Value> = events
            .iter()
            .filter_map(|event| event["choices"][0]["logprobs"][list].as_array())
            .flatten()
            .cloned()
            .collect();
        assert_eq!(json!(joined), whole["choices"][0]["logprobs"][list], "{list}");
    }
    assert_eq!(whole["choices"][0]["logprobs"]["text_offset"][0], "Once upon a time".len());
}

#[test]
fn a_model_without_a_tokenizer_takes_token_ids() {
    let running = tiny(|_| {});
    let prompt = vec![3, 1, 4, 1, 5, 9];
    let body = json!({ "prompt": prompt, "seed": 11, "max_tokens": 8, "logprobs": 0 });
    let reply = running.ask(COMPLETIONS, &body);
    let request = Request {
        prompt,
        sampling: sampling(11),
        max_tokens: 8,
        stop_ids: StopTokens::Text,
        ..Request::default()
    };
    let alone = running.alone(request);
    let tokens: Vec<String> = alone.tokens.iter().map(|token| format!("token:{token}")).collect();
    assert_eq!(reply["choices"][0]["logprobs"]["tokens"], json!(tokens));
    let (status, error) = running.post(COMPLETIONS, &json!({ "prompt": "text" }));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("prompt")), "{error}");
    let (status, error) = running.post("/v1/chat/completions", &json!({ "messages": super::user("Hi") }));
    assert!(status >= 400 && error["error"]["message"].is_string(), "{status} {error}");
}
