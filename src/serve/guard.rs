//! Which requests are answered at all: hosts, origins, keys, the drain. And the log.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::openai::errors::ApiError;
use super::state::{ServerState, Shared};

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// The client, for taking turns: its address, because one person may have many connections.
#[derive(Clone, Debug)]
pub(super) struct Client(pub String);

/// Which hosts, origins and keys a server accepts.
pub(super) struct Guard {
    bound: IpAddr,
    hosts: Vec<String>,
    origins: Vec<String>,
    key: Option<[u8; 32]>,
}

impl Guard {
    pub fn new(bound: IpAddr, hosts: &[String], origins: &[String], key: Option<&str>) -> Guard {
        Guard {
            bound,
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            origins: origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect(),
            key: key.map(|key| Sha256::digest(key).into()),
        }
    }

    /// Whether `host`, with or without a port, names this server. A page of another site can make its own name point
    /// to this machine (DNS rebinding), but it cannot change the name in this header.
    fn knows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        if name == "localhost" || name.ends_with(".localhost") || self.hosts.iter().any(|known| known == name)
        {
            return true;
        }
        let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        // An address is not a name, so it cannot be pointed elsewhere.
        literal.is_ok_and(|ip| ip.is_loopback() || ip == self.bound || self.bound.is_unspecified())
    }

    /// Whether a page of `origin` may use the server, which it calls `host`.
    fn knows_origin(&self, origin: &str, host: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let same = origin.split_once("://").is_some_and(|(scheme, rest)| {
            matches!(scheme, "http" | "https") && rest == host.to_ascii_lowercase()
        });
        same || self.origins.iter().any(|known| *known == origin || known == "*")
    }

    /// Whether a page of another site may read replies.
    fn allows_sharing(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.origins.iter().any(|known| *known == origin || known == "*")
    }

    fn knows_key(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.key else { return true };
        let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let bearer = given.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "));
        // Hashes are compared, so the time shows nothing about the key.
        let digest: [u8; 32] = Sha256::digest(given.get(7..).unwrap_or_default().trim_ascii()).into();
        bearer && digest == *key
    }

    /// `Ok` if the request is answered.
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let refused = |message: String, code| Err(ApiError::new(StatusCode::FORBIDDEN, message).code(code));
        let headers = request.headers();
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let host = text(header::HOST).or_else(|| request.uri().host()).unwrap_or_default();
        if !self.knows_host(host) {
            let message = format!(
                "`{host}` is not a name of this server; start it with --allow-host to serve it under that name"
            );
            return refused(message, "unknown_host");
        }
        match text(header::ORIGIN) {
            Some(origin) if !self.knows_origin(origin, host) => {
                let message = format!(
                    "pages of `{origin}` may not use this server; start it with --allow-origin to allow them"
                );
                return refused(message, "unknown_origin");
            }
            None if headers.contains_key(header::ORIGIN) => {
                return refused("the origin is not text".to_owned(), "unknown_origin");
            }
            // Requests that a browser sends for a page of another site without naming it, such as for an image.
            None if text(header::HeaderName::from_static("sec-fetch-site")) == Some("cross-site")
                && text(header::HeaderName::from_static("sec-fetch-mode")) != Some("navigate") =>
            {
                return refused("pages of other sites may not use this server".to_owned(), "unknown_origin");
            }
            _ => {}
        }
        Ok(())
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            // An IPv6 address has colons too, but brackets around it.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

/// Paths that need no key: the page itself, and the question whether the server is well.
fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/health") || super::studio::is_asset(path)
}

/// Paths that are answered while the server drains.
fn is_for_watchers(path: &str) -> bool {
    matches!(path, "/health" | "/metrics")
}

/// Counts a request until its reply has been sent.
struct Open(Arc<ServerState>);

