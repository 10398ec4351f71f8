//! The web page Studio, which is part of the program.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::file::sha256;

/// A file of the page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    /// A part of its hash, in quotes.
    tag: LazyLock<String>,
}

macro_rules! asset {
    ($path:literal, $kind:literal, $file:literal) => {{
        const BYTES: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/studio/dist/", $file));
        Asset {
            path: $path,
            kind: $kind,
            bytes: BYTES,
            tag: LazyLock::new(|| format!("\"{}\"", &sha256(BYTES)[..16])),
        }
    }};
}

static ASSETS: [Asset; 3] = [
    asset!("/", "text/html; charset=utf-8", "index.html"),
    asset!("/studio.js", "text/javascript; charset=utf-8", "studio.js"),
    asset!("/studio.css", "text/css; charset=utf-8", "studio.css"),
];

/// The page runs its own script and style, talks to this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Paths of the page's files.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().map(|asset| asset.path)
}

/// Whether a path is a file of the page.
pub(super) fn is_asset(path: &str) -> bool {
    paths().any(|known| known == path)
}

/// `GET /` and the page's other files.
pub(super) fn show(path: &str, headers: &HeaderMap) -> Option<Response> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    let tag = asset.tag.as_str();
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|list| list.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    });
    let mut response = Response::new(if unchanged { Body::empty() } else { Body::from(asset.bytes) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    if !unchanged {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    // A browser asks each time whether the file has changed, so a new version of the program shows its own page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    Some(response)
}
