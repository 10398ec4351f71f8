//! Counts of a reply's form, as text for a reward model to read.
//!
//! A small language model reads what a reply is about, but cannot count its words or see how it ends. Programs can. So
//! an input may have a line with such counts, and the model only has to find the one that a principle asks for.

use std::fmt::Write;

/// Number of characters of the first and the last words that are shown.
const SHOWN: usize = 24;
/// Minimum number of letters of a word of the request that is looked for in the reply.
const LONG: usize = 4;

/// The line of counts for `reply` to `request`.
pub(super) fn counts(request: &str, reply: &str) -> String {
    let words: Vec<&str> = reply.split_whitespace().collect();
    let sentences = sentences(reply);
    let paragraphs = reply.split("\n\n").filter(|part| !part.trim().is_empty()).count();
    let lines = || reply.lines().map(str::trim_start);
    let begin =
        |marks: &[&str]| lines().filter(|line| marks.iter().any(|mark| line.starts_with(mark))).count();
    let of = |wanted: &dyn Fn(char) -> bool| reply.chars().filter(|&c| wanted(c)).count();
    let any = |chars: &'static str| of(&|c| chars.contains(c));
    let pronoun = |forms: &[&str]| {
        let plain = words.iter().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
        plain
            .filter(|word| forms.iter().any(|form| word.split(['\'', '\u{2019}']).next() == Some(form)))
            .count()
    };
    let letters = |word: &&&str| word.chars().filter(|c| c.is_alphabetic()).count() > 1;
    let shouted = |word: &&&str| !word.chars().any(char::is_lowercase);
    let counted = [
        (sentences.len(), "sentences"),
        (paragraphs, "paragraphs"),
        (
            sentences.iter().map(|text| text.split_whitespace().count()).max().unwrap_or(0),
            "words in the longest sentence",
        ),
        (begin(&["- ", "* ", "+ ", "\u{2022}"]), "list items"),
        (lines().filter(|line| is_step(line)).count(), "numbered items"),
        (begin(&["# ", "## ", "### ", "#### "]), "headings"),
        (reply.matches("**").count() / 2, "bold"),
        (reply.matches('`').count() / 2, "code"),
        (any("!"), "exclamation marks"),
        (any("?\u{BF}"), "question marks"),
        (any(","), "commas"),
        (any(":"), "colons"),
        (any(";"), "semicolons"),
        (any("\u{2013}\u{2014}") + reply.matches(" - ").count(), "dashes"),
        (any("\"\u{201C}\u{201D}\u{AB}\u{BB}"), "quotation marks"),
        (any("()[]"), "brackets"),
        (reply.matches("...").count() + any("\u{2026}"), "ellipses"),
        (of(&|c| c.is_ascii_digit()), "digits"),
        (words.iter().filter(letters).filter(shouted).count(), "words in capitals"),
        (of(&is_emoji), "emoji"),
        (pronoun(&["I", "me", "my", "My", "mine", "myself"]), "I"),
        (pronoun(&["you", "You", "your", "Your", "yours", "yourself"]), "you"),
    ];
    let mut line = format!("{} words", words.len());
    for (count, what) in counted {
        let separator = ", ";
        // "no emoji" is closer to how people write than "0 emoji".
        let _ = match count {
            0 => write!(line, "{separator}no {what}"),
            count => write!(line, "{separator}{count} {what}"),
        };
    }
    let [found, all] = shared(request, reply);
    let _ = write!(line, ", {found} of {all} words of the request. ");
    let (first, last) = (words.first().copied().unwrap_or(""), words.last().copied().unwrap_or(""));
    let first: String = first.chars().take(SHOWN).collect();
    let skipped = last.chars().count().saturating_sub(SHOWN);
    let last: String = last.chars().skip(skipped).collect();
    let _ = write!(line, "First: {first} Last: {last}");
    line
}

/// Parts of a text that end with a stop, an exclamation or question mark before white space, or with a line.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut start = 0;
        for (at, c) in line.char_indices() {
            let end = at + c.len_utf8();
            let stops = ['.', '!', '?', '\u{3002}'].contains(&c);
            // "1." begins an item.
            let item = c == '.' && line[..at].trim_start().chars().all(|c| c.is_ascii_digit());
            if stops && !item && line[end..].chars().next().is_none_or(char::is_whitespace) {
                found.push(line[start..end].trim());
                start = end;
            }
        }
        found.push(line[start..].trim());
    }
    found.retain(|part| part.chars().any(char::is_alphanumeric));
    found
}

/// Whether a line begins with a step number: `2.` or `2)` and a space.
fn is_step(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < line.len() && [". ", ") "].iter().any(|mark| rest.starts_with(mark))
}

/// Whether a character is a picture: emoji, symbols and dingbats, but not the marks that select their presentation.
fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27BF}' | '\u{1F000}'..='\u{1FAFF}')
}

/// How many of the request's different long words occur in the reply, and how many there are. Words are compared by
/// their first letters, so that forms of a word count as the same.
fn shared(request: &str, reply: &str) -> [usize; 2] {
    let stems = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let long = words.filter(|word| word.chars().count() >= LONG);
        long.map(|word| word.to_lowercase().chars().take(LONG + 1).collect()).collect()
    };
    let (mut wanted, given) = (stems(request), stems(reply));
    wanted.sort();
    wanted.dedup();
    [wanted.iter().filter(|word| given.contains(word)).count(), wanted.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_counted() {
        let reply =
            "Sure! I love TEA; you can brew:\n\n- green tea (2 min)\n- black tea \u{1F375}\n1. Any more?";
        let found = counts("Which teas can I brew at home?", reply);
        for part in [
            "19 words, 5 sentences, 2 paragraphs, 6 words in the longest sentence, 2 list items, 1 numbered items, no headings",
            "1 exclamation marks, 1 question marks, no commas, 1 colons, 1 semicolons, no dashes",
            "2 brackets, no ellipses, 2 digits, 1 words in capitals, 1 emoji, 1 I, 1 you, 1 of 4 words of the request",
            ". First: Sure! Last: more?",
        ] {
            assert!(found.contains(part), "{part:?} in {found:?}");
        }
    }

    #[test]
    fn any_text_is_counted() {
        for text in ["", " ", "\n\n", "\u{1F375}", "1.", "`", "\u{3002}\u{3002}", &"x".repeat(100)] {
            let line = counts(text, text);
            assert!(line.contains(" words") && !line.contains('\n'), "{line}");
        }
    }
}
