//! The prompts of a run.

use super::PromptSettings;
use crate::preferences::{Prompt, Prompts};
use crate::principles::language;

/// Prompts, with the line of each.
#[derive(Clone, Debug)]
pub struct Prompts {
    pub(super) path: PathBuf,
    /// Each prompt with its line, counted from 1.
    rows: Vec<(usize, Prompt)>,
}

impl Prompts {
    /// Reads all JSON Lines of [`Prompt`] in a file, so that a mistake in any line is found before anything
    /// runs.
    ///
    /// # Errors
    ///
    /// [`JudgeError::Preferences`] if the file cannot be read, or a line is no prompt.
    pub fn read(path: &Path) -> Result<Prompts, JudgeError> {
        Ok(Prompts { path: path.to_owned(), rows: read_numbered(path)? })
    }

    /// Prompts that are already in memory. Their ids must differ. In messages the first prompt is on line 1.
    pub fn of(prompts: Vec<Prompt>) -> Prompts {
        let rows = prompts.into_iter().enumerate().map(|(at, prompt)| (at + 1, prompt)).collect();
        Prompts { path: PathBuf::from("prompts"), rows }
    }

    /// Up to `limit` prompts, at even distances. 0 for all.
    pub fn spread(&self, limit: usize) -> Vec<&Prompt> {
        let all = self.rows.len();
        let count = if limit == 0 { all } else { limit.min(all) };
        (0..count).map(|place| &self.rows[place * all / count].1).collect()
    }

    /// The prompts that `settings` select, in their order, with their lines. If a prompt names no language,
    /// it is guessed from its text.
    pub fn taken<'a>(&'a self, settings: &PromptSettings) -> Vec<(usize, &'a Prompt)> {
        let PromptSettings { limit, languages, .. } = settings;
        let in_language = |prompt: &Prompt| match &prompt.language {
            Some(code) => languages.contains(code),
            None => {
                language(&prompt.text).is_some_and(|found| languages.iter().any(|one| one == found.code()))
            }
        };
        let rows = self.rows.iter().map(|(line, prompt)| (*line, prompt));
        let rows = rows.filter(|(_, prompt)| languages.is_empty() || in_language(prompt));
        rows.take(if *limit == 0 { usize::MAX } else { *limit }).collect()
    }
}
