//! `/v1/completions`: texts that are continued as they are, without a chat template.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::ApiError;
use super::fields::Fields;
use super::logprobs::{MOST_TOP, Scored, of_completion, of_reply};
use super::sampling::{Drawing, MOST_REPLIES, OPENAI, random};
use super::{FINGERPRINT, Usage, finish_reason, now};
use crate::generate::{CancelToken, Finish, JobEvent, Reply, Request, StopTokens};
use crate::serve::body::{Json, Stream, ok, streamed};
use crate::serve::constrained::ReplyFormat;
use crate::serve::guard::Client;
use crate::serve::jobs::{Caller, CancelOnDrop, Tickets, check};
use crate::serve::state::{Served, ServerState, Shared, blocking};
use crate::tokenizer::{Specials, TokenId};

/// OpenAI's default.
const MAX_TOKENS: usize = 16;
/// Maximum number of prompts of a request.
const MOST_PROMPTS: usize = 256;

/// One prompt or several, as texts or as tokens.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a list of strings, a list of token ids, or a list of such lists"
)]
enum Prompts {
    Text(String),
    Tokens(Vec<TokenId>),
    Texts(Vec<String>),
    ManyTokens(Vec<Vec<TokenId>>),
}

/// A prompt as tokens and as text.
struct Prompt {
    ids: Vec<TokenId>,
    text: String,
}

/// A completion, ready to be generated.
struct Call {
    served: Arc<Served>,
    caller: Caller,
    prompts: Vec<Prompt>,
    drawing: Drawing,
    max_tokens: usize,
    n: usize,
    echo: bool,
    /// Number of alternatives, if log-probabilities are reported.
    logprobs: Option<usize>,
    stream: bool,
    include_usage: bool,
    stops: Vec<TokenId>,
    id: String,
    created: u64,
    model: String,
}

/// `POST /v1/completions`
pub(crate) async fn complete(
    State(state): Shared,
    Extension(Client(client)): Extension<Client>,
    Json(fields): Json,
) -> Result<Response, ApiError> {
    let call = blocking(move || read(&state, fields, client)).await??;
    if call.stream { stream(call) } else { whole(call).await }
}

fn read(state: &ServerState, mut fields: Fields, client: String) -> Result<Call, ApiError> {
    fields.refuse("suffix")?;
    let chosen = state.choose(fields.take::<String>("model")?.as_deref())?;
    let served = chosen.served;
    let prompts = encode(&served, fields.need("prompt")?)?;
    let n = fields.count("n", 1..=MOST_REPLIES)?.unwrap_or(1);
    if fields.count("best_of", 1..=MOST_REPLIES)?.is_some_and(|best_of| best_of > n) {
        let message =
            "`best_of` above `n` is not supported here; chat completions have it, with a reward model";
        return Err(ApiError::field("best_of", message).code("unsupported_parameter"));
    }
    let echo = fields.take::<bool>("echo")?.unwrap_or(false);
    let logprobs = fields.count("logprobs", 0..=MOST_TOP)?;
    let max_tokens = fields.count("max_tokens", 0..=usize::MAX)?.unwrap_or(MAX_TOKENS);
    let stream = fields.take::<bool>("stream")?.unwrap_or(false);
    let options: Value = fields.take("stream_options")?.unwrap_or_default();
    let mut drawing = Drawing::read(&mut fields, OPENAI, served.model.config().vocab)?;
    drawing.logits.top_logprobs = logprobs.unwrap_or(0);
    if let ReplyFormat::Json(schema) = ReplyFormat::read(&mut fields)? {
        drawing.logits.constraint = Some(served.grammars()?.constraint(&schema, None)?);
    }
    let client = fields.take::<String>("user")?.unwrap_or(client);
    let call = Call {
        caller: Caller { client, adapter: chosen.adapter, deadline: state.deadline() },
        prompts,
        drawing,
        max_tokens,
        n,
        echo,
        logprobs,
        stream,
        include_usage: options["include_usage"].as_bool().unwrap_or(false),
        stops: served.model.end_tokens(),
        id: format!("cmpl-{:016x}", random()),
        created: now(),
        model: chosen.name,
        served,
    };
    for (_, request) in call.requests() {
        check(&call.served, &request).map_err(|error| error.param("prompt"))?;
    }
    Ok(call)
}

