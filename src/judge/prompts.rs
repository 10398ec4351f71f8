//! Which prompts of a file are used.

use super::PromptSettings;
use crate::preferences::{Prompt, Prompts};
use crate::principles::language;

impl PromptSettings {
    /// The prompts that these settings take, in their order, with their lines. A prompt without a language has
    /// the one that its text is in, as far as that can be detected.
    pub fn take<'a>(&self, prompts: &'a Prompts) -> Vec<(usize, &'a Prompt)> {
        let PromptSettings { limit, languages, .. } = self;
        let spoken = |prompt: &Prompt| match &prompt.language {
            Some(code) => languages.contains(code),
            None => language(&prompt.text).is_some_and(|told| languages.iter().any(|one| one == told.code())),
        };
        let rows = prompts.rows().iter().map(|(line, prompt)| (*line, prompt));
        let rows = rows.filter(|(_, prompt)| languages.is_empty() || spoken(prompt));
        rows.take(if *limit == 0 { usize::MAX } else { *limit }).collect()
    }
}
