//! `parr pull` against a server of ours: whole, resumed, damaged, hostile.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{parr, stderr, stdout};
use crate::support::http::{Page, Server};

const FILE: &str = "tiny-Q4_0.gguf";
const COMMIT: &str = "0123abcd";

fn weights() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_le_bytes).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hub that holds `org/repo` with one file, listed with `hash`.
fn hub(file: Page, hash: &str) -> Server {
    let size = file.body.len();
    let listing = format!(
        r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"README.md","size":9}},
            {{"rfilename":"../../escaped.gguf","size":1}},
            {{"rfilename":"{FILE}","size":{size},"lfs":{{"sha256":"{hash}","size":{size}}}}}]}}"#
    );
    Server::start([
        ("/api/models/org/repo?blobs=true".to_owned(), Page::from(listing.as_bytes())),
        (format!("/org/repo/resolve/{COMMIT}/{FILE}"), file),
    ])
}

fn pull(model: &str, server: &Server, cache: &Path) -> Output {
    let run =
        parr().args(["pull", model]).env("HF_ENDPOINT", &server.address).env("PARR_CACHE", cache).output();
    run.expect("the program starts")
}

#[test]
fn a_file_arrives_whole_and_then_needs_no_network() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let server = hub(Page::from(&weights()[..]), &sha256(&weights()));
    let first = pull("org/repo", &server, cache.path());
    assert!(first.status.success(), "{}", stderr(&first));
    let path = cache.path().join("models/org/repo").join(FILE);
    assert_eq!(stdout(&first).trim(), path.to_str().expect("UTF-8"));
    assert_eq!(fs::read(&path).expect("the file is there"), weights());

    let asked = server.requests().len();
    let second = pull("org/repo:q4_0", &server, cache.path());
    assert!(
        second.status.success() && stderr(&second).contains("already in the cache"),
        "{}",
        stderr(&second)
    );
    assert_eq!(server.requests().len(), asked, "a cached model asks nobody");
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let page = Page { body: weights(), break_after: Some(700_000) };
    let server = hub(page, &sha256(&weights()));
    let run = pull("org/repo", &server, cache.path());
    assert!(run.status.success(), "{}", stderr(&run));
    let last = server.requests().pop().expect("it asked");
    assert!(last.ends_with("from 700000"), "resumed at the byte where it broke, not with `{last}`");
    assert_eq!(fs::read(cache.path().join("models/org/repo").join(FILE)).expect("whole"), weights());
}

#[test]
fn what_an_earlier_run_left_is_resumed_or_replaced() {
    for (left, from) in
        [(weights()[..400_000].to_vec(), " from 400000"), (vec![7; 1000], ""), (vec![7; 2_000_000], "")]
    {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let dir = cache.path().join("models/org/repo");
        fs::create_dir_all(&dir).expect("made");
        fs::write(dir.join(format!("{FILE}.part")), &left).expect("written");
        let server = hub(Page::from(&weights()[..]), &sha256(&weights()));
        let run = pull("org/repo", &server, cache.path());
        assert!(run.status.success(), "{}", stderr(&run));
        assert_eq!(fs::read(dir.join(FILE)).expect("whole"), weights());
        assert!(!dir.join(format!("{FILE}.part")).exists());
        let last = server.requests().pop().expect("it asked");
        assert!(last.ends_with(&format!("{FILE}{from}")), "{last}");
    }
}

#[test]
fn wrong_bytes_are_not_kept() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let server = hub(Page::from(&weights()[..]), &sha256(b"something else"));
    let run = pull("org/repo", &server, cache.path());
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).contains(&sha256(&weights())), "names what it found: {}", stderr(&run));
    let left: Vec<_> = fs::read_dir(cache.path().join("models/org/repo")).expect("listed").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_file_name_that_climbs_out_is_not_offered() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let server = hub(Page::from(&weights()[..]), &sha256(&weights()));
    let run = pull("org/repo:escaped", &server, cache.path());
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).contains("org/repo has no escaped"), "{}", stderr(&run));
}

