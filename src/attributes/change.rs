//! Edits that give a reply an attribute, or take it away.

use super::pattern::Pattern;
use super::{Parameter, Seen};

/// An edit of a reply.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// One of these sentences is added.
    Insert { sentences: Vec<String>, place: Place },
    /// Every sentence becomes this text, with the sentence for `{}` and its number for `{n}`; `join` comes between.
    Each { text: String, join: String },
    /// One to three words become this text.
    Words { text: String },
    /// The reply becomes one of these texts.
    Whole { texts: Vec<String> },
    /// Matches are replaced, one pattern after the other.
    Replace { rules: Vec<(Pattern, String)> },
    /// Letters change.
    Letters(Letters),
    /// The request comes before the reply.
    Request,
}

/// Where a sentence is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Between any two sentences, before the first or after the last.
    #[default]
    Any,
    Start,
    End,
}

/// How letters change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    Lower,
    Upper,
    /// A few words in capitals.
    Capitals,
}

/// Words of fewer letters are not marked.
const SHORTEST_WORD: usize = 5;

impl Change {
    /// The changed reply; `pick` is any number and chooses. `None` if the reply gives no place for it.
    pub fn apply(&self, seen: Seen<'_>, parameter: &Parameter, pick: u64) -> Option<String> {
        let reply = seen.reply.trim();
        let mut pick = Pick(pick);
        match self {
            Change::Insert { sentences, place } => {
                let sentence = parameter.fill(&sentences[pick.below(sentences.len())]);
                Some(inserted(reply, &sentence, *place, &mut pick))
            }
            Change::Each { text, join } => {
                let parts = sentences(reply);
                let each = |(sentence, number): (&str, usize)| {
                    text.replace("{n}", &number.to_string()).replace("{}", sentence.trim())
                };
                let parts: Vec<String> = parts.into_iter().zip(1..).map(each).collect();
                (!parts.is_empty()).then(|| parts.join(join))
            }
            Change::Words { text } => marked(reply, &mut pick, |word| text.replace("{}", word)),
            Change::Whole { texts } => {
                let text = parameter.fill(&texts[pick.below(texts.len())]);
                Some(text.replace("{}", reply))
            }
            Change::Replace { rules } => {
                let mut text = reply.to_owned();
                for (pattern, with) in rules {
                    text = pattern.replace(&text, with)?;
                }
                Some(text)
            }
            Change::Letters(Letters::Lower) => Some(reply.to_lowercase()),
            Change::Letters(Letters::Upper) => Some(reply.to_uppercase()),
            Change::Letters(Letters::Capitals) => marked(reply, &mut pick, str::to_uppercase),
            Change::Request => Some(format!("{} {reply}", seen.prompt.trim())),
        }
    }
}

/// The sentences of a text, each with what follows it up to the next one. A line ends a sentence too.
pub(super) fn sentences(text: &str) -> Vec<&str> {
    let mut starts = Vec::new();
    let mut ended = true;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if ended && !c.is_whitespace() {
            starts.push(at);
            ended = false;
        }
        let stops = matches!(c, '.' | '!' | '?' | '\u{3002}' | '\u{2026}');
        let space = chars.peek().is_none_or(|(_, next)| next.is_whitespace());
        ended |= c == '\n' || (stops && space);
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &text[start..end]).collect()
}

/// Successive choices from one number.
struct Pick(u64);

impl Pick {
    /// A number below `n`, which is above 0.
    fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        let choice = self.0 % n;
        // What is left of the number, mixed, so that choices do not follow from each other (SplitMix64).
        self.0 = (self.0 / n).wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0 = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        self.0 ^= self.0 >> 27;
        choice as usize
    }
}

fn inserted(reply: &str, sentence: &str, place: Place, pick: &mut Pick) -> String {
    if reply.is_empty() {
        return sentence.to_owned();
    }
    // A text in lines keeps them: the sentence becomes a line of its own.
    let between = if reply.contains('\n') { "\n" } else { " " };
    match place {
        Place::Start => format!("{sentence}{between}{reply}"),
        Place::End => format!("{reply}{between}{sentence}"),
        Place::Any => {
            let starts: Vec<usize> = sentences(reply)
                .iter()
                .map(|part| part.as_ptr() as usize - reply.as_ptr() as usize)
                .chain([reply.len()])
                .collect();
            let at = starts[pick.below(starts.len())];
            let (before, after) = reply.split_at(at);
            if before.trim().is_empty() {
                format!("{sentence}{between}{after}")
            } else if after.is_empty() {
                format!("{}{between}{sentence}", before.trim_end())
            } else {
                // What separated the sentences stays between the new one and the next.
                let gap = &before[before.trim_end().len()..];
                let gap = if gap.is_empty() { " " } else { gap };
                format!("{} {sentence}{gap}{after}", before.trim_end())
            }
        }
    }
}

