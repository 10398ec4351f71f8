//! What a command may write to: a path where nothing is, or a file or folder that Parr wrote.
//!
//! Each kind of output carries a mark by which Parr knows it again ([`Mark`]). Everything else may be the only
//! copy of somebody's work, and is refused before any work starts. An input is refused by what it is on disk,
//! not by its name, so a link to it is refused too.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::atomic;

/// Key of the mark in metadata and in JSON. In GGUF files `parr.` comes before it.
pub const KEY: &str = "written_by";
/// Value of the mark.
pub const PARR: &str = "parr";
/// Key of the mark in GGUF files. It is the first key of the file.
pub const GGUF_KEY: &str = "parr.written_by";
/// Name of the file that marks the folder of a run. Nobody copies it by hand, unlike a settings file.
pub const RUN_FILE: &str = ".parr-run";
/// The only line of [`RUN_FILE`].
pub const RUN_LINE: &str = "Parr writes to this folder.";
/// Folder of the saved states in the folder of a run.
pub const STATES: &str = "checkpoints";
/// Key of a saved state's position in its metadata.
pub const STATE_KEY: &str = "parr_train_state";
/// The mark of an HTML page.
pub const PAGE_TAG: &str = "<meta name=\"generator\" content=\"parr\">";

/// Maximum size of a JSON file, or of a safetensors header, that is searched for a mark.
const MAX_JSON_BYTES: u64 = 100 << 20;

/// How Parr knows an output of this kind again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// An HTML page with [`PAGE_TAG`] in its head.
    Page,
    /// A JSON object with `"written_by": "parr"`.
    Json,
    /// A safetensors file with `written_by` in its metadata.
    Safetensors,
    /// A GGUF file whose first key is [`GGUF_KEY`].
    Gguf,
}

impl Mark {
    fn kind(self) -> &'static str {
        match self {
            Mark::Page => "page",
            Mark::Json => "JSON file",
            Mark::Safetensors => "safetensors file",
            Mark::Gguf => "GGUF file",
        }
    }

    /// Whether the file has the mark. A file that cannot be parsed has none.
    fn is_on(self, file: File) -> io::Result<bool> {
        match self {
            Mark::Page => {
                let mut head = Vec::new();
                file.take(4096).read_to_end(&mut head)?;
                Ok(String::from_utf8_lossy(&head).contains(PAGE_TAG))
            }
            Mark::Json => is_marked_json(file),
            Mark::Safetensors => {
                Ok(metadata(file)?.is_some_and(|found| found.get(KEY).is_some_and(|value| value == PARR)))
            }
            Mark::Gguf => {
                // Magic, version and two counts; then the length of the first key, and the key.
                let mut head = Vec::new();
                file.take(32 + GGUF_KEY.len() as u64).read_to_end(&mut head)?;
                Ok(head.starts_with(b"GGUF") && head.get(32..) == Some(GGUF_KEY.as_bytes()))
            }
        }
    }
}

fn is_marked_json(file: File) -> io::Result<bool> {
    #[derive(Deserialize)]
    struct Marked {
        written_by: Option<String>,
    }
    let mut text = Vec::new();
    file.take(MAX_JSON_BYTES).read_to_end(&mut text)?;
    let marked = serde_json::from_slice::<Marked>(&text).ok();
    Ok(marked.is_some_and(|marked| marked.written_by.as_deref() == Some(PARR)))
}

/// The metadata of a safetensors file; none if it is something else.
fn metadata(mut file: File) -> io::Result<Option<HashMap<String, String>>> {
    #[derive(Deserialize)]
    struct Header {
        __metadata__: Option<HashMap<String, String>>,
    }
    let mut length = [0; 8];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut text = Vec::new();
    file.take(u64::from_le_bytes(length).min(MAX_JSON_BYTES)).read_to_end(&mut text)?;
    Ok(serde_json::from_slice::<Header>(&text).ok().and_then(|header| header.__metadata__))
}

/// `Ok` if a file with this mark can be written to `path`, by a command that reads `inputs`.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`] with a message that states what to do if `path` is an input, or exists without
/// the mark; errors of reading it.
pub fn check(path: &Path, mark: Mark, inputs: &[&Path]) -> io::Result<()> {
    not_an_input(path, inputs)?;
    let Some(found) = present(path)? else { return Ok(()) };
    if !found.is_file() {
        return Err(refused("it exists and is not a file; choose another path"));
    }
    // A page is never read, so it may be in the folder of an input.
    let whole = |input: &&&Path| mark != Mark::Page && input.is_dir();
    for input in inputs.iter().filter(whole) {
        if fs::canonicalize(path)?.starts_with(fs::canonicalize(input)?) {
            let input = input.display();
            return Err(refused(format!("this command reads it in {input}; choose another path")));
        }
    }
    if mark.is_on(File::open(path)?)? {
        return Ok(());
    }
    let kind = mark.kind();
    Err(refused(format!(
        "it exists, but parr did not write it as a {kind}; choose another path, or delete it"
    )))
}

