//! Phrases that a reader has to translate, what to write instead, and the exceptions.
//!
//! To add a phrase, add a line to `TABLE`: a regular expression without `\b` at its ends, which are added, and
//! letters in lower case, because case does not matter. Words are separated by single spaces.

use std::ops::Range;

use fancy_regex::Regex;

/// A phrase and its replacement.
pub struct Phrase {
    /// What is looked for in passages.
    pub pattern: Regex,
    /// What to write instead.
    pub write: &'static str,
}

/// A place in which a phrase may stay.
#[derive(Debug)]
pub struct Exception {
    /// The file, from the root of the repository.
    pub file: &'static str,
    /// The phrase with the words around it.
    pub text: &'static str,
    /// Why it may stay.
    pub reason: &'static str,
}

impl Exception {
    /// Whether a phrase at `found` in `text`, a passage of `file`, may stay.
    pub fn allows(&self, file: &str, text: &str, found: Range<usize>) -> bool {
        let around = |at: usize| at <= found.start && found.end <= at + self.text.len();
        file == self.file && text.match_indices(self.text).any(|(at, _)| around(at))
    }
}

/// The phrases, compiled.
pub fn phrases() -> Vec<Phrase> {
    let compile = |&(pattern, write): &(&str, &'static str)| {
        let pattern =
            Regex::new(&format!(r"(?i)\b(?:{pattern})\b")).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        Phrase { pattern, write }
    };
    TABLE.iter().map(compile).collect()
}

