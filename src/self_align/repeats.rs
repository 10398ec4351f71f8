//! Cuts repeated text and unfinished sentences.

/// Returns the text up to the first repeated segment. A segment ends after a line break, a backtick or one of
/// `. ? ! ; : ,`. Segments without a letter, such as marks or numbers, may repeat.
///
/// ```
/// use parr::self_align::without_repeats;
///
/// assert_eq!(without_repeats("It rains. It pours. It rains. It pours."), "It rains. It pours.");
/// assert_eq!(without_repeats("1. Boil.\n2. Pour.\n"), "1. Boil.\n2. Pour.");
/// ```
pub fn without_repeats(text: &str) -> &str {
    let mut seen: Vec<&str> = Vec::new();
    let mut start = 0;
    for segment in text.split_inclusive(['\n', '.', '?', '!', ';', ':', ',', '`']) {
        let bare = segment.trim();
        if bare.contains(char::is_alphabetic) {
            if seen.contains(&bare) {
                return text[..start].trim();
            }
            seen.push(bare);
        }
        start += segment.len();
    }
    text.trim()
}

/// Returns the text up to the end of its last whole sentence or line. Empty if there is none.
pub(super) fn whole_sentences(text: &str) -> &str {
    let text = text.trim();
    let ends_sentence = |at: usize, letter: char| {
        let rest = &text[at + letter.len_utf8()..];
        // The dot in 2.4 does not end a sentence. A dot at the end of the text does.
        ['.', '?', '!', '\u{3002}'].contains(&letter)
            && rest
                .chars()
                .next()
                .is_none_or(|next| next.is_whitespace() || "\"')]*\u{201D}\u{2019}".contains(next))
    };
    let mut end = 0;
    for (at, letter) in text.char_indices() {
        if letter == '\n' {
            end = at;
        } else if ends_sentence(at, letter) {
            let behind = &text[at + letter.len_utf8()..];
            let closing =
                behind.find(|next| !"\"')]*\u{201D}\u{2019}".contains(next)).unwrap_or(behind.len());
            end = at + letter.len_utf8() + closing;
        }
    }
    // The number of an unfinished list item is not a sentence.
    let kept = text[..end].trim_end();
    match kept.rsplit_once('\n') {
        Some((before, last)) if !last.contains(char::is_alphabetic) => before.trim_end(),
        None if !kept.contains(char::is_alphabetic) => "",
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_cut_at_their_first_repeated_segment() {
        for (text, expected) in [
            ("one, two, one, two", "one, two,"),
            ("a.\nb.\na.\nc.", "a.\nb."),
            ("Nothing comes twice.", "Nothing comes twice."),
            ("5.5 and 5.7; 5.", "5.5 and 5.7; 5."),
            ("... and ... then", "... and ... then"),
            ("Wait! Wait! Go.", "Wait!"),
            ("`a` or `a`", "`a` or `"),
            ("", ""),
        ] {
            assert_eq!(without_repeats(text), expected, "{text}");
        }
    }

    #[test]
    fn what_breaks_off_is_cut_to_whole_sentences() {
        for (text, expected) in [
            ("One. Two is", "One."),
            ("It takes 2.4 litres", ""),
            ("He said \"no.\" Then", "He said \"no.\""),
            ("1. Boil it.\n2.", "1. Boil it."),
            ("1. Boil it.\n2. Pour", "1. Boil it."),
            ("- tea\n- milk\n- sug", "- tea\n- milk"),
            ("Is it? (Yes!) And", "Is it? (Yes!)"),
            ("All of it.", "All of it."),
            ("2.", ""),
        ] {
            assert_eq!(whole_sentences(text), expected, "{text}");
        }
    }
}
