//! Files of principles that are used together, and their mistakes.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::document::{self, Node, Value};
use super::error::{Fault, Faults, PrinciplesError, shown};
use super::exemplars::{self, Exemplars, Named};
use super::{PrincipleSet, salmon_json, set};
use crate::file::AtFile;
use crate::file::hex;

/// Maximum size of a file in bytes; the largest one that ships with Parr has ten thousand.
const MAX_BYTES: u64 = 1 << 20;

/// Files of principles that are used together; every id is unique among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collection {
    /// The sets, in the order of the files.
    pub sets: Vec<PrincipleSet>,
    /// The exemplars, in the order of the files.
    pub exemplars: Vec<Exemplars>,
}

/// The contents of one file, or its mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Number of principles or exemplars, and their set.
    pub summary: String,
    /// Every mistake, in the order of the file; empty if the file can be used.
    pub faults: Vec<Fault>,
}

/// A file after reading.
struct Loaded {
    path: PathBuf,
    text: String,
    contents: Contents,
    /// Ids of principles, each with its byte offset.
    ids: Vec<(String, usize)>,
    /// Rules that exemplars name.
    named: Vec<Named>,
    faults: Faults,
}

enum Contents {
    Set(PrincipleSet),
    Exemplars(Exemplars),
}

impl Collection {
    /// Reads the given files, and all files with the extensions `toml` and `json` in the given directories
    /// and below them, except `schema.json`.
    ///
    /// # Errors
    ///
    /// * [`PrinciplesError::Io`] if a path cannot be read, or a directory has no such files.
    /// * [`PrinciplesError::Faults`] with every mistake in every file.
    pub fn read(paths: &[PathBuf]) -> Result<Collection, PrinciplesError> {
        let mut collection = Collection::default();
        let mut faults = Vec::new();
        for file in load(paths)? {
            faults.extend(file.faults.finish(&file.path, &file.text));
            match file.contents {
                Contents::Set(set) => collection.sets.push(set),
                Contents::Exemplars(exemplars) => collection.exemplars.push(exemplars),
            }
        }
        if faults.is_empty() { Ok(collection) } else { Err(PrinciplesError::Faults(faults)) }
    }

    /// Reports the contents and the mistakes of each file; the files are those of [`Collection::read`].
    ///
    /// # Errors
    ///
    /// [`PrinciplesError::Io`] as [`Collection::read`]. Mistakes in files are not errors here; they are part
    /// of the report.
    pub fn check(paths: &[PathBuf]) -> Result<Vec<FileReport>, PrinciplesError> {
        let report = |file: Loaded| FileReport {
            summary: match &file.contents {
                Contents::Set(set) => {
                    let count = plural(set.principles.len(), "principle");
                    format!("set {}, {count}, use = \"{}\"", set.id, set.uses.name())
                }
                Contents::Exemplars(all) => {
                    let count = plural(all.exemplars.len(), "exemplar");
                    format!("{count} for the set {}", all.rules)
                }
            },
            faults: file.faults.finish(&file.path, &file.text),
            path: file.path,
        };
        Ok(load(paths)?.into_iter().map(report).collect())
    }

