//! Chat templates, against Jinja2 with the settings of `transformers`.

use parr::tokenizer::{ChatTemplate, Message, TextError};
use serde::Deserialize;

use super::{golden, read_golden};

#[derive(Deserialize)]
struct Case {
    template: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    /// What Jinja2 writes, unless the template raises `refused`.
    text: Option<String>,
    refused: Option<String>,
}

/// One of the templates in `tests/golden/chat`.
pub(crate) fn template(name: &str) -> ChatTemplate {
    let path = golden("chat").join(name);
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    ChatTemplate::compile(&source, "<s>", "</s>").expect("a valid template")
}

fn user(content: &str) -> Vec<Message> {
    vec![Message::new("user", content)]
}

#[test]
fn conversations_read_as_jinja2_writes_them() {
    let cases: Vec<Case> = read_golden("text_chat.json");
    assert_eq!(cases.iter().filter(|case| case.refused.is_some()).count(), 4);
    for case in cases {
        let rendered = template(&case.template).render(&case.messages, case.add_generation_prompt);
        match (rendered, case.refused) {
            (Ok(text), None) => assert_eq!(Some(text), case.text, "{}", case.template),
            (Err(TextError::TemplateRefused { message, .. }), Some(refused)) => {
                assert_eq!(message, refused);
            }
            (rendered, refused) => panic!("{}: {rendered:?}, jinja2: {refused:?}", case.template),
        }
    }
}

#[test]
fn refusals_and_failures_name_the_line() {
    let wrong = [Message::new("user", "A"), Message::new("user", "B")];
    let error = template("mistral.jinja").render(&wrong, true).expect_err("two users in a row");
    let TextError::TemplateRefused { line, message } = &error else {
        panic!("an error of the wrong kind: {error}");
    };
    assert_eq!(*line, 10);
    assert!(message.contains("alternate"), "{message}");

    let compiled = ChatTemplate::compile("a\nb\n{{ messages[0].nothing.deeper }}", "", "");
    let error = compiled.expect("valid").render(&user("x"), true).expect_err("no such field");
    assert!(matches!(error, TextError::TemplateRender { line: 3, .. }), "{error:?}");

    let error = ChatTemplate::compile("a\n{% if x %}\n{% endfor %}", "", "").expect_err("unbalanced");
    assert!(matches!(error, TextError::TemplateSyntax { line: 3, .. }), "{error:?}");
    assert!(error.to_string().starts_with("chat template line 3 does not compile: "), "{error}");
}

#[test]
fn an_exception_inside_a_macro_is_still_a_refusal() {
    let source = "{% macro check(m) %}\n{{ raise_exception('no ' ~ m.role) }}\n{% endmacro %}\n{{ check(messages[0]) }}";
    let compiled = ChatTemplate::compile(source, "", "").expect("valid");
    let error = compiled.render(&user("x"), true).expect_err("it raises");
    let TextError::TemplateRefused { message, .. } = error else {
        panic!("an error of the wrong kind: {error}");
    };
    assert_eq!(message, "no user");
}

#[test]
fn endless_templates_run_out_of_steps() {
    let sources = [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% set s = namespace(n=1) %}{% for i in range(100000) %}{% for j in range(100000) %}{% set s.n = s.n + 1 %}{% endfor %}{% endfor %}",
        "{% set s = namespace(t='ab') %}{% for i in range(99) %}{% set s.t = s.t ~ s.t %}{% endfor %}",
        "{{ 'x' * 10000000000 }}",
        "{{ range(1000000000) | list }}",
    ];
    for source in sources {
        let compiled = ChatTemplate::compile(source, "", "").expect("valid");
        let error = compiled.render(&user("x"), true).expect_err(source);
        assert!(
            matches!(error, TextError::TemplateFuel { .. } | TextError::TemplateRender { .. }),
            "{source}: {error:?}"
        );
    }
    let first = ChatTemplate::compile(sources[0], "", "").expect("valid");
    let error = first.render(&user("x"), true).expect_err("endless");
    assert!(matches!(error, TextError::TemplateFuel { line: 1, .. }), "{error:?}");
}

