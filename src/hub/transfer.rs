//! Fetching one file over HTTP: resumed, hashed, and renamed into place when complete.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::HubError;
use crate::file::AtFile;
use crate::file::hex;

/// Timeout of name lookup and connection: a machine without internet must fall back within seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a connected server that sends nothing.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Consecutive attempts without a new byte after which a started transfer fails.
const MAX_BARREN_ATTEMPTS: u32 = 3;
const CHUNK_BYTES: usize = 256 * 1024;

/// A file on a server, with its known properties.
pub(super) struct Remote<'a> {
    pub url: &'a str,
    /// Sent as a bearer token.
    pub token: Option<&'a str>,
    /// Lower-case hex. A file without a hash is not resumed, because a mixture could not be detected.
    pub sha256: Option<&'a str>,
    pub bytes: Option<u64>,
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

/// Fetches `remote` to `target`; `progress` receives `(bytes so far, total bytes)`.
///
/// # Errors
///
/// * [`HubError::Unreachable`], [`HubError::Refused`]: the `.part` file is kept for the next attempt.
/// * [`HubError::WrongHash`], [`HubError::Malformed`]: nothing is kept.
/// * [`HubError::Io`] if the cache cannot be written.
pub(super) fn fetch(
    agent: &Agent,
    remote: &Remote,
    target: &Path,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), HubError> {
    let part = Part::open(part_path(target), remote.sha256.is_some())?;
    let resumed = part.len > 0;
    match complete(agent, remote, part, target, progress) {
        // The bytes of an earlier attempt may be from an older file, or truncated by a power failure.
        Err(HubError::WrongHash { .. }) if resumed => {
            let part = Part::open(part_path(target), false)?;
            complete(agent, remote, part, target, progress)
        }
        result => result,
    }
}

/// Fetches the missing bytes of `part`, reconnecting if needed, and gives the file its name.
fn complete(
    agent: &Agent,
    remote: &Remote,
    mut part: Part,
    target: &Path,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), HubError> {
    let mut barren = 0;
    loop {
        let before = part.len;
        match append(agent, remote, &mut part, progress) {
            Ok(()) => break,
            Err(error @ HubError::Unreachable { .. }) => {
                barren = if part.len > before { 0 } else { barren + 1 };
                // Nothing was received: the caller has other sources to try.
                if part.len == 0 || barren == MAX_BARREN_ATTEMPTS {
                    return Err(part.give_up(error));
                }
                thread::sleep(Duration::from_secs(1 << barren));
            }
            Err(error) => return Err(part.give_up(error)),
        }
    }
    part.finish(remote, target)
}

/// The path of the unfinished download of `target`.
pub(super) fn part_path(target: &Path) -> PathBuf {
    let mut name = OsString::from(target.as_os_str());
    name.push(".part");
    name.into()
}

/// Requests the missing bytes and appends them, until the end of the file.
fn append(
    agent: &Agent,
    remote: &Remote,
    part: &mut Part,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), HubError> {
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
    let response = request.call().map_err(|error| unreachable(error.to_string()))?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(part.len) => {}
        StatusCode::PARTIAL_CONTENT => {
            let rule = format!("requested the bytes from {} and received others", part.len);
            return Err(HubError::Malformed { url: remote.url.to_owned(), rule });
        }
        StatusCode::OK => part.clear()?,
        // The part is as long as the file, or longer: its hash decides.
        StatusCode::RANGE_NOT_SATISFIABLE if part.len > 0 => return Ok(()),
        status => return Err(refused(remote.url, status)),
    }
    let total = response.body().content_length().map(|left| part.len + left).or(remote.bytes);
    let mut body = response.into_body().into_reader();
    let mut chunk = vec![0; CHUNK_BYTES];
    progress(part.len, total);
    loop {
        match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => part.write(&chunk[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreachable(error.to_string())),
        }
        progress(part.len, total);
    }
    match total {
        Some(total) if part.len < total => {
            Err(unreachable(format!("the connection ended with {} bytes missing", total - part.len)))
        }
        _ => Ok(()),
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

/// The received bytes, on disk and in the hash.
struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
}

impl Part {
    /// Continues the file of an earlier attempt, or starts a new one if `resume` is false.
    fn open(path: PathBuf, resume: bool) -> Result<Part, HubError> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(HubError::io("create", dir))?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(!resume).open(&path);
        let mut file = file.map_err(HubError::io("write", &path))?;
        let mut hash = Sha256::new();
        let len = copy(&mut file, &mut hash).map_err(HubError::io("read", &path))?;
        Ok(Part { path, file, hash, len })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(HubError::io("write", &self.path))?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), HubError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(HubError::io("write", &self.path))?;
        self.hash = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// Keeps the bytes for the next attempt, if there are any, and returns `error`.
    fn give_up(self, error: HubError) -> HubError {
        if self.len == 0 {
            // An empty file that remains is harmless, and `error` matters more.
            let _ = fs::remove_file(&self.path);
        }
        error
    }

    /// Checks the hash, makes the bytes durable and gives them their name.
    fn finish(self, remote: &Remote, target: &Path) -> Result<(), HubError> {
        let found = hex(self.hash.finalize());
        if let Some(expected) = remote.sha256.filter(|expected| *expected != found) {
            fs::remove_file(&self.path).map_err(HubError::io("remove", &self.path))?;
            return Err(HubError::WrongHash {
                from: remote.url.to_owned(),
                expected: expected.to_owned(),
                found,
            });
        }
        self.file.sync_all().map_err(HubError::io("write", &self.path))?;
        drop(self.file);
        fs::rename(&self.path, target).map_err(HubError::io("write", target))
    }
}

/// The sha256 of a file, in lower-case hex.
pub(super) fn sha256_of(path: &Path) -> Result<String, HubError> {
    let mut file = File::open(path).map_err(HubError::io("read", path))?;
    let mut hash = Sha256::new();
    copy(&mut file, &mut hash).map_err(HubError::io("read", path))?;
    Ok(hex(hash.finalize()))
}

/// Feeds the rest of `file` to `hash` and returns its length.
fn copy(file: &mut File, hash: &mut Sha256) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut len = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(len),
            read => {
                hash.update(&chunk[..read]);
                len += read as u64;
            }
        }
    }
}
