//! Sets of principles over HTTP: those that come with the program, and those in a folder.

mod check;
mod rows;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::{Json, Name, ok};
use super::openai::errors::ApiError;
use super::state::{Shared, blocking};
use crate::atomic;
use crate::file::{read_text, sha256};
use crate::principles::{PrincipleSet, SHIPPED};
use check::{Checked, check_rows, check_text, switched_off};
pub(super) use rows::set_of_rows;
use rows::{Row, from_rows, of_sentences};

/// The longest name of a set.
const LONGEST_NAME: usize = 64;
/// Name of a set that was sent as text.
const UNNAMED: &str = "mine";

/// A folder of sets, one TOML file each.
pub(super) struct PrincipleFolder {
    folder: PathBuf,
    /// Held while a file is compared and written.
    writing: Mutex<()>,
}

/// Where a set is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Shipped,
    File,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Shipped => "shipped",
            Source::File => "file",
        }
    }
}

fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Whether a text can be the name of a set, and so of a file: words of lower-case letters and digits, joined by hyphens.
fn is_name(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit())
    };
    text.len() <= LONGEST_NAME && text.split('-').all(word)
}

/// Whether a text is written as a file of principles; else it is sentences.
fn is_toml(text: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        let key = line.split_once('=').map(|(key, _)| key.trim());
        line.starts_with("[[")
            || key.is_some_and(|key| matches!(key, "id" | "title" | "description" | "definition" | "use"))
    })
}

