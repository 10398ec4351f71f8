//! Fetching one file over HTTP: resumed, hashed, and renamed into place when complete.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::HubError;
use super::part::Part;

/// Timeout of name lookup and connection: a machine without internet must fall back within seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a connected server that sends nothing.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A transfer ends if it is slower than [`SLOWEST_BYTES`] in this time, twice in a row.
const SLOW_TIME: Duration = Duration::from_secs(7);
/// A thousand bytes a second: a file of 100 MB would take more than a day.
const SLOWEST_BYTES: u64 = 7000;
/// Consecutive attempts without a new byte after which a started transfer fails.
const MAX_BARREN_ATTEMPTS: u32 = 3;
/// Maximum size of a file of which neither the hub nor the server gives the size. Weights always have one.
const MAX_UNSIZED_BYTES: u64 = 64 << 20;
const CHUNK_BYTES: usize = 256 * 1024;

/// The published hash of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// Of the contents, in hex.
    Sha256(String),
    /// Git's name of the contents: the SHA-1 of `blob`, the size and the contents, in hex.
    GitBlob(String),
}

/// A file on a server, with its known properties.
pub(super) struct Remote<'a> {
    pub url: &'a str,
    /// Sent as a bearer token.
    pub token: Option<&'a str>,
    /// A file without a hash is not resumed, because a mixture could not be detected.
    pub hash: Option<&'a Hash>,
    /// The published size.
    pub bytes: Option<u64>,
}

/// A step of a transfer.
pub(super) enum Progress {
    /// Another process fetches the same file; this one waits for it.
    Waiting,
    /// Bytes so far, and in total if known.
    Bytes(u64, Option<u64>),
}

/// An HTTP client with this module's timeouts.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(STALL_TIMEOUT))
        .timeout_per_read(Some(STALL_TIMEOUT))
        .http_status_as_error(false)
        // Byte ranges count transferred bytes, so a compressed answer would break resuming.
        .accept_encoding("identity")
        .build()
        .into()
}

/// Fetches `remote` to `target`. If another process is fetching it, waits, and takes the file of that process.
///
/// # Errors
///
/// * [`HubError::Unreachable`], [`HubError::Refused`]: the `.part` file is kept for the next attempt.
/// * [`HubError::WrongHash`], [`HubError::Malformed`]: nothing is kept.
/// * [`HubError::NoSpace`] if the disk has no room for the missing bytes.
/// * [`HubError::Io`] if the cache cannot be written.
pub(super) fn fetch(
    agent: &Agent,
    remote: &Remote,
    target: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), HubError> {
    let (mut part, waited) = Part::claim(part_path(target), &mut || progress(Progress::Waiting))?;
    // The process before may have finished the file, or an earlier pull of several files.
    let known = waited || remote.hash.is_some();
    if known && target.is_file() && part.is_target_sound(remote, target)? {
        part.remove();
        return Ok(());
    }
    part.begin(remote.hash.is_some())?;
    let resumed = part.len > 0;
    let fetched = match complete(agent, remote, &mut part, progress) {
        // The bytes of an earlier attempt may be from an older file, or truncated by a power failure.
        Err(HubError::WrongHash { .. } | HubError::Malformed { .. }) if resumed => {
            part.clear()?;
            complete(agent, remote, &mut part, progress)
        }
        result => result,
    };
    match fetched {
        Ok(()) => part.finish(target),
        Err(error) => {
            if part.len == 0 {
                part.remove();
            }
            Err(error)
        }
    }
}

/// Fetches the missing bytes of `part`, reconnecting if needed, and checks them.
fn complete(
    agent: &Agent,
    remote: &Remote,
    part: &mut Part,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), HubError> {
    let (mut barren, mut most) = (0, part.len);
    // One for all connections, so that pauses and single bytes of many connections count too.
    let mut rate = Rate::new();
    loop {
        match append(agent, remote, part, &mut rate, progress) {
            Ok(()) => break,
            Err(Fault::Broken(error)) => {
                // A server that ignores ranges starts again and again.
                barren = if part.len > most { 0 } else { barren + 1 };
                most = most.max(part.len);
                // Nothing was received: the caller has other sources to try.
                if part.len == 0 || barren == MAX_BARREN_ATTEMPTS {
                    return Err(part.give_up(error));
                }
                thread::sleep(Duration::from_secs(1 << barren));
            }
            Err(Fault::Final(error)) => return Err(part.give_up(error)),
        }
    }
    part.check(remote)
}

