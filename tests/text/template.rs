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
fn nesting_up_to_the_bounds_is_survived_and_beyond_is_refused() {
    let render = |source: &str| {
        let compiled = ChatTemplate::compile(source, "", "");
        compiled.and_then(|compiled| compiled.render(&user("x"), true))
    };
    let chain = |count: usize| format!("{{{{ 'x'{} }}}}", "|batch(1)|list".repeat(count));
    assert_eq!(render(&chain(45)).expect("deep").len(), 2 * 45 + "['x']".len());
    let error = render(&chain(4000)).expect_err("a chain without end");
    assert!(matches!(error, TextError::TemplateSyntax { line: 1, .. }), "{error:?}");

    for print in ["ns.a", "ns.a | tojson", "ns.a == [ns.a]", "'ok'"] {
        let grown = |count: usize| {
            format!(
                "{{% set ns = namespace(a=[]) %}}{{% for i in range({count}) %}}{{% set ns.a = [ns.a] %}}{{% endfor %}}{{{{ {print} }}}}"
            )
        };
        render(&grown(90)).expect("deep");
        let error = render(&grown(9000)).expect_err(print);
        assert!(error.to_string().contains("nested more than"), "{print}: {error}");
    }
}

#[test]
fn names_that_only_look_like_namespaces_are_no_reason_to_refuse() {
    for (source, expected) in [
        (
            "{%- macro m(x, namespace='a') -%}{{ x + namespace }}{%- endmacro -%}{{ m(messages[0].content) }}",
            "hia",
        ),
        ("{% set s = namespace(role='system', content='S') %}{{ ([s] + messages)[0].content }}", "S"),
        ("{% set namespace = 'n' %}{{ namespace }}", "n"),
        ("{% set make = namespace %}{% set ns = make(a=1) %}{{ ns.a }}", "1"),
        ("{% set a, b = namespace(x=1), namespace(x=2) %}{{ a.x + b.x }}", "3"),
        ("{% set ns = namespace(inner=namespace(x=1)) %}{% set ns.other = ns.inner %}{{ ns.other.x }}", "1"),
        ("{% set ns = namespace(a=1) %}{{ ns }}", "<Namespace {'a': 1}>"),
    ] {
        let compiled = ChatTemplate::compile(source, "", "").expect(source);
        assert_eq!(compiled.render(&user("hi"), true).expect(source), expected);
    }
}

#[test]
fn namespaces_that_hold_themselves_end() {
    let render = |end: &str| {
        let source = format!("{{% set ns = namespace() %}}\n{{% set ns.me = [ns, ns] %}}\n{{{{ {end} }}}}");
        ChatTemplate::compile(&source, "", "").expect("valid").render(&user("x"), true)
    };
    assert_eq!(render("ns.me[0].me[1] == ns").expect("fields can be read"), "True");
    for end in ["ns", "ns ~ ''", "[ns] | string", "ns | tojson"] {
        let error = render(end).expect_err(end);
        assert!(matches!(error, TextError::TemplateRender { line: 3, .. }), "{end}: {error:?}");
    }
}

