//! The prompts that the policy replies to.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::AlignError;
use crate::file::hex;
use crate::preferences::{Prompt, Prompts, check_records};
use crate::principles::PromptType;
use crate::tokenizer::{ChatFormat, Message, TokenId};

/// A prompt, as text and as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignPrompt {
    /// The prompt as text. The reward model reads it.
    pub prompt: Prompt,
    /// The prompt as tokens in the chat format (T), at least one. The policy continues them.
    pub ids: Vec<TokenId>,
}

/// The prompts of a run: a file, or texts in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignPrompts {
    /// The file, or `prompts` for prompts in memory. Used in messages.
    pub path: PathBuf,
    /// The prompts to sample replies to.
    pub prompts: Vec<AlignPrompt>,
    /// Tokens that end the policy's turn.
    pub end_of_turn: Vec<TokenId>,
    /// Number of prompts left out because they are too long.
    pub left_out: usize,
}

impl AlignPrompts {
    /// Reads a file of [`Prompt`]s and encodes them like [`AlignPrompts::new`].
    ///
    /// # Errors
    ///
    /// * [`AlignError::Preferences`] if the file cannot be read, or a line is not a prompt;
    /// * the errors of [`AlignPrompts::new`].
    pub fn read(path: &Path, chat: &ChatFormat, longest: usize) -> Result<AlignPrompts, AlignError> {
        AlignPrompts::new(&Prompts::read(path)?, chat, longest)
    }

    /// Encodes each text as a chat of one turn. Texts of more than `longest` tokens are left out. The prompts
    /// get the type `general` and the ids `p1`, `p2` and so on.
    ///
    /// # Errors
    ///
    /// The errors of [`AlignPrompts::of_prompts`].
    pub fn of(
        texts: impl IntoIterator<Item = impl Into<String>>,
        chat: &ChatFormat,
        longest: usize,
    ) -> Result<AlignPrompts, AlignError> {
        let prompt = |(number, text): (usize, String)| Prompt {
            id: format!("p{number}"),
            kind: PromptType::General,
            language: None,
            text,
        };
        let texts = (1..).zip(texts.into_iter().map(Into::into));
        AlignPrompts::of_prompts(texts.map(prompt).collect(), chat, longest)
    }

    /// Encodes prompts in memory, each as a chat of one turn. Prompts of more than `longest` tokens are left
    /// out. The result has the same hash as the same prompts from a file.
    ///
    /// # Errors
    ///
    /// * [`AlignError::Preferences`] for the first prompt that is empty or has the id of an earlier one;
    /// * [`AlignError::Text`] if the chat template rejects a prompt;
    /// * [`AlignError::NoPrompts`] if no prompt is left.
    pub fn of_prompts(
        prompts: Vec<Prompt>,
        chat: &ChatFormat,
        longest: usize,
    ) -> Result<AlignPrompts, AlignError> {
        check_records(&prompts)?;
        AlignPrompts::new(&Prompts::of(prompts), chat, longest)
    }

    /// Encodes each prompt as a chat of one turn. Prompts of more than `longest` tokens are left out.
    ///
    /// # Errors
    ///
    /// * [`AlignError::Text`] if the chat template rejects a prompt;
    /// * [`AlignError::NoPrompts`] if no prompt is left.
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

    /// SHA-256 of the prompts and their tokens, in hexadecimal.
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

    /// Tokens of the shortest prompt.
    pub(super) fn shortest(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.ids.len()).min().unwrap_or(0)
    }

    /// Tokens of the longest prompt.
    pub(super) fn longest(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0)
    }
}
