//! Edits of length and layout.

use super::super::check::{blocks, sentences};
use super::picked;

/// The reply as sentences, if it has at least two.
fn parts(reply: &str) -> Option<Vec<String>> {
    Some(sentences(reply)).filter(|parts| parts.len() > 1)
}

/// Running text without marks of lists, headings and bold type.
fn prose(reply: &str) -> String {
    sentences(reply).join(" ").replace('`', "")
}

/// The first third of the sentences, and all sentences; for a single long sentence, the part before its first
/// comma.
pub(super) fn shorter(reply: &str, _pick: usize) -> Option<[String; 2]> {
    let short = match parts(reply) {
        Some(parts) => parts[..parts.len().div_ceil(3)].join(" "),
        None => format!("{}.", reply.split_once(',')?.0),
    };
    Some([short, reply.to_owned()])
}

/// The text with commas turned into full stops, and with full stops turned into commas.
pub(super) fn short_sentences(reply: &str, _pick: usize) -> Option<[String; 2]> {
    let text = prose(reply);
    let mut short = String::with_capacity(text.len());
    for (at, piece) in text.split(", ").enumerate() {
        let piece = piece.strip_prefix("and ").or_else(|| piece.strip_prefix("but ")).unwrap_or(piece);
        if at > 0 {
            short.push_str(". ");
        }
        let mut letters = piece.chars();
        short.extend(letters.next().into_iter().flat_map(char::to_uppercase).chain(letters));
    }
    let long = text.replace(". ", ", and ");
    Some([short, long])
}

/// Each sentence as a line after a dash, and all sentences as running text.
pub(super) fn bullets(reply: &str, _pick: usize) -> Option<[String; 2]> {
    let lines: Vec<String> = parts(reply)?.iter().map(|sentence| format!("- {sentence}")).collect();
    Some([lines.join("\n"), prose(reply)])
}

/// Each sentence as a numbered line, and all sentences as running text.
pub(super) fn numbered_steps(reply: &str, _pick: usize) -> Option<[String; 2]> {
    let lines = parts(reply)?.into_iter().zip(1..).map(|(sentence, step)| format!("{step}. {sentence}"));
    Some([lines.collect::<Vec<_>>().join("\n"), prose(reply)])
}

/// Running text, and the same with one kind of mark-up.
pub(super) fn plain_text(reply: &str, pick: usize) -> Option<[String; 2]> {
    let [marked, _] = match pick % 4 {
        0 => bullets(reply, pick)?,
        1 => numbered_steps(reply, pick)?,
        2 => headings(reply, pick)?,
        _ => bold(reply, pick)?,
    };
    Some([prose(reply), marked])
}

/// The text below a heading, and without a heading.
pub(super) fn headings(reply: &str, pick: usize) -> Option<[String; 2]> {
    const HEADINGS: &[&str] =
        &["# Answer", "## What to know", "## The main points", "# Explanation", "### Reply"];
    let text = prose(reply);
    let marked = match parts(reply) {
        Some(parts) if pick % 2 == 1 => {
            let (first, rest) = parts.split_at(1);
            format!("{}\n{}\n\n## More\n{}", picked(HEADINGS, pick), first[0], rest.join(" "))
        }
        _ => format!("{}\n{text}", picked(HEADINGS, pick)),
    };
    Some([marked, text]).filter(|[_, text]| !text.is_empty())
}

/// A long word in bold type, and the text without asterisks.
pub(super) fn bold(reply: &str, pick: usize) -> Option<[String; 2]> {
    let text = reply.replace("**", "").replace("__", "");
    let long: Vec<&str> = text.split(' ').filter(|word| word.len() > 4 && is_word(word)).collect();
    let word = long.get(pick % long.len().max(1))?;
    Some([text.replacen(word, &format!("**{word}**"), 1), text.clone()])
}

fn is_word(text: &str) -> bool {
    text.chars().all(char::is_alphabetic)
}

/// Sentences as three or more paragraphs, and as one.
pub(super) fn several_paragraphs(reply: &str, _pick: usize) -> Option<[String; 2]> {
    let parts = match blocks(reply) {
        blocks if blocks.len() >= 3 => blocks,
        _ => parts(reply)?,
    };
    Some([parts.join("\n\n"), parts.join(" ")])
}