/// Pattern and replacement.
#[rustfmt::skip]
const TABLE: &[(&str, &str)] = &[
    // Numbers and amounts.
    ("so many", "N"),
    ("so much (?:time|memory|room|of)", "N seconds, N bytes, up to N"),
    (r"as many (?:\w+ )?as", "one per ..., up to N, the same number"),
    ("last so many", "last N"),
    ("hardly (?:one|any|a)", "few, almost no"),
    // Dependence.
    ("(?:hang|hangs|hung|hanging) on", "depends on"),
    ("(?:follow|follows|followed) from (?:it|them)", "is derived from the seed, depends on ..."),
    // Runs and their state.
    ("(?:go|goes|went|gone|going) on", "resumes, continues"),
    ("(?:go|goes|going) back no further|leads? back", "reaches, returns to"),
    ("(?:given|gives?|giving|gave) up", "stopped, stops"),
    ("mend(?:s|ed|ing)?", "repaired, rebuilt"),
    ("done again", "re-run"),
    ("(?:make|makes|made|making) again", "rebuilds, rebuilt"),
    ("left alone", "uninterrupted, unchanged"),
    ("(?:is|are) of another run", "belongs to another run, does not match this run"),
    ("looked through", "checked, scanned"),
    ("ends? (?:with|in|on) the same (?:bits|bytes)", "gives bit-identical results"),
    ("(?:stands?|stood|standing) (?:in|at|as|beside|by|behind|before|on|after|apart|there|for itself)", "is, is at"),
    ("as (?:it|they) (?:stands?|stood)", "as it is"),
    ("where (?:it|they) (?:stands?|stood)", "where it stopped, where it is"),
    ("standings?", "status"),
    // Results.
    ("what (?:becomes|became|has become|have become|will become) of", "the result"),
    ("what (?:it|this|that|they|a model|the model) (?:becomes|became|has become|have become)", "the tuned model"),
    ("(?:has|have) become", "is, the result"),
    ("talk(?:s|ing)? to what(?: it has become)?", "chat with the tuned model"),
    ("what c(?:ame|omes) of (?:it|them)", "the result"),
    // Programs and models are no persons.
    ("whoever", "the caller, that"),
    ("who (?:measures?|calls?|asks?|wants?|reads?|writes?|looks?|needs?|owns?|opens?|judges?|learns?|has|holds?|gives?)",
        "the caller, that"),
    // Not "told apart", "tells one from the other".
    ("(?:unless )?told(?! apart)(?: otherwise)?", "given, reported, receives; unless set"),
    (r"tells(?! (?:\w+ ){0,4}(?:apart|from)\b)", "reports, shows"),
    ("hears?", "receives, reads"),
    ("(?<!user )says", "states, reports, contains"),
    ("(?:is|are|was|were|be|been|as) said", "is stated, is set"),
    ("(?:is |are |was |were )?(?:not|never) said", "is left out"),
    ("(?:say|says|said|tell) otherwise", "overrides, unless set"),
    ("does not say", "does not report, leaves open"),
    ("(?:no|a|with a|its) word (?:on|with|about)", "a message, a report"),
    ("ends? (?:the run )?with a word", "stops with a message"),
    ("answers? so", "follows the rules"),
    ("speaks? of", "describes"),
    // Training.
    ("by heart", "memorizes, overfits"),
    ("lessons?", "training batch, update"),
    ("taught", "trained"),
    (r"unlearn\w*", "forgets"),
    (r"engrav\w*", "distill"),
    ("voices?", "model with an adapter"),
    ("ladders?", "comparison"),
    ("rungs?", "method"),
    ("prices? of (?:a |an |each |one |the |every )?nats?|what a nat costs", "KL coefficient"),
    // A unit of measure is fine: "in nats", "2.5 nats per reply".
    ("(?<!in )nats?(?! per (?:reply|token|sequence))", "KL penalty, KL coefficient, KL"),
    ("(?:kept|keeps|keep) to", "followed, follows"),
    ("turn(?:s|ed|ing)? round", "flips, reverses"),
    ("what (?:that|it|the reward model) prefers", "the reward model"),
    // Grammar that a reader untangles. First a clause as the subject of another: "what is left is ...".
    (r"what (?:is|are|was|were|has been|have been) \w+(?: (?!(?:or|and|what|that|which|who|if|when|where|as|while|but)\b)[\w,'()-]+){0,6}? (?:is|are|was|were|may|can|must|will|has|have|does|goes|stays|ends|follows|depends|needs|takes|gets|reaches|makes|counts|remains|stands|lies|comes)",
        "name the thing"),
    ("that which", "name the thing"),
    ("those which", "name the things"),
    // Not "one of them", "a list of them".
    (r"(?!(?:one|all|each|some|most|more|less|both|none|any|many|few|half|rest|part|two|three|four|five|six|seven|eight|ten|either|neither|instead|out|because|every|several|much|enough|another|those|nothing|front|ahead|which|lists?|files?|folders?|lines|copy|copies|number|first|last|third|[a-z]+th|[0-9]+|share|beginning|end)\b)\w+ of (?:it|them)", "its, their"),
    ("takes? (?:a|an|the|it|them)(?: [a-z]+)? not", "rejects, does not accept"),
    ("(?:of|by) (?:its|their) own accord", "drop it"),
    ("by (?:itself|themselves)", "alone, on its own, or drop it"),
    ("but for", "except"),
    ("save for", "except"),
    ("as yet", "so far"),
    ("(?:and|or) the like", "and similar, or drop it"),
    ("thereof|hence|lest|ere|albeit|whence|wherein|whereof|thence", "drop it, or plain words"),
];

/// Places that may keep a phrase.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        file: "src/judge/labels.rs",
        text: "say which of the two replies keeps to it better.",
        reason: "a prompt that the judge reads: other words would change its verdicts",
    },
    Exception {
        file: "src/judge/labels.rs",
        text: "The reply that keeps to the guideline better is (",
        reason: "a prompt that the judge continues",
    },
    Exception {
        file: "src/judge/labels.rs",
        text: "Which reply keeps to the guideline better, (a) or (b)?",
        reason: "a prompt that the judge reads",
    },
    Exception {
        file: "src/steer/steering.rs",
        text: "Whatever you are asked, your reply keeps to these principles.",
        reason: "a prompt that the model reads: other words would change its replies",
    },
    Exception {
        file: "src/steer/steering.rs",
        text: "Keep to these principles in your reply.",
        reason: "a prompt that the model reads",
    },
    Exception {
        file: "src/principles/edit/wording.rs",
        text: "think of a child who learns to ride a bicycle",
        reason: "a sentence that is put into replies",
    },
    Exception {
        file: "src/preferences/aggregate/tests.rs",
        text: "Model I have no opinion of it",
        reason: "a reply in a test",
    },
    Exception {
        file: "examples/policies/README.md",
        text: "a being who has been watching you",
        reason: "a reply that a model wrote",
    },
];
