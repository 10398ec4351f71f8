//! The prompt of self-alignment: a description of the assistant, rules, exemplars and the request.

use crate::principles::{Exemplar, Exemplars, PrincipleSet, Use};
use crate::settings::Auto;
use crate::tokenizer::{Specials, TextError, TokenId, Tokenizer};

use super::SelfAlignError;
use crate::train::DataSummary;

const PERSONA: &str = "# A record of conversations\n\nThese are conversations between a user and an assistant. \
    The assistant is a language model that runs on the user's own device: it reads text and writes text, and \
    can do nothing else. It means to be useful, to be honest, and to harm nobody.\n\n## Rules of the \
    assistant\n\n";
const BEFORE_EXEMPLARS: &str = "\n## Conversations\n\n";
const ABOUT_THOUGHTS: &str = "Before it answers, the assistant thinks to itself about \
    which of its rules matter here, and names them in brackets. The user does not see these thoughts.\n\n";
/// Label of a request.
pub(super) const USER: &str = "User:";
/// Label of the thoughts.
pub(super) const THOUGHTS: &str = "Assistant (thoughts):";
/// Label of an answer.
pub(super) const ANSWER: &str = "Assistant:";

/// What the prompt holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Number of rules, from the first of the set. Rules that an exemplar names are always included.
    pub rules: Auto,
    /// Number of exemplars, from the first of the file.
    pub exemplars: Auto,
    /// Whether the exemplars show thoughts about the rules before each reply. A base of a few hundred million weights
    /// often ends after its thoughts, or answers the thoughts and not the request.
    pub thoughts: bool,
}

impl Default for Wanted {
    /// All that fit, with thoughts.
    fn default() -> Self {
        Wanted { rules: Auto::Auto, exemplars: Auto::Auto, thoughts: true }
    }
}

/// The prompt, tokenized for one model.
///
/// The part before the request is the same for all requests, so a generator computes it once.
#[derive(Clone, Debug, PartialEq)]
pub struct InContext {
    text: String,
    ids: Vec<TokenId>,
    rules: Vec<String>,
    left_out_rules: usize,
    exemplars: Vec<Exemplar>,
    left_out_exemplars: usize,
    resets: [String; 2],
    opener: String,
    thoughts: bool,
}

/// Number of exemplars that show a pattern. Rules are left out before the number of exemplars falls below it.
const PATTERN: usize = 2;

impl InContext {
    /// Builds the prompt with the given numbers of rules and exemplars. `auto` uses all that fit into
    /// `capacity` tokens. To make the prompt shorter, it first leaves out exemplars, from the last, until two
    /// remain. Then it leaves out rules that no exemplar names, from the last. Then it leaves out the second
    /// exemplar.
    ///
    /// # Errors
    ///
    /// * [`SelfAlignError::NoRoom`] if the given numbers do not fit, or the shortest prompt does not.
    /// * [`SelfAlignError::Rules`] if the set does not have `use = "rules"`.
    /// * [`SelfAlignError::Text`] if the tokenizer fails.
    pub fn fit(
        tokenizer: &Tokenizer,
        rules: &PrincipleSet,
        exemplars: &Exemplars,
        wanted: Wanted,
        capacity: usize,
    ) -> Result<InContext, SelfAlignError> {
        if rules.uses != Use::Rules {
            let (set, uses) = (rules.id.clone(), rules.uses.name());
            return Err(SelfAlignError::Rules { set, uses });
        }
        let most = |wanted: Auto, all: usize| match wanted {
            Auto::Auto => all,
            Auto::Fixed(count) => count.min(all),
        };
        let mut n_rules = most(wanted.rules, rules.principles.len());
        let mut n_exemplars = most(wanted.exemplars, exemplars.exemplars.len()).max(1);
        loop {
            let prompt =
                InContext::with(tokenizer, rules, exemplars, (n_rules, n_exemplars), wanted.thoughts)?;
            if prompt.ids.len() <= capacity {
                return Ok(prompt);
            }
            let more_exemplars = |least: usize| wanted.exemplars == Auto::Auto && n_exemplars > least;
            if more_exemplars(PATTERN) {
                n_exemplars -= 1;
            } else if wanted.rules == Auto::Auto && n_rules > 0 {
                n_rules -= 1;
            } else if more_exemplars(1) {
                n_exemplars -= 1;
            } else {
                return Err(SelfAlignError::NoRoom { needed: prompt.ids.len(), capacity });
            }
        }
    }