fn encode(served: &Served, prompts: Prompts) -> Result<Vec<Prompt>, ApiError> {
    let tokenizer = served.model.tokenizer();
    let from_text = |text: String| {
        served.model.check_tokenizer()?;
        let tokenizer = tokenizer.ok_or_else(|| {
            ApiError::field("prompt", "the model has no tokenizer; give the prompt as token ids")
        })?;
        let ids = tokenizer
            .encode_raw(&text, Specials::Parse)
            .map_err(|error| ApiError::from(error).param("prompt"))?;
        Ok(Prompt { ids, text })
    };
    let from_ids = |ids: Vec<TokenId>| {
        let text = tokenizer.map(|tokenizer| tokenizer.decode(&ids, true)).unwrap_or_default();
        Prompt { ids, text }
    };
    let prompts: Vec<Prompt> = match prompts {
        Prompts::Text(text) => vec![from_text(text)?],
        Prompts::Texts(texts) => texts.into_iter().map(from_text).collect::<Result<_, ApiError>>()?,
        Prompts::Tokens(ids) => vec![from_ids(ids)],
        Prompts::ManyTokens(lists) => lists.into_iter().map(from_ids).collect(),
    };
    match prompts.len() {
        1..=MOST_PROMPTS => Ok(prompts),
        found => {
            let message = format!("`prompt` has {found} prompts, expected 1 to {MOST_PROMPTS}");
            Err(ApiError::field("prompt", message))
        }
    }
}

impl Call {
    /// One request for each choice, with the index of its prompt. The choices of a prompt have seeds that count up
    /// from the given one, so each equals a completion alone with its seed.
    fn requests(&self) -> Vec<(usize, Request)> {
        let mut requests = Vec::with_capacity(self.prompts.len() * self.n);
        for (prompt, Prompt { ids, .. }) in self.prompts.iter().enumerate() {
            for place in 0..self.n {
                let mut sampling = self.drawing.sampling;
                sampling.seed = sampling.seed.wrapping_add(place as u64);
                let request = Request {
                    prompt: ids.clone(),
                    adapter: None,
                    sampling,
                    max_tokens: self.max_tokens,
                    stop_ids: StopTokens::Text,
                    stop: self.drawing.stop.clone(),
                    logits: self.drawing.logits.clone(),
                };
                requests.push((prompt, request));
            }
        }
        requests
    }

    fn submit(&self) -> Result<Tickets, ApiError> {
        let requests = self.requests().into_iter().map(|(_, request)| request).collect();
        Tickets::submit(&self.served, &self.caller, requests)
    }

    fn object(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.model,
            "system_fingerprint": FINGERPRINT, "choices": choices,
        })
    }

    /// The log-probabilities of every prompt, if they are asked for.
    async fn scores(&self) -> Result<Vec<Vec<Scored>>, ApiError> {
        let (true, Some(top)) = (self.echo, self.logprobs) else {
            return Ok(vec![Vec::new(); self.prompts.len()]);
        };
        let cancel = CancelToken::new();
        let _guard = CancelOnDrop(cancel.clone());
        let prompts: Vec<Vec<TokenId>> = self.prompts.iter().map(|prompt| prompt.ids.clone()).collect();
        let (served, adapter) = (Arc::clone(&self.served), self.caller.adapter.clone());
        blocking(move || {
            let name = adapter.as_ref().map(|adapter| adapter.name());
            let score =
                |ids: &Vec<TokenId>| served.prompt_scorer.score(&served.adapters, name, ids, top, &cancel);
            prompts.iter().map(score).collect()
        })
        .await?
    }

    /// `logprobs` of a choice.
    fn logprobs(&self, prompt: usize, echoed: &[Scored], reply: &Reply) -> Option<Value> {
        let top = self.logprobs?;
        let mut scored = echoed.to_vec();
        scored.extend(of_reply(reply, &self.stops));
        // Offsets count from the beginning of the prompt, whether it is repeated or not.
        let offset = if self.echo { 0 } else { self.prompts[prompt].text.chars().count() };
        Some(of_completion(self.served.model.tokenizer(), &scored, top, offset))
    }

    fn parr(&self) -> Value {
        json!({ "seed": self.drawing.sampling.seed })
    }

    fn usage(&self, replies: &[Reply]) -> Usage {
        let mut usage = Usage::default();
        for of_prompt in replies.chunks(self.n) {
            let mut one = Usage::default();
            of_prompt.iter().for_each(|reply| one.add(reply));
            usage.prompt += one.prompt;
            usage.cached += one.cached;
            usage.completion += one.completion;
        }
        usage
    }
}

