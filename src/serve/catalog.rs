//! Models that can be pulled and opened from the page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use super::body::{Name, Stream, ok, streamed};
use super::openai::errors::ApiError;
use super::state::{ServerState, Shared, blocking, model_id};
use crate::hub::{CATALOG, CatalogEntry, ModelSpec, PullEvent, PullOptions, pull, resolve};
use crate::model::Model;

/// The shortest time between two reports of progress.
const REPORTS_EVERY: Duration = Duration::from_millis(200);

fn entry(name: &str) -> Result<&'static CatalogEntry, ApiError> {
    CATALOG.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let names: Vec<&str> = CATALOG.iter().map(|entry| entry.name).collect();
        ApiError::not_found(format!(
            "there is no model `{name}` in the catalogue; it has {}",
            names.join(", ")
        ))
    })
}

/// The number of weights, as the name or the description has it: `135M`, `1.7B`.
fn parameters(entry: &CatalogEntry) -> Option<String> {
    let words = entry.repository.split(['/', '-', '_']).chain(entry.about.split([' ', '-', ',', '(', ')']));
    let size = |word: &&str| {
        let number = word.strip_suffix(['M', 'B', 'm', 'b']);
        number.is_some_and(|number| number.parse::<f32>().is_ok_and(|number| number > 0.0))
    };
    words.into_iter().find(size).map(str::to_ascii_uppercase)
}

/// `GET /v1/catalog`
pub(super) async fn list(State(state): Shared) -> Result<Response, ApiError> {
    let current = state.served().ok().map(|served| served.id.clone());
    let data = blocking(|| {
        let row = |entry: &CatalogEntry| {
            json!({
                "name": entry.name,
                "about": entry.about,
                "parameters": parameters(entry),
                "licence": entry.licence,
                "terms": entry.notice,
                "cached": resolve(entry.name).is_ok(),
            })
        };
        CATALOG.iter().map(row).collect::<Vec<Value>>()
    });
    Ok(ok(&json!({ "data": data.await?, "current": current })))
}

/// What a pull reports.
enum Report {
    Progress { done: u64, of: Option<u64> },
    Note(String),
    Done(String),
    Failed(String),
}

/// `POST /v1/catalog/{name}/pull`
///
/// A client that leaves does not end the pull: the model is there for the next one.
pub(super) async fn download(_: Shared, Name(name): Name) -> Result<Response, ApiError> {
    let entry = entry(&name)?;
    let options = PullOptions::from_env()?;
    let (reports, mut arrived) = unbounded_channel();
    let work = move || {
        let mut last: Option<Instant> = None;
        let pulled = pull(&ModelSpec::Catalog(entry), &options, &mut |event| {
            let report = match event {
                PullEvent::Bytes { done_bytes, total_bytes, .. } => {
                    let end = Some(done_bytes) == total_bytes;
                    if !end && last.is_some_and(|last| last.elapsed() < REPORTS_EVERY) {
                        return;
                    }
                    last = Some(Instant::now());
                    Report::Progress { done: done_bytes, of: total_bytes }
                }
                event => Report::Note(event.to_string()),
            };
            let _ = reports.send(report);
        });
        let _ = reports.send(match pulled {
            Ok(pulled) => Report::Done(pulled.path.display().to_string()),
            Err(error) => Report::Failed(ApiError::from(error).message),
        });
    };
    drop(tokio::task::spawn_blocking(work));
    Ok(streamed(Stream::Events, |writer| async move {
        while let Some(report) = arrived.recv().await {
            match report {
                Report::Progress { done, of } => {
                    writer.event("progress", None, &json!({ "done": done, "of": of })).await?;
                }
                Report::Note(text) => writer.event("note", None, &json!({ "message": text })).await?,
                Report::Done(path) => writer.event("done", None, &json!({ "path": path })).await?,
                Report::Failed(message) => {
                    writer.event("error", None, &json!({ "message": message })).await?;
                }
            }
        }
        Ok(())
    }))
}

/// `POST /v1/catalog/{name}/open`
pub(super) async fn open(State(state): Shared, Name(name): Name) -> Result<Response, ApiError> {
    let entry = entry(&name)?;
    let _turn = state.opening.lock().await;
    if let Ok(served) = state.served() {
        if served.id == entry.name {
            return Ok(ok(&json!({ "id": served.id })));
        }
        let message = format!("the server has the model `{}`; start another server for `{name}`", served.id);
        return Err(ApiError::conflict(message, "has_model"));
    }
    let shared = Arc::clone(&state);
    let work = move || open_model(&shared, entry.name);
    let id = blocking(work).await??;
    tracing::info!(model = id, "a model was opened");
    Ok(ok(&json!({ "id": id })))
}

/// Opens a model and serves it.
pub(super) fn open_model(state: &ServerState, name: &str) -> Result<String, crate::Error> {
    let device = state.options.device.clone();
    let model = Model::builder(name).device_options(device).open()?;
    let id = model_id(name);
    state.serve(&id, &model)?;
    // Adapters of the command line may be for another model.
    if let Err((name, path, reason)) = state.load_adapters() {
        tracing::warn!("the adapter `{name}` in {} was not loaded: {reason}", path.display());
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_from_names() {
        let size = |name| parameters(entry(name).unwrap());
        assert_eq!(size("smollm2").as_deref(), Some("135M"));
        assert_eq!(size("smollm2-1.7b").as_deref(), Some("1.7B"));
        assert_eq!(size("llama3.2-1b").as_deref(), Some("1B"));
        assert_eq!(size("phi4-mini").as_deref(), Some("3.8B"));
        assert!(CATALOG.iter().all(|entry| parameters(entry).is_some()));
    }
}
