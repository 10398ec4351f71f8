//! Replies steered by principles: told to the model, or the best of several.

use std::sync::Arc;

use parr::generate::{CancelToken as CallToken, Finish, GeneratorOptions};
use parr::reward::RewardOptions;
use parr::steer::{Ask, SteerEvent, SteeredModel};

use crate::ParrError;
use crate::adapter::Adapter;
use crate::call::{CancelToken, start};
use crate::callback::{TokenListener, Told};
use crate::model::{Loaded, Model};
use crate::principles::PrincipleSet;
use crate::reply::{Piece, Reply, ReplyOptions};
use crate::reward::{RewardModel, Score};
use crate::session::{ChatSession, Engine, Voice, generator_options};

/// Where a reply comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Search {
    /// One reply is drawn.
    Sample,
    /// Of `n` whole replies a reward model chooses one.
    BestOf {
        /// Replies that are drawn.
        n: u32,
    },
    /// Of `n` continuations of `block` tokens a reward model chooses one, again and again.
    Guided {
        /// Continuations that are drawn at each step.
        n: u32,
        /// Tokens of a step.
        block: u32,
    },
}

/// Where the model that answers is told the principles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Tell {
    /// Nowhere.
    Nobody,
    /// In the system message.
    System,
    /// Beside the question.
    Question,
}

/// By what a reply is steered, and how.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Steering {
    /// What the reply is to be like.
    pub principles: PrincipleSet,
    /// Where it comes from.
    pub search: Search,
    /// Where the model that answers is told the principles: in the system message where nothing else is said.
    #[uniffi(default = None)]
    pub tell: Option<Tell>,
    /// Principles against habits that please a reward model and nobody else; it alone reads them.
    #[uniffi(default = None)]
    pub interventions: Option<PrincipleSet>,
    /// Most principles that are used, the heaviest; 0 for all.
    #[uniffi(default = 8)]
    pub most: u32,
}

/// A reply, or the beginning of one, that could have been chosen.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Candidate {
    /// Its text, up to here.
    pub text: String,
    /// What it was drawn with.
    pub seed: u64,
    /// What the reward model says of it, if it was asked.
    pub score: Option<Score>,
}

/// A steered reply.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct SteeredReply {
    /// The reply, which became part of the conversation. Its text is that of the chosen candidate.
    pub reply: Reply,
    /// What the last choice was made among.
    pub candidates: Vec<Candidate>,
    /// The place of the one that was chosen.
    pub chosen: u32,
    /// Tokens that were drawn in all.
    pub generated_tokens: u64,
    /// Tokens that the reward model was given to read.
    pub scored_tokens: u64,
}