#[test]
fn bottomless_templates_stop_at_the_recursion_limit() {
    let source = "{% macro down(n) %}{{ down(n + 1) }}{% endmacro %}{{ down(0) }}";
    let compiled = ChatTemplate::compile(source, "", "").expect("valid");
    let error = compiled.render(&user("x"), true).expect_err("bottomless");
    assert!(matches!(error, TextError::TemplateRender { .. }), "{error:?}");
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    ChatTemplate::compile(&nested, "", "").expect_err("nested too deeply");
    let nested = "{% if true %}".repeat(10_000);
    ChatTemplate::compile(&nested, "", "").expect_err("nested too deeply");
}

#[test]
fn nesting_as_deep_as_the_bounds_allow_is_survived() {
    let render = |source: &str| {
        let compiled = ChatTemplate::compile(source, "", "").expect("valid");
        compiled.render(&user("x"), true).expect("deep but bounded")
    };
    let wrapped = format!("{{{{ 'x'{} }}}}", "|batch(1)|list".repeat(4000));
    assert_eq!(render(&wrapped).len(), 2 * 4000 + "['x']".len());
    for (print, len) in [("ns.a", 18_002), ("ns.a | tojson", 18_002), ("ns.a == [ns.a]", 5), ("'ok'", 2)] {
        let grown =
            "{% set ns = namespace(a=[]) %}{% for i in range(9000) %}{% set ns.a = [ns.a] %}{% endfor %}";
        assert_eq!(render(&format!("{grown}{{{{ {print} }}}}")).len(), len, "{print}");
    }
}

#[test]
fn values_that_hold_themselves_cannot_be_made() {
    let source = "{% set ns = namespace() %}\n{% set ns.me = ns %}\n{{ ns }}";
    let error = ChatTemplate::compile(source, "", "").expect_err("a ring");
    assert!(matches!(error, TextError::TemplateSyntax { line: 2, .. }), "{error:?}");
}

#[test]
fn wide_formats_are_refused_before_they_are_written() {
    for source in ["{{ '{:>999999999}'.format('x') }}", "{{ '%999999999s' | format('x') }}"] {
        let compiled = ChatTemplate::compile(source, "", "").expect("valid");
        compiled.render(&user("x"), true).expect_err(source);
    }
    let compiled = ChatTemplate::compile("{{ '{:>4}|{}'.format('x', 1) }}", "", "").expect("valid");
    assert_eq!(compiled.render(&user("x"), true).expect("renders"), "   x|1");
}

#[test]
fn output_is_bounded() {
    let source = "{% for i in range(90000) %}{{ messages[0].content }}{% endfor %}";
    let compiled = ChatTemplate::compile(source, "", "").expect("valid");
    let error = compiled.render(&user(&"x".repeat(1000)), true).expect_err("90 megabytes");
    assert!(matches!(error, TextError::TemplateTooLong { .. }), "{error:?}");
    // Long messages are no reason to stop an honest template.
    let long = "é ".repeat(2_000_000);
    let text = template("chatml.jinja").render(&user(&long), true).expect("long but honest");
    assert!(text.len() > long.len());
}

#[test]
fn templates_see_nothing_but_the_conversation() {
    for source in ["{% include 'x' %}", "{% import 'x' as y %}{{ y }}", "{{ open('/etc/passwd') }}"] {
        let result =
            ChatTemplate::compile(source, "", "").and_then(|compiled| compiled.render(&user("x"), true));
        result.expect_err(source);
    }
}

#[test]
fn json_is_written_as_python_writes_it() {
    let source = "{{ messages[0] | tojson }}\n{{ messages[0] | tojson(indent=2) }}\n{{ tools | tojson }}";
    let compiled = ChatTemplate::compile(source, "", "").expect("valid");
    let text = compiled.render(&user("<b> & 'é'\n\"q\""), false).expect("renders");
    let content = r#"<b> & 'é'\n\"q\""#;
    let expected = format!(
        "{{\"role\": \"user\", \"content\": \"{content}\"}}\n{{\n  \"role\": \"user\",\n  \"content\": \"{content}\"\n}}\nnull"
    );
    assert_eq!(text, expected);
}