/// Writes a file as [`atomic::write`] does, to a path that passes [`check`]. What `fill` writes must have the
/// mark. Check before the work too: this is after it.
///
/// # Errors
///
/// Those of [`check`] and of [`atomic::write`].
pub fn write(
    path: &Path,
    mark: Mark,
    inputs: &[&Path],
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    check(path, mark, inputs)?;
    // A link is followed: the file is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    atomic::write(&path, fill)
}

/// `Ok` if a run can write into `folder`: it is missing or empty, or the folder of a run. That has
/// [`RUN_FILE`], or saved states if an earlier version of Parr began it. Files whose names begin with a dot are
/// not counted.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`] with a message that states what to do for any other folder; errors of reading
/// it.
pub fn check_folder(folder: &Path) -> io::Result<()> {
    let Some(found) = present(folder)? else { return Ok(()) };
    if !found.is_dir() {
        return Err(refused("it exists and is not a folder; choose another path"));
    }
    if is_marked_folder(folder)? || has_states(&folder.join(STATES))? {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            let name = name.to_string_lossy();
            return Err(refused(format!(
                "it holds `{name}`, but parr did not write this folder; choose a new folder, or an empty one"
            )));
        }
    }
    Ok(())
}

/// Creates `folder` if it is missing, and marks it as the folder of a run.
///
/// # Errors
///
/// Those of [`check_folder`]; errors of creating and writing.
pub fn claim_folder(folder: &Path) -> io::Result<()> {
    check_folder(folder)?;
    fs::create_dir_all(folder)?;
    if is_marked_folder(folder)? {
        return Ok(());
    }
    atomic::write(&folder.join(RUN_FILE), |file| writeln!(file, "{RUN_LINE}"))
}

/// Whether the folder has [`RUN_FILE`] with its line.
fn is_marked_folder(folder: &Path) -> io::Result<bool> {
    let path = folder.join(RUN_FILE);
    if !present(&path)?.is_some_and(|found| found.is_file()) {
        return Ok(false);
    }
    let mut line = String::new();
    let read = BufReader::new(File::open(path)?.take(RUN_LINE.len() as u64 + 2)).read_line(&mut line);
    Ok(read.is_ok() && line.trim_end_matches(['\r', '\n']) == RUN_LINE)
}

/// Whether the folder holds a saved state, sound or damaged behind its header.
fn has_states(folder: &Path) -> io::Result<bool> {
    if !folder.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("step-")
            && name.ends_with(".safetensors")
            && entry.file_type()?.is_file()
            && metadata(File::open(entry.path())?)?.is_some_and(|found| found.contains_key(STATE_KEY))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `Ok` if writing `path` changes none of `inputs`: it is none of them, by another name or link neither, and
/// none of them is in the folder `path`.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`] with a message that names the input.
pub fn not_an_input(path: &Path, inputs: &[&Path]) -> io::Result<()> {
    for input in inputs {
        if is_same(path, input) {
            let input = input.display();
            return Err(refused(format!("this command reads it as {input}; choose another path")));
        }
        if let (Ok(folder), Ok(inside)) = (fs::canonicalize(path), fs::canonicalize(input))
            && inside.starts_with(&folder)
        {
            let input = input.display();
            return Err(refused(format!("this command reads {input} in it; choose another path")));
        }
    }
    Ok(())
}

/// Whether both paths lead to one file or folder.
fn is_same(left: &Path, right: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // Hard links too.
        if let (Ok(left), Ok(right)) = (fs::metadata(left), fs::metadata(right)) {
            return (left.dev(), left.ino()) == (right.dev(), right.ino());
        }
    }
    matches!((fs::canonicalize(left), fs::canonicalize(right)), (Ok(left), Ok(right)) if left == right)
}

/// What is at `path`. A link is followed; one that leads nowhere is something, too.
fn present(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The error for something at an output's path that must stay as it is.
pub fn refused(reason: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, reason.into())
}