#[test]
fn a_missing_repository_says_so() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start([]);
    let run = pull("org/other", &server, cache.path());
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).contains("answered 404: no such repository or file"), "{}", stderr(&run));
}

#[test]
fn when_every_source_fails_each_reason_is_named() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let run = parr()
        .args(["pull", "smollm2"])
        .env("HF_ENDPOINT", "http://127.0.0.1:1")
        .env("PARR_CACHE", cache.path())
        .env("PATH", cache.path())
        .output()
        .expect("the program starts");
    assert_eq!(run.status.code(), Some(1));
    let said = stderr(&run);
    assert!(said.contains("from the hub, cannot reach http://127.0.0.1:1/"), "{said}");
    assert!(said.contains("python3 is not installed (on Debian: apt-get install python3-pip)"), "{said}");
}

/// A hub whose only file is sent by `send`, which gets the connection after the head of the answer was asked for.
/// `file` is the rest of its entry in the listing.
fn odd_hub(
    file: &str,
    send: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free local port");
    let address = format!("http://{}", listener.local_addr().expect("a bound socket"));
    let listing = format!(r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"{FILE}"{file}}}]}}"#);
    let send = Arc::new(send);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (listing, send) = (listing.clone(), Arc::clone(&send));
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                let path = lines.next().transpose()?.unwrap_or_default();
                while !lines.next().transpose()?.unwrap_or_default().is_empty() {}
                if path.contains("/api/") {
                    let length = listing.len();
                    return write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{listing}"
                    );
                }
                send(&mut stream)
            });
        }
    });
    address
}

fn pull_from(address: &str, cache: &Path) -> Command {
    let mut command = parr();
    command
        .args(["pull", "org/repo"])
        .env("HF_ENDPOINT", address)
        .env("PARR_CACHE", cache)
        .env("NO_PROXY", "*");
    command
}

/// Number of bytes below the cache.
fn bytes_in(cache: &Path) -> u64 {
    let files = fs::read_dir(cache.join("models/org/repo")).into_iter().flatten().flatten();
    files.map(|file| file.metadata().expect("there").len()).sum()
}

