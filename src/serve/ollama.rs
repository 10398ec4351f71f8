//! Ollama's endpoints, for clients that know only these.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::{Json, Stream, json_response, ok, streamed};
use super::constrained::ReplyFormat;
use super::guard::Client;
use super::jobs::{Caller, Tickets, check};
use super::openai::errors::ApiError;
use super::openai::fields::Fields;
use super::openai::sampling::Drawing;
use super::state::{Chosen, Served, ServerState, Shared, blocking};
use super::time::rfc3339;
use super::turn::{SentMessage, Separator, Turn, add, messages};
use crate::generate::{Finish, JobEvent, Reply, Request, Sampling, StopTokens};
use crate::steer::Steering;
use crate::tokenizer::{Message, ReplyParts, Specials};

/// What Ollama does where a client sets nothing.
const OLLAMA: Sampling =
    Sampling { temperature: 0.8, top_k: 40, top_p: 0.9, min_p: 0.0, repetition_penalty: 1.1, seed: 0 };

/// An error as Ollama writes it: a text.
fn plainly(error: ApiError) -> Response {
    json_response(error.status, &json!({ "error": error.message }))
}

/// A request of either endpoint, ready to be generated.
struct Call {
    served: Arc<Served>,
    caller: Caller,
    model: String,
    request: Request,
    separator: Option<Separator>,
    chat: bool,
    stream: bool,
    begun: Instant,
}

/// A body without a readable request is an error in the same form.
type Sent = Result<Json, ApiError>;

/// `POST /api/chat`
pub(super) async fn chat(state: Shared, client: Extension<Client>, sent: Sent) -> Response {
    run(state, client, sent, true).await.unwrap_or_else(plainly)
}

/// `POST /api/generate`
pub(super) async fn generate(state: Shared, client: Extension<Client>, sent: Sent) -> Response {
    run(state, client, sent, false).await.unwrap_or_else(plainly)
}

async fn run(
    State(state): Shared,
    Extension(Client(client)): Extension<Client>,
    sent: Sent,
    chat: bool,
) -> Result<Response, ApiError> {
    let Json(fields) = sent?;
    let begun = Instant::now();
    match blocking(move || read(&state, fields, client, chat, begun)).await?? {
        Asked::Call(call) => answer(*call).await,
        Asked::Load(model) => {
            let mut value =
                json!({ "model": model, "created_at": now(), "done": true, "done_reason": "load" });
            if chat {
                value["message"] = json!({ "role": "assistant", "content": "" });
            } else {
                value["response"] = "".into();
            }
            Ok(ok(&value))
        }
    }
}

/// What a request asks for.
enum Asked {
    Call(Box<Call>),
    /// Only that the model is loaded, which it is.
    Load(String),
}

fn read(
    state: &ServerState,
    mut fields: Fields,
    client: String,
    chat: bool,
    begun: Instant,
) -> Result<Asked, ApiError> {
    fields.refuse("tools")?;
    fields.refuse("images")?;
    let Chosen { served, name, adapter } = state.choose(Some(&fields.need::<String>("model")?))?;
    let stream = fields.take::<bool>("stream")?.unwrap_or(true);
    let format = match fields.take::<Value>("format")? {
        None => ReplyFormat::Text,
        Some(Value::String(word)) if word.is_empty() => ReplyFormat::Text,
        Some(Value::String(word)) if word == "json" => ReplyFormat::Json(json!({ "type": "object" })),
        Some(schema @ Value::Object(_)) => ReplyFormat::Json(schema),
        Some(_) => return Err(ApiError::field("format", "`format` is neither \"json\" nor a schema")),
    };
    let (drawing, max_tokens) = options(&mut fields, served.model.config().vocab)?;
    let caller = Caller { client, adapter, deadline: state.deadline() };
    let (request, separator) = if chat {
        let sent: Vec<SentMessage> = fields.take("messages")?.unwrap_or_default();
        if sent.is_empty() {
            return Ok(Asked::Load(name));
        }
        let messages = messages(sent)?;
        let turn = Turn::new(&served, &messages, &Steering::default(), drawing, max_tokens, &format)?;
        (turn.ask.request, Some(turn.separator))
    } else {
        let prompt: String = fields.take("prompt")?.unwrap_or_default();
        if prompt.is_empty() {
            return Ok(Asked::Load(name));
        }
        fields.refuse("suffix")?;
        let system: Option<String> = fields.take("system")?;
        let raw = fields.take::<bool>("raw")?.unwrap_or(false) || served.model.chat_format().is_none();
        if raw {
            (raw_request(&served, &prompt, drawing, max_tokens, &format)?, None)
        } else {
            let system = system.into_iter().map(|text| Message::new("system", text));
            let messages: Vec<Message> = system.chain([Message::new("user", prompt)]).collect();
            let turn = Turn::new(&served, &messages, &Steering::default(), drawing, max_tokens, &format)?;
            (turn.ask.request, Some(turn.separator))
        }
    };
    check(&served, &request)?;
    Ok(Asked::Call(Box::new(Call { served, caller, model: name, request, separator, chat, stream, begun })))
}

