//! The hash of the base, which one process leaves for the next.

use std::fs;
use std::process::Command;

use parr::format::Checkpoint;
use parr::salmon::{Budget, PipelineConfig};

use super::folder;
use crate::support;

#[test]
fn the_hash_of_the_base_is_kept_in_the_cache_directory() {
    let base = support::model::smollm2();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (path, cache) = (scratch.path().join("run"), scratch.path().join("cache"));
    let mut config = PipelineConfig::preset(Budget::Small);
    config.model = base.to_str().expect("a UTF-8 path").to_owned();
    folder(&path, &config);
    let status = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parr"));
        let output = command.args(["salmon", "status"]).arg(&path).env("PARR_CACHE", &cache).output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let first = status();
    let entries: Vec<_> = fs::read_dir(cache.join("hashes")).expect("it was made").collect();
    let [Ok(entry)] = &entries[..] else { panic!("{entries:?}") };
    let kept = fs::read_to_string(entry.path()).expect("readable");
    let hash = Checkpoint::open(&base).and_then(|base| base.content_hash()).expect("a sound checkpoint");
    assert!(kept.contains(&hash), "{hash} is not in {kept}");
    assert_eq!(status(), first);

    fs::write(entry.path(), "no entry").expect("writable");
    assert_eq!(status(), first);
    assert_eq!(fs::read_to_string(entry.path()).expect("readable"), kept, "the entry is sound again");
}
