//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::errors::ApiError;
use super::fields::Fields;
use super::logprobs::{MOST_TOP, Scored, of_chat, of_reply};
use super::sampling::{Drawing, MOST_REPLIES, OPENAI, random};
use super::steered::{self, Plan, Progress};
use super::{FINGERPRINT, Usage, finish_reason, now};
use crate::generate::{Finish, JobEvent, Reply, Request};
use crate::serve::body::{Gone, Json, Stream, Writer, ok, streamed};
use crate::serve::constrained::ReplyFormat;
use crate::serve::guard::Client;
use crate::serve::jobs::{Caller, Tickets, check};
use crate::serve::state::{Served, ServerState, Shared};
use crate::serve::turn::{SentMessage, Separator, Turn, add, messages};
use crate::steer::{Answer, Ask};
use crate::tokenizer::{ReplyParts, TokenId};

/// Fields that would change the meaning of a request.
const NOT_SUPPORTED: [&str; 6] =
    ["tools", "functions", "audio", "modalities", "web_search_options", "prediction"];

/// A chat completion, ready to be generated.
struct ChatCall {
    served: Arc<Served>,
    caller: Caller,
    plan: Plan,
    turn: Turn,
    n: usize,
    seed: u64,
    logprobs: bool,
    stream: bool,
    include_usage: bool,
    /// Fields that all objects of the reply have.
    head: Head,
}

/// Name, time and model of a reply.
struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    fn object(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model,
            "system_fingerprint": FINGERPRINT, "choices": choices,
        })
    }

    /// A part of a streamed reply.
    fn chunk(&self, index: usize, delta: &Value, logprobs: Option<Value>, finish: Option<&Finish>) -> Value {
        let choice = json!({
            "index": index,
            "delta": delta,
            "logprobs": logprobs.map(|content| json!({ "content": content })),
            "finish_reason": finish.map(finish_reason),
        });
        self.object("chat.completion.chunk", json!([choice]))
    }
}

/// `POST /v1/chat/completions`
pub(crate) async fn complete(
    State(state): Shared,
    Extension(Client(client)): Extension<Client>,
    headers: HeaderMap,
    Json(fields): Json,
) -> Result<Response, ApiError> {
    let reading = Arc::clone(&state);
    // Templates and grammars take a while, and principles are read from files.
    let call = crate::serve::state::blocking(move || read(&reading, fields, &headers, client)).await??;
    match (call.plan.needs_reward(), call.stream) {
        (false, false) => whole(call).await,
        (false, true) => stream(call),
        (true, false) => steered_whole(call).await,
        (true, true) => Ok(steered_stream(call)),
    }
}

fn read(
    state: &ServerState,
    mut fields: Fields,
    headers: &HeaderMap,
    client: String,
) -> Result<ChatCall, ApiError> {
    for field in NOT_SUPPORTED {
        fields.refuse(field)?;
    }
    let chosen = state.choose(fields.take::<String>("model")?.as_deref())?;
    let sent: Vec<SentMessage> = fields.need("messages")?;
    let messages = messages(sent)?;
    let plan = Plan::read(state, &mut fields, headers)?;
    let n = fields.count("n", 1..=MOST_REPLIES)?.unwrap_or(1);
    if n > 1 && plan.needs_reward() {
        let message =
            "`n` is 1 where a reward model chooses or scores replies; `best_of` is the number of candidates";
        return Err(ApiError::field("n", message));
    }
    let logprobs = fields.take::<bool>("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", 0..=MOST_TOP)?.unwrap_or(0);
    if top > 0 && !logprobs {
        return Err(ApiError::field("top_logprobs", "`top_logprobs` needs `logprobs` to be true"));
    }
    let max_tokens = {
        let newer = fields.count("max_completion_tokens", 1..=usize::MAX)?;
        newer.or(fields.count("max_tokens", 1..=usize::MAX)?)
    };
    let stream = fields.take::<bool>("stream")?.unwrap_or(false);
    let options: Value = fields.take("stream_options")?.unwrap_or_default();
    let include_usage = options["include_usage"].as_bool().unwrap_or(false);
    let format = ReplyFormat::read(&mut fields)?;
    let vocab = chosen.served.model.config().vocab;
    let mut drawing = Drawing::read(&mut fields, OPENAI, vocab)?;
    drawing.logits.top_logprobs = top;
    let seed = drawing.sampling.seed;
    let client = fields.take::<String>("user")?.unwrap_or(client);
    let turn = Turn::new(&chosen.served, &messages, &plan.steering, drawing, max_tokens, &format)?;
    check(&chosen.served, &turn.ask.request).map_err(|error| error.param("messages"))?;
    let head = Head { id: format!("chatcmpl-{:016x}", random()), created: now(), model: chosen.name };
    let caller = Caller { client, adapter: chosen.adapter, deadline: state.deadline() };
    Ok(ChatCall { served: chosen.served, caller, plan, turn, n, seed, logprobs, stream, include_usage, head })
}

