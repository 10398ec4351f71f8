//! Methods that change or ask for upper case, and those that ask what characters a text has.

use super::super::print::is_printable;
use super::super::text::Text;
use super::super::value::Value;

/// Calls a method without arguments.
pub(super) fn call(text: &Text, name: &str) -> Value {
    let plain = text.as_str();
    let all = |test: fn(char) -> bool| Value::Bool(!plain.is_empty() && plain.chars().all(test));
    match name {
        "upper" => Value::Text(text.map_chars(|letter, written| written.extend(letter.to_uppercase()))),
        "lower" => Value::Text(lowered(text)),
        "casefold" => Value::Text(lowered(text).map_chars(|letter, written| match letter {
            'ß' => written.push_str("ss"),
            'ς' => written.push('σ'),
            letter => written.push(letter),
        })),
        "capitalize" => Value::Text(capitalized(text)),
        "title" => Value::Text(titled(text)),
        "swapcase" => Value::Text(text.map_chars(|letter, written| {
            if letter.is_uppercase() {
                written.extend(letter.to_lowercase());
            } else {
                written.extend(letter.to_uppercase());
            }
        })),
        "isalnum" => all(|letter| letter.is_alphanumeric()),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => Value::Bool(plain.is_ascii()),
        "isdecimal" => all(is_decimal),
        "isdigit" => all(|letter| is_decimal(letter) || is_digit(letter)),
        "isnumeric" => all(char::is_numeric),
        "isidentifier" => {
            let starts = |letter: char| letter.is_alphabetic() || letter == '_';
            Value::Bool(
                plain.starts_with(starts)
                    && plain.chars().all(|letter| starts(letter) || letter.is_numeric()),
            )
        }
        "isprintable" => Value::Bool(plain.chars().all(is_printable)),
        "isspace" => all(char::is_whitespace),
        "islower" => Value::Bool(is_case(plain, char::is_lowercase, char::is_uppercase)),
        "isupper" => Value::Bool(is_case(plain, char::is_uppercase, char::is_lowercase)),
        _ => Value::Bool(is_title(plain)),
    }
}

/// Small letters, with the final form of the sigma as in Python.
fn lowered(text: &Text) -> Text {
    if !text.as_str().contains('Σ') {
        return text.map_chars(|letter, written| written.extend(letter.to_lowercase()));
    }
    let lowered: Vec<char> = text.as_str().to_lowercase().chars().collect();
    let mut next = lowered.into_iter();
    text.map_chars(|letter, written| {
        for _ in letter.to_lowercase() {
            written.extend(next.next());
        }
    })
}

fn capitalized(text: &Text) -> Text {
    let mut first = true;
    text.map_chars(|letter, written| {
        if std::mem::replace(&mut first, false) {
            push_title(letter, written);
        } else {
            written.extend(letter.to_lowercase());
        }
    })
}

/// The first letter of each word as a capital; a word ends at the first character that is no letter.
fn titled(text: &Text) -> Text {
    let mut inside = false;
    text.map_chars(|letter, written| {
        let cased = letter.is_lowercase() || letter.is_uppercase();
        if inside {
            written.extend(letter.to_lowercase());
        } else {
            push_title(letter, written);
        }
        inside = cased;
    })
}

/// The capital that begins a word: of several letters only the first is one.
fn push_title(letter: char, written: &mut String) {
    let mut upper = letter.to_uppercase();
    written.extend(upper.next());
    written.extend(upper.flat_map(char::to_lowercase));
}

fn is_decimal(letter: char) -> bool {
    // The zeros of the scripts with ten digits in a row that texts use.
    const ZEROS: &[u32] = &[
        0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
        0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0xff10,
    ];
    let code = u32::from(letter);
    ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&code))
}

/// Digits in a raised, lowered or circled form.
fn is_digit(letter: char) -> bool {
    matches!(letter, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨' | '⑴'..='⑼' | '⒈'..='⒐' | '⓪')
}

fn is_case(text: &str, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    text.chars().any(wanted) && !text.chars().any(other)
}

fn is_title(text: &str) -> bool {
    let (mut inside, mut any) = (false, false);
    for letter in text.chars() {
        let (upper, lower) = (letter.is_uppercase(), letter.is_lowercase());
        if (upper && inside) || (lower && !inside) {
            return false;
        }
        inside = upper || lower;
        any |= inside;
    }
    any
}
