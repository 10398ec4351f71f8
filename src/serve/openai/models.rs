//! `/v1/models`: the model, alone and with each adapter.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::errors::ApiError;
use crate::serve::body::{Name, ok};
use crate::serve::state::{Served, Shared};

fn entry(served: &Served, adapter: Option<&str>) -> Value {
    let id = match adapter {
        Some(adapter) => format!("{}:{adapter}", served.id),
        None => served.id.clone(),
    };
    json!({
        "id": id, "object": "model", "created": 0, "owned_by": "parr",
        "parr": { "adapter": adapter, "context": served.scheduler.context(), "license": served.licence() },
    })
}

fn entries(served: &Served) -> Vec<Value> {
    let names = served.adapters.names();
    let with = names.iter().map(|name| entry(served, Some(name)));
    std::iter::once(entry(served, None)).chain(with).collect()
}

/// `GET /v1/models`
pub(crate) async fn list(State(state): Shared) -> Response {
    let data = state.served().map(|served| entries(&served)).unwrap_or_default();
    ok(&json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{id}`
pub(crate) async fn one(State(state): Shared, Name(id): Name) -> Result<Response, ApiError> {
    let served = state.served()?;
    match entries(&served).into_iter().find(|entry| entry["id"] == id.as_str()) {
        Some(entry) => Ok(ok(&entry)),
        None => {
            let message = format!("there is no model `{id}`");
            Err(ApiError::not_found(message).code("model_not_found").param("model"))
        }
    }
}
