//! What the policy is asked.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::AlignError;
use crate::file::hex;
use crate::preferences::{Prompt, read_records};
use crate::tokenizer::{ChatFormat, Message, TokenId};

/// A prompt, in words and as the policy reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignPrompt {
    /// What the reward model and people read.
    pub prompt: Prompt,
    /// What the policy continues (T), at least one token.
    pub ids: Vec<TokenId>,
}

/// The prompts of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignPrompts {
    /// Where they come from, for messages.
    pub path: PathBuf,
    /// Those that replies are sampled to.
    pub prompts: Vec<AlignPrompt>,
    /// Tokens that end the policy's turn.
    pub end_of_turn: Vec<TokenId>,
    /// AlignPrompts that were left out, since they are too long.
    pub left_out: usize,
}

impl AlignPrompts {
    /// Reads a file of [`Prompt`]s and writes each as a chat of one turn; those of more than `longest` tokens
    /// are left out.
    ///
    /// # Errors
    ///
    /// * [`AlignError::Preferences`] if the file cannot be read, or a line is no prompt;
    /// * [`AlignError::Text`] if the template takes a prompt not;
    /// * [`AlignError::NoPrompts`] if none is left.
    pub fn read(path: &Path, chat: &ChatFormat, longest: usize) -> Result<AlignPrompts, AlignError> {
        let mut prompts = Vec::new();
        for prompt in read_records::<Prompt>(path)? {
            let ids = chat.encode_chat(&[Message::new("user", &prompt.text)], true)?;
            prompts.push(AlignPrompt { prompt, ids });
        }
        let all = prompts.len();
        prompts.retain(|prompt| prompt.ids.len() <= longest);
        let left_out = all - prompts.len();
        if prompts.is_empty() {
            return Err(AlignError::NoPrompts { path: path.to_owned(), left_out, longest });
        }
        Ok(AlignPrompts {
            path: path.to_owned(),
            prompts,
            end_of_turn: chat.end_of_turn().to_vec(),
            left_out,
        })
    }

    /// SHA-256 of everything that a run learns from, in hexadecimal.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for AlignPrompt { prompt, ids } in &self.prompts {
            hash.update(serde_json::to_vec(prompt).expect("a prompt is plain values"));
            hash.update((ids.len() as u64).to_le_bytes());
            ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
        }
        self.end_of_turn.iter().for_each(|id| hash.update(id.to_le_bytes()));
        hex(hash.finalize())
    }

    /// Tokens of the longest.
    pub(super) fn longest(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0)
    }
}
