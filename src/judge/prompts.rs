//! What is asked of the model, and which of it.

use std::path::{Path, PathBuf};

use super::{JudgeError, PromptSettings};
use crate::preferences::{Prompt, read_numbered};
use crate::principles::language;

/// Prompts, and where each stands.
#[derive(Clone, Debug)]
pub struct Prompts {
    pub(super) path: PathBuf,
    /// With their lines, counted from 1.
    rows: Vec<(usize, Prompt)>,
}

impl Prompts {
    /// Reads JSON Lines of [`Prompt`], all of them: a mistake in the last line shows before anything runs.
    ///
    /// # Errors
    ///
    /// [`JudgeError::Preferences`] if the file cannot be read, or a line is no prompt.
    pub fn read(path: &Path) -> Result<Prompts, JudgeError> {
        Ok(Prompts { path: path.to_owned(), rows: read_numbered(path)? })
    }

    /// Prompts that are in memory already; for messages the first is on line 1. Their ids have to differ.
    pub fn of(prompts: Vec<Prompt>) -> Prompts {
        let rows = prompts.into_iter().enumerate().map(|(at, prompt)| (at + 1, prompt)).collect();
        Prompts { path: PathBuf::from("prompts"), rows }
    }

    /// `limit` of them, at even distances; all of them for 0, and where there are no more.
    pub fn spread(&self, limit: usize) -> Vec<&Prompt> {
        let all = self.rows.len();
        let count = if limit == 0 { all } else { limit.min(all) };
        (0..count).map(|place| &self.rows[place * all / count].1).collect()
    }

    /// Those that `settings` take, in their order, with their lines. A prompt that does not say its language
    /// has the one that its text is in, as far as that can be told.
    pub fn taken<'a>(&'a self, settings: &PromptSettings) -> Vec<(usize, &'a Prompt)> {
        let PromptSettings { limit, languages, .. } = settings;
        let spoken = |prompt: &Prompt| match &prompt.language {
            Some(code) => languages.contains(code),
            None => language(&prompt.text).is_some_and(|told| languages.iter().any(|one| one == told.code())),
        };
        let rows = self.rows.iter().map(|(line, prompt)| (*line, prompt));
        let rows = rows.filter(|(_, prompt)| languages.is_empty() || spoken(prompt));
        rows.take(if *limit == 0 { usize::MAX } else { *limit }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principles::PromptType;

    #[test]
    fn some_are_taken_from_all_over_the_file() {
        let prompt = |id: u32| Prompt {
            id: id.to_string(),
            kind: PromptType::default(),
            language: None,
            text: "Why?".to_owned(),
        };
        let prompts = Prompts::of((0..10).map(prompt).collect());
        let ids = |limit| prompts.spread(limit).iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(4), ["0", "2", "5", "7"]);
        assert_eq!((ids(0).len(), ids(10).len(), ids(99).len()), (10, 10, 10));
        assert!(Prompts::of(Vec::new()).spread(3).is_empty());
    }
}
