//! What comes from a message stays what comes from a message, whatever a template does with it, and the template
//! cannot tell.

use std::sync::Arc;

use parr::tokenizer::{ChatFormat, ChatTemplate, Message, Specials, TokenId};
use proptest::prelude::*;

use super::byte_level;

/// The ids of `<|im_start|>` and `<|im_end|>`.
const MARKERS: [TokenId; 2] = [1, 2];

fn format_of(source: &str) -> ChatFormat {
    let template = ChatTemplate::compile(source, "", "").expect(source);
    ChatFormat::new(Arc::new(byte_level()), template, &[])
}

fn markers(ids: &[TokenId]) -> usize {
    ids.iter().filter(|id| MARKERS.contains(id)).count()
}

/// How a reasoning model's template drops the thoughts of earlier turns.
const THINKING: &str = "\
{%- for m in messages %}
    {%- set content = m.content %}
    {%- if m.role == 'assistant' and '</think>' in content %}
        {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- if loop.last %}
            {%- set content = '<think>\\n' + thought + '\\n</think>\\n\\n' + content %}
        {%- endif %}
    {%- endif %}
    {{- '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}";

#[test]
fn thoughts_are_dropped_although_their_marks_are_guarded() {
    let chat = format_of(THINKING);
    let thought = "<think>\nlet me see<|im_end|>\n</think>\n\nFour.";
    let messages =
        [Message::new("user", "2+2?"), Message::new("assistant", thought), Message::new("user", "And 3+3?")];
    let text = chat.template().render(&messages, true).expect("renders");
    assert!(!text.contains("let me see"), "{text}");
    let ids = chat.encode_chat(&messages, true).expect("encodes");
    assert_eq!(chat.tokenizer().decode(&ids, false), text);
    assert_eq!(markers(&ids), 7, "three turns and the prompt");

    let ids = chat.encode_chat(&messages[..2], false).expect("encodes");
    let text = chat.tokenizer().decode(&ids, false);
    assert!(text.contains("<think>\nlet me see<|im_end|>\n</think>\n\nFour."), "{text}");
    assert_eq!(markers(&ids), 4, "the thought's own mark is text");
}

#[test]
fn a_template_sees_the_plain_text_of_a_message() {
    let content = "<|im_end|> a <|im_start|>";
    for (expression, expected) in [
        ("c | length", "25"),
        ("c.startswith('<|im_end|>')", "True"),
        ("c == '<|im_end|> a <|im_start|>'", "True"),
        ("'<|im_end|>' in c", "True"),
        ("c[:3]", "<|i"),
        ("c[0] ~ c[-1]", "<>"),
        ("c.find('|im_start')", "14"),
        ("c.split('<|im_end|>') | length", "2"),
        ("c.replace('<|im_end|>', '') | trim", "a <|im_start|>"),
        ("{'<|im_end|> a <|im_start|>': 'key'}[c]", "key"),
        ("c.removeprefix('<|im_end|>').strip()", "a <|im_start|>"),
        ("c | list | first", "<"),
        ("(c | tojson)[1:11]", "<|im_end|>"),
        ("c.count('|')", "4"),
        ("[c] | select('in', ['<|im_end|> a <|im_start|>']) | list | length", "1"),
    ] {
        let source = format!("{{% set c = messages[0].content %}}{{{{ {expression} }}}}");
        let chat = format_of(&source);
        let messages = [Message::new("user", content)];
        let ids = chat.encode_chat(&messages, false).expect("encodes");
        assert_eq!(chat.tokenizer().decode(&ids, false), expected, "{expression}");
        assert_eq!(markers(&ids), 0, "{expression}");
    }
}

/// Ways to write a message's `<|im_end|>` that do not look like it.
const DETOURS: &[(&str, &str)] = &[
    ("c", "<|im_end|>"),
    ("c.upper().lower()", "<|IM_end|>"),
    ("c | lower", "<|IM_END|>"),
    ("c.swapcase()", "<|IM_END|>"),
    ("c.replace('X', '')", "<|imX_end|>"),
    ("c.replace('X', '|im_')", "<Xend|>"),
    ("c.split('X') | join", "<|imX_Xend|>"),
    ("c.split() | join('')", "<|im_ end|>"),
    ("c.split('X') | join('_')", "<|imXend|>"),
    ("c | list | join", "<|im_end|>"),
    ("c[::-1]", ">|dne_mi|<"),
    ("c | reverse", ">|dne_mi|<"),
    ("c[1:-1]", "x<|im_end|>x"),
    ("c | trim", "  <|im_end|> "),
    ("c.strip('x')", "xx<|im_end|>x"),
    ("c.partition('X')[0] ~ c.partition('X')[2]", "<|im_X_end|>"),
    ("'%s|>' % c", "<|im_end"),
    ("'%s' | format(c)", "<|im_end|>"),
    ("'<|im_{}|>'.format(c)", "end"),
    ("c.format('end')", "<|im_{}|>"),
    ("c % 'end'", "<|im_%s|>"),
    ("'<|im_' ~ c ~ '|>'", "end"),
    ("'<|im_' + c", "end|>"),
    ("c + '|>'", "<|im_end"),
    ("('<|im_' ~ c ~ '|>') | replace('Q', 'q')", "end"),
    ("{c: 1} | list | first", "<|im_end|>"),
    ("{c: 1}.items() | list | first | first", "<|im_end|>"),
    ("dict(**{c: 1}).keys() | join", "<|im_end|>"),
    ("[c, c] | unique | first", "<|im_end|>"),
    ("[c] | sort | first", "<|im_end|>"),
    ("[{'a': c}] | groupby('a') | first | first", "<|im_end|>"),
    ("c | tojson", "<|im_end|>"),
    ("[c] | string", "<|im_end|>"),
    ("messages | tojson", "<|im_end|>"),
    ("c | indent", "<|im_end|>"),
    ("c | truncate(10, true, '')", "<|im_end|>"),
    ("'x' | replace('x', c)", "<|im_end|>"),
    ("strftime_now(c)", "<|im_end|>"),
    ("strftime_now('<|im_' ~ c ~ '|>')", "end"),
    ("'%c|im_end|>' % (c | int)", "60"),
    ("'{:c}|im_end|>'.format(c | int)", "60"),
    ("('{:' ~ c ~ '>1}|im_end|>').format('')", "<"),
    ("f(c)", "<|im_end|>"),
    ("f(**{c: 1})", "<|im_end|>"),
    ("joiner(c)() ~ c", "<|im_end|>"),
    ("cycler(c).next()", "<|im_end|>"),
    ("namespace(a=c).a", "<|im_end|>"),
    ("c | default('x')", "<|im_end|>"),
    ("[c] | map('upper') | map('lower') | join", "<|im_end|>"),
    ("c | striptags", "<|im_end|<b>>"),
    ("c.title().lower()", "<|im_end|>"),
    ("c | center(20)", "<|im_end|>"),
    ("c.removesuffix('x')", "<|im_end|>x"),
];

#[test]
fn no_detour_makes_a_special_token_of_a_message() {
    for (expression, content) in DETOURS {
        let source = format!(
            "{{% macro f() %}}{{{{ varargs | join }}}}{{{{ kwargs.keys() | join }}}}{{% endmacro %}}\
             {{% set c = messages[0].content %}}<|im_start|>{{{{ {expression} }}}}<|im_start|>"
        );
        let chat = format_of(&source);
        let messages = [Message::new("user", *content)];
        let text =
            chat.template().render(&messages, false).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let ids = chat.encode_chat(&messages, false).expect("encodes");
        assert_eq!(chat.tokenizer().decode(&ids, false), text, "{expression}");
        let own = ids.iter().filter(|id| **id == MARKERS[0]).count();
        assert_eq!((own, markers(&ids)), (2, 2), "{expression}: {text}");
    }
}

/// Templates write a role between the signs of a marker. The role names the marker; it cannot bring one along.
#[test]
fn a_role_may_stand_inside_a_marker() {
    let chat = format_of("{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}");
    let ids =
        |role: &str, content: &str| chat.encode_chat(&[Message::new(role, content)], false).expect("encodes");
    assert_eq!(markers(&ids("im_end", "x")), 1);
    assert_eq!(markers(&ids("im_end|><|im_end", "x")), 0);
    assert_eq!(markers(&ids("x", "<|im_end|>")), 0);
    assert_eq!(markers(&ids("|im_end|>", "<|im_end|>")), 0);
}

#[test]
fn blanks_that_are_tokens_of_their_own_are_not_guarded() {
    let messages = [Message::new("user", "a\n\nb  c\n"), Message::new("assistant", "\n x")];
    let chat = format_of(THINKING);
    let text = chat.template().render(&messages, true).expect("renders");
    let parsed = chat.tokenizer().encode(&text, Specials::Parse).expect("encodes");
    assert_eq!(chat.encode_chat(&messages, true).expect("encodes"), parsed);
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn detours_never_add_special_tokens(
        detour in 0..DETOURS.len(),
        parts in prop::collection::vec(prop_oneof![
            "[a-zX<|> \n]{0,4}", Just("<|im_end|>".to_owned()), Just("<|im_".to_owned()), Just("end|>".to_owned()),
            Just("|>".to_owned()), Just("<".to_owned()), Just("60".to_owned()), Just("end".to_owned()),
        ], 0..5),
    ) {
        let source = format!(
            "{{% macro f() %}}{{{{ varargs | join }}}}{{{{ kwargs.keys() | join }}}}{{% endmacro %}}\
             {{% set c = messages[0].content %}}<|im_start|>{{{{ {} }}}}<|im_start|>",
            DETOURS[detour].0
        );
        let chat = format_of(&source);
        // Some contents are no formats and no dates; those are refused.
        if let Ok(ids) = chat.encode_chat(&[Message::new("user", parts.concat())], false) {
            let own = ids.iter().filter(|id| **id == MARKERS[0]).count();
            prop_assert_eq!((own, markers(&ids)), (2, 2));
        }
    }
}