impl PrincipleFolder {
    pub fn new(folder: PathBuf) -> PrincipleFolder {
        PrincipleFolder { folder, writing: Mutex::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// The text of a set, by its name alone: no name leads to another folder.
    fn text(&self, name: &str) -> Result<(Source, String), ApiError> {
        if let Some(text) = shipped(name) {
            return Ok((Source::Shipped, text.to_owned()));
        }
        let path = self.path(name);
        if !is_name(name) || !path.is_file() {
            let message = format!(
                "there is no set of principles `{name}`; this server has {}",
                self.names().join(", ")
            );
            return Err(ApiError::not_found(message).param("principles"));
        }
        match read_text(&path) {
            Ok(text) => Ok((Source::File, text)),
            Err(error) => Err(ApiError::unprocessable(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Names of all sets: those that come with the program first.
    fn names(&self) -> Vec<String> {
        let mut own: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let is_set = path.extension().is_some_and(|extension| extension == "toml") && path.is_file();
            if is_set && is_name(name) && shipped(name).is_none() {
                own.push(name.to_owned());
            }
        }
        own.sort();
        SHIPPED.iter().map(|(name, _)| (*name).to_owned()).chain(own).collect()
    }

    /// The set that a client names, or sends as TOML or as sentences.
    pub fn find(&self, given: &str) -> Result<PrincipleSet, ApiError> {
        let given = given.trim();
        let set = if is_name(given) {
            PrincipleSet::parse(&self.text(given)?.1)
        } else if is_toml(given) {
            PrincipleSet::parse(given)
        } else {
            PrincipleSet::parse(&of_sentences(given).0.to_toml())
        };
        set.map_err(|error| ApiError::from(error).param("principles"))
    }

    /// A set as clients see it.
    fn entry(&self, name: &str) -> Result<Value, ApiError> {
        let (source, text) = self.text(name)?;
        let checked = check_text(&text);
        let set = checked.set.clone().unwrap_or_default();
        Ok(json!({
            "name": name,
            "source": source.name(),
            "title": set.title,
            "description": set.description,
            "hash": sha256(&text),
            "principles": checked.principles(),
            "mistakes": checked.mistakes,
            "text": text,
        }))
    }

    /// Saves a set. `hash` is that of the file as the client read it.
    fn save(&self, name: &str, change: Change, hash: Option<&str>) -> Result<Value, ApiError> {
        if !is_name(name) {
            let message =
                "the name of a set is made of lower-case letters and digits, in words joined by hyphens";
            return Err(ApiError::field("name", message));
        }
        if shipped(name).is_some() {
            let message =
                format!("`{name}` comes with parr and cannot be changed; save it under another name");
            return Err(ApiError::new(StatusCode::FORBIDDEN, message).code("shipped"));
        }
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name);
        let before = path.is_file().then(|| read_text(&path)).transpose();
        let failed = |what: &str, error: std::io::Error| {
            ApiError::internal(format!("cannot {what} {}: {error}", path.display())).code("storage")
        };
        let before = before.map_err(|error| failed("read", error))?;
        if hash.is_some_and(|hash| before.as_deref().map(sha256).as_deref() != Some(hash)) {
            let message = format!("{} was changed meanwhile; read it again before you save", path.display());
            return Err(ApiError::conflict(message, "changed_on_disk"));
        }
        let checked = match change {
            Change::Text(text) => check_text(&text),
            Change::Rows { rows, title, description } => {
                let base = before.as_deref().and_then(|text| check_text(text).set);
                let (set, off) = from_rows(name, base, rows, title, description);
                check_rows(&set, &off)
            }
        };
        let mut mistakes = checked.mistakes.clone();
        mistakes.retain(|mistake| mistake["severity"] == "error");
        if let Some(set) = checked.set.as_ref().filter(|set| set.id != name) {
            let message =
                format!("`id` is \"{}\", but the set is saved as \"{name}\"; the two must be equal", set.id);
            mistakes.push(
                json!({ "line": 1, "column": 1, "index": null, "message": message, "severity": "error" }),
            );
        }
        if let Some(first) = mistakes.first() {
            let message = first["message"].as_str().unwrap_or_default().to_owned();
            let error = ApiError::unprocessable(message).code("principles").param("principles");
            return Err(ApiError { more: Some(Box::new(("mistakes", mistakes.into()))), ..error });
        }
        std::fs::create_dir_all(&self.folder).map_err(|error| failed("create the folder of", error))?;
        let write = atomic::write(&path, |file| file.write_all(checked.text.as_bytes()));
        write.map_err(|error| failed("write", error))?;
        self.entry(name)
    }
}

/// What a client saves.
enum Change {
    Text(String),
    Rows { rows: Vec<Row>, title: Option<String>, description: Option<String> },
}

/// `GET /v1/principles`
pub(super) async fn list(State(state): Shared) -> Result<Response, ApiError> {
    let work = move || {
        let folder = &state.principles;
        let row = |name: String| {
            // A file may be gone meanwhile.
            let (source, text) = folder.text(&name).ok()?;
            let checked = check_text(&text);
            let errors = checked.mistakes.iter().filter(|one| one["severity"] == "error").count();
            let set = checked.set.unwrap_or_default();
            Some(json!({
                "name": name,
                "title": set.title,
                "description": set.description,
                "source": source.name(),
                "n": set.principles.len(),
                "mistakes": errors,
            }))
        };
        folder.names().into_iter().filter_map(row).collect::<Vec<Value>>()
    };
    Ok(ok(&json!({ "data": blocking(work).await? })))
}

/// `GET /v1/principles/{name}`
pub(super) async fn one(State(state): Shared, Name(name): Name) -> Result<Response, ApiError> {
    Ok(ok(&blocking(move || state.principles.entry(&name)).await??))
}

/// `POST /v1/principles/check`
pub(super) async fn check(_: Shared, Json(mut fields): Json) -> Result<Response, ApiError> {
    let text: Option<String> = fields.take("text")?;
    let rows: Option<Vec<Row>> = fields.take("principles")?;
    let title: Option<String> = fields.take("title")?;
    let name =
        fields.take::<String>("name")?.filter(|name| is_name(name)).unwrap_or_else(|| UNNAMED.to_owned());
    let checked = match (text, rows) {
        (Some(text), None) => check_text(&text),
        (None, Some(rows)) => {
            let (set, off) = from_rows(&name, None, rows, title, None);
            check_rows(&set, &off)
        }
        _ => return Err(ApiError::field("text", "give either `text` or `principles`")),
    };
    Ok(ok(&checked.json()))
}

/// `PUT /v1/principles/{name}`
pub(super) async fn save(
    State(state): Shared,
    Name(name): Name,
    Json(mut fields): Json,
) -> Result<Response, ApiError> {
    let text: Option<String> = fields.take("text")?;
    let rows: Option<Vec<Row>> = fields.take("principles")?;
    let (title, description) = (fields.take("title")?, fields.take("description")?);
    let hash: Option<String> = fields.take("hash")?;
    let change = match (text, rows) {
        // Clients may send back a whole entry, whose text is older than its principles.
        (_, Some(rows)) => Change::Rows { rows, title, description },
        (Some(text), None) => Change::Text(text),
        (None, None) => return Err(ApiError::field("principles", "give either `principles` or `text`")),
    };
    let shared = Arc::clone(&state);
    let entry = blocking(move || shared.principles.save(&name, change, hash.as_deref())).await??;
    tracing::info!(name = %entry["name"], "a set of principles was saved");
    Ok(ok(&entry))
}

impl Checked {
    /// The principles as clients see them.
    fn principles(&self) -> Vec<Value> {
        let off = switched_off(&self.text);
        let set = self.set.iter().flat_map(|set| &set.principles).enumerate();
        set.map(|(place, one)| {
            json!({
                "id": one.id,
                "name": one.dimension,
                "definition": one.definition,
                "negative": one.negative,
                "weight": one.weight,
                "on": !off.contains(&place),
            })
        })
        .collect()
    }

    fn json(&self) -> Value {
        let ok = self.mistakes.iter().all(|mistake| mistake["severity"] != "error");
        json!({ "ok": ok, "mistakes": self.mistakes, "principles": self.principles(), "text": self.text })
    }
}
