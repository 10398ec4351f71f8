//! Options that a session starts with.

use std::path::PathBuf;

use super::engine::RewardFolder;
use super::session::ReplyOptions;
use super::{ChatAdapter, ChatError, ChatSession, ConversationHandle, DEFAULT_CONTEXT};
use crate::Error;
use crate::generate::{GenerateError, GeneratorOptions, Sampling};
use crate::model::Model;
use crate::ops::KvFormat;
use crate::principles::PrincipleSet;
use crate::steer::{Search, Steering, Tell, WatchedSet};
use crate::tokenizer::Message;

impl Model {
    /// Options for a conversation with this model.
    ///
    /// ```no_run
    /// # let model = parr::Model::open("smollm2")?;
    /// let mut chat = model.chat().system("Be brief.").temperature(0.7).start()?;
    /// # Ok::<(), parr::Error>(())
    /// ```
    pub fn chat(&self) -> ChatBuilder {
        ChatBuilder {
            model: self.clone(),
            conversation: ConversationHandle::default(),
            options: ReplyOptions::default(),
            context: None,
            kv: GeneratorOptions::default().kv,
            repetition_window: GeneratorOptions::default().repetition_window,
            budget: None,
            adapter: None,
            any_base: false,
            principles: None,
            reward: None,
            steering: Steering { tell: Tell::System, most: Steering::MOST, ..Steering::default() },
        }
    }
}

/// Options for a conversation: [`Model::chat`].
#[derive(Clone, Debug)]
pub struct ChatBuilder {
    model: Model,
    conversation: ConversationHandle,
    options: ReplyOptions,
    context: Option<usize>,
    kv: KvFormat,
    repetition_window: usize,
    budget: Option<u64>,
    adapter: Option<AdapterSource>,
    any_base: bool,
    principles: Option<String>,
    reward: Option<PathBuf>,
    steering: Steering,
}

#[derive(Clone, Debug)]
enum AdapterSource {
    Path(PathBuf),
    Open(ChatAdapter),
}

impl ChatBuilder {
    /// Sets the system message. Without it the chat template's own default applies.
    #[must_use]
    pub fn system(self, text: impl Into<String>) -> Self {
        self.conversation.set_system(Some(text.into()));
        self
    }

    /// Continues these messages. The first may be a system message.
    #[must_use]
    pub fn messages(self, messages: impl IntoIterator<Item = Message>) -> Self {
        self.conversation.set_messages(messages);
        self
    }

    /// Continues the conversation of `handle`, which other threads may read and change.
    #[must_use]
    pub fn conversation(mut self, handle: &ConversationHandle) -> Self {
        self.conversation = handle.clone();
        self
    }

    /// Keeps up to this many tokens, prompt and reply together. Without it: [`DEFAULT_CONTEXT`], or the
    /// model's context if that is less.
    #[must_use]
    pub fn context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Keeps keys and values in this format. Without it: f16.
    #[must_use]
    pub fn kv(mut self, kv: KvFormat) -> Self {
        self.kv = kv;
        self
    }

    /// Applies the repetition penalty to this many of the last tokens. Without it: 64.
    #[must_use]
    pub fn repetition_window(mut self, tokens: usize) -> Self {
        self.repetition_window = tokens;
        self
    }

    /// Refuses to allocate the session's caches if the device memory in use would exceed this many bytes.
    #[must_use]
    pub fn budget(mut self, bytes: u64) -> Self {
        self.budget = Some(bytes);
        self
    }

    /// Sets sampling, seed, maximum length and stop texts at once.
    #[must_use]
    pub fn options(mut self, options: ReplyOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how tokens are sampled. Without it: [`Sampling::CHAT`].
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.options.sampling = sampling;
        self
    }