/// `path` with `.toml` after its name: the settings of a file of records.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".toml");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &Path, inputs: &[&Path]) -> io::Result<()> {
        write(path, Mark::Page, inputs, |file| write!(file, "<!DOCTYPE html>\n{PAGE_TAG}"))
    }

    #[test]
    fn our_own_page_is_replaced_and_no_other_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.html");
        page(&path, &[]).expect("a fresh path");
        page(&path, &[]).expect("our own");
        for foreign in ["", "<!DOCTYPE html>", "{\"written_by\": \"parr\"}"] {
            fs::write(&path, foreign).expect("written");
            let error = page(&path, &[]).expect_err("not ours");
            assert!(error.to_string().contains("choose another path, or delete it"), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("readable"), foreign);
        }
        assert!(page(folder.path(), &[]).expect_err("a folder").to_string().contains("not a file"));
    }

    #[test]
    fn marks_are_found_in_json_and_in_headers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let is_on = |mark: Mark, bytes: &[u8]| {
            fs::write(&path, bytes).expect("written");
            mark.is_on(File::open(&path).expect("open")).expect("readable")
        };
        assert!(is_on(Mark::Json, b"{\"a\": [1], \"written_by\": \"parr\"}\n"));
        assert!(!is_on(Mark::Json, b"{\"a\": [1], \"written_by\": \"me\"}\n"));
        assert!(!is_on(Mark::Json, b"{\"written_by\": \"parr\"}\n{}"));
        let header = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes(), b"data"].concat();
        assert!(is_on(Mark::Safetensors, &header(r#"{"a":{},"__metadata__":{"written_by":"parr"}}"#)));
        assert!(!is_on(Mark::Safetensors, &header(r#"{"a":{},"__metadata__":{"format":"pt"}}"#)));
        assert!(!is_on(Mark::Safetensors, b"short"));
        let gguf =
            |key: &str| [b"GGUF", &[0; 20][..], &(key.len() as u64).to_le_bytes(), key.as_bytes()].concat();
        assert!(is_on(Mark::Gguf, &gguf(GGUF_KEY)));
        assert!(!is_on(Mark::Gguf, &gguf("general.architecture")));
    }

    #[test]
    fn a_run_gets_a_new_folder_or_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("run");
        check_folder(&run).expect("missing");
        fs::create_dir(&run).expect("made");
        fs::write(run.join(".lock"), "").expect("written");
        check_folder(&run).expect("empty");
        fs::write(run.join("sft.toml"), "seed = 1\n").expect("written");
        let error = check_folder(&run).expect_err("somebody's settings").to_string();
        assert!(error.contains("`sft.toml`") && error.contains("choose a new folder"), "{error}");
        assert!(claim_folder(&run).is_err());
        // What a run writes there may be copied from it.
        fs::write(run.join("reward.toml"), "# Written by parr\n").expect("written");
        fs::write(run.join(RUN_FILE), format!("{RUN_LINE}.\n")).expect("written");
        fs::create_dir(run.join(STATES)).expect("made");
        let state = run.join(STATES).join("step-00000001.safetensors");
        let header = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        fs::write(&state, header(r#"{"__metadata__":{"format":"pt"}}"#)).expect("written");
        assert!(check_folder(&run).is_err(), "no mark, and no state of ours");
        fs::write(&state, header(r#"{"__metadata__":{"parr_train_state":"{}"}}"#)).expect("written");
        check_folder(&run).expect("a run of an earlier version");
        assert!(check_folder(&run.join("sft.toml")).is_err(), "a file");

        let new = folder.path().join("runs/new");
        claim_folder(&new).expect("a new one");
        fs::write(new.join("rows.jsonl"), "").expect("written");
        claim_folder(&new).expect("the folder of a run");
    }

    #[cfg(unix)]
    #[test]
    fn an_input_is_refused_under_any_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, hard, soft) =
            (folder.path().join("a"), folder.path().join("hard"), folder.path().join("soft"));
        page(&path, &[]).expect("a fresh path");
        fs::hard_link(&path, &hard).expect("linked");
        std::os::unix::fs::symlink(&path, &soft).expect("linked");
        for name in [&path, &hard, &soft, &folder.path().join("./a"), &folder.path().to_owned()] {
            let error = page(name, &[&path]).expect_err("the input").to_string();
            assert!(error.contains("this command reads"), "{error}");
        }
        let logits = check(&path, Mark::Safetensors, &[folder.path()]).expect_err("in a folder that is read");
        assert!(logits.to_string().contains("this command reads it in"), "{logits}");
        page(&soft, &[folder.path()]).expect("our own, by a link, in a folder that is read");
        assert!(fs::symlink_metadata(&soft).expect("there").is_symlink(), "the link stays");
        fs::remove_file(&path).expect("removed");
        assert!(page(&soft, &[]).is_err(), "a link to nothing");
    }
}
