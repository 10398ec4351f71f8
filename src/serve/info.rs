//! What the server is, whether it is well, and texts as tokens.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::json;

use super::body::{Json, json_response, ok};
use super::openai::errors::ApiError;
use super::state::{Served, Shared, blocking};
use super::studio;
use crate::tokenizer::{Specials, TokenId, Tokenizer};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `GET /health`
pub(super) async fn health(State(state): Shared) -> Response {
    let served = state.served().ok();
    let (word, status) = match (&served, state.is_draining()) {
        (_, true) => ("draining", StatusCode::SERVICE_UNAVAILABLE),
        (None, false) => ("no_model", StatusCode::OK),
        (Some(_), false) => ("ok", StatusCode::OK),
    };
    let adapter = served.as_ref().map(|served| served.model.device().capabilities().adapter.clone());
    let model = served.as_ref().map(|served| served.id.clone());
    let value = json!({ "status": word, "model": model, "version": VERSION, "adapter": adapter });
    json_response(status, &value)
}

/// `GET /v1/server`
pub(super) async fn server(State(state): Shared) -> Result<Response, ApiError> {
    let api_key = state.options.api_key.is_some();
    let slots = state.options.slots;
    let Ok(served) = state.served() else {
        return Ok(ok(&json!({
            "version": VERSION, "model": null, "adapter": null, "context": null, "slots": slots,
            "reward": null, "rewards": [], "api_key": api_key,
        })));
    };
    let found = std::sync::Arc::clone(&served);
    let rewards = blocking(move || found.rewards.names()).await?;
    Ok(ok(&json!({
        "version": VERSION,
        "model": served.id,
        "adapter": served.model.device().capabilities().adapter,
        "context": served.scheduler.context(),
        "slots": slots,
        "reward": rewards.first(),
        "rewards": rewards,
        "api_key": api_key,
    })))
}

fn tokenizer(served: &Served) -> Result<&Tokenizer, ApiError> {
    served.model.check_tokenizer()?;
    served.model.tokenizer().ok_or_else(|| ApiError::unprocessable("the model has no tokenizer"))
}

/// `POST /tokenize`: `text` alone, or `prompt` as other servers have it, with the token that begins a text unless
/// `add_special_tokens` is false.
pub(super) async fn tokenize(State(state): Shared, Json(mut fields): Json) -> Result<Response, ApiError> {
    let served = state.served()?;
    let (field, text) = match fields.take::<String>("prompt")? {
        Some(prompt) => ("prompt", prompt),
        None => ("text", fields.need("text")?),
    };
    let tokenizer = tokenizer(&served)?;
    let begins = field == "prompt" && fields.take::<bool>("add_special_tokens")?.unwrap_or(true);
    let ids = if begins {
        tokenizer.encode_raw(&text, Specials::Parse)
    } else {
        tokenizer.encode(&text, Specials::Parse)
    };
    let ids = ids.map_err(|error| ApiError::from(error).param(field))?;
    let context = served.scheduler.context();
    Ok(ok(&json!({ "ids": ids, "tokens": ids, "count": ids.len(), "max_model_len": context })))
}

/// `POST /detokenize`
pub(super) async fn detokenize(State(state): Shared, Json(mut fields): Json) -> Result<Response, ApiError> {
    let served = state.served()?;
    let ids: Vec<TokenId> = fields.need("tokens")?;
    Ok(ok(&json!({ "prompt": tokenizer(&served)?.decode(&ids, false) })))
}

/// `GET /tokenizer_info`, which lm-evaluation-harness reads.
pub(super) async fn tokenizer_info(State(state): Shared) -> Result<Response, ApiError> {
    let served = state.served()?;
    let tokenizer = tokenizer(&served)?;
    let text = |id: Option<TokenId>| id.and_then(|id| tokenizer.token_text(id));
    Ok(ok(&json!({
        "tokenizer_class": "parr",
        "bos_token": text(tokenizer.bos()),
        "eos_token": text(tokenizer.eos()),
        "chat_template": served.model.chat_format().map(|chat| chat.template().source()),
    })))
}

/// `GET /` and the files of the page.
pub(super) async fn page(_: Shared, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    studio::show(uri.path(), &headers).ok_or_else(|| ApiError::not_found("there is no such file"))
}