#[uniffi::export]
impl ChatSession {
    /// As [`ChatSession::reply`], steered by principles. `judge` chooses where there is a choice.
    ///
    /// # Errors
    ///
    /// Those of [`ChatSession::reply`], and:
    ///
    /// * [`ParrError::Argument`] for a choice without a judge, or among no candidates;
    /// * [`ParrError::Principles`] if a set has mistakes;
    /// * [`ParrError::Mismatch`] if the judge was opened for another model;
    /// * [`ParrError::Cancelled`] if it was cancelled where there was a choice to make.
    #[uniffi::method(default(judge = None, options = None, listener = None, cancel = None))]
    pub async fn steered_reply(
        self: Arc<Self>,
        text: String,
        steering: Steering,
        judge: Option<Arc<RewardModel>>,
        options: Option<ReplyOptions>,
        listener: Option<Arc<dyn TokenListener>>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<SteeredReply, ParrError> {
        let options = options.unwrap_or_default();
        let work = move |token: &CallToken| {
            let steering = steering.checked()?;
            self.steer(&text, &steering, judge.as_deref(), &options, listener.as_deref(), token)
        };
        start(cancel.as_deref(), work).await
    }
}

impl Steering {
    fn checked(self) -> Result<parr::steer::Steering, ParrError> {
        Ok(parr::steer::Steering {
            principles: self.principles.checked()?,
            interventions: self.interventions.map(PrincipleSet::checked).transpose()?,
            most: self.most as usize,
            tell: match self.tell {
                Some(Tell::Nobody) => parr::steer::Tell::Nobody,
                None | Some(Tell::System) => parr::steer::Tell::System,
                Some(Tell::Question) => parr::steer::Tell::Question,
            },
            search: match self.search {
                Search::Sample => parr::steer::Search::Sample,
                Search::BestOf { n } => parr::steer::Search::BestOf { n: n as usize },
                Search::Guided { n, block } => {
                    parr::steer::Search::Guided { n: n as usize, block: block as usize }
                }
            },
            scores: false,
        })
    }
}

impl ChatSession {
    fn steer(
        &self,
        text: &str,
        steering: &parr::steer::Steering,
        judge: Option<&RewardModel>,
        options: &ReplyOptions,
        listener: Option<&dyn TokenListener>,
        token: &CallToken,
    ) -> Result<SteeredReply, ParrError> {
        if let Some(judge) = judge {
            judge.belongs_to(&self.model)?;
        }
        steering.check(judge.is_some())?;
        let mut slot = self.engine();
        let loaded = self.model.loaded()?;
        let before = self.talk();
        let adapter = before.adapter.as_deref();
        let slots = steering.search.n();
        // Taken out: after a panic there is none, and the next call makes another.
        let kept = slot.take().and_then(|engine| steered(engine, loaded.opened, adapter, judge, slots));
        let mut model = match kept {
            Some(model) => model,
            None => open(&self.model, &loaded, self.context, adapter, judge, slots)?,
        };
        let chat = loaded.chat()?;
        let encode = |messages: &[_]| chat.encode_chat(&steering.messages(messages), true);
        let asked = before.ask(text, model.context(), options.max_tokens as usize, encode)?;
        let request = options.request(asked.prompt, chat, model.policy());
        let ask = Ask { request, question: text.to_owned() };
        let told = Told::default();
        let answers = model.answer(steering, &[ask], token, &mut |progress| {
            if let (SteerEvent::Text { text, .. }, Some(listener)) = (progress, listener) {
                told.tell(token, || listener.on_piece(Piece { text: text.to_owned() }));
            }
        });
        let (opened, adapter) = (loaded.opened, adapter.map(|adapter| adapter.serial));
        let voice = Voice::Steered { model: Box::new(model), judge: judge.map(|judge| judge.serial), slots };
        *slot = Some(Engine { opened, adapter, voice });
        let answer = answers?.swap_remove(0);
        told.check()?;
        let choice = answer.last().cloned().unwrap_or_default();
        if answer.reply.finish == Finish::Cancelled && steering.search != parr::steer::Search::Sample {
            return Err(ParrError::Cancelled("cancelled before the choice was made".to_owned()));
        }
        let reply = Reply::new(&answer.reply, asked.dropped);
        self.keep(&before, asked.conversation, &reply.text);
        let candidate = |candidate: parr::steer::Candidate| Candidate {
            text: candidate.text,
            seed: candidate.seed,
            score: candidate.score.map(Into::into),
        };
        Ok(SteeredReply {
            reply,
            chosen: choice.chosen as u32,
            candidates: choice.candidates.into_iter().map(candidate).collect(),
            generated_tokens: answer.cost.generated_tokens as u64,
            scored_tokens: answer.cost.scored_tokens as u64,
        })
    }
}

/// The model of `engine`, if it is the one that is wanted.
fn steered(
    engine: Engine,
    opened: u64,
    adapter: Option<&Adapter>,
    judge: Option<&RewardModel>,
    slots: usize,
) -> Option<SteeredModel> {
    let same = engine.opened == opened && engine.adapter == adapter.map(|adapter| adapter.serial);
    match engine.voice {
        Voice::Steered { model, judge: known, slots: has }
            if same && has == slots && known == judge.map(|judge| judge.serial) =>
        {
            Some(*model)
        }
        _ => None,
    }
}

fn open(
    model: &Model,
    loaded: &Loaded,
    context: Option<u32>,
    adapter: Option<&Adapter>,
    judge: Option<&RewardModel>,
    slots: usize,
) -> Result<SteeredModel, ParrError> {
    let generator: GeneratorOptions = generator_options(loaded, slots, context)?;
    let mut bytes = parr::generate::Generator::plan_bytes(&loaded.model, generator, None);
    let mut reading = RewardOptions { slots, any_base: false };
    if let Some(judge) = judge {
        reading.any_base = judge.options.any_base;
        bytes += parr::reward::RewardModel::plan_bytes(&loaded.model, &judge.folder, &reading)?;
    }
    model.room(loaded, "caches and activations of the steered reply", bytes)?;
    let policy = adapter.map(|adapter| &adapter.adapter.weights);
    let folder = judge.map(|judge| judge.folder.as_path());
    Ok(SteeredModel::open(&loaded.model, policy, folder, generator, &reading)?)
}