impl ChatCall {
    /// One request for each choice. The seeds count up from the given one.
    fn requests(&self) -> Vec<Request> {
        let request = |index: usize| {
            let mut request = self.turn.ask.request.clone();
            request.sampling.seed = self.seed.wrapping_add(index as u64);
            request
        };
        (0..self.n).map(request).collect()
    }

    fn asks(&self) -> Vec<Ask> {
        vec![self.turn.ask.clone()]
    }

    /// The entries of `logprobs.content` for a complete reply.
    fn content(&self, reply: &Reply) -> Option<Value> {
        let tokenizer = self.served.model.tokenizer()?;
        let scored = of_reply(reply, &self.turn.stops);
        self.logprobs.then(|| scored.iter().map(|one| of_chat(tokenizer, one)).collect())
    }

    /// A complete choice.
    fn choice(&self, index: usize, parts: &ReplyParts, reply: &Reply) -> Value {
        let mut message = json!({ "role": "assistant", "content": parts.answer, "refusal": null });
        if !parts.reasoning.is_empty() {
            message["reasoning_content"] = parts.reasoning.as_str().into();
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": self.content(reply).map(|content| json!({ "content": content })),
            "finish_reason": finish_reason(&reply.finish),
        })
    }

    /// The whole reply.
    fn object(&self, choices: Value, usage: Usage, answer: Option<&Answer>) -> Value {
        let mut object = self.head.object("chat.completion", choices);
        object["usage"] = usage.json();
        object["parr"] = self.plan.json(self.seed, answer);
        object
    }

    /// Ends a stream: the last chunk carries what Parr adds, and the usage if it was asked for. `last` is the chunk of
    /// the choice that ended last.
    async fn end(
        &self,
        writer: &Writer,
        mut last: Value,
        usage: Usage,
        answer: Option<&Answer>,
    ) -> Result<(), Gone> {
        let parr = self.plan.json(self.seed, answer);
        if self.include_usage {
            writer.data(&last).await?;
            last = self.head.object("chat.completion.chunk", json!([]));
            last["usage"] = usage.json();
        }
        last["parr"] = parr;
        writer.data(&last).await?;
        writer.done().await
    }
}

/// `content` and `reasoning_content` of a piece; `None` if it has neither.
fn delta(parts: &ReplyParts) -> Option<Value> {
    let mut delta = serde_json::Map::new();
    if !parts.reasoning.is_empty() {
        delta.insert("reasoning_content".to_owned(), parts.reasoning.as_str().into());
    }
    if !parts.answer.is_empty() {
        delta.insert("content".to_owned(), parts.answer.as_str().into());
    }
    (!delta.is_empty()).then_some(Value::Object(delta))
}

fn opening() -> Value {
    json!({ "role": "assistant", "content": "" })
}

/// Waits for all replies.
async fn whole(call: ChatCall) -> Result<Response, ApiError> {
    let mut tickets = Tickets::submit(&call.served, &call.caller, call.requests())?;
    let mut parts = vec![ReplyParts::default(); call.n];
    let mut separators: Vec<Separator> = vec![call.turn.separator.clone(); call.n];
    let mut choices: Vec<Value> = vec![Value::Null; call.n];
    let mut usage = Usage::default();
    while let Some((index, event)) = tickets.next().await {
        match event {
            JobEvent::Token { token, text, .. } => {
                add(&mut parts[index], &separators[index].push(token, &text))
            }
            JobEvent::Done(reply) => {
                stopped_by_server(&reply)?;
                add(&mut parts[index], &separators[index].finish());
                usage.add(&reply);
                choices[index] = call.choice(index, &parts[index], &reply);
            }
            JobEvent::Failed(error) => return Err(error.into()),
        }
    }
    Ok(ok(&call.object(choices.into(), usage, None)))
}

/// An error for a reply that the server, and not the client, has cancelled.
fn stopped_by_server(reply: &Reply) -> Result<(), ApiError> {
    if reply.finish == Finish::Cancelled { Err(ApiError::draining()) } else { Ok(()) }
}