#[test]
fn no_more_bytes_are_taken_than_the_file_has() {
    let endless = |stream: &mut TcpStream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 1 << 16])?;
        }
    };
    let hash = "0".repeat(64);
    for (file, words) in [
        (format!(r#","size":1000,"lfs":{{"sha256":"{hash}","size":1000}}"#), "more than the 1000 bytes"),
        (r#","size":1000"#.to_owned(), "more than the 1000 bytes"),
        (String::new(), "without saying how many"),
    ] {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let run = pull_from(&odd_hub(&file, endless), cache.path()).output().expect("the program starts");
        assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
        assert!(stderr(&run).contains(words), "{}", stderr(&run));
        assert_eq!(bytes_in(cache.path()), 0, "{file}");
    }
    // A length that is not the published one is refused before the first byte.
    let cache = tempfile::tempdir().expect("a temporary directory");
    let longer = |stream: &mut TcpStream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n")
    };
    let run = pull_from(&odd_hub(r#","size":1000"#, longer), cache.path()).output().expect("it starts");
    assert!(
        stderr(&run).contains("has 1000 bytes on the hub, but the server sends 2000"),
        "{}",
        stderr(&run)
    );
}

#[test]
fn a_byte_a_second_is_no_download() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let drip = |stream: &mut TcpStream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    let begun = Instant::now();
    let run =
        pull_from(&odd_hub(r#","size":5000"#, drip), cache.path()).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(1));
    assert!(
        stderr(&run).contains("fewer than 1000 bytes a second; pull again to resume"),
        "{}",
        stderr(&run)
    );
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_byte_per_connection_is_no_download_either() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let sent = AtomicUsize::new(0);
    let one = move |stream: &mut TcpStream| {
        let from = sent.fetch_add(1, Ordering::Relaxed);
        let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
        let left = 5000 - from;
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {left}\r\nConnection: close\r\n")?;
        write!(stream, "Content-Range: bytes {from}-4999/5000\r\n\r\nx")
    };
    let file = format!(r#","size":5000,"lfs":{{"sha256":"{}","size":5000}}"#, "0".repeat(64));
    let begun = Instant::now();
    let mut child = pull_from(&odd_hub(&file, one), cache.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    while child.try_wait().expect("it can be asked").is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().expect("it can be killed");
            panic!("the client reconnects for every byte");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let run = child.wait_with_output().expect("it has ended");
    assert!(stderr(&run).contains("fewer than 1000 bytes a second"), "{}", stderr(&run));
}

#[test]
fn a_second_pull_waits_for_the_first() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    // Without ranges and without a sha256, as for a small file.
    let slow = |stream: &mut TcpStream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 80000\r\nConnection: close\r\n\r\n")?;
        (0..8u8).try_for_each(|part| {
            std::thread::sleep(Duration::from_millis(400));
            stream.write_all(&[part; 10_000])
        })
    };
    let hub = odd_hub(r#","size":80000"#, slow);
    let path = cache.path().join("models/org/repo").join(FILE);
    let started = || {
        let child = pull_from(&hub, cache.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        child.expect("the program starts")
    };
    let first = started();
    let begun = Instant::now();
    while !cache.path().join(format!("models/org/repo/{FILE}.part")).exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no download in a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut killed, second) = (started(), started());
    std::thread::sleep(Duration::from_millis(600));
    killed.kill().expect("the child is ours");
    killed.wait().expect("it is gone");
    for run in [first, second] {
        let run = run.wait_with_output().expect("it ends");
        assert!(run.status.success(), "{}", stderr(&run));
    }
    let expected: Vec<u8> = (0..8u8).flat_map(|part| [part; 10_000]).collect();
    assert_eq!(fs::read(&path).expect("there"), expected);
    assert_eq!(bytes_in(cache.path()), 80_000, "nothing else is left");
}

#[test]
fn a_small_file_is_checked_by_the_hash_of_git() {
    let send = |stream: &mut TcpStream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
    };
    // `printf 'hello\n' | git hash-object --stdin`
    for (hash, sound) in [
        ("ce013625030ba8dba906f756967f9e9ca394464a", true),
        ("ce013625030ba8dba906f756967f9e9ca394464b", false),
    ] {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let hub = odd_hub(&format!(r#","size":6,"blobId":"{hash}""#), send);
        let run = pull_from(&hub, cache.path()).output().expect("the program starts");
        assert_eq!(run.status.success(), sound, "{}", stderr(&run));
        assert!(sound || stderr(&run).contains("has git hash ce01"), "{}", stderr(&run));
        assert_eq!(bytes_in(cache.path()), if sound { 6 } else { 0 });
    }
}

#[test]
fn a_file_larger_than_the_disk_is_refused_at_once() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let never = |stream: &mut TcpStream| stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let hub = odd_hub(r#","size":1152921504606846976"#, never);
    let run = pull_from(&hub, cache.path()).output().expect("the program starts");
    if cfg!(unix) {
        assert!(
            stderr(&run).contains("needs 1152921504606846976 bytes, and the disk of"),
            "{}",
            stderr(&run)
        );
    }
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn names_from_the_hub_do_not_steer_the_terminal() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let listing = format!(
        r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"\u001b[2Ja.gguf","size":1}},{{"rfilename":"b\u009b.gguf","size":1}}]}}"#
    );
    let server =
        Server::start([("/api/models/org/repo?blobs=true".to_owned(), Page::from(listing.as_bytes()))]);
    let run = pull("org/repo", &server, cache.path());
    assert!(stderr(&run).contains("\\x1b[2Ja.gguf, b\\x9b.gguf"), "{}", stderr(&run));
}
