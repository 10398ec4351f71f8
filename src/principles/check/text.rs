//! Parts of a reply: words, lines, sentences, blocks; and its text without mark-up.

/// Number of runs without white space.
pub(super) fn n_words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Lines without indentation; those of fenced code, and the fences, are left out.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().map(str::trim).filter(move |line| {
        let fence = line.starts_with("```") || line.starts_with("~~~");
        code ^= fence;
        !code && !fence
    })
}

/// The text without fenced code and without text between backticks on one line.
pub(super) fn without_code(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in lines(text) {
        let pieces: Vec<&str> = line.split('`').collect();
        for (at, piece) in pieces.iter().enumerate() {
            // A backtick without a closing one opens nothing.
            if at % 2 == 0 || at + 1 == pieces.len() {
                kept.push_str(piece);
            }
        }
        kept.push('\n');
    }
    kept
}

/// The text after the bullet at the start of a line: one of `- * + •`, then a blank.
pub(super) fn after_bullet(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(['-', '*', '+', '\u{2022}'])?;
    rest.starts_with(char::is_whitespace).then(|| rest.trim_start())
}

/// The step number at the start of a line, the mark after it (a full stop or a bracket), and the text that
/// follows. `1.5` is not a step.
pub(super) fn after_step(line: &str) -> Option<(u32, char, &str)> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = line.split_at(digits);
    let rest_of = |mark| rest.strip_prefix(mark).map(|rest: &str| (mark, rest));
    let (mark, rest) = rest_of('.').or_else(|| rest_of(')'))?;
    let step = number.parse().ok()?;
    (!rest.starts_with(|c: char| c.is_ascii_digit())).then(|| (step, mark, rest.trim_start()))
}

/// The text after the hash signs of a heading, if the line is a heading.
pub(super) fn after_hashes(line: &str) -> Option<&str> {
    let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
    let rest = &line[hashes..];
    ((1..=6).contains(&hashes) && rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

/// Sentences without bullets, step numbers and marks of bold type. One ends at a line's end, or at one of
/// `. ! ?` before white space.
pub(in crate::principles) fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    for line in lines(text) {
        let line = after_bullet(line).or_else(|| after_step(line).map(|(.., rest)| rest)).unwrap_or(line);
        let line = after_hashes(line).unwrap_or(line).replace("**", "").replace("__", "");
        let mut start = 0;
        let mut ends: Vec<usize> = line
            .char_indices()
            .filter(|(at, c)| ['.', '!', '?'].contains(c) && line[at + 1..].starts_with(char::is_whitespace))
            .map(|(at, _)| at + 1)
            .collect();
        ends.push(line.len());
        for end in ends {
            let sentence = line[start..end].trim();
            start = end;
            if sentence.contains(char::is_alphanumeric) {
                sentences.push(sentence.to_owned());
            }
        }
    }
    sentences
}

/// Runs of lines that are not empty.
pub(in crate::principles) fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        if !line.trim().is_empty() {
            block.push(line);
        } else if !block.is_empty() {
            blocks.push(std::mem::take(&mut block).join("\n"));
        }
    }
    blocks
}

/// `text` in lower case, with runs of white space as one blank and typographic apostrophes as plain ones.
pub(super) fn folded(text: &str) -> String {
    let text = text.to_lowercase().replace(['\u{2019}', '\u{02BC}'], "'");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `phrase` occurs anywhere in `text`. Case is ignored, runs of white space count as one blank, and
/// typographic apostrophes as plain ones.
pub fn contains_phrase(text: &str, phrase: &str) -> bool {
    folded(text).contains(&folded(phrase))
}

/// Whether `phrase` occurs in `text`, both folded, and is not part of longer words.
pub(super) fn has_words(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + phrase.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        // Anything may follow `e.g.`.
        !part(before) && (!part(after) || !phrase.ends_with(char::is_alphanumeric))
    })
}

/// The words of a text for lookup: folded, also split at dashes and slashes, without surrounding marks.
pub(super) fn lookups(text: &str) -> Vec<String> {
    let folded = folded(text);
    let parts = folded.split([' ', '\u{2014}', '\u{2013}', '/', '\u{2026}']);
    let trimmed = parts.map(|part| part.trim_matches(|c: char| !c.is_alphanumeric()));
    trimmed.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_leave_the_marks_of_lists_behind() {
        let text = "# Tea\n1. Boil 1.5 litres. Wait!\n  - **Pour** it\n\n---\nReady? Yes";
        let found = ["Tea", "Boil 1.5 litres.", "Wait!", "Pour it", "Ready?", "Yes"];
        assert_eq!(sentences(text), found);
        assert_eq!(sentences(""), [""; 0]);
    }

    #[test]
    fn code_is_no_text() {
        let text = "Run `a!` or `b.\n```\n# x!\n- y\n```\nDone.";
        assert_eq!(without_code(text), "Run  or b.\nDone.\n");
        assert_eq!(lines(text).collect::<Vec<_>>(), ["Run `a!` or `b.", "Done."]);
    }

    #[test]
    fn phrases_are_found_across_lines_and_apostrophes() {
        assert!(contains_phrase("I\u{2019}m  just\nan AI, sorry", "i'm just an ai"));
        assert!(!contains_phrase("I am", "i'm"));
        assert!(has_words("not such as these", "such as") && !has_words("such assistance", "such as"));
        assert!(has_words("tea (e.g.,green)", "e.g."));
    }

    #[test]
    fn blocks_part_at_lines_without_text() {
        assert_eq!(blocks("a\nb\n \n\nc\n"), ["a\nb", "c"]);
        assert!(blocks("\n \n").is_empty());
    }
}
