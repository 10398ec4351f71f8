//! The messages of a session: shared between threads, saved and loaded.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::ChatError;
use crate::file::AtFile;
use crate::output::{self, Mark};
use crate::tokenizer::{Conversation, Message};

/// Maximum number of bytes of a saved conversation.
const MAX_BYTES: u64 = 64 << 20;

/// The messages of a session. Clones are the same conversation: another thread can read it while a reply is
/// generated. A change made meanwhile wins, and that reply is not added.
#[derive(Clone, Debug, Default)]
pub struct ConversationHandle {
    inner: Arc<Mutex<Conversation>>,
}

/// A conversation in a file: one line of JSON, as `parr sft` and `parr generate --jsonl` read it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    messages: Vec<Message>,
    /// The mark of an output: only a file with it is replaced.
    written_by: Option<String>,
}

impl ConversationHandle {
    /// A conversation with this system message, or with the model's own default.
    pub fn new(system: Option<String>) -> ConversationHandle {
        ConversationHandle { inner: Arc::new(Mutex::new(Conversation::new(system))) }
    }

    fn lock(&self) -> MutexGuard<'_, Conversation> {
        // A conversation is replaced as a whole, so a panic elsewhere leaves it valid.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the messages, the system message first.
    pub fn messages(&self) -> Vec<Message> {
        self.lock().messages()
    }

    /// Replaces the messages. The first may be a system message.
    pub fn set_messages(&self, messages: impl IntoIterator<Item = Message>) {
        let mut messages = messages.into_iter().peekable();
        let system = messages.next_if(|first| first.role == "system").map(|first| first.content);
        let mut conversation = Conversation::new(system);
        messages.for_each(|message| conversation.say(&message.role, message.content));
        *self.lock() = conversation;
    }

    /// Replaces the system message and removes the other messages. `None` gives the model's own default.
    pub fn set_system(&self, system: Option<String>) {
        self.lock().set_system(system);
    }

    /// Removes all messages except the system message.
    pub fn reset(&self) {
        self.lock().reset();
    }

    /// Saves the messages as one line of JSON, the whole file or nothing.
    ///
    /// # Errors
    ///
    /// * [`ChatError::NotAConversation`] if the file exists and is something else: it stays as it is;
    /// * [`ChatError::Io`] if it cannot be written, or is a conversation that Parr did not write.
    pub fn save(&self, path: &Path) -> Result<(), ChatError> {
        if path.exists() {
            read(path)?;
        }
        let saved = Saved { messages: self.messages(), written_by: Some(output::PARR.to_owned()) };
        let mut text = serde_json::to_vec(&saved).expect("messages are plain values");
        text.push(b'\n');
        output::write(path, Mark::Json, &[], |file| file.write_all(&text))
            .map_err(ChatError::io("write", path))
    }

    /// Replaces the messages by those of a saved conversation.
    ///
    /// # Errors
    ///
    /// * [`ChatError::Io`] if the file cannot be read;
    /// * [`ChatError::NotAConversation`] if it is not a conversation. The messages stay as they are.
    pub fn load(&self, path: &Path) -> Result<(), ChatError> {
        self.set_messages(read(path)?);
        Ok(())
    }

    pub(super) fn snapshot(&self) -> Conversation {
        self.lock().clone()
    }

    /// Replaces `before` by `after`. Does nothing if the conversation is no longer `before`.
    pub(super) fn replace(&self, before: &Conversation, after: Conversation) {
        let mut conversation = self.lock();
        if *conversation == *before {
            *conversation = after;
        }
    }
}

/// The messages in the file at `path`.
fn read(path: &Path) -> Result<Vec<Message>, ChatError> {
    let wrong = |reason: String| ChatError::NotAConversation { path: path.to_owned(), reason };
    let file = fs::metadata(path).map_err(ChatError::io("read", path))?;
    if !file.is_file() || file.len() > MAX_BYTES {
        return Err(wrong(format!("expected a file of at most {MAX_BYTES} bytes")));
    }
    let text = fs::read(path).map_err(ChatError::io("read", path))?;
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
    let saved: Saved = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    Ok(saved.messages)
}
