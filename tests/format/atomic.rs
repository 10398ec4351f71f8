//! Atomic writing: the old file or directory or the new one, and nothing else left behind.

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

/// Makes directory `path` of one file `name`.
fn directory(path: &std::path::Path, replace: bool, name: &str) -> std::io::Result<()> {
    atomic::write_directory(path, replace, |folder| std::fs::write(folder.join(name), name))
}

#[test]
fn a_directory_appears_whole_and_is_replaced_only_when_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    directory(&path, false, "first").unwrap();
    assert_eq!((names(folder.path()), names(&path)), (vec!["adapter".to_owned()], vec!["first".to_owned()]));

    let error = directory(&path, false, "second").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty);
    assert_eq!((names(folder.path()).len(), names(&path)), (1, vec!["first".to_owned()]));

    directory(&path, true, "second").unwrap();
    assert_eq!((names(folder.path()).len(), names(&path)), (1, vec!["second".to_owned()]));

    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    directory(&empty, false, "third").unwrap();
    assert_eq!(names(&empty), ["third"]);
}

#[test]
fn a_failure_keeps_the_old_directory_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    directory(&path, false, "old").unwrap();
    let result = atomic::write_directory(&path, true, |new| {
        std::fs::write(new.join("half"), b"half")?;
        Err(Error::other("disk full"))
    });
    assert_eq!(result.unwrap_err().to_string(), "disk full");
    assert_eq!((names(folder.path()).len(), names(&path)), (1, vec!["old".to_owned()]));
    // A file is no directory, and stays.
    let file = folder.path().join("file");
    std::fs::write(&file, b"text").unwrap();
    directory(&file, true, "new").unwrap_err();
    assert_eq!(std::fs::read(&file).unwrap(), b"text");
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
#[test]
fn while_a_directory_is_replaced_there_always_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    directory(&path, false, "file").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..50).for_each(|_| directory(&path, true, "file").unwrap());
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            assert!(path.is_dir(), "the directory is gone for a moment");
        }
    });
}

#[cfg(unix)]
#[test]
fn a_link_to_a_directory_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("adapter"), folder.path().join("latest"));
    directory(&path, false, "old").unwrap();
    std::os::unix::fs::symlink("adapter", &link).unwrap();
    directory(&link, true, "new").unwrap();
    assert_eq!((names(&path), link.is_symlink()), (vec!["new".to_owned()], true));
}
