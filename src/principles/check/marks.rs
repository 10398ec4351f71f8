//! Checks of single characters: digits, emoji, marks, case.

use super::text::without_code;

/// Whether a decimal digit of any script occurs.
pub(super) fn digit(text: &str) -> bool {
    text.chars().any(|c| within(c, DIGITS))
}

/// Whether a character occurs that Unicode presents as an emoji, alone or because U+FE0F follows.
pub(super) fn emoji(text: &str) -> bool {
    let mut before = None;
    text.chars().any(|c| {
        let made = c == EMOJI_VARIANT && before.is_some_and(|c: char| !c.is_whitespace());
        before = Some(c);
        made || within(c, EMOJI)
    })
}

/// Whether there is a letter, and no letter is upper case.
pub(super) fn lowercase(text: &str) -> bool {
    text.contains(char::is_alphabetic) && !text.contains(char::is_uppercase)
}

/// Whether an exclamation mark occurs outside code and is not part of a word or a sign. It must be before
/// white space, a closing mark, an emoji, another exclamation mark, or the end.
pub(super) fn exclamation(text: &str) -> bool {
    let text = without_code(text);
    text.match_indices('!').any(|(at, _)| match text[at + 1..].chars().next() {
        None | Some('!') => true,
        Some(c) => c.is_whitespace() || closing(c),
    })
}

/// Whether the last character is a question mark; closing marks and emoji after it are ignored.
pub(super) fn ends_with_question(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || closing(c));
    text.ends_with(['?', '\u{FF1F}', '\u{061F}'])
}

/// Turns the character before it into an emoji.
const EMOJI_VARIANT: char = '\u{FE0F}';

/// Quotes, brackets, marks of bold type, and the parts of emoji.
fn closing(c: char) -> bool {
    const MARKS: &[char] =
        &['"', '\'', ')', ']', '}', '>', '*', '_', '\u{2019}', '\u{201D}', '\u{201C}', '\u{BB}', '\u{AB}'];
    // A joiner, the key cap, and the signs that are an emoji only with U+FE0F.
    const JOINTS: &[char] = &[EMOJI_VARIANT, '\u{200D}', '\u{20E3}', '\u{2764}', '\u{263A}', '\u{2714}'];
    MARKS.contains(&c) || JOINTS.contains(&c) || within(c, EMOJI)
}

fn within(c: char, ranges: &[(u32, u32)]) -> bool {
    let c = u32::from(c);
    let after = ranges.partition_point(|&(first, _)| first <= c);
    after > 0 && c <= ranges[after - 1].1
}

/// Unicode 16: `General_Category=Decimal_Number`.
#[rustfmt::skip]
const DIGITS: &[(u32, u32)] = &[
    (0x30, 0x39), (0x660, 0x669), (0x6F0, 0x6F9), (0x7C0, 0x7C9), (0x966, 0x96F), (0x9E6, 0x9EF),
    (0xA66, 0xA6F), (0xAE6, 0xAEF), (0xB66, 0xB6F), (0xBE6, 0xBEF), (0xC66, 0xC6F), (0xCE6, 0xCEF),
    (0xD66, 0xD6F), (0xDE6, 0xDEF), (0xE50, 0xE59), (0xED0, 0xED9), (0xF20, 0xF29), (0x1040, 0x1049),
    (0x1090, 0x1099), (0x17E0, 0x17E9), (0x1810, 0x1819), (0x1946, 0x194F), (0x19D0, 0x19D9),
    (0x1A80, 0x1A89), (0x1A90, 0x1A99), (0x1B50, 0x1B59), (0x1BB0, 0x1BB9), (0x1C40, 0x1C49),
    (0x1C50, 0x1C59), (0xA620, 0xA629), (0xA8D0, 0xA8D9), (0xA900, 0xA909), (0xA9D0, 0xA9D9),
    (0xA9F0, 0xA9F9), (0xAA50, 0xAA59), (0xABF0, 0xABF9), (0xFF10, 0xFF19), (0x104A0, 0x104A9),
    (0x10D30, 0x10D39), (0x10D40, 0x10D49), (0x11066, 0x1106F), (0x110F0, 0x110F9), (0x11136, 0x1113F),
    (0x111D0, 0x111D9), (0x112F0, 0x112F9), (0x11450, 0x11459), (0x114D0, 0x114D9), (0x11650, 0x11659),
    (0x116C0, 0x116C9), (0x116D0, 0x116E3), (0x11730, 0x11739), (0x118E0, 0x118E9), (0x11950, 0x11959),
    (0x11BF0, 0x11BF9), (0x11C50, 0x11C59), (0x11D50, 0x11D59), (0x11DA0, 0x11DA9), (0x11F50, 0x11F59),
    (0x16130, 0x16139), (0x16A60, 0x16A69), (0x16AC0, 0x16AC9), (0x16B50, 0x16B59), (0x16D70, 0x16D79),
    (0x1CCF0, 0x1CCF9), (0x1D7CE, 0x1D7FF), (0x1E140, 0x1E149), (0x1E2F0, 0x1E2F9), (0x1E4F0, 0x1E4F9),
    (0x1E5F1, 0x1E5FA), (0x1E950, 0x1E959), (0x1FBF0, 0x1FBF9),
];

