//! A conversation: its messages, the model that answers, and the options of replies.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::engine::{Engine, EngineKey, RewardFolder};
use super::reasoning::Separator;
use super::stream::ReplyStream;
use super::{ChatAdapter, ChatError, ConversationHandle};
use crate::Error;
use crate::generate::{CancelToken, Finish, GeneratorOptions, MAX_TOKENS, Request, Sampling};
use crate::model::Model;
use crate::principles::PrincipleSet;
use crate::steer::{Answer, Ask, Search, SteerError, SteerEvent, Steering, WatchedSet};
use crate::tokenizer::{Conversation, Message, ReplyParts};

/// How a reply is sampled, and where it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyOptions {
    /// How tokens are sampled, with the seed.
    pub sampling: Sampling,
    /// Maximum length, in tokens.
    pub max_tokens: usize,
    /// Texts that end the reply and are left out.
    pub stop: Vec<String>,
}

impl Default for ReplyOptions {
    /// [`Sampling::CHAT`], up to [`MAX_TOKENS`].
    fn default() -> Self {
        ReplyOptions { sampling: Sampling::CHAT, max_tokens: MAX_TOKENS, stop: Vec::new() }
    }
}

/// A complete reply.
#[derive(Clone, Debug)]
pub struct ChatReply {
    /// The reply, the candidates that it was chosen from, and what it cost.
    pub answer: Answer,
    /// Number of oldest messages that were dropped because they no longer fit into the context.
    pub dropped_messages: usize,
    /// Time from the question to the first token.
    pub first_token: Duration,
    /// Time from the question to the end of the reply.
    pub total: Duration,
    /// The text without the reasoning of a model that thinks, and that reasoning.
    pub(super) parts: ReplyParts,
}

impl ChatReply {
    /// The text, without white space at its end, and without the reasoning of a model that thinks. It is empty if the
    /// reply ended within the reasoning.
    pub fn text(&self) -> &str {
        self.parts.answer.trim_end()
    }

    /// The reasoning of a model that thinks, which came before the text. Empty for other models.
    pub fn reasoning(&self) -> &str {
        self.parts.reasoning.trim_end()
    }

    /// Why the reply ended.
    pub fn finish(&self) -> &Finish {
        &self.answer.reply.finish
    }
}

/// A conversation with a model.
///
/// It keeps the messages, and a cache on the device from which the next reply continues. When the
/// conversation outgrows the context, its oldest messages are dropped, a question with its reply.
///
/// ```no_run
/// # let model = parr::Model::open("smollm2")?;
/// let mut chat = model.chat().start()?;
/// println!("{}", chat.ask("Name three rivers.")?.text());
/// println!("{}", chat.ask("Which is the longest?")?.text());
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Debug)]
pub struct ChatSession {
    pub(super) model: Model,
    pub(super) conversation: ConversationHandle,
    pub(super) options: ReplyOptions,
    /// Slots are set by the search.
    pub(super) generator: GeneratorOptions,
    pub(super) budget: Option<u64>,
    pub(super) adapter: Option<ChatAdapter>,
    pub(super) reward: Option<RewardFolder>,
    pub(super) steering: Steering,
    pub(super) watched: Option<WatchedSet>,
    pub(super) engine: Option<Engine>,
    pub(super) last: Option<ChatReply>,
}

/// A reply that is about to be generated.
pub(super) struct Turn {
    before: Conversation,
    conversation: Conversation,
    dropped: usize,
    pub start: Instant,
    pub ask: Ask,
    pub steering: Steering,
    /// Separates the reasoning from the answer.
    pub separator: Separator,
}

/// What the next reply answers.
pub(super) enum Next {
    /// A new message of the user.
    Question(String),
    /// The last message of the user, once more.
    Again,
}

