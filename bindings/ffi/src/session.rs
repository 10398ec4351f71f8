//! Conversations.

use std::sync::{Arc, Mutex, MutexGuard};

use parr::generate::{CancelToken as CallToken, Generator, GeneratorOptions, Request};
use parr::model::lora::{AdapterBank, AdapterId};
use parr::steer::SteeredModel;
use parr::tokenizer::{Conversation, Message, TextError, TokenId};

use crate::ParrError;
use crate::adapter::Adapter;
use crate::call::{CancelToken, lock, start};
use crate::callback::{TokenListener, Told};
use crate::model::{Loaded, Model};
use crate::reply::{ChatMessage, Piece, Reply, ReplyOptions};

/// Contexts of 128k tokens and more are offered by models but rarely wanted, and cost memory at once.
const DEFAULT_CONTEXT: u32 = 2048;

/// What a conversation starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct ChatOptions {
    /// The system message; without it the model's own default.
    #[uniffi(default = None)]
    pub system: Option<String>,
    /// Tokens that are kept, prompt and reply together: 2048, or the model's context if that is less.
    #[uniffi(default = None)]
    pub context: Option<u32>,
}

/// A conversation. It costs nothing before its first reply, which allocates its cache.
///
/// Calls on one session take turns; sessions run side by side.
#[derive(Debug, uniffi::Object)]
pub struct ChatSession {
    pub(crate) model: Arc<Model>,
    pub(crate) context: Option<u32>,
    talk: Mutex<Talk>,
    /// Held while a reply is made; what is said can be read meanwhile.
    engine: Mutex<Option<Engine>>,
}

/// What was said so far, and who answers.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub conversation: Conversation,
    pub adapter: Option<Arc<Adapter>>,
}

/// What holds the session's cache on the device, and for whom it was made.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Which opening of the device.
    pub opened: u64,
    /// Which adapter.
    pub adapter: Option<u64>,
    pub voice: Voice,
}

/// Who answers. A session has one of them at a time: the other would hold a cache that is not used.
#[derive(Debug)]
pub(crate) enum Voice {
    Plain { generator: Generator, adapter: Option<AdapterId> },
    Steered { model: Box<SteeredModel>, judge: Option<u64>, slots: usize },
}

#[uniffi::export]
impl Model {
    /// A new conversation.
    #[uniffi::method(default(options = None))]
    pub fn chat(self: Arc<Self>, options: Option<ChatOptions>) -> Arc<ChatSession> {
        let ChatOptions { system, context } = options.unwrap_or_default();
        let talk = Talk { conversation: Conversation::new(system), adapter: None };
        Arc::new(ChatSession { model: self, context, talk: Mutex::new(talk), engine: Mutex::default() })
    }
}

#[uniffi::export]
impl ChatSession {
    /// Says `text` and gives the reply, both of which become part of the conversation, also where `cancel`
    /// ended the reply early. Where the conversation outgrows the context its oldest turns are forgotten.
    ///
    /// # Errors
    ///
    /// After an error the conversation is as before.
    ///
    /// * [`ParrError::Context`] if this message alone is too long;
    /// * [`ParrError::Argument`] if a setting is out of range;
    /// * [`ParrError::Memory`] if the budget does not hold the cache;
    /// * [`ParrError::Callback`] if the listener throws;
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
        let work = move |token: &CallToken| self.answer(&text, &options, listener.as_deref(), token);
        start(cancel.as_deref(), work).await
    }

    /// What was said, the system message first.
    pub fn messages(&self) -> Vec<ChatMessage> {
        lock(&self.talk).conversation.messages().into_iter().map(Into::into).collect()
    }

    /// Replaces what was said; a system message may stand first.
    pub fn set_messages(&self, messages: Vec<ChatMessage>) {
        let mut messages = messages.into_iter().peekable();
        let system = messages.next_if(|first| first.role == "system").map(|first| first.content);
        let mut conversation = Conversation::new(system);
        messages.for_each(|message| conversation.say(&message.role, message.content));
        lock(&self.talk).conversation = conversation;
    }

    /// Forgets the turns; the system message stays.
    pub fn reset(&self) {
        lock(&self.talk).conversation.reset();
    }

    /// Answers with `adapter` from the next reply on.
    ///
    /// # Errors
    ///
    /// [`ParrError::Mismatch`] if it was opened for another model.
    pub fn attach(&self, adapter: Arc<Adapter>) -> Result<(), ParrError> {
        adapter.belongs_to(&self.model)?;
        lock(&self.talk).adapter = Some(adapter);
        Ok(())
    }

    /// Answers without an adapter from the next reply on.
    pub fn detach(&self) {
        lock(&self.talk).adapter = None;
    }
}