/// The path of the unfinished download of `target`.
pub(super) fn part_path(target: &Path) -> PathBuf {
    let mut name = OsString::from(target.as_os_str());
    name.push(".part");
    name.into()
}

/// Why bytes could not be appended.
enum Fault {
    /// Another attempt may help at once.
    Broken(HubError),
    Final(HubError),
}

impl From<HubError> for Fault {
    fn from(error: HubError) -> Fault {
        Fault::Final(error)
    }
}

/// Requests the missing bytes and appends them, until the end of the file.
fn append(
    agent: &Agent,
    remote: &Remote,
    part: &mut Part,
    rate: &mut Rate,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Fault> {
    if remote.bytes.is_some_and(|bytes| part.len >= bytes) {
        return Ok(());
    }
    let mut request = agent.get(remote.url);
    if let Some(token) = remote.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    if part.len > 0 {
        request = request.header("Range", format!("bytes={}-", part.len));
    }
    let unreachable = |reason: String| HubError::Unreachable { url: remote.url.to_owned(), reason };
    let malformed = |rule: String| HubError::Malformed { url: remote.url.to_owned(), rule };
    let response = request.call().map_err(|error| Fault::Broken(unreachable(error.to_string())))?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(part.len) => {}
        StatusCode::PARTIAL_CONTENT => {
            let rule = format!("requested the bytes from {} and received others", part.len);
            return Err(malformed(rule).into());
        }
        StatusCode::OK => part.clear()?,
        // The part is as long as the file, or longer: its hash decides.
        StatusCode::RANGE_NOT_SATISFIABLE if part.len > 0 => return Ok(()),
        status => return Err(refused(remote.url, status).into()),
    }
    let announced = response.body().content_length().map(|left| left.saturating_add(part.len));
    if let (Some(published), Some(announced)) = (remote.bytes, announced)
        && announced != published
    {
        let rule = format!("the file has {published} bytes on the hub, but the server sends {announced}");
        return Err(malformed(rule).into());
    }
    let total = remote.bytes.or(announced);
    let most = total.unwrap_or(MAX_UNSIZED_BYTES);
    part.check_space(total)?;
    let mut body = response.into_body().into_reader();
    let mut chunk = vec![0; CHUNK_BYTES];
    progress(Progress::Bytes(part.len, total));
    loop {
        match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) if part.len + read as u64 > most => {
                let rule = match total {
                    Some(total) => format!("it sends more than the {total} bytes that the file has"),
                    None => format!("it sends more than {most} bytes without saying how many there are"),
                };
                return Err(malformed(rule).into());
            }
            Ok(read) => {
                part.write(&chunk[..read])?;
                if rate.is_too_slow(read as u64) {
                    let reason = format!(
                        "it sends fewer than {} bytes a second; pull again to resume, later or from another \
                         network",
                        SLOWEST_BYTES / SLOW_TIME.as_secs()
                    );
                    return Err(unreachable(reason).into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Broken(unreachable(error.to_string()))),
        }
        progress(Progress::Bytes(part.len, total));
    }
    match total {
        Some(total) if part.len < total => Err(Fault::Broken(unreachable(format!(
            "the connection ended with {} bytes missing",
            total - part.len
        )))),
        _ => Ok(()),
    }
}

/// Watches the speed of a transfer, with the pauses between its connections.
struct Rate {
    since: Instant,
    bytes: u64,
    was_slow: bool,
}

impl Rate {
    fn new() -> Rate {
        Rate { since: Instant::now(), bytes: 0, was_slow: false }
    }

    /// Counts bytes that just came, and returns whether the transfer has been too slow for long.
    fn is_too_slow(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        if self.since.elapsed() < SLOW_TIME {
            return false;
        }
        let slow = self.bytes < SLOWEST_BYTES;
        // Once may be a pause, after which the first bytes have just come.
        let too_slow = slow && self.was_slow;
        *self = Rate { was_slow: slow, ..Rate::new() };
        too_slow
    }
}

/// The error of an HTTP status, with what it means on the hub.
pub(super) fn refused(url: &str, status: StatusCode) -> HubError {
    let hint = match status.as_u16() {
        401 | 403 => {
            "the repository is private, gated or misspelt: accept its terms on the hub and set HF_TOKEN"
        }
        404 => "no such repository or file",
        429 => "too many requests, try again later",
        500.. => "the server failed, try again later",
        _ => "unexpected status, try again later",
    };
    HubError::Refused { url: url.to_owned(), status: status.as_u16(), hint }
}

/// First byte of a `Content-Range: bytes START-END/TOTAL`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get("Content-Range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
