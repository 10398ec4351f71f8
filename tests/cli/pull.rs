//! `parr pull` against a server of ours: whole, resumed, damaged, hostile.

use std::fs;
use std::path::Path;
use std::process::Output;

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