async fn whole(call: Call) -> Result<Response, ApiError> {
    let tickets = call.submit()?;
    let scores = call.scores().await?;
    let replies = tickets.all().await?;
    if replies.iter().any(|reply| reply.finish == Finish::Cancelled) {
        return Err(ApiError::draining());
    }
    let choice = |(index, reply): (usize, &Reply)| {
        let prompt = index / call.n;
        let before = if call.echo { call.prompts[prompt].text.as_str() } else { "" };
        json!({
            "index": index,
            "text": format!("{before}{}", reply.text),
            "logprobs": call.logprobs(prompt, &scores[prompt], reply),
            "finish_reason": finish_reason(&reply.finish),
        })
    };
    let mut object = call.object(replies.iter().enumerate().map(choice).collect());
    object["usage"] = call.usage(&replies).json();
    object["parr"] = call.parr();
    Ok(ok(&object))
}

/// Sends every token as it is drawn.
fn stream(call: Call) -> Result<Response, ApiError> {
    let mut tickets = call.submit()?;
    Ok(streamed(Stream::Events, |writer| async move {
        let tokenizer = call.served.model.tokenizer();
        let count = call.prompts.len() * call.n;
        let chunk = |index: usize, text: &str, logprobs: Option<Value>, finish: Option<&Finish>| {
            call.object(json!([{
                "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish.map(finish_reason),
            }]))
        };
        let scores = match call.scores().await {
            Ok(scores) => scores,
            Err(error) => return writer.data(&error.body()).await,
        };
        let mut offsets: Vec<usize> = Vec::with_capacity(count);
        let mut replies: Vec<Option<Reply>> = vec![None; count];
        let mut waiting: Vec<Vec<Scored>> = vec![Vec::new(); count];
        let mut last = None;
        for index in 0..count {
            let prompt = &call.prompts[index / call.n];
            offsets.push(prompt.text.chars().count());
            if call.echo {
                let top = call.logprobs.unwrap_or_default();
                let scored = &scores[index / call.n];
                let logprobs = call.logprobs.map(|_| of_completion(tokenizer, scored, top, 0));
                writer.data(&chunk(index, &prompt.text, logprobs, None)).await?;
            }
        }
        while let Some((index, event)) = tickets.next().await {
            match event {
                JobEvent::Token { token, logprob, top, text } => {
                    if !call.stops.contains(&token) {
                        waiting[index].push(Scored { token, logprob: Some(logprob), top });
                    }
                    if text.is_empty() {
                        continue;
                    }
                    let scored = std::mem::take(&mut waiting[index]);
                    let logprobs =
                        call.logprobs.map(|top| of_completion(tokenizer, &scored, top, offsets[index]));
                    offsets[index] += text.chars().count();
                    writer.data(&chunk(index, &text, logprobs, None)).await?;
                }
                JobEvent::Done(reply) => {
                    if reply.finish == Finish::Cancelled {
                        return writer.data(&ApiError::draining().body()).await;
                    }
                    let scored = std::mem::take(&mut waiting[index]);
                    let logprobs = call.logprobs.filter(|_| !scored.is_empty());
                    let logprobs = logprobs.map(|top| of_completion(tokenizer, &scored, top, offsets[index]));
                    let ended = chunk(index, "", logprobs, Some(&reply.finish));
                    replies[index] = Some(reply);
                    if let Some(before) = last.replace(ended) {
                        writer.data(&before).await?;
                    }
                }
                JobEvent::Failed(error) => return writer.data(&ApiError::from(error).body()).await,
            }
        }
        let mut last: Value = last.unwrap_or_default();
        if call.include_usage {
            writer.data(&last).await?;
            last = call.object(json!([]));
            let replies: Vec<Reply> = replies.into_iter().flatten().collect();
            last["usage"] = call.usage(&replies).json();
        }
        last["parr"] = call.parr();
        writer.data(&last).await?;
        writer.done().await
    }))
}
