//! Refuses templates that use a namespace as a value: one that holds itself would be walked forever.
//!
//! Jinja's namespaces are the only values that can be changed, so only they can form a
//! ring. The engine prints, compares and serializes values by recursion, which neither its fuel nor
//! its recursion limit counts, so a ring would overflow the stack. Templates in use only read
//! and write a namespace's fields; this module requires that.

use std::collections::BTreeSet;

/// A word or sign of a tag, with its line.
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// The first use of a namespace as a value in `source`: its line and its name.
pub(super) fn used_as_value(source: &str) -> Option<(usize, &str)> {
    let tokens = tokens(source);
    let at = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let before = |index: usize, back: usize| index.checked_sub(back).map_or("", |index| at(index));

    // `set NAME = namespace(` makes one; any other use of the function is refused.
    let makes = |index: usize| {
        before(index, 1) == "="
            && before(index, 3) == "set"
            && at(index + 1) == "("
            && is_word(before(index, 2))
    };
    let mut names = BTreeSet::from(["namespace"]);
    names.extend(
        (0..tokens.len())
            .filter(|&index| at(index) == "namespace" && makes(index))
            .map(|index| before(index, 2)),
    );

    let found = (0..tokens.len()).find(|&index| {
        let (last, next) = (before(index, 1), at(index + 1));
        let field = next == "." || last == ".";
        // The name of a loop variable or of an argument, and `is defined`, are allowed too.
        let binding = matches!(last, "set" | "for") || (next == "=" && matches!(last, "(" | ","));
        let sound = if at(index) == "namespace" {
            makes(index) || last == "."
        } else {
            field || binding || next == "is"
        };
        names.contains(at(index)) && !sound
    })?;
    Some((tokens[found].line, tokens[found].text))
}

fn is_word(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

/// The words and signs of all tags, strings and comments left out.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = source;
    // The closing mark of the tag that `rest` is in.
    let mut close: Option<&str> = None;
    while let Some(first) = rest.chars().next() {
        let len = match close {
            None => {
                close = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
                    .into_iter()
                    .find_map(|(open, close)| rest.starts_with(open).then_some(close));
                close.map_or(first.len_utf8(), str::len)
            }
            Some(end) if rest.starts_with(end) => {
                close = None;
                end.len()
            }
            Some("#}") => first.len_utf8(),
            Some(_) if matches!(first, '"' | '\'') => string_len(rest, first),
            Some(_) => {
                let word = rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
                // `==` is one sign; it is not the `=` that binds a name.
                let sign = if rest.starts_with("==") { 2 } else { first.len_utf8() };
                let len = word.unwrap_or(rest.len()).max(sign);
                if !first.is_whitespace() {
                    tokens.push(Token { text: &rest[..len], line });
                }
                len
            }
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// The length of the string literal that `rest` starts with, quotes included.
fn string_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        if letter == quote && !escaped {
            return at + letter.len_utf8();
        }
        escaped = letter == '\\' && !escaped;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::used_as_value;

    #[test]
    fn fields_may_be_read_and_written() {
        for source in [
            "{% set ns = namespace(a=1, b='ns') %}{% set ns.a = ns.b ~ ns.a %}{{ ns.a }}",
            "{%- set ns=namespace(found=false) -%}{% if ns is defined and not ns.found %}ns {{ 'ns' }}{% endif %}",
            "{# ns namespace #}namespace ns {{ f(ns=1) }}{{ x.namespace }}",
            "{% set ns = namespace() %}{% for ns in messages %}{{ ns.role }}{% endfor %}{{ m.ns }}",
        ] {
            assert_eq!(used_as_value(source), None, "{source}");
        }
    }

    #[test]
    fn a_namespace_is_no_value() {
        for (source, expected) in [
            ("{% set ns = namespace() %}\n{% set ns.a = ns %}", (2, "ns")),
            ("{% set ns = namespace() %}{{ ns }}", (1, "ns")),
            ("{% set ns = namespace() %}{{ ns == 1 }}", (1, "ns")),
            ("{% set ns = namespace() %}{{ f(ns == 1) }}", (1, "ns")),
            ("{% set ns = namespace(a=[ns]) %}", (1, "ns")),
            ("{% set ns = namespace() %}{% set x = [ns] %}", (1, "ns")),
            ("{% set make = namespace %}", (1, "namespace")),
            ("\n{% set a, b = namespace(), namespace() %}", (2, "namespace")),
            ("{{ [namespace()] }}", (1, "namespace")),
            ("{% set x = namespace() %}{% set y = 'x\\'' ~ x %}", (1, "x")),
        ] {
            assert_eq!(used_as_value(source), Some(expected), "{source}");
        }
    }
}
