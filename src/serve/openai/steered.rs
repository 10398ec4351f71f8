//! Replies that are chosen or scored by a reward model, with the same code as in `parr chat`.

use std::sync::{Arc, PoisonError};

use axum::http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::errors::ApiError;
use super::fields::Fields;
use super::sampling::MOST_REPLIES;
use crate::generate::{
    CancelToken, GenerateError, Job, JobEvent, Reply, Request, SchedulerError, TokenEvent,
};
use crate::model::Model;
use crate::reward::{Form, RewardError, Score, ScoreRequest};
use crate::serve::jobs::{Caller, CancelOnDrop};
use crate::serve::rewards::SharedReward;
use crate::serve::state::{Served, ServerState};
use crate::steer::{Answer, Ask, Replies, Scores, Search, SteerEvent, Steering, Tell, answer};

/// Header that names principles for clients that cannot add fields.
pub(crate) const HEADER: &str = "x-parr-principles";

/// How a request steers its replies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub steering: Steering,
    /// Name of the reward model; `None` for the default.
    pub reward: Option<String>,
    /// Whether progress is reported while candidates are generated and scored.
    pub progress: bool,
}

impl Plan {
    /// Reads Parr's fields of a chat completion.
    pub fn read(state: &ServerState, fields: &mut Fields, headers: &HeaderMap) -> Result<Plan, ApiError> {
        let named = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let principles = match (fields.take::<String>("principles")?, named) {
            (Some(given), _) => Some(given),
            (None, named) => named.map(str::to_owned),
        };
        let principles = principles.filter(|given| !given.trim().is_empty());
        let set = principles.map(|given| state.principles.find(&given)).transpose()?;
        let n = fields.count("best_of", 1..=MOST_REPLIES)?.unwrap_or(1);
        let reward: Option<String> = fields.take("reward")?;
        let scores = fields.take::<bool>("scores")?.unwrap_or(n > 1 || reward.is_some());
        let tell = match fields.take::<String>("tell")?.as_deref() {
            None | Some("system") => Tell::System,
            Some("user" | "question") => Tell::Question,
            Some("none" | "nobody") => Tell::Nobody,
            Some(other) => {
                let message = format!("`tell` is {other:?}, expected system, user or none");
                return Err(ApiError::field("tell", message));
            }
        };
        let steering = Steering {
            principles: set.unwrap_or_default(),
            most: Steering::MOST,
            tell,
            search: if n > 1 { Search::BestOf { n } } else { Search::Sample },
            scores,
            ..Steering::default()
        };
        Ok(Plan { steering, reward, progress: fields.take("parr_progress")?.unwrap_or(false) })
    }

    /// Whether a reward model reads the replies.
    pub fn needs_reward(&self) -> bool {
        self.steering.scores || self.steering.search != Search::Sample
    }

    /// The candidates and principles of a reply, as the field `parr`.
    pub fn json(&self, seed: u64, answer: Option<&Answer>) -> Value {
        let mut parr = json!({ "seed": seed });
        if let Some(choice) = answer.and_then(Answer::last) {
            let candidates = choice.candidates.iter().enumerate().map(|(place, candidate)| {
                json!({
                    "text": candidate.text,
                    "seed": candidate.seed,
                    "score": candidate.score.as_ref().map(|score| score.value),
                    "by_principle": candidate.by_principle,
                    "chosen": place == choice.chosen,
                })
            });
            parr["candidates"] = candidates.collect();
        }
        if !self.steering.principles.principles.is_empty() {
            let used = self.steering.used().into_iter().map(|principle| {
                json!({
                    "id": principle.id,
                    "name": principle.dimension,
                    "definition": principle.definition,
                    "weight": principle.weight,
                })
            });
            parr["principles"] = used.collect();
        }
        parr
    }
}

