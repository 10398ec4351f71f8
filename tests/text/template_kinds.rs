//! Kinds of chat templates, against `transformers`: tools, documents, reasoning, parts of a message, HTML, loops.

use std::collections::HashMap;
use std::sync::Arc;

use parr::tokenizer::{ChatFormat, ChatTemplate, Message, TemplateValue, TextError, TokenId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{byte_level, golden, read_golden};

#[derive(Deserialize)]
struct Kinds {
    conversations: HashMap<String, Talk>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Talk {
    messages: Vec<Value>,
    variables: Map<String, Value>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    add_generation_prompt: bool,
    /// What `transformers` writes, unless the template raises `raised`.
    text: Option<String>,
    raised: Option<String>,
}

fn value(json: &Value) -> TemplateValue {
    match json {
        Value::Bool(value) => TemplateValue::Bool(*value),
        other => TemplateValue::Json(other.clone()),
    }
}

#[test]
fn every_kind_of_template_reads_as_transformers_writes_it() {
    let Kinds { conversations, cases } = read_golden("chat/kinds.json");
    let mut raised = 0;
    for case in &cases {
        let source = std::fs::read_to_string(golden("chat/kinds").join(&case.template)).expect("a file");
        let mut template = ChatTemplate::compile(&source, "<s>", "</s>").expect("a valid template");
        let talk = &conversations[&case.conversation];
        for (name, json) in &talk.variables {
            template = template.with_variable(name, value(json));
        }
        let name = format!("{} for {}", case.template, case.conversation);
        match (template.render_json(&talk.messages, case.add_generation_prompt), &case.raised) {
            (Ok(text), None) => assert_eq!(Some(&text), case.text.as_ref(), "{name}"),
            (Err(TextError::TemplateRefused { message, .. }), Some(expected)) => {
                assert_eq!(&message, expected, "{name}");
                raised += 1;
            }
            (rendered, expected) => panic!("{name}: {rendered:?}, transformers: {expected:?}"),
        }
    }
    assert_eq!((cases.len(), raised), (216, 12));
}

/// The tokens of `<|im_start|>` and `<|im_end|>` in the small vocabulary.
fn markers(chat: &ChatFormat, ids: &[TokenId]) -> usize {
    ids.iter().filter(|&&id| chat.tokenizer().is_special(id)).count()
}

fn format_of(source: &str) -> ChatFormat {
    let template = ChatTemplate::compile(source, "", "").expect("a valid template");
    ChatFormat::new(Arc::new(byte_level()), template, &[])
}

#[test]
fn no_field_tool_or_document_becomes_a_special_token() {
    let source = "<|im_start|>{{ tools | tojson }}{{ documents[0].text }}{% for m in messages %}\
        {{ m.tool_calls | tojson }}{{ m.content }}{% for name in m %}{{ name }}{% endfor %}{% endfor %}<|im_start|>";
    let bad = "<|im_end|>";
    let chat = format_of(source)
        .with_variable("tools", TemplateValue::Json(json!([{ bad: bad }])))
        .with_variable("documents", TemplateValue::Json(json!([{ "text": bad }])));
    let messages =
        [json!({ "role": "user", "content": bad, bad: bad, "tool_calls": [{ "name": bad, bad: [bad] }] })];
    let text = chat.template().render_json(&messages, false).expect("it renders");
    assert_eq!(text.matches(bad).count(), 8, "{text}");
    let ids = chat.encode_chat_json(&messages, false).expect("it encodes");
    assert_eq!(chat.tokenizer().decode(&ids, false), text);
    assert_eq!(markers(&chat, &ids), 2);
    // The app's own text may hold them.
    let own = format_of("{{ opening }}").with_variable("opening", TemplateValue::Text(bad.to_owned()));
    assert_eq!(markers(&own, &own.encode_chat(&[], false).expect("it encodes")), 1);
}

/// Escapes change a text, and so does everything that knows about HTML; a message stays a message.
#[test]
fn no_mark_of_html_makes_a_special_token_of_a_message() {
    let bad = "<|im_end|>";
    for (expression, content) in [
        ("c | safe", bad),
        ("(c | safe) + (c | safe)", bad),
        ("('' | safe) + (c | safe)", bad),
        ("('%s' | safe) % (c | safe)", bad),
        ("('%s' | safe) % c", bad),
        ("('{}' | safe).format(c | safe)", bad),
        ("('<|im_' | safe) + (c | safe)", "end|>"),
        ("('' | safe).join([c | safe, c])", bad),
        ("('x' | safe).replace('x', c | safe)", bad),
        ("(c | safe).split('X') | join", "<|imX_endX|>"),
        ("(c | safe)[::-1]", ">|dne_mi|<"),
        ("c | e | striptags ~ (c | forceescape)", bad),
        ("(c | e).replace('&lt;', '<').replace('&gt;', '>' | safe)", bad),
    ] {
        let source =
            format!("{{% set c = messages[0].content %}}<|im_start|>{{{{ {expression} }}}}<|im_start|>");
        let chat = format_of(&source);
        let messages = [Message::new("user", content)];
        let text = chat.template().render(&messages, false).unwrap_or_else(|e| panic!("{expression}: {e}"));
        let ids = chat.encode_chat(&messages, false).expect("it encodes");
        assert_eq!(chat.tokenizer().decode(&ids, false), text, "{expression}");
        assert_eq!(markers(&chat, &ids), 2, "{expression}: {text}");
    }
}

#[test]
fn messages_with_only_the_usual_fields_read_the_same_in_both_forms() {
    let source = "{% for m in messages %}{{ m | tojson }}{{ m.role == 'user' }}{% endfor %}";
    let template = ChatTemplate::compile(source, "", "").expect("a valid template");
    let plain = [Message::new("user", "é\n"), Message::new("assistant", "B")];
    let json = [json!({ "role": "user", "content": "é\n" }), json!({ "role": "assistant", "content": "B" })];
    let text = template.render(&plain, true).expect("it renders");
    assert_eq!(template.render_json(&json, true).expect("it renders"), text);
}

#[test]
fn values_of_json_that_cannot_be_used_are_refused() {
    let template = ChatTemplate::compile("{{ messages | length }}", "", "").expect("a valid template");
    let refused = |messages: &[Value]| {
        let error = template.render_json(messages, true).expect_err("no use");
        assert!(matches!(error, TextError::TemplateRender { .. }), "{error:?}");
        error.to_string()
    };
    let message = refused(&[json!({ "role": "user" }), json!("hello")]);
    assert!(message.contains("message 2 is no JSON object"), "{message}");
    let message = refused(&[json!({ "n": u64::MAX })]);
    assert!(message.contains("the number 18446744073709551615 is too large"), "{message}");
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let message = refused(&[json!({ "content": deep })]);
    assert!(message.contains("nested more than 100 deep"), "{message}");
    // Nothing of the four can be replaced.
    let taken = template.with_variable("messages", TemplateValue::Json(json!([1, 2, 3])));
    assert_eq!(taken.render_json(&[], true).expect("it renders"), "0");
}

#[test]
fn long_tools_pay_for_what_a_template_does_with_them() {
    let source = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}";
    let template = ChatTemplate::compile(source, "", "").expect("a valid template");
    let tool = json!({ "name": "x".repeat(1000), "list": vec![1; 300] });
    let template = template.with_variable("tools", TemplateValue::Json(json!(vec![tool; 2000])));
    let text = template.render(&[Message::new("user", "x")], true).expect("long but honest");
    assert!(text.len() > 3_000_000);
}

#[test]
fn a_kept_loop_that_ended_asks_for_nothing_more() {
    let source = "{% set ns = namespace() %}{% if true %}{% for a in [1, 2, 3] if a > 1 %}\
        {% set ns.kept = loop %}{% break %}{% endfor %}{% endif %}{{ ns.kept.index }}{{ ns.kept.last }}";
    let template = ChatTemplate::compile(source, "", "").expect("a valid template");
    assert_eq!(template.render(&[], true).expect("it renders"), "1True");
}

#[test]
fn the_reasoning_of_a_reply_is_separated_as_its_prompt_began() {
    let source = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}\
        {% if add_generation_prompt %}<|im_start|>assistant\n{% if opened %}<think>\n{% endif %}\
        {% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}";
    let messages = [Message::new("user", "What is <think>?")];
    let separated = |chat: &ChatFormat, reply: &str| {
        let mut stream = chat.reasoning_stream(&messages).expect("it renders").expect("it knows reasoning");
        let mut parts = stream.push(reply);
        let rest = stream.finish();
        parts.reasoning += &rest.reasoning;
        parts.answer += &rest.answer;
        (parts.reasoning, parts.answer)
    };
    let pair = |reasoning: &str, answer: &str| (reasoning.to_owned(), answer.to_owned());
    let chat = format_of(source);
    assert_eq!(separated(&chat, "<think>\nA\n</think>\n\nB"), pair("A", "B"));
    assert_eq!(separated(&chat, "B"), pair("", "B"));
    let opened = chat.clone().with_variable("opened", TemplateValue::Bool(true));
    assert_eq!(separated(&opened, "A\n</think>\n\nB"), pair("A", "B"));
    let off = chat.with_variable("enable_thinking", TemplateValue::Bool(false));
    assert_eq!(separated(&off, "B"), pair("", "B"));
    let plain = format_of("{% for m in messages %}{{ m.content }}{% endfor %}");
    assert!(plain.reasoning_marks().is_none());
    assert!(plain.reasoning_stream(&messages).expect("it renders").is_none());
    let refuses = format_of("{{ raise_exception('no') }}</think>");
    refuses.reasoning_stream(&messages).expect_err("it refuses the conversation");
}

#[test]
fn html_that_grows_is_paid_for() {
    for step in [
        "(ns.x ~ ns.x) | forceescape",
        "(ns.x | safe) + ns.x",
        "('%s%s' | safe) % (ns.x ~ '<', ns.x)",
        "('{0}{0}' | safe).format(ns.x ~ '<')",
        "('x' | safe).join([ns.x, ns.x])",
        "('xx' | safe).replace('x', ns.x ~ '<')",
    ] {
        let source = format!(
            "{{% set ns = namespace(x='<') %}}{{% for i in range(60) %}}{{% set ns.x = {step} %}}{{% endfor %}}"
        );
        let template = ChatTemplate::compile(&source, "", "").expect("a valid template");
        let grown = template.render(&[], true);
        assert!(matches!(grown, Err(TextError::TemplateFuel { .. })), "{step}: {grown:?}");
    }
}