/// A prompt without a template.
fn raw_request(
    served: &Served,
    prompt: &str,
    drawing: Drawing,
    max_tokens: Option<usize>,
    format: &ReplyFormat,
) -> Result<Request, ApiError> {
    served.model.check_tokenizer()?;
    let tokenizer =
        served.model.tokenizer().ok_or_else(|| ApiError::unprocessable("the model has no tokenizer"))?;
    let prompt = tokenizer.encode_raw(prompt, Specials::Parse)?;
    let room = served.scheduler.context().saturating_sub(prompt.len()).max(1);
    let mut request = Request {
        prompt,
        sampling: drawing.sampling,
        max_tokens: max_tokens.unwrap_or(room),
        stop_ids: StopTokens::Text,
        stop: drawing.stop,
        logits: drawing.logits,
        ..Request::default()
    };
    if let ReplyFormat::Json(schema) = format {
        request.logits.constraint = Some(served.grammars()?.constraint(schema, None)?);
    }
    Ok(request)
}

/// `options`: how tokens are drawn, and the maximum length of the reply. Others, such as `num_ctx`, are set by the
/// server.
fn options(fields: &mut Fields, vocab: usize) -> Result<(Drawing, Option<usize>), ApiError> {
    let given: BTreeMap<String, Value> = fields.take("options")?.unwrap_or_default();
    let named = given.into_iter().map(|(name, value)| match name.as_str() {
        "repeat_penalty" => ("repetition_penalty".to_owned(), value),
        _ => (name, value),
    });
    let mut fields = Fields::new(Value::Object(named.collect()))?;
    // -1 and -2 both mean: until the end.
    let most = fields.take::<i64>("num_predict")?.and_then(|most| usize::try_from(most).ok());
    Ok((Drawing::read(&mut fields, OLLAMA, vocab)?, most))
}

fn now() -> String {
    rfc3339(SystemTime::now())
}

impl Call {
    /// A part of a reply.
    fn part(&self, parts: &ReplyParts) -> Value {
        let mut value = json!({ "model": self.model, "created_at": now() });
        let thinking = (!parts.reasoning.is_empty()).then_some(parts.reasoning.as_str());
        if self.chat {
            value["message"] = json!({ "role": "assistant", "content": parts.answer });
            if let Some(thinking) = thinking {
                value["message"]["thinking"] = thinking.into();
            }
        } else {
            value["response"] = parts.answer.as_str().into();
            if let Some(thinking) = thinking {
                value["thinking"] = thinking.into();
            }
        }
        value["done"] = false.into();
        value
    }

    /// The end of a reply, with counts. Durations are in nanoseconds.
    fn end(&self, parts: &ReplyParts, reply: &Reply, first: Option<Instant>) -> Value {
        let mut value = self.part(parts);
        let total = self.begun.elapsed();
        let reading = first.map_or(total, |first| first - self.begun);
        value["done"] = true.into();
        value["done_reason"] = match reply.finish {
            Finish::Length | Finish::ContextFull | Finish::Deadline => "length".into(),
            _ => "stop".into(),
        };
        value["total_duration"] = (total.as_nanos() as u64).into();
        value["load_duration"] = 0.into();
        value["prompt_eval_count"] = reply.prompt_tokens.into();
        value["prompt_eval_duration"] = (reading.as_nanos() as u64).into();
        value["eval_count"] = reply.tokens.len().into();
        value["eval_duration"] = ((total - reading).as_nanos() as u64).into();
        value
    }

    fn push(&self, separator: &mut Option<Separator>, token: u32, text: &str) -> ReplyParts {
        match separator {
            Some(separator) => separator.push(token, text),
            None => ReplyParts { reasoning: String::new(), answer: text.to_owned() },
        }
    }
}