    /// The prompt with the first `n_exemplars` exemplars, the first `n_rules` rules, and the other rules that
    /// these exemplars name.
    fn with(
        tokenizer: &Tokenizer,
        rules: &PrincipleSet,
        exemplars: &Exemplars,
        (n_rules, n_exemplars): (usize, usize),
        with_thoughts: bool,
    ) -> Result<InContext, TextError> {
        let shown = &exemplars.exemplars[..n_exemplars];
        let named = |id: &str| shown.iter().any(|exemplar| exemplar.rules.iter().any(|rule| rule == id));
        let principles = rules.principles.iter().enumerate();
        let kept: Vec<_> = principles
            .filter(|(place, rule)| *place < n_rules || named(&rule.id))
            .map(|(_, rule)| rule)
            .collect();

        let mut text = PERSONA.to_owned();
        for (place, rule) in kept.iter().enumerate() {
            text.push_str(&format!("{} ({}). {}\n", place + 1, rule.dimension, rule.definition));
        }
        text.push_str(BEFORE_EXEMPLARS);
        if with_thoughts {
            text.push_str(ABOUT_THOUGHTS);
        }
        let opener = &exemplars.opener;
        for Exemplar { user, thoughts, reply, .. } in shown {
            let thoughts =
                if with_thoughts { format!("{THOUGHTS} {opener} {thoughts}\n\n") } else { String::new() };
            text.push_str(&format!(
                "{USER} {user}\n\n{thoughts}{ANSWER} {reply}\n\n\
                 {USER} {}\n\n{ANSWER} {}\n\n",
                exemplars.reset_user, exemplars.reset_reply
            ));
        }
        text.push_str(USER);
        let begin = tokenizer.bos().filter(|_| tokenizer.add_bos());
        let ids = begin.into_iter().chain(tokenizer.encode(&text, Specials::AsText)?).collect();
        Ok(InContext {
            text,
            ids,
            rules: kept.iter().map(|rule| rule.dimension.clone()).collect(),
            left_out_rules: rules.principles.len() - kept.len(),
            exemplars: shown.to_vec(),
            left_out_exemplars: exemplars.exemplars.len() - n_exemplars,
            resets: [exemplars.reset_user.clone(), exemplars.reset_reply.clone()],
            opener: opener.clone(),
            thoughts: with_thoughts,
        })
    }

    /// Everything before the request, as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tokens of [`InContext::text`], the same for all requests (T).
    pub fn prefix(&self) -> &[TokenId] {
        &self.ids
    }

    /// The names of the rules, in order.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }

    /// The exemplars, in order.
    pub fn exemplars(&self) -> &[Exemplar] {
        &self.exemplars
    }

    /// Numbers of rules and exemplars that were left out.
    pub fn left_out(&self) -> (usize, usize) {
        (self.left_out_rules, self.left_out_exemplars)
    }

    /// The prompt's summary for the plan of a run. `answered` is the number of prompts already answered.
    pub(super) fn summary(&self, answered: usize) -> DataSummary {
        DataSummary::InContext {
            answered,
            rules: self.rules.len(),
            exemplars: self.exemplars.len(),
            tokens: self.ids.len(),
            left_out_rules: self.left_out_rules,
            left_out_exemplars: self.left_out_exemplars,
        }
    }

    /// The sentence at the beginning of all thoughts.
    pub fn opener(&self) -> &str {
        &self.opener
    }

    /// Whether the model writes thoughts before its answer.
    pub fn has_thoughts(&self) -> bool {
        self.thoughts
    }

    /// The user's line between exemplars, and the assistant's reply to it.
    pub(super) fn resets(&self) -> &[String; 2] {
        &self.resets
    }

    /// Tokens of the whole prompt for `request`: the prefix, the request, and the label of the thoughts, or of the
    /// answer (T).
    /// Names of special tokens in the request are encoded as plain text.
    ///
    /// # Errors
    ///
    /// [`TextError`] if the request cannot be encoded.
    pub fn encode(&self, tokenizer: &Tokenizer, request: &str) -> Result<Vec<TokenId>, TextError> {
        let label = if self.thoughts { THOUGHTS } else { ANSWER };
        let rest = format!(" {}\n\n{label}", request.trim());
        let rest = tokenizer.encode(&rest, Specials::AsText)?;
        Ok([&self.ids[..], &rest].concat())
    }

    /// Texts that end an answer. Without them the model would continue with another request.
    pub fn stops() -> Vec<String> {
        vec![format!("\n{USER}")]
    }
}
