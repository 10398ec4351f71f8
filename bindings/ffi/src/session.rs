//! Conversations: the core's sessions, for an app.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use parr::chat::ConversationHandle;
use parr::generate::CancelToken as CallToken;
use parr::steer::{SteerEvent, Steering};

use crate::ParrError;
use crate::adapter::Adapter;
use crate::call::{CancelToken, lock, start};
use crate::callback::{Callbacks, TokenListener};
use crate::model::{Loaded, Model};
use crate::reply::{ChatMessage, Piece, Reply, ReplyOptions};

/// Options for a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct ChatOptions {
    /// The system message. Without it the model's own default applies.
    #[uniffi(default = None)]
    pub system: Option<String>,
    /// Maximum number of tokens, prompt and reply together. Without it 4096, or the model's context if that is
    /// less.
    #[uniffi(default = None)]
    pub context: Option<u32>,
}

/// A conversation. It uses no device memory before its first reply, which allocates its cache.
///
/// Calls on one session run one after another. Different sessions run in parallel.
#[derive(Debug, uniffi::Object)]
pub struct ChatSession {
    model: Arc<Model>,
    context: Option<u32>,
    conversation: ConversationHandle,
    adapter: Mutex<Option<Arc<Adapter>>>,
    /// The core's session and the number of the device's opening that it was made for. Held while a reply is
    /// generated; the messages can be read meanwhile.
    session: Mutex<Option<(u64, parr::chat::ChatSession)>>,
}

#[uniffi::export]
impl Model {
    /// Starts a conversation.
    #[uniffi::method(default(options = None))]
    pub fn chat(self: Arc<Self>, options: Option<ChatOptions>) -> Arc<ChatSession> {
        let ChatOptions { system, context } = options.unwrap_or_default();
        Arc::new(ChatSession {
            model: self,
            context,
            conversation: ConversationHandle::new(system),
            adapter: Mutex::default(),
            session: Mutex::default(),
        })
    }
}

#[uniffi::export]
impl ChatSession {
    /// Sends `text` and returns the reply. Both become part of the conversation, also if `cancel` ended the
    /// reply early. If the conversation outgrows the context, its oldest messages are dropped.
    ///
    /// # Errors
    ///
    /// After an error the conversation is unchanged.
    ///
    /// * [`ParrError::Context`] if this message alone is too long;
    /// * [`ParrError::Argument`] if a setting is out of range;
    /// * [`ParrError::Memory`] if the budget does not hold the cache;
    /// * [`ParrError::Callback`] if the listener fails;
    /// * [`ParrError::DeviceLost`] if the GPU is lost: ask again.
    #[uniffi::method(default(options = None, listener = None, cancel = None))]
    pub async fn reply(
        self: Arc<Self>,
        text: String,
        options: Option<ReplyOptions>,
        listener: Option<Arc<dyn TokenListener>>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Reply, ParrError> {
        let options = options.unwrap_or_default();
        let work = move |token: &CallToken| {
            let plain = Ask { steering: Steering::default(), reward: None, options };
            let reply = self.run(text, plain, listener.as_deref(), token)?;
            Ok(Reply::new(&reply.answer.reply, reply.dropped_messages))
        };
        start(cancel.as_deref(), work).await
    }

    /// Returns the messages, the system message first.
    pub fn messages(&self) -> Vec<ChatMessage> {
        self.conversation.messages().into_iter().map(Into::into).collect()
    }

    /// Replaces the messages. The first may be a system message.
    pub fn set_messages(&self, messages: Vec<ChatMessage>) {
        self.conversation.set_messages(messages.into_iter().map(Into::into));
    }

    /// Removes all messages except the system message.
    pub fn reset(&self) {
        self.conversation.reset();
    }

    /// Saves the messages to a file as one line of JSON, the whole file or nothing.
    ///
    /// # Errors
    ///
    /// * [`ParrError::Format`] if the file exists and is not a saved conversation: it stays as it is;
    /// * [`ParrError::Storage`] if it cannot be written.
    pub fn save(&self, path: String) -> Result<(), ParrError> {
        Ok(self.conversation.save(&PathBuf::from(path))?)
    }

    /// Replaces the messages by those of a saved conversation.
    ///
    /// # Errors
    ///
    /// * [`ParrError::NotFound`] and [`ParrError::Storage`] if the file cannot be read;
    /// * [`ParrError::Format`] if it is not a saved conversation. The messages stay as they are.
    pub fn load(&self, path: String) -> Result<(), ParrError> {
        Ok(self.conversation.load(&PathBuf::from(path))?)
    }

    /// Answers with `adapter` from the next reply on.
    ///
    /// # Errors
    ///
    /// [`ParrError::Mismatch`] if it was opened for another model.
    pub fn attach(&self, adapter: Arc<Adapter>) -> Result<(), ParrError> {
        adapter.belongs_to(&self.model)?;
        *lock(&self.adapter) = Some(adapter);
        Ok(())
    }

    /// Answers without an adapter from the next reply on.
    pub fn detach(&self) {
        *lock(&self.adapter) = None;
    }
}

/// How one reply is generated.
pub(crate) struct Ask {
    pub steering: Steering,
    /// The reward model's folder, and whether it may be of another base.
    pub reward: Option<(PathBuf, bool)>,
    pub options: ReplyOptions,
}

impl ChatSession {
    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub(crate) fn run(
        &self,
        text: String,
        ask: Ask,
        listener: Option<&dyn TokenListener>,
        token: &CallToken,
    ) -> Result<parr::chat::ChatReply, ParrError> {
        let mut slot = lock(&self.session);
        let loaded = self.model.loaded()?;
        // Taken out: after a panic there is none, and the next call makes another.
        let mut session = self.session_on(slot.take(), &loaded)?;
        let adapter = lock(&self.adapter).clone();
        session.set_adapter(adapter.as_ref().map(|adapter| &adapter.shared));
        let Ask { steering, reward, options } = ask;
        let any_base = reward.as_ref().is_some_and(|(_, any_base)| *any_base);
        session.set_reward(reward.map(|(folder, _)| folder), any_base);
        session.set_options(options.into());
        let callbacks = Callbacks::default();
        let reply = session.set_steering(steering).map_err(Into::into).and_then(|()| {
            session.reply(text, token, &mut |event| {
                if let (SteerEvent::Text { text, .. }, Some(listener)) = (event, listener)
                    && !text.is_empty()
                {
                    callbacks.call(token, || listener.on_piece(Piece { text: text.to_owned() }));
                }
            })
        });
        *slot = Some((loaded.opened, session));
        callbacks.check()?;
        Ok(reply?)
    }

    /// The session of `kept` if it is for this opening of the device, or a new one with the same messages.
    fn session_on(
        &self,
        kept: Option<(u64, parr::chat::ChatSession)>,
        loaded: &Loaded,
    ) -> Result<parr::chat::ChatSession, ParrError> {
        if let Some((opened, session)) = kept
            && opened == loaded.opened
        {
            return Ok(session);
        }
        let mut builder = loaded.model.chat().conversation(&self.conversation);
        if let Some(context) = self.context {
            builder = builder.context(context as usize);
        }
        if let Some(budget) = self.model.budget_bytes() {
            builder = builder.budget(budget);
        }
        Ok(builder.start()?)
    }
}