/// Unicode 16: `Emoji_Presentation=Yes`.
#[rustfmt::skip]
const EMOJI: &[(u32, u32)] = &[
    (0x231A, 0x231B), (0x23E9, 0x23EC), (0x23F0, 0x23F0), (0x23F3, 0x23F3), (0x25FD, 0x25FE),
    (0x2614, 0x2615), (0x2648, 0x2653), (0x267F, 0x267F), (0x2693, 0x2693), (0x26A1, 0x26A1),
    (0x26AA, 0x26AB), (0x26BD, 0x26BE), (0x26C4, 0x26C5), (0x26CE, 0x26CE), (0x26D4, 0x26D4),
    (0x26EA, 0x26EA), (0x26F2, 0x26F3), (0x26F5, 0x26F5), (0x26FA, 0x26FA), (0x26FD, 0x26FD),
    (0x2705, 0x2705), (0x270A, 0x270B), (0x2728, 0x2728), (0x274C, 0x274C), (0x274E, 0x274E),
    (0x2753, 0x2755), (0x2757, 0x2757), (0x2795, 0x2797), (0x27B0, 0x27B0), (0x27BF, 0x27BF),
    (0x2B1B, 0x2B1C), (0x2B50, 0x2B50), (0x2B55, 0x2B55), (0x1F004, 0x1F004), (0x1F0CF, 0x1F0CF),
    (0x1F18E, 0x1F18E), (0x1F191, 0x1F19A), (0x1F1E6, 0x1F1FF), (0x1F201, 0x1F201), (0x1F21A, 0x1F21A),
    (0x1F22F, 0x1F22F), (0x1F232, 0x1F236), (0x1F238, 0x1F23A), (0x1F250, 0x1F251), (0x1F300, 0x1F320),
    (0x1F32D, 0x1F335), (0x1F337, 0x1F37C), (0x1F37E, 0x1F393), (0x1F3A0, 0x1F3CA), (0x1F3CF, 0x1F3D3),
    (0x1F3E0, 0x1F3F0), (0x1F3F4, 0x1F3F4), (0x1F3F8, 0x1F43E), (0x1F440, 0x1F440), (0x1F442, 0x1F4FC),
    (0x1F4FF, 0x1F53D), (0x1F54B, 0x1F54E), (0x1F550, 0x1F567), (0x1F57A, 0x1F57A), (0x1F595, 0x1F596),
    (0x1F5A4, 0x1F5A4), (0x1F5FB, 0x1F64F), (0x1F680, 0x1F6C5), (0x1F6CC, 0x1F6CC), (0x1F6D0, 0x1F6D2),
    (0x1F6D5, 0x1F6D7), (0x1F6DC, 0x1F6DF), (0x1F6EB, 0x1F6EC), (0x1F6F4, 0x1F6FC), (0x1F7E0, 0x1F7EB),
    (0x1F7F0, 0x1F7F0), (0x1F90C, 0x1F93A), (0x1F93C, 0x1F945), (0x1F947, 0x1F9FF), (0x1FA70, 0x1FA7C),
    (0x1FA80, 0x1FA89), (0x1FA8F, 0x1FAC6), (0x1FACE, 0x1FADC), (0x1FADF, 0x1FAE9), (0x1FAF0, 0x1FAF8),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_rise_and_know_their_ends() {
        for table in [DIGITS, EMOJI] {
            assert!(table.iter().all(|(first, last)| first <= last));
            assert!(table.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let (first, last) = (table[0].0, table[table.len() - 1].1);
            let character = |code| char::from_u32(code).expect("a character");
            assert!(within(character(first), table) && within(character(last), table));
            assert!(!within(character(first - 1), table) && !within(character(last + 1), table));
        }
        // Ten digits to a script.
        assert!(DIGITS.iter().all(|(first, last)| (last - first + 1) % 10 == 0));
    }
}
