//! Chat templates that would run or grow without end: each stops at a bound.

use parr::tokenizer::{ChatTemplate, Message, TextError};

/// A template that changes two values forty times, `x` by `step` and `y` by `other`, and ends with `end`.
fn grown(start: &str, step: &str, other: &str, end: &str) -> String {
    format!(
        "{{% set ns = namespace(x={start}, y={start}) %}}{{% for i in range(40) %}}{{% set ns.x = {step} %}}\
         {{% set ns.y = {other} %}}{{% endfor %}}{end}"
    )
}

fn assert_out_of_fuel(source: &str) {
    let compiled = ChatTemplate::compile(source, "", "").expect(source);
    let error = compiled.render(&[Message::new("user", "hello")], true).expect_err(source);
    assert!(matches!(error, TextError::TemplateFuel { line: 1, .. }), "{source}: {error:?}");
}

#[test]
fn values_that_double_are_paid_for_by_their_size() {
    for (start, step) in [
        ("[1]", "ns.x + ns.x"),
        ("(1,)", "ns.x + ns.x"),
        ("[1]", "ns.x * 100"),
        ("[1]", "[ns.x, ns.x] | sum(start=[])"),
        ("[1]", "(ns.x + ns.x) | map('string') | list"),
        ("[1]", "(ns.x + ns.x) | reverse | list"),
        ("'ab'", "ns.x ~ ns.x"),
        ("'ab'", "ns.x + ns.x"),
        ("'ab'", "ns.x * 100"),
        ("'ab'", "ns.x.replace('a', 'aaaa')"),
        ("'ab'", "ns.x | replace('', 'ab')"),
        ("'aa'", "ns.x.join(ns.x)"),
        ("'aa'", "ns.x | join(ns.x)"),
        ("'a'", "'%s%s' % (ns.x, ns.x)"),
        ("'a'", "'{0}{0}'.format(ns.x)"),
        ("'\\''", "[ns.x, ns.x] | string"),
        ("'\"'", "ns.x | tojson"),
        ("'ab '", "(ns.x * 2).title()"),
    ] {
        assert_out_of_fuel(&grown(start, step, "0", ""));
    }
    assert_out_of_fuel(
        "{% set ns = namespace(x='ab') %}{% for i in range(40) %}{% set b %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = b %}{% endfor %}",
    );
    assert_out_of_fuel(
        "{% macro d(x) %}{{ x }}{{ x }}{% endmacro %}{% set ns = namespace(x='ab') %}{% for i in range(40) %}{% set ns.x = d(ns.x) %}{% endfor %}",
    );
}

/// Forty lists that hold the one before twice are small in memory, but a walk over them does not end.
#[test]
fn values_that_share_their_parts_are_paid_for_by_what_is_visited() {
    let pair = |end: &str| grown("[]", "[ns.x, ns.x]", "[ns.y, ns.y]", end);
    for end in [
        "{{ ns.x == ns.y }}",
        "{{ ns.x != ns.y }}",
        "{{ ns.x < ns.y }}",
        "{{ ns.x >= ns.y }}",
        "{{ ns.x in [ns.y] }}",
        "{{ ns.x is eq ns.y }}",
        "{{ [ns.x] | select('in', [ns.y]) | list }}",
        "{{ [{'a': ns.x}] | selectattr('a', 'eq', ns.y) | list }}",
        "{{ [ns.x, ns.y] | sort | length }}",
        "{{ [ns.x, ns.y] | min | length }}",
        "{{ {1: ns.x, 2: ns.y} | dictsort(by='value') | length }}",
        "{{ [{'a': ns.x}, {'a': ns.y}] | groupby('a') | length }}",
        "{{ [ns.x].count(ns.y) }}",
        "{{ [ns.x].index(ns.y) }}",
        "{{ ns.x }}",
        "{{ ns.x | string | length }}",
        "{{ (ns.x ~ '') | length }}",
        "{{ ns.x | join | length }}",
        "{{ ns.x | tojson | length }}",
        "{{ ns.x | tojson(indent=4) | length }}",
        "{{ ns.x | pprint | length }}",
        "{{ ns.x | trim | length }}",
        "{{ ns.x | urlencode | length }}",
        "{{ ns.x is upper }}",
        "{{ ('%s' % [ns.x]) | length }}",
        "{{ '{}'.format(ns.x) | length }}",
        "{{ raise_exception(ns.x) }}",
        "{% for i in [1, 2] %}{{ loop.changed(ns.x) }}{% endfor %}",
    ] {
        assert_out_of_fuel(&pair(end));
    }
    let map = |end: &str| grown("{}", "{'a': ns.x, 'b': ns.x}", "{'a': ns.y, 'b': ns.y}", end);
    for end in [
        "{{ ns.x == ns.y }}",
        "{{ ns.x | tojson | length }}",
        "{{ ns.x.items() | list }}",
        "{{ ns.x.values() }}",
    ] {
        assert_out_of_fuel(&map(end));
    }
    let tuple = |end: &str| grown("(1,)", "(ns.x, ns.x)", "(ns.y, ns.y)", end);
    for end in [
        "{{ {ns.x: 1} }}",
        "{{ ns.x in {} }}",
        "{{ {}.get(ns.x) }}",
        "{{ {}[ns.x] }}",
        "{{ [ns.x, ns.y] | unique | list }}",
    ] {
        assert_out_of_fuel(&tuple(end));
    }
}

