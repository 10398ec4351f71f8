//! Counts and durations in Prometheus's text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::state::Shared;

/// Upper bounds of the buckets of durations, in seconds.
const BOUNDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

/// How long something took, in buckets.
#[derive(Default)]
pub(super) struct Durations {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    microseconds: AtomicU64,
}

impl Durations {
    pub fn observe(&self, took: Duration) {
        if let Some(place) = BOUNDS.iter().position(|&bound| took.as_secs_f64() <= bound) {
            self.buckets[place].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut below = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let seconds = self.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum {seconds}\n{name}_count {count}");
    }
}

/// What the server counts.
#[derive(Default)]
pub(super) struct Metrics {
    /// Requests by method, route and status.
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    /// From a request's head to the end of its handler.
    pub handled: Durations,
    /// From the scheduler's queue to the first token.
    pub first_token: Durations,
    /// From the scheduler's queue to the end of a reply.
    pub replies: Durations,
    /// Requests that are being handled or streamed.
    pub open: AtomicUsize,
}

impl Metrics {
    pub fn count(&self, method: &str, route: &str, status: u16, took: Duration) {
        let key = (method.to_owned(), route.to_owned(), status);
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        self.handled.observe(took);
    }
}

/// `GET /metrics`
pub(super) async fn show(State(state): Shared) -> Response {
    let mut text = String::new();
    let metrics = &state.metrics;
    let requests = "parr_http_requests_total";
    let _ =
        writeln!(text, "# HELP {requests} Requests by method, route and status.\n# TYPE {requests} counter");
    for ((method, route, status), count) in
        metrics.requests.lock().unwrap_or_else(PoisonError::into_inner).iter()
    {
        let _ =
            writeln!(text, "{requests}{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {count}");
    }
    metrics.handled.write(&mut text, "parr_http_request_seconds", "Time until a request's reply begins.");
    metrics.first_token.write(
        &mut text,
        "parr_first_token_seconds",
        "Time from the queue to the first token.",
    );
    metrics.replies.write(&mut text, "parr_reply_seconds", "Time from the queue to the end of a reply.");
    let mut one = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    one(
        "parr_http_open_requests",
        "gauge",
        "Requests in progress.",
        metrics.open.load(Ordering::Relaxed) as f64,
    );
    if let Ok(served) = state.served() {
        let counts = served.scheduler.counts();
        one("parr_slots", "gauge", "Replies that can be generated together.", counts.slots as f64);
        one("parr_running", "gauge", "Replies that are being generated.", counts.running as f64);
        one("parr_waiting", "gauge", "Requests that wait for a slot.", counts.waiting as f64);
        one("parr_replies_total", "counter", "Replies that have ended.", counts.ended as f64);
        one("parr_prompt_tokens_total", "counter", "Tokens of prompts.", counts.prompt_tokens as f64);
        one(
            "parr_reused_tokens_total",
            "counter",
            "Tokens of prompts that were in the cache.",
            counts.reused_tokens as f64,
        );
        one("parr_reply_tokens_total", "counter", "Tokens of replies.", counts.reply_tokens as f64);
        one(
            "parr_busy_seconds_total",
            "counter",
            "Time that the GPU worked on replies.",
            counts.busy_seconds,
        );
        one("parr_gpu_losses_total", "counter", "Losses of the GPU while it served.", counts.losses as f64);
        one("parr_adapters", "gauge", "Loaded adapters.", served.adapters.count() as f64);
        let memory = served.model.device().memory();
        one(
            "parr_gpu_memory_bytes",
            "gauge",
            "Device memory in use by this process.",
            memory.current_bytes as f64,
        );
    }
    for (status, count) in state.runs.counts() {
        let name = format!("parr_runs_{status}");
        one(&name, "gauge", "Training runs with this status.", count as f64);
    }
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
