//! Two versions of one reply that differ in a single principle, made by a program.
//!
//! Replies sampled from a small model differ in many ways at once, and seldom in the way that a principle
//! names: a thousand replies may have no emoji. Two versions that differ only in that way show clearly what
//! the principle is about (counterfactual augmentation, arXiv 1909.12434).

mod layout;
mod wording;

use super::check::Check;

/// Makes two versions of a reply, of which the first keeps the principle better; `pick` chooses among
/// phrases. `None` if the reply cannot be edited.
type Edit = fn(&str, usize) -> Option<[String; 2]>;

/// Edits by the name of the check.
const EDITS: &[(&str, Edit)] = &[
    ("shorter", layout::shorter),
    ("longer", |reply, pick| layout::shorter(reply, pick).map(|[short, long]| [long, short])),
    ("short-sentences", layout::short_sentences),
    ("bullets", layout::bullets),
    ("numbered-steps", layout::numbered_steps),
    ("plain-text", layout::plain_text),
    ("headings", layout::headings),
    ("bold", layout::bold),
    ("several-paragraphs", layout::several_paragraphs),
    ("ends-with:question", wording::ends_with_question),
    ("ends-with:summary", wording::ends_with_summary),
    ("ends-with:offer", wording::ends_with_offer),
    ("opens-with:greeting", wording::opens_with_greeting),
    ("opens-with:question", wording::opens_with_question),
    ("opens-with:in-short", wording::opens_with_in_short),
    ("first-person", wording::first_person),
    ("second-person", wording::second_person),
    ("contains-example", wording::contains_example),
    ("no-digits", wording::no_digits),
    ("hedged", wording::hedged),
    ("contractions", wording::contractions),
    ("exclamation", wording::exclamation),
    ("emoji", wording::emoji),
    ("lowercase", |reply, _| Some([reply.to_lowercase(), wording::capitalised(reply)])),
];

impl Check {
    /// Two versions of `reply` that differ in the property that the check measures, and in as little else as
    /// possible. The first keeps the principle better. `pick` is any number; it chooses among phrases if
    /// one is inserted.
    ///
    /// `None` if this reply cannot be edited, or the check has no edit, such as those of languages.
    pub fn edit(self, reply: &str, pick: u32) -> Option<[String; 2]> {
        let name = self.name();
        let (_, edit) = EDITS.iter().find(|(known, _)| *known == name)?;
        let [kept, broken] = edit(reply.trim(), pick as usize)?.map(|version| version.trim().to_owned());
        // A reply may keep a principle in ways that an edit does not handle.
        self.compare(&kept, &broken).is_gt().then_some([kept, broken])
    }

    /// Two versions from [`Check::edit`], with an edit of another check, `decoy`, applied to the shorter one.
    /// Most edits that keep a principle make a reply longer; the decoy keeps length from revealing which
    /// version keeps it.
    ///
    /// `None` if that edit is not possible, or if the check would no longer prefer the first version.
    pub fn with_decoy(self, versions: &[String; 2], pick: u32, decoy: Check) -> Option<[String; 2]> {
        let [mut kept, mut broken] = versions.clone();
        let length = |text: &String| text.chars().count();
        let shorter = if length(&kept) < length(&broken) { &mut kept } else { &mut broken };
        let longest = decoy.edit(shorter, pick)?.into_iter().max_by_key(length)?;
        if length(&longest) <= length(shorter) {
            return None;
        }
        *shorter = longest;
        self.compare(&kept, &broken).is_gt().then_some([kept, broken])
    }
}

/// One of `phrases`.
fn picked<'a>(phrases: &[&'a str], pick: usize) -> &'a str {
    phrases[pick % phrases.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: [&str; 4] = [
        "Tea is made of leaves. Boil the water first, let it cool for a moment, and pour it over them. It is \
         ready after three minutes.",
        "Rain comes from clouds because water vapour cools, forms drops, and falls down when the drops grow heavy.",
        "Here is a plan:\n1. Sleep well.\n2. Eat 3 meals.\n\nDon't worry! Shall we begin?",
        "- Oats\n- Milk\n\nYou may add **honey**. I'd leave out the sugar.",
    ];

    #[test]
    fn with_decoys_length_tells_less_and_the_check_as_much() {
        let checks = || EDITS.iter().map(|(name, _)| Check::from_name(name).expect("a check of this name"));
        let (mut plain, mut decoyed, mut made) = (0, 0, 0);
        for (reply, check) in REPLIES.iter().flat_map(|reply| checks().map(move |check| (reply, check))) {
            let Some(versions) = check.edit(reply, 3) else { continue };
            let [was_kept, was_broken] = &versions;
            for [kept, broken] in checks().filter_map(|decoy| check.with_decoy(&versions, 3, decoy)) {
                assert!(check.compare(&kept, &broken).is_gt(), "{}: {kept:?} and {broken:?}", check.name());
                assert!((kept == *was_kept) != (broken == *was_broken), "one of them has the decoy");
                made += 1;
                plain += usize::from(was_kept.len() > was_broken.len());
                decoyed += usize::from(kept.len() > broken.len());
            }
        }
        assert!(made > 200 && decoyed < plain, "{decoyed} and {plain} of {made} kept by the longer");
    }

    #[test]
    fn every_edit_makes_a_difference_that_its_check_sees() {
        for (name, _) in EDITS {
            let check = Check::from_name(name).expect("a check of this name");
            let mut made = 0;
            for (reply, pick) in
                REPLIES.iter().zip(0..).flat_map(|(reply, at)| [(reply, at), (reply, at + 5)])
            {
                let Some([kept, broken]) = check.edit(reply, pick) else { continue };
                made += 1;
                assert!(check.compare(&kept, &broken).is_gt(), "{name}: {kept:?}, {broken:?}");
                assert_eq!(check.edit(reply, pick), Some([kept, broken]), "the same every time");
            }
            assert!(made >= 2, "{name} edits {made} of {} replies", 2 * REPLIES.len());
        }
    }

    #[test]
    fn versions_differ_in_little() {
        let edit = |name: &str, reply: &str| Check::from_name(name).and_then(|check| check.edit(reply, 0));
        let two = |versions: [&str; 2]| Some(versions.map(str::to_owned));
        let reply = "Use it well. It is new!";
        assert_eq!(edit("bullets", reply), two(["- Use it well.\n- It is new!", "Use it well. It is new!"]));
        assert_eq!(edit("exclamation", reply), two(["Use it well! It is new!", "Use it well. It is new."]));
        assert_eq!(edit("contractions", reply), two(["Use it well. It's new!", "Use it well. It is new!"]));
        assert_eq!(edit("lowercase", "so IT is"), two(["so it is", "So IT is"]));
        assert_eq!(edit("shorter", "One. Two."), two(["One.", "One. Two."]));
        assert_eq!(edit("shorter", "One."), None, "there is nothing to leave out");
        assert_eq!(edit("language:es", "Agua."), None);
        assert_eq!(edit("bullets", ""), None);
    }
}