impl Open {
    fn new(state: &Arc<ServerState>) -> Open {
        state.metrics.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The outermost layer: checks a request, logs it, and adds the headers that every reply has.
pub(super) async fn guarded(
    State((state, guard)): State<(Arc<ServerState>, Arc<Guard>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let open = Open::new(&state);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_string()).unwrap_or_default();
    request.extensions_mut().insert(Client(peer.clone()));
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match guard.check(&request) {
        Err(error) => error.into_response(),
        Ok(()) if method == Method::OPTIONS => preflight(),
        Ok(()) if !is_open(&path) && !guard.knows_key(request.headers()) => {
            let message = "the key is missing or wrong; send `Authorization: Bearer KEY`";
            ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key").into_response()
        }
        Ok(()) if state.is_draining() && !is_for_watchers(&path) => ApiError::draining().into_response(),
        Ok(()) => next.run(request).await,
    };
    if let Some(origin) = origin
        && origin.to_str().is_ok_and(|origin| guard.allows_sharing(origin))
    {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    state.metrics.count(method.as_str(), &route, status, took);
    let ms = took.as_millis() as u64;
    match status {
        500.. => tracing::error!(%method, path, status, ms, peer, "request"),
        400.. => tracing::warn!(%method, path, status, ms, peer, "request"),
        _ if is_for_watchers(&path) => tracing::debug!(%method, path, status, ms, peer, "request"),
        _ => tracing::info!(%method, path, status, ms, peer, "request"),
    }
    response.map(|body| axum::body::Body::new(Held { body, _open: open }))
}

/// The body of a reply, which counts as open until it is sent.
struct Held {
    body: axum::body::Body,
    _open: Open,
}

impl hyper::body::Body for Held {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::Body::size_hint(&self.body)
    }
}

/// The answer to a browser that asks what a page of an allowed origin may do.
fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = HeaderValue::from_static("authorization, content-type, x-parr-principles, last-event-id");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// What no route matches.
pub(super) async fn no_route(_: Shared, request: Request) -> ApiError {
    ApiError::not_found(format!("there is no {}", request.uri().path()))
}

/// A route with another method.
pub(super) async fn no_method(_: Shared, request: Request) -> ApiError {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message).code("method_not_allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(bound: &str) -> Guard {
        let hosts = ["gpu.example".to_owned()];
        let origins = ["https://app.example/".to_owned()];
        Guard::new(bound.parse().unwrap(), &hosts, &origins, Some("secret"))
    }

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        let local = guard("127.0.0.1");
        for host in ["localhost:8017", "127.0.0.1", "[::1]:8017", "Studio.LocalHost:1", "gpu.example:8017"] {
            assert!(local.knows_host(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8017", "192.168.1.5:8017", "", "localhost.evil.example", "[", ":1"]
        {
            assert!(!local.knows_host(host), "{host}");
        }
        assert!(
            guard("0.0.0.0").knows_host("192.168.1.5:8017") && !guard("0.0.0.0").knows_host("evil.example")
        );
        assert!(guard("192.168.1.5").knows_host("192.168.1.5:8017"));
    }

    #[test]
    fn pages_of_other_sites_are_refused_unless_they_are_allowed() {
        let guard = guard("127.0.0.1");
        assert!(guard.knows_origin("http://localhost:8017", "localhost:8017"));
        assert!(guard.knows_origin("https://app.example", "localhost:8017"));
        for origin in ["null", "https://evil.example", "http://localhost:3000", "file://localhost:8017", ""] {
            assert!(!guard.knows_origin(origin, "localhost:8017"), "{origin}");
        }
        assert!(
            guard.allows_sharing("https://APP.example") && !guard.allows_sharing("http://localhost:8017")
        );
    }

    #[test]
    fn keys_are_compared_whole() {
        let guard = guard("127.0.0.1");
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            guard.knows_key(&headers)
        };
        assert!(with("Bearer secret") && with("bearer  secret"));
        assert!(!with("Bearer secret2") && !with("Basic secret") && !with("secret") && !with("Bearer"));
        assert!(!guard.knows_key(&HeaderMap::new()));
    }
}
