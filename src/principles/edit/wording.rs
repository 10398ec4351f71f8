//! Edits of words and marks. Inserted phrases have no subject, so that they fit any reply.

use super::super::check::sentences;
use super::picked;

/// The reply without its last sentences while `unwanted` holds for them; `None` if none is left.
fn without_last(reply: &str, unwanted: impl Fn(&str) -> bool) -> Option<String> {
    let mut text = reply.trim_end();
    while let Some(last) = sentences(text).last().filter(|last| unwanted(last)) {
        text = text[..text.rfind(last.as_str())?].trim_end();
    }
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The reply without its first sentences while `unwanted` holds for them; `None` if none is left.
fn without_first(reply: &str, unwanted: impl Fn(&str) -> bool) -> Option<String> {
    let mut text = reply.trim_start();
    while let Some(first) = sentences(text).first().filter(|first| unwanted(first)) {
        text = text[text.find(first.as_str())? + first.len()..].trim_start();
    }
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn closed_by(text: &str, closing: &str) -> String {
    let gap = if text.ends_with(['.', '!', '?', ':', ')']) { " " } else { ". " };
    format!("{text}{gap}{closing}")
}

fn opened_by(opening: &str, text: &str) -> String {
    format!("{opening} {text}")
}

pub(super) fn ends_with_question(reply: &str, pick: usize) -> Option<[String; 2]> {
    const QUESTIONS: &[&str] = &[
        "What do you think?",
        "Does that answer it?",
        "Which part matters most to you?",
        "Shall I say more about it?",
        "Have you tried that before?",
        "How does that sound?",
        "Is there anything that you would change?",
        "Where would you begin?",
    ];
    let stated = without_last(reply, |sentence| sentence.ends_with('?'))?;
    Some([closed_by(&stated, picked(QUESTIONS, pick)), stated])
}

pub(super) fn ends_with_summary(reply: &str, pick: usize) -> Option<[String; 2]> {
    const BEGINNINGS: &[&str] = &["In summary,", "To sum up,", "In conclusion,", "Overall,", "All in all,"];
    let first = sentences(reply).first()?.clone();
    let mut letters = first.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    let summary = format!("{} {first}", picked(BEGINNINGS, pick));
    Some([format!("{reply}\n\n{summary}"), reply.to_owned()])
}

pub(super) fn ends_with_offer(reply: &str, pick: usize) -> Option<[String; 2]> {
    const OFFERS: &[&str] = &[
        "Let me know if you have any questions.",
        "Feel free to ask for more.",
        "I am happy to help with the rest.",
        "If you have more questions, just ask.",
        "I will be glad to help further.",
    ];
    let bare = without_last(reply, |sentence| sentence.contains("help") || sentence.contains("let me know"))?;
    Some([closed_by(&bare, picked(OFFERS, pick)), bare])
}

pub(super) fn opens_with_greeting(reply: &str, pick: usize) -> Option<[String; 2]> {
    const GREETINGS: &[&str] = &[
        "Hello!",
        "Hi there!",
        "Hi,",
        "Good morning!",
        "Hey!",
        "Greetings!",
        "Hello, and thanks for asking.",
    ];
    let greets = |sentence: &str| sentence.len() < 20 && sentence.starts_with(['H', 'G']);
    let bare = without_first(reply, greets)?;
    Some([opened_by(picked(GREETINGS, pick), &bare), bare])
}

pub(super) fn opens_with_question(reply: &str, pick: usize) -> Option<[String; 2]> {
    const QUESTIONS: &[&str] = &[
        "So what is the answer?",
        "Where should one begin?",
        "Have you ever wondered about this?",
        "What is there to say about it?",
        "Why does this matter?",
        "A good question, is it not?",
    ];
    let stated = without_first(reply, |sentence| sentence.ends_with('?'))?;
    Some([opened_by(picked(QUESTIONS, pick), &stated), stated])
}

pub(super) fn opens_with_in_short(reply: &str, pick: usize) -> Option<[String; 2]> {
    const OPENINGS: &[&str] = &["In short:", "In short,", "In short, this is it:"];
    Some([opened_by(picked(OPENINGS, pick), reply), reply.to_owned()])
}

pub(super) fn first_person(reply: &str, pick: usize) -> Option<[String; 2]> {
    const PHRASES: &[&str] = &[
        "I think this is right:",
        "In my view this is how it is.",
        "I have seen it many times.",
        "Let me tell what I know.",
        "My answer is this:",
        "I would put it like this.",
    ];
    spoken(reply, picked(PHRASES, pick), pick)
}

pub(super) fn second_person(reply: &str, pick: usize) -> Option<[String; 2]> {
    const PHRASES: &[&str] = &[
        "You will see why.",
        "Here is what you need:",
        "This is for you to decide.",
        "You can rely on that.",
        "It is all in your hands.",
        "As you know, it depends.",
    ];
    spoken(reply, picked(PHRASES, pick), pick)
}

/// The reply with a phrase before or after it, and the reply without the phrase.
fn spoken(reply: &str, phrase: &str, pick: usize) -> Option<[String; 2]> {
    let with = match pick / 8 % 2 {
        _ if phrase.ends_with(':') => opened_by(phrase, reply),
        0 => opened_by(phrase, reply),
        _ => closed_by(reply, phrase),
    };
    Some([with, reply.to_owned()])
}

pub(super) fn contains_example(reply: &str, pick: usize) -> Option<[String; 2]> {
    const EXAMPLES: &[&str] = &[
        "For example, this happens at home every day.",
        "For instance, a neighbour did just that last year.",
        "One example: a family that tried it for a week.",
        "It holds in many places, such as a kitchen or an office.",
        "For example, think of a child who learns to ride a bicycle.",
    ];
    Some([closed_by(reply, picked(EXAMPLES, pick)), reply.to_owned()])
}

pub(super) fn no_digits(reply: &str, pick: usize) -> Option<[String; 2]> {
    const WORDS: [&str; 10] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    const COUNTS: &[&str] = &[
        "That is so in 9 cases of 10.",
        "It has been known since 1950.",
        "Allow 20 to 30 minutes for it.",
        "There are 3 reasons for that.",
        "It costs about 15 dollars.",
    ];
    let mut spelled = String::with_capacity(reply.len());
    for letter in reply.chars() {
        match letter.to_digit(10) {
            Some(digit) => spelled.push_str(WORDS[digit as usize]),
            None => spelled.push(letter),
        }
    }
    let with = if spelled == reply { closed_by(reply, picked(COUNTS, pick)) } else { reply.to_owned() };
    Some([spelled, with])
}

pub(super) fn hedged(reply: &str, pick: usize) -> Option<[String; 2]> {
    const DOUBTS: &[&str] = &[
        "Perhaps it is like this:",
        "This is probably so.",
        "Maybe there is more to it.",
        "It might be otherwise.",
        "That seems right, possibly.",
        "The following is likely.",
    ];
    spoken(reply, picked(DOUBTS, pick), pick)
}

/// Full forms and their contractions.
const FORMS: &[(&str, &str)] = &[
    ("It is ", "It's "),
    ("it is ", "it's "),
    ("do not ", "don't "),
    ("does not ", "doesn't "),
    ("is not ", "isn't "),
    ("are not ", "aren't "),
    ("cannot ", "can't "),
    ("That is ", "That's "),
    ("that is ", "that's "),
    ("you are ", "you're "),
    ("You are ", "You're "),
    ("I am ", "I'm "),
    ("I would ", "I'd "),
    ("they are ", "they're "),
    ("there is ", "there's "),
    ("There is ", "There's "),
    ("Do not ", "Don't "),
];

pub(super) fn contractions(reply: &str, pick: usize) -> Option<[String; 2]> {
    const ENDINGS: &[[&str; 2]] = &[
        ["It's as simple as that.", "It is as simple as that."],
        ["That's what it comes to.", "That is what it comes to."],
        ["You can't go wrong with it.", "You cannot go wrong with it."],
        ["There's no more to it.", "There is no more to it."],
    ];
    let [mut short, mut full] = [reply.replace('\u{2019}', "'"), reply.replace('\u{2019}', "'")];
    for (in_full, contracted) in FORMS {
        short = short.replace(in_full, contracted);
        full = full.replace(contracted, in_full);
    }
    if short == full {
        let [contracted, in_full] = ENDINGS[pick % ENDINGS.len()];
        return Some([closed_by(reply, contracted), closed_by(reply, in_full)]);
    }
    Some([short, full])
}

pub(super) fn exclamation(reply: &str, _pick: usize) -> Option<[String; 2]> {
    let calm = reply.replace('!', ".");
    let excited = match calm.strip_suffix('.') {
        Some(rest) => format!("{}!", rest.replace(". ", "! ")),
        None => format!("{}!", calm.replace(". ", "! ")),
    };
    Some([excited, calm])
}

pub(super) fn emoji(reply: &str, pick: usize) -> Option<[String; 2]> {
    const EMOJI: &[&str] = &["\u{1F60A}", "\u{1F44D}", "\u{2728}", "\u{1F31F}", "\u{1F389}", "\u{1F642}"];
    let one = picked(EMOJI, pick);
    let with = if (pick / 8).is_multiple_of(2) { format!("{reply} {one}") } else { format!("{one} {reply}") };
    Some([with, reply.to_owned()])
}

/// The reply with a capital letter at the beginning of each sentence.
pub(super) fn capitalised(reply: &str) -> String {
    let mut text = String::with_capacity(reply.len());
    let mut begins = true;
    for letter in reply.chars() {
        if begins && letter.is_alphabetic() {
            text.extend(letter.to_uppercase());
        } else {
            text.push(letter);
        }
        begins = match letter {
            '.' | '!' | '?' | '\n' => true,
            letter => begins && !letter.is_alphanumeric(),
        };
    }
    text
}
