//! Which path is answered by which handler.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use super::guard::{self, Guard};
use super::openai::{chat, completions, models};
use super::state::ServerState;
use super::{adapters, catalog, info, metrics, ollama, principles, runs, score, studio};

/// All routes, behind the guard.
pub(super) fn router(state: &Arc<ServerState>, guard: Arc<Guard>) -> Router {
    let mut router = Router::new()
        // OpenAI
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/completions", post(completions::complete))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        // Adapters
        .route("/v1/adapters", get(adapters::list).post(adapters::load))
        .route("/v1/adapters/{name}", axum::routing::delete(adapters::remove))
        // Principles
        .route("/v1/principles", get(principles::list))
        .route("/v1/principles/check", post(principles::check))
        .route("/v1/principles/{name}", get(principles::one).put(principles::save))
        .route("/v1/score", post(score::score))
        // Runs
        .route("/v1/runs", get(runs::list).post(runs::start))
        .route("/v1/runs/{id}", get(runs::one))
        .route("/v1/runs/{id}/pause", post(runs::pause))
        .route("/v1/runs/{id}/resume", post(runs::resume))
        .route("/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/v1/runs/{id}/events", get(runs::events))
        .route("/v1/runs/{id}/metrics", get(runs::metrics))
        // Models
        .route("/v1/catalog", get(catalog::list))
        .route("/v1/catalog/{name}/pull", post(catalog::download))
        .route("/v1/catalog/{name}/open", post(catalog::open))
        // The server
        .route("/health", get(info::health))
        .route("/metrics", get(metrics::show))
        .route("/v1/server", get(info::server))
        .route("/tokenize", post(info::tokenize))
        .route("/detokenize", post(info::detokenize))
        .route("/tokenizer_info", get(info::tokenizer_info))
        // Ollama
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .route("/api/tags", get(ollama::tags))
        .route("/api/show", post(ollama::show))
        .route("/api/version", get(ollama::version));
    if state.options.studio {
        for path in studio::paths() {
            router = router.route(path, get(info::page));
        }
    }
    router
        .fallback(guard::no_route)
        .method_not_allowed_fallback(guard::no_method)
        .layer(from_fn_with_state((Arc::clone(state), guard), guard::guarded))
        .with_state(Arc::clone(state))
}
