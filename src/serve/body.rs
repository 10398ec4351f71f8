//! Bodies of requests and replies: JSON, server-sent events, lines of JSON.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::RequestPartsExt;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::openai::errors::ApiError;
use super::openai::fields::Fields;

/// Maximum size of a request's body.
pub(super) const MOST_BYTES: usize = 4 << 20;
/// A body that takes longer to arrive is not waited for.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// A client that reads nothing for this time is gone.
const READS_WITHIN: Duration = Duration::from_secs(60);
/// Parts of a streamed reply that wait for the client.
const PENDING_PARTS: usize = 64;

/// The JSON object in a request's body.
pub(super) struct Json(pub Fields);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Json, ApiError> {
        let bytes = read(request.into_body()).await?;
        // A body without a byte is an object without a field: some endpoints need none.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Json(Fields::new(Value::Object(serde_json::Map::new()))?));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
                .code("invalid_json")
        })?;
        Ok(Json(Fields::new(value)?))
    }
}

/// Reads a whole body, up to [`MOST_BYTES`].
async fn read(body: Body) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("the body has more than {MOST_BYTES} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message).code("body_too_large")
    };
    if axum::body::HttpBody::size_hint(&body).lower() > MOST_BYTES as u64 {
        return Err(too_large());
    }
    match timeout(ARRIVES_WITHIN, axum::body::to_bytes(body, MOST_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(one) = cause {
                if one.to_string().contains("length limit") {
                    return Err(too_large());
                }
                cause = one.source();
            }
            Err(ApiError::new(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}")))
        }
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

/// The one segment of the path that names something.
pub(super) struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Name, ApiError> {
        match parts.extract::<Path<String>>().await {
            Ok(Path(name)) => Ok(Name(name)),
            Err(_) => Err(ApiError::not_found("the path holds a name that is not UTF-8")),
        }
    }
}

pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A reply with status 200.
pub(super) fn ok(value: &Value) -> Response {
    json_response(StatusCode::OK, value)
}

/// The client has gone, or does not read.
#[derive(Debug)]
pub(super) struct Gone;

/// Writes a reply part by part.
pub(super) struct Writer {
    parts: Sender<Bytes>,
}

impl Writer {
    async fn send(&self, part: String) -> Result<(), Gone> {
        match timeout(READS_WITHIN, self.parts.send(part.into())).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    /// A server-sent event without a name, as OpenAI sends them.
    pub async fn data(&self, value: &Value) -> Result<(), Gone> {
        self.send(format!("data: {value}\n\n")).await
    }

    /// The last event of OpenAI's streams.
    pub async fn done(&self) -> Result<(), Gone> {
        self.send("data: [DONE]\n\n".to_owned()).await
    }

    /// A server-sent event with a name, and an id from which a client can continue.
    pub async fn event(&self, name: &str, id: Option<usize>, value: &Value) -> Result<(), Gone> {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        self.send(format!("{id}event: {name}\ndata: {value}\n\n")).await
    }

    /// A comment, which shows whether the client is still there.
    pub async fn comment(&self) -> Result<(), Gone> {
        self.send(": wait\n\n".to_owned()).await
    }

    /// A line of JSON.
    pub async fn line(&self, value: &Value) -> Result<(), Gone> {
        self.send(format!("{value}\n")).await
    }
}

/// How a reply that arrives in parts is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Server-sent events.
    Events,
    /// Lines of JSON.
    Lines,
}

/// A reply that `write` sends part by part. If the client goes away, `write` is dropped where it waits.
pub(super) fn streamed<F, T>(stream: Stream, write: F) -> Response
where
    F: FnOnce(Writer) -> T,
    T: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (parts, body) = channel(PENDING_PARTS);
    let work = write(Writer { parts });
    let task = tokio::spawn(async move { drop(work.await) });
    let mut response = Response::new(Body::new(Streamed { parts: body, task: task.abort_handle() }));
    let kind = match stream {
        Stream::Events => "text/event-stream",
        Stream::Lines => "application/x-ndjson",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that collect replies would undo the streaming.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Streamed {
    parts: Receiver<Bytes>,
    task: AbortHandle,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.parts.poll_recv(context).map(|part| Some(Ok(Frame::data(part?))))
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.task.abort();
    }
}