#[test]
fn wide_formats_are_refused_before_they_are_written() {
    for source in [
        "{{ '{:>999999999}'.format('x') }}",
        "{{ '%999999999s' | format('x') }}",
        "{{ '%.70000f' % 1 }}",
        "{{ '{:.70000}'.format(1.5) }}",
        "{{ '%*d' % (10 ** 12, 1) }}",
        "{{ '{:{}}'.format('x', 10 ** 12) }}",
    ] {
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

/// What Jinja2 makes of a short template.
#[derive(Deserialize)]
struct Expression {
    template: String,
    /// None if it does not compile or fails.
    text: Option<String>,
}

#[derive(Deserialize)]
struct Expressions {
    messages: Vec<Message>,
    cases: Vec<Expression>,
}

#[test]
fn operators_filters_tests_and_methods_do_what_jinja2s_do() {
    let Expressions { messages, cases } = read_golden("text_expressions.json");
    assert!(cases.len() > 700, "{}", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|Expression { template, text }| {
            let rendered = ChatTemplate::compile(template, "<s>", "</s>")
                .and_then(|compiled| compiled.render(&messages, true));
            let same = rendered.as_ref().ok() == text.as_ref();
            (!same).then(|| format!("{template}: {rendered:?}, jinja2: {text:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn line_ends_of_the_file_are_of_no_importance() {
    let unix = "{% for m in messages %}\n<{{ m['role'] }}>\n{{ m['content'] }}\n{% endfor %}\n";
    let render = |source: &str| {
        ChatTemplate::compile(source, "", "").expect("valid").render(&user("a\r\nb"), true).expect("renders")
    };
    let expected = "<user>\na\r\nb\n";
    assert_eq!(render(unix), expected);
    assert_eq!(render(&unix.replace('\n', "\r\n")), expected);
    assert_eq!(render(&unix.replace('\n', "\r")), expected);
    assert_eq!(render(&format!("\u{feff}{unix}")), expected, "a byte order mark");
}

#[test]
fn what_has_no_meaning_in_a_chat_is_refused_by_name() {
    for (source, name) in [
        ("{{ [1] | random }}", "random"),
        ("{{ lipsum() }}", "lipsum"),
        ("{% autoescape true %}{% endautoescape %}", "autoescape"),
        ("{{ 'x' | nothing }}", "nothing"),
        ("{{ 'x' is nothing }}", "nothing"),
        ("{{ 'x'.nothing() }}", "nothing"),
        ("{{ [].append(1) }}", "append"),
        ("{% include 'x' %}", "no other template"),
    ] {
        let result =
            ChatTemplate::compile(source, "", "").and_then(|compiled| compiled.render(&user("x"), true));
        let error = result.expect_err(source).to_string();
        assert!(error.contains(name), "{source}: {error}");
    }
}

/// What `source` writes for one message.
fn rendered(source: &str, content: &str) -> Result<String, TextError> {
    ChatTemplate::compile(source, "", "").and_then(|compiled| compiled.render(&user(content), true))
}

#[test]
fn the_largest_numbers_are_no_reason_to_panic() {
    let least = "(-9223372036854775807 - 1)";
    for (source, expected) in [
        ("{{ -1e30 in range(0, -5, -1) }}", "False"),
        ("{{ 1e300 in range(-5, 5) }}", "False"),
        (
            "{{ -4.0 in range(0, -5, -1) }} {{ -5 in range(0, -5, -1) }} {{ true in range(2) }}",
            "True False True",
        ),
        ("{{ 9007199254740993 in range(9007199254740992, 9007199254740993) }}", "False"),
        (&format!("{{{{ 9223372036854775807 in range({least}, {least} + 9, 3) }}}}"), "False"),
        (&format!("{{{{ {least} in range({least}, {least} + 9, 3) }}}}"), "True"),
        (&format!("{{{{ -1e30 in range({least}, {least} + 9, 3) }}}}"), "False"),
        ("{{ '--9223372036854775808' | int }} {{ '+-5' | int(7) }} {{ '--5' | int(7) }}", "0 7 7"),
        ("{{ '-9223372036854775808' | int }} {{ '-0x10' | int(base=16) }}", "-9223372036854775808 -16"),
    ] {
        assert_eq!(rendered(source, "x").expect(source), expected, "{source}");
    }
}

#[test]
fn a_recursive_loop_can_be_kept_and_called_later() {
    let source = "{% set ns = namespace() %}{% for a in [1] %}{% for b in [1] %}{% for x in [1] recursive %}\
        {% set ns.l = loop %}{{ a + b + x }}{% endfor %}{% endfor %}{% endfor %}{{ ns.l([2]) }}";
    assert_eq!(rendered(source, "x").expect("a loop that was kept"), "34");
}

#[test]
fn filters_that_call_filters_stop_at_the_recursion_limit() {
    // A long message pays for the arguments, which every filter passes on.
    let long = "x".repeat(1 << 22);
    let source = |count: usize| format!("{{{{ 'a' | map(*(['map'] * {count})) | list | length }}}}");
    let error = rendered(&source(1500), &long).expect_err("too deep").to_string();
    assert!(error.contains("nested more than 1000 deep"), "{error}");
    let error = rendered("{{ ['a'] | map('map', 'map', 'upper') | list | length }}", "x");
    assert_eq!(error.expect("not deep"), "1");
}

#[test]
fn break_and_continue_end_the_loop_that_they_end_in_jinja2() {
    for (source, expected) in [
        ("{% for a in [1,2] %}{% for b in [] %}{% else %}{% break %}{% endfor %}{{ a }}{% endfor %}.", "."),
        (
            "{% for a in [1,2] %}{% for b in [] %}{% else %}{% continue %}{% endfor %}{{ a }}{% endfor %}.",
            ".",
        ),
        (
            "{% for a in [1,2] %}{% for b in [3] %}{{ b }}{% else %}{% break %}{% endfor %}{{ a }}{% endfor %}",
            "3132",
        ),
        ("{% for a in [1,2] %}{{ a }}{% set x %}y{% break %}{% endset %}{{ x }}{% endfor %}.", "1."),
        ("{% for a in [1,2] %}{{ a }}{% set x %}y{% continue %}{% endset %}{{ x }}{% endfor %}.", "12."),
        ("{% for a in [1,2] %}{{ a }}{% filter upper %}y{% break %}{% endfilter %}z{% endfor %}.", "1."),
        ("{% for a in [1,2] %}{{ a }}{% with x = 3 %}{% break %}{% endwith %}{{ a }}{% endfor %}.", "1."),
        (
            "{% for a in [1,2] %}{% for b in [3,4] recursive %}{{ b }}{% break %}{% endfor %}{{ a }}{% endfor %}",
            "3132",
        ),
    ] {
        assert_eq!(rendered(source, "x").expect(source), expected, "{source}");
    }
    for inside in [
        "{% macro m() %}{% break %}{% endmacro %}",
        "{% call m() %}{% break %}{% endcall %}",
        "{% block b %}{% break %}{% endblock %}",
        "{% generation %}{% continue %}{% endgeneration %}",
        "{% for b in [] recursive %}{% else %}{% break %}{% endfor %}",
    ] {
        let source = format!("{{% for a in [1,2] %}}{inside}{{% endfor %}}");
        let error = ChatTemplate::compile(&source, "", "").expect_err(inside).to_string();
        assert!(error.contains("outside of a loop"), "{source}: {error}");
    }
}

#[test]
fn escapes_and_numbers_have_digits() {
    for (source, told) in [
        (r"{{ '\x+1' }}", r"`\x` needs 2 digits"),
        (r"{{ '\u+041' }}", r"`\u` needs 4 digits"),
        (r"{{ '\U+0000041' }}", r"`\U` needs 8 digits"),
        ("{{ 0x }}", "the number 0x has no digits"),
        ("{{ 0b_ }}", "the number 0b_ has no digits"),
        ("{{ 0xfffffffffffffffff }}", "too large"),
        ("{{ '{+0}'.format('x') }}", "no argument `+0`"),
    ] {
        let error = rendered(source, "x").expect_err(source).to_string();
        assert!(error.contains(told), "{source}: {error}");
    }
    assert_eq!(rendered(r"{{ '\x41\u0042\U00000043' }}", "x").expect("digits"), "ABC");
}