#[test]
fn large_numbers_are_refused_before_anything_is_made() {
    for expression in [
        "'x'.center(10 ** 9)",
        "'x'.ljust(10 ** 12)",
        "'x'.zfill(10 ** 12)",
        "'\\t'.expandtabs(10 ** 10)",
        "'x' | center(10 ** 9)",
        "'a\\nb' | indent(10 ** 9)",
        "[1] | batch(10 ** 9, 0) | list",
        "[1] | slice(10 ** 9) | list",
        "[1] | tojson(indent=10 ** 9)",
        "'x' * 10 ** 12",
        "[0] * 10 ** 12",
    ] {
        assert_out_of_fuel(&format!("{{{{ {expression} }}}}"));
    }
}

#[test]
fn cheap_steps_over_large_values_are_not_cheap() {
    let often = |set: &str, step: &str| {
        format!("{{% set x = {set} %}}{{% for i in range(100000) %}}{{% set y = {step} %}}{{% endfor %}}")
    };
    for step in [
        "x[::-1]",
        "x[-1]",
        "x | length",
        "x.find('b')",
        "'b' in x",
        "x == x ~ ''",
        "{x: 1}",
        "messages[0][x]",
        "x.split()",
        "x.strip(x)",
        "x.startswith(x)",
        "x.partition('b')",
        "x | title",
        "x.islower()",
        "x | wordcount",
        "x | striptags",
        "x.splitlines()",
        "x | list",
        "x | reverse",
        "x | e",
        "x % ()",
        "x.format()",
        "strftime_now(x)",
    ] {
        assert_out_of_fuel(&often("'é' * 100000", step));
    }
    for step in [
        "x[::-1]",
        "x | sort",
        "x | unique",
        "x | sum",
        "x + []",
        "x | batch(2) | list",
        "x | map('abs') | list",
        "'%s' % [x]",
    ] {
        assert_out_of_fuel(&often("range(5000) | list", step));
    }
    assert_out_of_fuel("{% macro f(n) %}{{ f(n - 1) ~ f(n - 2) if n > 1 }}{% endmacro %}{{ f(60) }}");
    assert_out_of_fuel(
        "{% macro f() %}{% endmacro %}{% set ns = namespace(d={}) %}{% for i in range(5000) %}{% set ns.d = dict(ns.d, **{'k' ~ i: i}) %}{% endfor %}{{ f(**ns.d) }}",
    );
}

/// A sort of the standard library may panic on numbers without an order.
#[test]
fn numbers_that_are_none_can_be_sorted() {
    let source = "{{ ([1, 'nan' | float, 3] * 50) | sort | length }}";
    let compiled = ChatTemplate::compile(source, "", "").expect("valid");
    assert_eq!(compiled.render(&[], true).expect("ends"), "150");
}

/// The bounds are far from what an honest template does with a long conversation.
#[test]
fn long_conversations_are_within_the_bounds() {
    let source = "{% set ns = namespace(last=0) %}{% for m in messages[::-1] %}{% if m.role == 'user' and not m.content.startswith('<t>') %}\
                  {% set ns.last = [ns.last, messages | length - loop.index0] | max %}{% endif %}{% endfor %}\
                  {% for m in messages %}{% set c = m.content | trim %}{% if '</think>' in c %}{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}\
                  {{ '<|' ~ m.role ~ '|>' ~ c | replace('\\r\\n', '\\n') ~ (m | tojson) | length }}{% endfor %}";
    let compiled = ChatTemplate::compile(source, "", "").expect("valid");
    let messages: Vec<Message> =
        (0..2000).map(|turn| Message::new(["user", "assistant"][turn % 2], "word ".repeat(400))).collect();
    let text = compiled.render(&messages, true).expect("an honest template");
    assert!(text.len() > 2000 * 1999, "{}", text.len());
}
