//! Dialogues that show a base model how to think about its rules and then answer: the rules of
//! `principles/exemplars/schema.json`.

use super::document::Node;
use super::error::Faults;
use super::set::LONGEST_PROSE;
use super::table::{Table, check_id, check_line};
use super::{PrincipleSet, PrinciplesError, shipped};

/// Exemplars for one set of rules: one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exemplars {
    /// Name of the set: its file name without the extension.
    pub id: String,
    /// One line for lists and reports.
    pub title: String,
    /// Description of their purpose.
    pub description: String,
    /// Id of the set of principles, with `use = "rules"`, that they refer to.
    pub rules: String,
    /// The sentence that begins all thoughts.
    pub opener: String,
    /// The user's message between one exemplar and the next.
    pub reset_user: String,
    /// The assistant's reply to that message.
    pub reset_reply: String,
    /// The exemplars, in the order of the file; never empty once read.
    pub exemplars: Vec<Exemplar>,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: String,
}

impl Exemplars {
    /// The exemplars in the file `name`; if there is no such file, those of that name that ship with Parr
    /// (`self-align`). They must be for `rules`.
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::Unknown`] if neither exists.
    /// * [`PrinciplesError::Io`] if the file cannot be read.
    /// * [`PrinciplesError::Faults`] with every mistake in the file, such as rules that are not in `rules`.
    pub fn open(name: &str, rules: &PrincipleSet) -> Result<Exemplars, PrinciplesError> {
        shipped::open_exemplars(name, rules)
    }
}

/// One dialogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exemplar {
    /// Unique in the file.
    pub id: String,
    /// The kind of task, for readers.
    pub kind: String,
    /// The question.
    pub user: String,
    /// Ids of the rules that the thoughts name.
    pub rules: Vec<String>,
    /// The assistant's thoughts, after the opener.
    pub thoughts: String,
    /// The answer, of one line or more, without line breaks at its ends.
    pub reply: String,
    /// Words, in any case, that a generated answer may contain only if its own question does.
    pub leaks: Vec<String>,
}

/// A rule that an exemplar names, with its position.
pub(super) struct Named {
    pub rule: String,
    pub at: usize,
    pub thoughts: String,
}

const KEYS: &[&str] = &["id", "title", "description", "rules", "opener", "reset", "exemplar"];
const EXEMPLAR_KEYS: &[&str] = &["id", "kind", "user", "rules", "thoughts", "reply", "leaks"];
/// Maximum length of questions and thoughts: a prompt holds six exemplars.
const LONGEST: usize = 4000;

/// The exemplars in the file and the rules that they name. Not usable if anything was added to `faults`.
pub(super) fn read(document: &Node, faults: &mut Faults) -> (Exemplars, Vec<Named>) {
    let (mut all, mut named) = (Exemplars::default(), Vec::new());
    let Some(table) = Table::new(document, "the file", KEYS, faults) else {
        return (all, named);
    };
    let mut line = |key| table.need_line(key, LONGEST_PROSE, faults).unwrap_or_default();
    (all.title, all.description, all.opener) = (line("title"), line("description"), line("opener"));
    all.id = table.need_id("id", faults).unwrap_or_default();
    all.rules = table.need_id("rules", faults).unwrap_or_default();
    table.need("reset", faults);
    if let Some(node) = table.get("reset")
        && let Some(reset) = Table::new(node, "`reset`", &["user", "reply"], faults)
    {
        all.reset_user = reset.need_line("user", LONGEST_PROSE, faults).unwrap_or_default();
        all.reset_reply = reset.need_line("reply", LONGEST_PROSE, faults).unwrap_or_default();
    }
    let items = table.list("exemplar", faults).unwrap_or_default();
    if items.is_empty() {
        faults.add(table.place("exemplar"), "the file has no exemplars");
    }
    for item in items {
        if let Some(exemplar) = read_exemplar(item, &all.exemplars, &mut named, faults) {
            all.exemplars.push(exemplar);
        }
    }
    (all, named)
}

fn read_exemplar(
    item: &Node,
    earlier: &[Exemplar],
    named: &mut Vec<Named>,
    faults: &mut Faults,
) -> Option<Exemplar> {
    let table = Table::new(item, "the exemplar", EXEMPLAR_KEYS, faults)?;
    let id = table.need_id("id", faults).unwrap_or_default();
    if !id.is_empty() && earlier.iter().any(|exemplar| exemplar.id == id) {
        faults.add(table.place("id"), format!("there is already an exemplar `{id}`"));
    }
    let kind = table.need_id("kind", faults).unwrap_or_default();
    let user = table.need_line("user", LONGEST, faults).unwrap_or_default();
    let thoughts = table.need_line("thoughts", LONGEST, faults).unwrap_or_default();

    table.need("rules", faults);
    let rules = table.strings("rules", faults, check_id).unwrap_or_default();
    if table.is_empty_list("rules") {
        faults.add(table.place("rules"), "`rules` is empty; the thoughts must name at least one rule");
    }
    for (rule, at) in table.string_places("rules").filter(|(rule, _)| rules.iter().any(|sound| sound == rule))
    {
        named.push(Named { rule: rule.to_owned(), at, thoughts: thoughts.clone() });
    }
    table.need("reply", faults);
    let reply = table.raw_text("reply", faults).unwrap_or_default().trim_matches(['\n', '\r']).to_owned();
    if reply.trim().is_empty() && table.get("reply").is_some() {
        faults.add(table.place("reply"), "`reply` is empty");
    }
    table.need("leaks", faults);
    let leak =
        |key: &str, text: &str, at, faults: &mut Faults| check_line(key, text, LONGEST_PROSE, at, faults);
    let leaks = table.strings("leaks", faults, leak).unwrap_or_default();
    Some(Exemplar { id, kind, user, rules, thoughts, reply, leaks })
}