    /// Sets the sampling temperature. 0 always takes the most probable token.
    #[must_use]
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.options.sampling.temperature = temperature;
        self
    }

    /// Sets the random seed. The same seed and messages give the same reply on the same GPU.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.sampling.seed = seed;
        self
    }

    /// Sets the maximum length of a reply, in tokens. Without it: 512.
    #[must_use]
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.options.max_tokens = tokens;
        self
    }

    /// Answers with the adapter at this path: the folder of a training run, a PEFT directory or a GGUF
    /// adapter.
    #[must_use]
    pub fn adapter(mut self, path: impl Into<PathBuf>) -> Self {
        self.adapter = Some(AdapterSource::Path(path.into()));
        self
    }

    /// Answers with an adapter that is open already.
    #[must_use]
    pub fn open_adapter(mut self, adapter: &ChatAdapter) -> Self {
        self.adapter = Some(AdapterSource::Open(adapter.clone()));
        self
    }

    /// Accepts an adapter and a reward model that were trained on other weights, such as an unquantized copy.
    #[must_use]
    pub fn any_base(mut self) -> Self {
        self.any_base = true;
        self
    }

    /// Follows these principles: a set that comes with Parr, such as `honest`, or a file. The file is read
    /// again before each reply, so an edit applies to the next reply.
    #[must_use]
    pub fn principles(mut self, name_or_file: impl Into<String>) -> Self {
        self.principles = Some(name_or_file.into());
        self
    }

    /// Follows the principles of a set in memory.
    #[must_use]
    pub fn principle_set(mut self, set: PrincipleSet) -> Self {
        self.steering.principles = set;
        self.principles = None;
        self
    }

    /// Opens the reward model in this folder, for [`ChatBuilder::best_of`] and [`ChatBuilder::guided`].
    #[must_use]
    pub fn reward(mut self, folder: impl Into<PathBuf>) -> Self {
        self.reward = Some(folder.into());
        self
    }

    /// Generates `n` replies, of which the reward model chooses one.
    #[must_use]
    pub fn best_of(mut self, n: usize) -> Self {
        self.steering.search = Search::BestOf { n };
        self
    }

    /// Generates `n` continuations of `block` tokens, of which the reward model chooses one, block by block.
    #[must_use]
    pub fn guided(mut self, n: usize, block: usize) -> Self {
        self.steering.search = Search::Guided { n, block };
        self
    }

    /// Scores each reply, also under every principle alone. Needs a reward model.
    #[must_use]
    pub fn scores(mut self, scores: bool) -> Self {
        self.steering.scores = scores;
        self
    }

    /// Puts the principles into the system message (the default), in front of the question, or nowhere.
    #[must_use]
    pub fn tell(mut self, tell: Tell) -> Self {
        self.steering.tell = tell;
        self
    }

    /// Sets all of steering at once. A set or file of [`ChatBuilder::principles`] replaces its principles.
    #[must_use]
    pub fn steering(mut self, steering: Steering) -> Self {
        self.steering = steering;
        self
    }

    /// Starts the conversation. The first reply allocates its cache on the device.
    ///
    /// # Errors
    ///
    /// [`Error::Chat`] with:
    ///
    /// * [`ChatError::NoTemplate`] if the model cannot chat;
    /// * [`ChatError::Text`] if its tokenizer or chat template cannot be used;
    /// * [`ChatError::Context`] if the model has a shorter context;
    /// * [`ChatError::Principles`] if there is no such set, or the file has mistakes;
    /// * [`ChatError::AdapterFile`] if the adapter cannot be read or does not fit;
    /// * [`ChatError::Generate`] for a context of less than 2 tokens, or a sampling setting outside its range;
    /// * [`ChatError::Steer`] if replies are to be scored or chosen without a reward model.
    pub fn start(self) -> Result<ChatSession, Error> {
        self.model.check_chat().map_err(ChatError::from)?;
        if self.model.chat_format().is_none() {
            return Err(ChatError::NoTemplate.into());
        }
        let most = self.model.config().context;
        let context = self.context.unwrap_or(DEFAULT_CONTEXT.min(most));
        if context > most {
            return Err(ChatError::Context { asked: context, most }.into());
        }
        if context < 2 {
            return Err(ChatError::from(GenerateError::NoRoom { slots: 1, context }).into());
        }
        self.options.sampling.check(0).map_err(ChatError::from)?;
        let adapter = match &self.adapter {
            Some(AdapterSource::Path(path)) => Some(ChatAdapter::open(&self.model, path, self.any_base)?),
            Some(AdapterSource::Open(adapter)) => Some(adapter.clone()),
            None => None,
        };
        let watched =
            self.principles.as_deref().map(WatchedSet::open).transpose().map_err(ChatError::from)?;
        let mut steering = self.steering;
        if let Some(watched) = &watched {
            steering.principles = watched.set().clone();
        }
        let any_base = self.any_base;
        let reward = self.reward.map(|path| RewardFolder { path, any_base });
        steering.check(reward.is_some()).map_err(ChatError::from)?;
        Ok(ChatSession {
            model: self.model,
            conversation: self.conversation,
            options: self.options,
            generator: GeneratorOptions {
                slots: 1,
                context,
                kv: self.kv,
                repetition_window: self.repetition_window,
            },
            budget: self.budget,
            adapter,
            reward,
            steering,
            watched,
            engine: None,
            last: None,
        })
    }
}