async fn answer(call: Call) -> Result<Response, ApiError> {
    let mut tickets = Tickets::submit(&call.served, &call.caller, vec![call.request.clone()])?;
    let mut separator = call.separator.clone();
    let finish =
        |separator: &mut Option<Separator>| separator.as_mut().map(Separator::finish).unwrap_or_default();
    let mut first = None;
    if call.stream {
        return Ok(streamed(Stream::Lines, move |writer| async move {
            while let Some((_, event)) = tickets.next().await {
                match event {
                    JobEvent::Token { token, text, .. } => {
                        first.get_or_insert_with(Instant::now);
                        let parts = call.push(&mut separator, token, &text);
                        if !parts.answer.is_empty() || !parts.reasoning.is_empty() {
                            writer.line(&call.part(&parts)).await?;
                        }
                    }
                    JobEvent::Done(reply) => {
                        let rest = finish(&mut separator);
                        writer.line(&call.end(&rest, &reply, first)).await?;
                    }
                    JobEvent::Failed(error) => {
                        let message = ApiError::from(error).message;
                        return writer.line(&json!({ "error": message })).await;
                    }
                }
            }
            Ok(())
        }));
    }
    let mut whole = ReplyParts::default();
    while let Some((_, event)) = tickets.next().await {
        match event {
            JobEvent::Token { token, text, .. } => {
                first.get_or_insert_with(Instant::now);
                add(&mut whole, &call.push(&mut separator, token, &text));
            }
            JobEvent::Done(reply) => {
                add(&mut whole, &finish(&mut separator));
                return Ok(ok(&call.end(&whole, &reply, first)));
            }
            JobEvent::Failed(error) => return Err(error.into()),
        }
    }
    Err(ApiError::internal("the reply was lost"))
}

/// What Ollama reports about a model.
fn details(served: &Served) -> Value {
    let family = served.model.config().architecture.name();
    let is_gguf = served.path().is_some_and(|path| path.is_file());
    json!({
        "parent_model": "",
        "format": if is_gguf { "gguf" } else { "safetensors" },
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    })
}

/// `GET /api/tags`
pub(super) async fn tags(State(state): Shared) -> Response {
    let Ok(served) = state.served() else { return ok(&json!({ "models": [] })) };
    let file = served.path().and_then(|path| std::fs::metadata(path).ok());
    let modified = file.as_ref().and_then(|file| file.modified().ok()).unwrap_or(SystemTime::UNIX_EPOCH);
    let adapters = served.adapters.names();
    let with = adapters.iter().map(|adapter| format!("{}:{adapter}", served.id));
    let entry = |name: String| {
        json!({
            "name": name,
            "model": name,
            "modified_at": rfc3339(modified),
            "size": served.model.weight_bytes(),
            "digest": "",
            "details": details(&served),
        })
    };
    let models: Vec<Value> = std::iter::once(served.id.clone()).chain(with).map(entry).collect();
    ok(&json!({ "models": models }))
}

/// `POST /api/show`
pub(super) async fn show(State(state): Shared, sent: Sent) -> Response {
    let shown = || -> Result<Response, ApiError> {
        let Json(mut fields) = sent?;
        let name = fields.either::<String>("model", "name")?;
        let name = name.ok_or_else(|| ApiError::field("model", "`model` is missing"))?;
        let Chosen { served, .. } = state.choose(Some(&name))?;
        let template = served.model.chat_format().map_or("", |chat| chat.template().source());
        let config = served.model.config();
        let family = config.architecture.name();
        let mut info = serde_json::Map::new();
        info.insert("general.architecture".to_owned(), family.into());
        info.insert(format!("{family}.context_length"), served.scheduler.context().into());
        info.insert(format!("{family}.embedding_length"), config.hidden.into());
        info.insert(format!("{family}.block_count"), config.layers.len().into());
        Ok(ok(&json!({
            "license": served.licence().unwrap_or_default(),
            "modelfile": "",
            "parameters": "",
            "template": template,
            "details": details(&served),
            "model_info": info,
            "capabilities": ["completion"],
        })))
    };
    shown().unwrap_or_else(plainly)
}

/// `GET /api/version`
pub(super) async fn version(_: Shared) -> Response {
    json_response(StatusCode::OK, &json!({ "version": env!("CARGO_PKG_VERSION") }))
}
