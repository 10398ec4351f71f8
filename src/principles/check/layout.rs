//! Checks of a reply's layout.

use super::text::{after_bullet, after_hashes, after_step, blocks, lines};

pub(super) fn bullets(text: &str) -> bool {
    lines(text).filter(|line| after_bullet(line).is_some()).count() >= 2
}

/// Whether one line begins with 1 and a later line with 2, both with the same mark.
pub(super) fn numbered_steps(text: &str) -> bool {
    ['.', ')'].into_iter().any(|mark| {
        let steps: Vec<u32> = lines(text)
            .filter_map(after_step)
            .filter(|(_, found, _)| *found == mark)
            .map(|(step, ..)| step)
            .collect();
        steps.iter().position(|&step| step == 1).is_some_and(|first| steps[first..].contains(&2))
    })
}

pub(super) fn plain_text(text: &str) -> bool {
    let marked = |line: &str| {
        after_bullet(line).is_some()
            || after_step(line).is_some()
            || after_hashes(line).is_some()
            || line.starts_with('|')
    };
    // Fences are backticks; otherwise look for lines that begin with any of these.
    let marks = ["**", "__", "`", "~~~"];
    !text.lines().any(|line| marked(line.trim())) && !marks.iter().any(|mark| text.contains(mark))
}

pub(super) fn headings(text: &str) -> bool {
    lines(text).any(|line| after_hashes(line).is_some())
}

pub(super) fn bold(text: &str) -> bool {
    let between = |line: &str, mark: &str| {
        let parts: Vec<&str> = line.split(mark).collect();
        parts.len() > 2 && parts[1..parts.len() - 1].iter().any(|part| !part.trim().is_empty())
    };
    lines(text).any(|line| between(line, "**") || between(line, "__"))
}

pub(super) fn several_paragraphs(text: &str) -> bool {
    blocks(text).len() >= 3
}
