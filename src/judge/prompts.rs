//! Selection of prompts from a file.

use super::PromptSettings;
use crate::preferences::{Prompt, Prompts};
use crate::principles::language;

impl PromptSettings {
    /// The prompts that these settings select, in their order, with their lines. If a prompt names no
    /// language, it is guessed from its text.
    pub fn take<'a>(&self, prompts: &'a Prompts) -> Vec<(usize, &'a Prompt)> {
        let PromptSettings { limit, languages, .. } = self;
        let in_language = |prompt: &Prompt| match &prompt.language {
            Some(code) => languages.contains(code),
            None => {
                language(&prompt.text).is_some_and(|found| languages.iter().any(|one| one == found.code()))
            }
        };
        let rows = prompts.rows().iter().map(|(line, prompt)| (*line, prompt));
        let rows = rows.filter(|(_, prompt)| languages.is_empty() || in_language(prompt));
        rows.take(if *limit == 0 { usize::MAX } else { *limit }).collect()
    }
}