/// One to three words changed.
fn marked(reply: &str, pick: &mut Pick, change: impl Fn(&str) -> String) -> Option<String> {
    let mut words: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    for word in reply.split(|c: char| !c.is_alphabetic()) {
        if word.chars().count() >= SHORTEST_WORD {
            words.push((at, word));
        }
        at = word.as_ptr() as usize - reply.as_ptr() as usize + word.len();
        at += reply[at..].chars().next().map_or(0, char::len_utf8);
    }
    if words.is_empty() {
        return None;
    }
    let wanted = (1 + pick.below(3)).min(words.len());
    while words.len() > wanted {
        words.remove(pick.below(words.len()));
    }
    let mut text = String::with_capacity(reply.len() + 16);
    let mut done = 0;
    for (start, word) in words {
        text.push_str(&reply[done..start]);
        text.push_str(&change(word));
        done = start + word.len();
    }
    text.push_str(&reply[done..]);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "Tea is made of leaves. Boil water first, then wait. Pour it.";

    fn applied(change: &Change, pick: u64) -> String {
        let seen = Seen { prompt: "Tea?", reply: REPLY };
        change.apply(seen, &Parameter::None, pick).expect("it can be applied")
    }

    #[test]
    fn sentences_are_added_between_others() {
        let insert = |place| Change::Insert { sentences: vec!["Cats sleep.".to_owned()], place };
        assert_eq!(applied(&insert(Place::Start), 0), format!("Cats sleep. {REPLY}"));
        assert_eq!(applied(&insert(Place::End), 0), format!("{REPLY} Cats sleep."));
        let anywhere: std::collections::BTreeSet<String> =
            (0..200).map(|pick| applied(&insert(Place::Any), pick)).collect();
        assert_eq!(anywhere.len(), 4);
        for text in anywhere {
            assert_eq!(
                text.replace("Cats sleep.", "").split_whitespace().collect::<Vec<_>>().join(" "),
                REPLY
            );
            assert!(!text.contains("  "), "{text:?}");
        }
        let lines = Seen { prompt: "", reply: "- One.\n- Two." };
        let first = insert(Place::Start).apply(lines, &Parameter::None, 0);
        assert_eq!(first.as_deref(), Some("Cats sleep.\n- One.\n- Two."));
    }

    #[test]
    fn every_sentence_and_some_words_are_changed() {
        let each = Change::Each { text: "{n}. {}".to_owned(), join: "\n".to_owned() };
        let expected = "1. Tea is made of leaves.\n2. Boil water first, then wait.\n3. Pour it.";
        assert_eq!(applied(&each, 0), expected);
        let words = Change::Words { text: "**{}**".to_owned() };
        for pick in 0..50 {
            let text = applied(&words, pick);
            assert!((1..=3).contains(&(text.matches("**").count() / 2)), "{text}");
            assert_eq!(text.replace("**", ""), REPLY);
        }
        let capitals = applied(&Change::Letters(Letters::Capitals), 3);
        assert_eq!(capitals.to_lowercase(), REPLY.to_lowercase());
        assert_ne!(capitals, REPLY);
        let seen = Seen { prompt: "", reply: "A cat." };
        assert_eq!(words.apply(seen, &Parameter::None, 0), None, "no word is long enough");
    }

    #[test]
    fn a_word_takes_its_place_in_a_text() {
        let insert = Change::Insert { sentences: vec!["He saw the {w}.".to_owned()], place: Place::End };
        let seen = Seen { prompt: "", reply: "So." };
        let text = insert.apply(seen, &Parameter::Word("sea".to_owned()), 0);
        assert_eq!(text.as_deref(), Some("So. He saw the sea."));
        let whole = Change::Whole { texts: vec!["# {w}\n\n{}".to_owned()] };
        assert_eq!(whole.apply(seen, &Parameter::Word("Sea".to_owned()), 0).as_deref(), Some("# Sea\n\nSo."));
    }
}