    /// The set with this id.
    ///
    /// # Errors
    ///
    /// [`PrinciplesError::Unknown`] with the known ids.
    pub fn set(&self, id: &str) -> Result<&PrincipleSet, PrinciplesError> {
        let ids = || self.sets.iter().map(|set| set.id.as_str());
        let found = self.sets.iter().find(|set| set.id == id);
        found.ok_or_else(|| PrinciplesError::unknown("set of principles", id, ids()))
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Reads one file, which must be a set.
pub(super) fn read_set(path: &Path) -> Result<PrincipleSet, PrinciplesError> {
    only_set(load_file(path)?)
}

/// Parses the text of a file named `path`, which must be a set.
pub(super) fn parse_set(path: &Path, text: &str) -> Result<PrincipleSet, PrinciplesError> {
    only_set(parse(path, text.as_bytes(), true))
}

/// Parses TOML text that is not from a file and must be a set; mistakes name `origin`.
pub(super) fn parse_unnamed(origin: &Path, text: &str) -> Result<PrincipleSet, PrinciplesError> {
    only_set(parse(origin, text.as_bytes(), false))
}

fn only_set(mut file: Loaded) -> Result<PrincipleSet, PrinciplesError> {
    if matches!(file.contents, Contents::Exemplars(_)) {
        file.faults.add(0, "the file holds exemplars, not a set of principles");
    }
    match file.contents {
        Contents::Set(set) if file.faults.is_empty() => Ok(set),
        _ => Err(PrinciplesError::Faults(file.faults.finish(&file.path, &file.text))),
    }
}

/// Reads the exemplars in one file, which must be for the set `rules`.
pub(super) fn read_exemplars(path: &Path, rules: &PrincipleSet) -> Result<Exemplars, PrinciplesError> {
    only_exemplars(load_file(path)?, rules)
}

/// Parses the same from the text of a file named `path`.
pub(super) fn parse_exemplars(
    path: &Path,
    text: &str,
    rules: &PrincipleSet,
) -> Result<Exemplars, PrinciplesError> {
    only_exemplars(parse(path, text.as_bytes(), true), rules)
}

fn only_exemplars(mut file: Loaded, rules: &PrincipleSet) -> Result<Exemplars, PrinciplesError> {
    match &file.contents {
        Contents::Exemplars(all) if all.rules == rules.id => check_named(&mut file, rules),
        Contents::Exemplars(all) => {
            let reason = format!("the exemplars are for the set `{}`, not for `{}`", all.rules, rules.id);
            file.faults.add(0, reason);
        }
        // A file that could not be parsed already has faults.
        Contents::Set(_) if file.faults.is_empty() => {
            file.faults.add(0, "the file holds a set of principles, not exemplars");
        }
        Contents::Set(_) => {}
    }
    match file.contents {
        Contents::Exemplars(all) if file.faults.is_empty() => Ok(all),
        _ => Err(PrinciplesError::Faults(file.faults.finish(&file.path, &file.text))),
    }
}

fn load(paths: &[PathBuf]) -> Result<Vec<Loaded>, PrinciplesError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            list(path, &mut files).map_err(PrinciplesError::io("read", path))?;
            if files.len() == before {
                let none = io::Error::new(ErrorKind::NotFound, "it has no .toml or .json file");
                return Err(PrinciplesError::io("read", path)(none));
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut seen = Vec::new();
    files.retain(|file| {
        // A file that is given by two names counts once.
        let real = fs::canonicalize(file).unwrap_or_else(|_| file.clone());
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    let mut loaded = files.iter().map(|file| load_file(file)).collect::<Result<Vec<Loaded>, _>>()?;
    doubles(&mut loaded);
    dangling_rules(&mut loaded);
    Ok(loaded)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.path();
        let known = path.extension().is_some_and(|extension| extension == "toml" || extension == "json");
        if entry.file_type()?.is_dir() {
            folders.push(path);
        } else if known && entry.file_name() != "schema.json" {
            files.push(path);
        }
    }
    folders.into_iter().try_for_each(|folder| list(&folder, files))
}

fn load_file(path: &Path) -> Result<Loaded, PrinciplesError> {
    let length = fs::metadata(path).map_err(PrinciplesError::io("read", path))?.len();
    if length > MAX_BYTES {
        let reason = format!("it has {length} bytes; a set of principles has at most {MAX_BYTES}");
        return Err(PrinciplesError::io("read", path)(io::Error::new(ErrorKind::InvalidData, reason)));
    }
    Ok(parse(path, &fs::read(path).map_err(PrinciplesError::io("read", path))?, true))
}

/// Parses the contents of a file; if `named`, the file must have the same name as its set.
fn parse(path: &Path, bytes: &[u8], named: bool) -> Loaded {
    let mut faults = Faults::new();
    // Some editors put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(error) => {
            faults.add(error.valid_up_to(), "the file is not UTF-8 from here on");
            String::from_utf8_lossy(bytes).into_owned()
        }
    };
    let mut file = Loaded {
        path: path.to_owned(),
        text,
        contents: Contents::Set(PrincipleSet::default()),
        ids: Vec::new(),
        named: Vec::new(),
        faults,
    };
    if file.faults.is_empty() {
        parse_text(&mut file, named);
    }
    file
}

fn parse_text(file: &mut Loaded, named: bool) {
    let json = file.path.extension().is_some_and(|extension| extension == "json");
    let document = if json {
        document::from_json(&file.text, &mut file.faults)
    } else {
        document::from_toml(&file.text, &mut file.faults)
    };
    // The tree of a file with syntax errors is not checked further.
    if !file.faults.is_empty() {
        return;
    }
    let sha256 = hex(Sha256::digest(&file.text));
    let stem = file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if json {
        let set = salmon_json::read(&document, &stem, &mut file.faults);
        file.contents = Contents::Set(PrincipleSet { sha256, ..set });
        return;
    }
    let id = if has(&document, "exemplar") {
        let (exemplars, named) = exemplars::read(&document, &mut file.faults);
        file.named = named;
        let id = exemplars.id.clone();
        file.contents = Contents::Exemplars(Exemplars { sha256, ..exemplars });
        id
    } else {
        let set = set::read(&document, &mut file.faults);
        let id = set.id.clone();
        file.contents = Contents::Set(PrincipleSet { sha256, ..set });
        file.ids = ids(&document);
        id
    };
    if named && !id.is_empty() && id != stem {
        let reason = format!("`id` is \"{id}\", but the file is named \"{stem}\"; the two must be equal");
        file.faults.add(value_at(&document, "id"), reason);
    }
}

fn entries(node: &Node) -> &[(document::Key, Node)] {
    match &node.value {
        Value::Table(entries) => entries,
        _ => &[],
    }
}

fn has(document: &Node, key: &str) -> bool {
    entries(document).iter().any(|(found, _)| found.name == key)
}

/// Byte offset of the value of `key`.
fn value_at(node: &Node, key: &str) -> usize {
    entries(node).iter().find(|(found, _)| found.name == key).map_or(node.at, |(_, value)| value.at)
}

/// The id of every principle, with its byte offset.
fn ids(document: &Node) -> Vec<(String, usize)> {
    let lists = entries(document).iter().filter(|(key, _)| key.name == "principle");
    let items = lists.flat_map(|(_, node)| match &node.value {
        Value::List(items) => items.as_slice(),
        _ => &[],
    });
    let id = |item: &Node| {
        let (_, node) = entries(item).iter().find(|(key, _)| key.name == "id")?;
        match &node.value {
            Value::Text(id) => Some((id.clone(), node.at)),
            _ => None,
        }
    };
    items.filter_map(id).collect()
}

/// Adds a fault for each id of a set or a principle that an earlier file already has.
fn doubles(files: &mut [Loaded]) {
    let mut owners: HashMap<(bool, String), String> = HashMap::new();
    for file in files {
        let Contents::Set(set) = &file.contents else { continue };
        // Duplicates within one file were reported before.
        let mut own: HashMap<(bool, String), usize> = HashMap::new();
        own.insert((true, set.id.clone()), 0);
        for (id, at) in &file.ids {
            own.entry((false, id.clone())).or_insert(*at);
        }
        let mut own: Vec<((bool, String), usize)> = own.into_iter().collect();
        own.sort_by_key(|(_, at)| *at);
        for (name, at) in own.into_iter().filter(|((_, id), _)| !id.is_empty()) {
            if let Some(first) = owners.get(&name) {
                let kind = if name.0 { "set" } else { "principle" };
                file.faults.add(at, format!("there is already a {kind} `{}` in {first}", name.1));
            } else {
                owners.insert(name, file.path.display().to_string());
            }
        }
    }
}

/// Adds a fault for each rule that exemplars name but that does not exist, and for each rule whose dimension
/// the thoughts do not name. The set of rules is one of the files, or is in the folder above the exemplars.
fn dangling_rules(files: &mut [Loaded]) {
    let mut sets: HashMap<String, PrincipleSet> = HashMap::new();
    for file in files.iter() {
        if let Contents::Set(set) = &file.contents {
            sets.insert(set.id.clone(), set.clone());
        }
    }
    for file in files {
        let Contents::Exemplars(exemplars) = &file.contents else { continue };
        let name = &exemplars.rules;
        let beside = || read_set(&file.path.parent()?.join("..").join(format!("{name}.toml"))).ok();
        let Some(set) = sets.get(name).cloned().or_else(beside) else {
            if let Some(first) = file.named.first() {
                let reason = format!("there is no set `{name}` among the files or in the folder above");
                file.faults.add(first.at, reason);
            }
            continue;
        };
        check_named(file, &set);
    }
}

/// Adds faults for the rules of `set` that the exemplars of `file` name wrongly.
fn check_named(file: &mut Loaded, set: &PrincipleSet) {
    for named in &file.named {
        let Ok(rule) = set.principle(&named.rule) else {
            let reason = format!("there is no rule `{}` in the set `{}`", shown(&named.rule), set.id);
            file.faults.add(named.at, reason);
            continue;
        };
        let call = format!("({})", rule.dimension);
        if !named.thoughts.contains(&call) {
            let reason = format!("the thoughts do not name the rule `{}` as {call}", rule.id);
            file.faults.add(named.at, reason);
        }
    }
}