impl ChatSession {
    fn answer(
        &self,
        text: &str,
        options: &ReplyOptions,
        listener: Option<&dyn TokenListener>,
        token: &CallToken,
    ) -> Result<Reply, ParrError> {
        let mut slot = self.engine();
        let loaded = self.model.loaded()?;
        let before = self.talk();
        // Taken out: after a panic there is none, and the next call makes another.
        let (mut generator, id) = self.plain(slot.take(), &loaded, before.adapter.as_deref())?;
        let chat = loaded.chat()?;
        let encode = |messages: &[_]| chat.encode_chat(messages, true);
        let asked = before.ask(text, generator.context(), options.max_tokens as usize, encode)?;
        let request = options.request(asked.prompt, chat, id);
        let told = Told::default();
        let replies = generate(&mut generator, &[request], listener, token, &told);
        let (opened, adapter) = (loaded.opened, before.adapter.as_ref().map(|adapter| adapter.serial));
        *slot = Some(Engine { opened, adapter, voice: Voice::Plain { generator, adapter: id } });
        let reply = Reply::new(&replies?[0], asked.dropped);
        told.check()?;
        self.keep(&before, asked.conversation, &reply.text);
        Ok(reply)
    }

    /// The session's cache, once nobody else answers.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Option<Engine>> {
        lock(&self.engine)
    }

    /// What was said and who answers, as it is now.
    pub(crate) fn talk(&self) -> Talk {
        lock(&self.talk).clone()
    }

    /// Adds the reply, unless what was said has been changed since `before`.
    pub(crate) fn keep(&self, before: &Talk, mut conversation: Conversation, reply: &str) {
        let mut talk = lock(&self.talk);
        if talk.conversation == before.conversation {
            conversation.say("assistant", reply);
            talk.conversation = conversation;
        }
    }

    /// The generator of `kept`, if it is for this device and this adapter, or a new one.
    fn plain(
        &self,
        kept: Option<Engine>,
        loaded: &Loaded,
        adapter: Option<&Adapter>,
    ) -> Result<(Generator, Option<AdapterId>), ParrError> {
        let wanted = adapter.map(|adapter| adapter.serial);
        match kept {
            Some(Engine { opened, adapter, voice: Voice::Plain { generator, adapter: id } })
                if opened == loaded.opened && adapter == wanted =>
            {
                return Ok((generator, id));
            }
            // It goes before the new one comes.
            other => drop(other),
        }
        let placed = adapter.map(|adapter| adapter.place(loaded)).transpose()?;
        let (bank, id) = placed.unzip();
        Ok((generator(&self.model, loaded, 1, self.context, bank.as_ref())?, id))
    }
}

/// A question, with as much of the conversation as fits.
pub(crate) struct Asked {
    /// The conversation with the question.
    pub conversation: Conversation,
    pub prompt: Vec<TokenId>,
    /// Messages that were forgotten.
    pub dropped: usize,
}

impl Talk {
    /// Says `text`, with room for a reply of `max_tokens` in a context of `context`.
    pub fn ask(
        &self,
        text: &str,
        context: usize,
        max_tokens: usize,
        encode: impl Fn(&[Message]) -> Result<Vec<TokenId>, TextError>,
    ) -> Result<Asked, ParrError> {
        let mut conversation = self.conversation.clone();
        conversation.say("user", text);
        // Room for a reply: a quarter of the context if the longest one asked for is longer.
        let capacity = context - max_tokens.min(context / 4);
        let (prompt, dropped) = conversation.encode(capacity, encode)?;
        Ok(Asked { conversation, prompt, dropped })
    }
}

/// What a generator of `slots` sequences is made with.
pub(crate) fn generator_options(
    loaded: &Loaded,
    slots: usize,
    context: Option<u32>,
) -> Result<GeneratorOptions, ParrError> {
    let most = loaded.model.config().context;
    let context = context.unwrap_or(DEFAULT_CONTEXT.min(most as u32)) as usize;
    if context > most {
        let reason = format!("a context of {context} tokens was asked for, the model has {most}");
        return Err(ParrError::Argument(reason));
    }
    Ok(GeneratorOptions { slots, context, ..GeneratorOptions::default() })
}

/// A generator of `slots` sequences, if the budget holds it.
pub(crate) fn generator(
    model: &Model,
    loaded: &Loaded,
    slots: usize,
    context: Option<u32>,
    bank: Option<&AdapterBank>,
) -> Result<Generator, ParrError> {
    let options = generator_options(loaded, slots, context)?;
    model.room(loaded, "cache and activations", Generator::plan_bytes(&loaded.model, options, bank))?;
    Ok(match bank {
        Some(bank) => Generator::with_adapters(&loaded.model, options, bank)?,
        None => Generator::new(&loaded.model, options)?,
    })
}

/// Runs `requests`; of a single one `listener` hears every piece.
pub(crate) fn generate(
    generator: &mut Generator,
    requests: &[Request],
    listener: Option<&dyn TokenListener>,
    token: &CallToken,
    told: &Told,
) -> Result<Vec<parr::generate::Reply>, ParrError> {
    let replies = generator.generate(requests, token, &mut |event| {
        if let Some(listener) = listener.filter(|_| !event.text.is_empty()) {
            told.tell(token, || listener.on_piece(Piece { text: event.text }));
        }
    });
    Ok(replies?)
}
