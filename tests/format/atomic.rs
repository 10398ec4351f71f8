//! Atomic writing: the old file or the new one, and nothing else left behind.

use std::io::{Error, Write};

use parr::atomic;

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_file_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.bin");
    for text in ["first, and longer", "second"] {
        atomic::write(&path, |file| file.write_all(text.as_bytes())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(names(folder.path()), ["adapter.bin"]);
    }
}

#[test]
fn a_failure_keeps_the_old_file_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.bin");
    atomic::write(&path, |file| file.write_all(b"old")).unwrap();
    let result = atomic::write(&path, |file| {
        file.write_all(b"half of the new")?;
        Err(Error::other("disk full"))
    });
    assert_eq!(result.unwrap_err().to_string(), "disk full");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["adapter.bin"]);
}

#[test]
fn a_path_without_a_file_name_is_refused() {
    let error = atomic::write("..".as_ref(), |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains(".. names no file"), "{error}");
}