/// Sends every token as it is drawn.
fn stream(call: ChatCall) -> Result<Response, ApiError> {
    let mut tickets = Tickets::submit(&call.served, &call.caller, call.requests())?;
    Ok(streamed(Stream::Events, |writer| async move {
        let mut separators: Vec<Separator> = vec![call.turn.separator.clone(); call.n];
        // Log-probabilities of tokens whose text is not complete so far.
        let mut waiting: Vec<Vec<Scored>> = vec![Vec::new(); call.n];
        let mut usage = Usage::default();
        let mut last = None;
        for index in 0..call.n {
            writer.data(&call.head.chunk(index, &opening(), None, None)).await?;
        }
        while let Some((index, event)) = tickets.next().await {
            match event {
                JobEvent::Token { token, logprob, top, text } => {
                    if call.logprobs && !is_stop(&call.turn.stops, token) {
                        waiting[index].push(Scored { token, logprob: Some(logprob), top });
                    }
                    let parts = separators[index].push(token, &text);
                    if let Some(delta) = delta(&parts) {
                        let content = call.taken(&mut waiting[index]);
                        writer.data(&call.head.chunk(index, &delta, content, None)).await?;
                    }
                }
                JobEvent::Done(reply) => {
                    if let Err(error) = stopped_by_server(&reply) {
                        return writer.data(&error.body()).await;
                    }
                    usage.add(&reply);
                    let rest = delta(&separators[index].finish());
                    if rest.is_some() || !waiting[index].is_empty() {
                        let content = call.taken(&mut waiting[index]);
                        let delta = rest.unwrap_or_else(|| json!({}));
                        writer.data(&call.head.chunk(index, &delta, content, None)).await?;
                    }
                    let ended = call.head.chunk(index, &json!({}), None, Some(&reply.finish));
                    if let Some(before) = last.replace(ended) {
                        writer.data(&before).await?;
                    }
                }
                JobEvent::Failed(error) => return writer.data(&ApiError::from(error).body()).await,
            }
        }
        call.end(&writer, last.unwrap_or_default(), usage, None).await
    }))
}

fn is_stop(stops: &[TokenId], token: TokenId) -> bool {
    stops.contains(&token)
}

impl ChatCall {
    /// The entries of `logprobs.content` for the tokens that wait.
    fn taken(&self, waiting: &mut Vec<Scored>) -> Option<Value> {
        let tokenizer = self.served.model.tokenizer()?;
        let taken = std::mem::take(waiting);
        self.logprobs.then(|| taken.iter().map(|one| of_chat(tokenizer, one)).collect())
    }
}

/// Waits for the reply that the reward model chooses.
async fn steered_whole(call: ChatCall) -> Result<Response, ApiError> {
    let mut running = steered::start(&call.served, &call.caller, &call.plan, call.asks());
    while let Some(progress) = running.next().await {
        if let Progress::Ended(ended) = progress {
            let answer = only(ended?)?;
            let parts = call.turn.separator.separate(&answer.reply.text);
            let choice = call.choice(0, &parts, &answer.reply);
            return Ok(ok(&call.object(json!([choice]), usage_of(&answer), Some(&answer))));
        }
    }
    Err(ApiError::internal("the choice of a reply failed"))
}

/// The answer to the only question.
fn only(mut answers: Vec<Answer>) -> Result<Answer, ApiError> {
    let answer = answers.pop().ok_or_else(|| ApiError::internal("there is no answer"))?;
    stopped_by_server(&answer.reply)?;
    Ok(answer)
}

/// Tokens of an answer: those of all candidates count.
fn usage_of(answer: &Answer) -> Usage {
    Usage {
        prompt: answer.reply.prompt_tokens,
        cached: answer.reply.reused_tokens,
        completion: answer.cost.generated_tokens,
    }
}

/// Sends the reply that the reward model chooses, and how far it is before that.
fn steered_stream(call: ChatCall) -> Response {
    let mut running = steered::start(&call.served, &call.caller, &call.plan, call.asks());
    streamed(Stream::Events, |writer| async move {
        let mut separator = call.turn.separator.clone();
        writer.data(&call.head.chunk(0, &opening(), None, None)).await?;
        while let Some(progress) = running.next().await {
            match progress {
                Progress::Text(text) => {
                    if let Some(delta) = delta(&separator.push_text(&text)) {
                        writer.data(&call.head.chunk(0, &delta, None, None)).await?;
                    }
                }
                Progress::Stage { stage, done, of } if call.plan.progress => {
                    let event = json!({ "object": "parr.progress", "stage": stage, "done": done, "of": of });
                    writer.data(&event).await?;
                }
                Progress::Stage { .. } => {}
                Progress::Ended(ended) => {
                    let answer = match ended.and_then(only) {
                        Ok(answer) => answer,
                        Err(error) => return writer.data(&error.body()).await,
                    };
                    let rest = delta(&separator.finish());
                    let content = call.content(&answer.reply);
                    if rest.is_some() || content.is_some() {
                        let delta = rest.unwrap_or_else(|| json!({}));
                        writer.data(&call.head.chunk(0, &delta, content, None)).await?;
                    }
                    let last = call.head.chunk(0, &json!({}), None, Some(&answer.reply.finish));
                    return call.end(&writer, last, usage_of(&answer), Some(&answer)).await;
                }
            }
        }
        Ok(())
    })
}
