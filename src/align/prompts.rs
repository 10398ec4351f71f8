//! What the policy is asked.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::AlignError;
use crate::file::hex;
use crate::preferences::{Prompt, Prompts};
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
    /// Number of prompts that were left out because they are too long.
    pub left_out: usize,
}

impl AlignPrompts {
    /// Reads a file of [`Prompt`]s, and encodes them as [`AlignPrompts::new`] does.
    ///
    /// # Errors
    ///
    /// * [`AlignError::Preferences`] if the file cannot be read, or a line is no prompt;
    /// * otherwise as [`AlignPrompts::new`].
    pub fn read(path: &Path, chat: &ChatFormat, longest: usize) -> Result<AlignPrompts, AlignError> {
        AlignPrompts::new(&Prompts::read(path)?, chat, longest)
    }

    /// Encodes each prompt as a chat of one turn. Prompts of more than `longest` tokens are left out.
    ///
    /// # Errors
    ///
    /// * [`AlignError::Text`] if the template does not take a prompt;
    /// * [`AlignError::NoPrompts`] if none is left.
    pub fn new(all: &Prompts, chat: &ChatFormat, longest: usize) -> Result<AlignPrompts, AlignError> {
        let mut prompts = Vec::new();
        for prompt in all.iter() {
            let ids = chat.encode_chat(&[Message::new("user", &prompt.text)], true)?;
            prompts.push(AlignPrompt { prompt: prompt.clone(), ids });
        }
        prompts.retain(|prompt| prompt.ids.len() <= longest);
        let left_out = all.len() - prompts.len();
        let path = all.path().to_owned();
        if prompts.is_empty() {
            return Err(AlignError::NoPrompts { path, left_out, longest });
        }
        Ok(AlignPrompts { path, prompts, end_of_turn: chat.end_of_turn().to_vec(), left_out })
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