impl ChatSession {
    /// Sends `text` and returns the reply as an iterator over its parts. Dropping the iterator stops the
    /// reply and keeps the text so far. Where the reply is chosen among several, it arrives in one part.
    ///
    /// # Errors
    ///
    /// [`Error::Chat`], after which the conversation is unchanged, with:
    ///
    /// * [`ChatError::Principles`] if the principles' file has a new mistake; the next call uses the old
    ///   text;
    /// * [`ChatError::Budget`] or [`ChatError::Generate`] if the device cannot hold the cache;
    /// * [`ChatError::Text`] if the chat template refuses the messages.
    ///
    /// Errors while the reply is generated are items of the iterator.
    pub fn say(&mut self, text: impl Into<String>) -> Result<ReplyStream<'_>, Error> {
        let (engine, turn) = self.begin(Next::Question(text.into()))?;
        Ok(ReplyStream::start(self, engine, turn)?)
    }

    /// Sends `text` and returns the whole reply.
    ///
    /// # Errors
    ///
    /// As [`ChatSession::reply`].
    pub fn ask(&mut self, text: impl Into<String>) -> Result<ChatReply, Error> {
        self.reply(text, &CancelToken::new(), &mut |_| {})
    }

    /// Sends `text`, reports what happens to `on_event` on this thread, and returns the reply. Question and
    /// reply become part of the conversation, also if `cancel` ended the reply early.
    ///
    /// # Errors
    ///
    /// As [`ChatSession::say`], and [`ChatError::Cancelled`] if the reply is the best of several and `cancel`
    /// came before the choice.
    pub fn reply(
        &mut self,
        text: impl Into<String>,
        cancel: &CancelToken,
        on_event: &mut dyn FnMut(SteerEvent<'_>),
    ) -> Result<ChatReply, Error> {
        self.run(Next::Question(text.into()), cancel, on_event)
    }

    /// Replaces the last reply by another one, with the next seed.
    ///
    /// # Errors
    ///
    /// As [`ChatSession::reply`], and [`ChatError::NothingToReplace`] if there is no reply yet.
    pub fn regenerate(
        &mut self,
        cancel: &CancelToken,
        on_event: &mut dyn FnMut(SteerEvent<'_>),
    ) -> Result<ChatReply, Error> {
        if self.messages().last().is_none_or(|last| last.role != "assistant") {
            return Err(ChatError::NothingToReplace.into());
        }
        self.options.sampling.seed = self.options.sampling.seed.wrapping_add(1);
        self.run(Next::Again, cancel, on_event)
    }

    fn run(
        &mut self,
        next: Next,
        cancel: &CancelToken,
        on_event: &mut dyn FnMut(SteerEvent<'_>),
    ) -> Result<ChatReply, Error> {
        let (mut engine, turn) = self.begin(next)?;
        let mut first = None;
        let mut separator = turn.separator.clone();
        let answers = engine.answer(&turn.steering, &turn.ask, cancel, &mut |event| {
            first.get_or_insert_with(|| turn.start.elapsed());
            if !choice_is_void(&turn.steering, cancel) {
                separator.pass(event, on_event);
            }
        });
        separator.end(on_event);
        Ok(self.finish(engine, turn, answers, first)?)
    }

    /// Makes everything ready for a reply: the principles, the engine and the prompt.
    pub(super) fn begin(&mut self, next: Next) -> Result<(Engine, Turn), ChatError> {
        let start = Instant::now();
        self.reload_principles()?;
        let before = self.conversation.snapshot();
        let mut conversation = before.clone();
        match next {
            Next::Question(text) => conversation.say("user", text),
            Next::Again => {
                conversation.take_back_reply();
            }
        }
        let steering = self.steering.clone();
        steering.check(self.reward.is_some())?;
        let engine = self.engine()?;
        let ReplyOptions { sampling, max_tokens, stop } = self.options.clone();
        // Room for a reply: a quarter of the context if the longest reply is longer.
        let context = self.generator.context;
        let capacity = context - max_tokens.min(context / 4);
        self.model.check_chat()?;
        let format = self.model.chat_format().ok_or(ChatError::NoTemplate)?;
        let encoded =
            conversation.encode(capacity, |messages| format.encode_chat(&steering.messages(messages), true));
        let (prompt, dropped) = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                self.engine = Some(engine);
                return Err(error.into());
            }
        };
        let separator =
            Separator::new(format.reasoning_stream(&steering.messages(&conversation.messages()))?);
        let adapter = engine.steered().policy();
        let stop_ids = format.end_of_turn().into();
        let request = Request { prompt, adapter, sampling, max_tokens, stop_ids, stop, ..Request::default() };
        let ask = Ask { request, question: conversation.question().to_owned() };
        Ok((engine, Turn { before, conversation, dropped, start, ask, steering, separator }))
    }

    /// Takes the engine back, and the reply into the conversation.
    pub(super) fn finish(
        &mut self,
        engine: Engine,
        turn: Turn,
        answers: Result<Vec<Answer>, SteerError>,
        first_token: Option<Duration>,
    ) -> Result<ChatReply, ChatError> {
        self.engine = Some(engine);
        let Turn { before, mut conversation, dropped, start, steering, separator, .. } = turn;
        let answer = answers?.pop().expect("one question has one answer");
        if answer.reply.finish == Finish::Cancelled && matches!(steering.search, Search::BestOf { .. }) {
            return Err(ChatError::Cancelled);
        }
        let total = start.elapsed();
        let first_token = first_token.unwrap_or(total);
        let parts = separator.separate(&answer.reply.text);
        let reply = ChatReply { answer, dropped_messages: dropped, first_token, total, parts };
        conversation.say("assistant", reply.text());
        self.conversation.replace(&before, conversation);
        self.last = Some(reply.clone());
        Ok(reply)
    }

    /// Reads the principles' file again. Returns whether it has changed.
    ///
    /// # Errors
    ///
    /// [`ChatError::Principles`] once for each new mistake in the file. The principles stay as they were.
    pub fn reload_principles(&mut self) -> Result<bool, ChatError> {
        let Some(watched) = &mut self.watched else { return Ok(false) };
        let changed = watched.poll()?;
        if changed {
            self.steering.principles = watched.set().clone();
        }
        Ok(changed)
    }

    /// The name of the set or file that the principles are read from, if they are.
    pub fn principles_source(&self) -> Option<&str> {
        self.watched.as_ref().map(WatchedSet::name)
    }

    /// Follows other principles from the next reply on: a set that comes with Parr, or a file.
    ///
    /// # Errors
    ///
    /// [`ChatError::Principles`] if there is no such set, or it has mistakes. The principles stay as they
    /// were.
    pub fn set_principles(&mut self, name_or_file: &str) -> Result<(), ChatError> {
        let watched = WatchedSet::open(name_or_file)?;
        self.steering.principles = watched.set().clone();
        self.watched = Some(watched);
        Ok(())
    }

    /// Follows the principles of a set in memory from the next reply on.
    pub fn set_principle_set(&mut self, set: PrincipleSet) {
        self.steering.principles = set;
        self.watched = None;
    }

    /// The principles in use that the reward model hardly reads ([`RewardModel::unclear`]), as text. Empty without a
    /// reward model. This scores a few short replies.
    ///
    /// # Errors
    ///
    /// Those of the next reply that do not concern its text.
    ///
    /// [`RewardModel::unclear`]: crate::reward::RewardModel::unclear
    pub fn unclear_principles(&mut self, cancel: &CancelToken) -> Result<Vec<String>, ChatError> {
        if self.reward.is_none() {
            return Ok(Vec::new());
        }
        let mut engine = self.engine()?;
        let used = self.steering.used();
        let principles: Vec<&str> = used.iter().map(|one| one.definition.as_str()).collect();
        let unclear = match engine.reward() {
            Some(reward) => reward.unclear(&principles, cancel),
            None => Ok(Vec::new()),
        };
        let unclear = unclear.map(|some| some.into_iter().map(str::to_owned).collect());
        self.engine = Some(engine);
        unclear.map_err(|error| ChatError::Steer(error.into()))
    }

    /// The engine for the next reply. It must be put back.
    fn engine(&mut self) -> Result<Engine, ChatError> {
        let key = EngineKey {
            adapter: self.adapter.clone(),
            reward: self.reward.clone(),
            generator: GeneratorOptions { slots: self.steering.search.n().max(1), ..self.generator },
        };
        Engine::get(self.engine.take(), key, &self.model, self.budget)
    }

    /// How replies are steered.
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Changes how replies are steered. The principles' file, if there is one, still replaces the principles.
    ///
    /// # Errors
    ///
    /// [`ChatError::Steer`] if that needs a reward model and there is none, or a number is out of range.
    /// Nothing changes then.
    pub fn set_steering(&mut self, steering: Steering) -> Result<(), ChatError> {
        steering.check(self.reward.is_some())?;
        self.steering = steering;
        Ok(())
    }

    /// Chooses replies with the reward model in this folder from the next reply on, or with none.
    pub fn set_reward(&mut self, folder: Option<PathBuf>, any_base: bool) {
        self.reward = folder.map(|path| RewardFolder { path, any_base });
    }

    /// Answers with `adapter` from the next reply on, or without one.
    pub fn set_adapter(&mut self, adapter: Option<&ChatAdapter>) {
        self.adapter = adapter.cloned();
    }

    /// How replies are sampled.
    pub fn options(&self) -> &ReplyOptions {
        &self.options
    }

    /// Changes how replies are sampled, from the next reply on.
    pub fn set_options(&mut self, options: ReplyOptions) {
        self.options = options;
    }

    /// The messages, the system message first.
    pub fn messages(&self) -> Vec<Message> {
        self.conversation.messages()
    }

    /// The messages, for reading and changing them on another thread.
    pub fn conversation(&self) -> &ConversationHandle {
        &self.conversation
    }

    /// Saves the messages: [`ConversationHandle::save`].
    ///
    /// # Errors
    ///
    /// [`Error::Chat`] as [`ConversationHandle::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.conversation.save(path.as_ref())?)
    }

    /// Replaces the messages by saved ones: [`ConversationHandle::load`].
    ///
    /// # Errors
    ///
    /// [`Error::Chat`] as [`ConversationHandle::load`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.conversation.load(path.as_ref())?)
    }

    /// The last reply, if there is one.
    pub fn last_reply(&self) -> Option<&ChatReply> {
        self.last.as_ref()
    }

    /// Maximum number of tokens, prompt and reply together.
    pub fn context(&self) -> usize {
        self.generator.context
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Continues on another copy of the model, such as one that was loaded again after the GPU was lost. The
    /// messages stay.
    pub fn set_model(&mut self, model: &Model) {
        if !self.model.is(model) {
            self.engine = None;
            self.model = model.clone();
        }
    }
}

/// Whether a choice among whole replies was cancelled: no candidate is shown then.
pub(super) fn choice_is_void(steering: &Steering, cancel: &CancelToken) -> bool {
    matches!(steering.search, Search::BestOf { .. }) && cancel.is_cancelled()
}