/// What happens to a steered reply.
pub(crate) enum Progress {
    /// Text of the reply.
    Text(String),
    /// Candidates are complete, or scores are read.
    Stage { stage: &'static str, done: usize, of: usize },
    /// The last event.
    Ended(Result<Vec<Answer>, ApiError>),
}

/// A steered reply that is being made. Dropping it cancels it.
pub(crate) struct Running {
    progress: UnboundedReceiver<Progress>,
    _cancel: CancelOnDrop,
}

impl Running {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Progress> {
        self.progress.recv().await
    }
}

/// Starts to answer `asks` on a thread of its own.
pub(crate) fn start(served: &Arc<Served>, caller: &Caller, plan: &Plan, asks: Vec<Ask>) -> Running {
    let (sender, progress) = unbounded_channel();
    let cancel = CancelToken::new();
    let (served, caller, plan, token) = (Arc::clone(served), caller.clone(), plan.clone(), cancel.clone());
    let work = move || {
        let ended = run(&served, &caller, &plan, &asks, &token, &sender);
        let _ = sender.send(Progress::Ended(ended));
    };
    drop(tokio::task::spawn_blocking(work));
    Running { progress, _cancel: CancelOnDrop(cancel) }
}

fn run(
    served: &Arc<Served>,
    caller: &Caller,
    plan: &Plan,
    asks: &[Ask],
    cancel: &CancelToken,
    progress: &UnboundedSender<Progress>,
) -> Result<Vec<Answer>, ApiError> {
    let (_, reward) = served.rewards.open(plan.reward.as_deref())?;
    let mut reward = Turns::new(reward);
    let mut replies =
        Counted { served: Arc::clone(served), caller: caller.clone(), progress: progress.clone() };
    let mut on_progress = |event: SteerEvent<'_>| {
        let event = match event {
            SteerEvent::Text { text, .. } => Progress::Text(text.to_owned()),
            SteerEvent::Scored { done, of } => Progress::Stage { stage: "scoring", done, of },
            _ => return,
        };
        let _ = progress.send(event);
    };
    let scores: &mut dyn Scores = &mut reward;
    Ok(answer(&mut replies, Some(scores), &plan.steering, asks, cancel, &mut on_progress)?)
}

/// A share of the scheduler that reports how many candidates are complete.
struct Counted {
    served: Arc<Served>,
    caller: Caller,
    progress: UnboundedSender<Progress>,
}

impl Replies for Counted {
    fn model(&self) -> &Model {
        &self.served.model
    }

    fn context(&self) -> usize {
        self.served.scheduler.context()
    }

    fn generate(
        &mut self,
        requests: &[Request],
        cancel: &CancelToken,
        on_token: &mut dyn FnMut(TokenEvent),
    ) -> Result<Vec<Reply>, GenerateError> {
        let job = |request: &Request| Job {
            request: request.clone(),
            adapter: self.caller.adapter.as_ref().map(|adapter| adapter.name().to_owned()),
            client: self.caller.client.clone(),
            deadline: self.caller.deadline,
            cancel: cancel.clone(),
        };
        let (sender, events) = std::sync::mpsc::channel();
        let on_event = move |index, event| drop(sender.send((index, event)));
        self.served.scheduler.submit(requests.iter().map(job).collect(), Box::new(on_event))?;
        let of = requests.len();
        let mut replies: Vec<Option<Reply>> = vec![None; of];
        let (mut done, mut failed) = (0, None);
        // Until the scheduler has dropped the sender, so that no job uses the adapter afterwards.
        for (request, event) in events {
            match event {
                JobEvent::Token { token, logprob, top, text } => {
                    on_token(TokenEvent { request, token, logprob, top, text });
                }
                JobEvent::Done(reply) => {
                    replies[request] = Some(reply);
                    done += 1;
                    let _ = self.progress.send(Progress::Stage { stage: "generating", done, of });
                }
                JobEvent::Failed(error) => {
                    failed.get_or_insert(error);
                    cancel.cancel();
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => replies.into_iter().map(|reply| reply.ok_or(SchedulerError::Stopped.into())).collect(),
        }
    }
}

/// A shared reward model, which is locked only while it scores.
pub(crate) struct Turns {
    reward: SharedReward,
    form: Form,
}

impl Turns {
    pub fn new(reward: SharedReward) -> Turns {
        let form = reward.lock().unwrap_or_else(PoisonError::into_inner).reward_card().form;
        Turns { reward, form }
    }
}

impl Scores for Turns {
    fn form(&self) -> Form {
        self.form
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest<'_>],
        cancel: &CancelToken,
        on_done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Score>, RewardError> {
        let mut reward = self.reward.lock().unwrap_or_else(PoisonError::into_inner);
        reward.score(requests, cancel, on_done)
    }
}
