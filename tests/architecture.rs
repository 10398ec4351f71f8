//! The order of the modules, as a test: each layer imports only what stands above it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Module, and the modules of the crate that it may import. A module may always import itself.
///
/// `error` stands at the top because everyone may return it, yet it wraps the error of every layer:
/// it may name those types and nothing else, which the test checks by name.
const TABLE: &[(&str, &[&str])] = &[
    // Layer 0: data on the CPU.
    ("lock", &[]),
    ("atomic", &["lock"]),
    ("cache", &[]),
    ("file", &[]),
    ("guarded", &[]),
    ("output", &["atomic"]),
    ("random", &[]),
    ("report", &["output"]),
    ("settings", &["file"]),
    ("tensor", &[]),
    // Layer 1: how weights and text are coded.
    ("quant", &[]),
    ("tokenizer", &["file", "guarded"]),
    // Layer 2: files; and the oracle, which must share nothing with the kernels that it checks.
    ("format", &["atomic", "cache", "file", "quant"]),
    ("principles", &["file", "random"]),
    ("reference", &["random"]),
    // Layer 3: knows kernels by name and nothing of models.
    ("gpu", &["atomic", "cache", "guarded"]),
    // Layer 4.
    ("ops", &["quant", "gpu"]),
    // Layer 5.
    ("model", &["file", "random", "quant", "tokenizer", "format", "gpu", "ops"]),
    // Layer 6.
    ("adapter", &["atomic", "file", "output", "quant", "format", "model"]),
    ("convert", &["error", "file", "output", "quant", "tokenizer", "format", "ops", "model"]),
    ("generate", &["tokenizer", "gpu", "ops", "model"]),
    // Layer 7.
    ("conformance", &["random", "report", "quant", "reference", "gpu", "ops"]),
    ("tune", &["random", "quant", "format", "reference", "gpu", "ops", "model", "generate"]),
    ("hub", &["cache", "file", "lock"]),
    ("preferences", &["file", "lock", "output", "random", "tokenizer", "principles"]),
    // Layer 8.
    ("attributes", &["file", "preferences", "random"]),
    (
        "train",
        &[
            "atomic",
            "file",
            "lock",
            "output",
            "random",
            "settings",
            "tensor",
            "tokenizer",
            "format",
            "principles",
            "gpu",
            "ops",
            "model",
            "adapter",
            "generate",
            "preferences",
        ],
    ),
    // Layer 9.
    (
        "judge",
        &[
            "atomic",
            "file",
            "output",
            "random",
            "settings",
            "tokenizer",
            "format",
            "principles",
            "ops",
            "model",
            "generate",
            "preferences",
            "attributes",
            "train",
        ],
    ),
    (
        "reward",
        &[
            "atomic",
            "cache",
            "file",
            "random",
            "report",
            "settings",
            "quant",
            "tokenizer",
            "format",
            "principles",
            "ops",
            "model",
            "adapter",
            "generate",
            "preferences",
            "attributes",
            "train",
        ],
    ),
    (
        "self_align",
        &[
            "atomic",
            "file",
            "output",
            "random",
            "settings",
            "tokenizer",
            "principles",
            "model",
            "generate",
            "preferences",
            "train",
        ],
    ),
    // Layer 10.
    ("steer", &["random", "report", "tokenizer", "principles", "model", "generate", "preferences", "reward"]),
    (
        "align",
        &[
            "atomic",
            "file",
            "random",
            "settings",
            "tokenizer",
            "principles",
            "ops",
            "model",
            "adapter",
            "generate",
            "preferences",
            "train",
            "reward",
        ],
    ),
    // Layer 11: what joins the others.
    (
        "chat",
        &[
            "atomic",
            "file",
            "output",
            "quant",
            "tokenizer",
            "principles",
            "gpu",
            "ops",
            "model",
            "adapter",
            "generate",
            "hub",
            "reward",
            "steer",
        ],
    ),
    (
        "salmon",
        &[
            "atomic",
            "file",
            "lock",
            "report",
            "settings",
            "principles",
            "model",
            "adapter",
            "generate",
            "preferences",
            "train",
            "judge",
            "reward",
            "self_align",
            "steer",
            "align",
        ],
    ),
    // Layer 12: the same over HTTP.
    (
        "serve",
        &[
            "atomic",
            "file",
            "guarded",
            "lock",
            "settings",
            "tokenizer",
            "principles",
            "gpu",
            "ops",
            "model",
            "adapter",
            "generate",
            "hub",
            "preferences",
            "train",
            "reward",
            "align",
            "steer",
            "chat",
        ],
    ),
    // Layer 13: the program.
    ("cli", &[]),
    // Prose for rustdoc.
    ("guide", &[]),
    ("main", &["cli"]),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a folder of the repository") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level item that every `crate::` path in `text` begins with, groups included, and the
/// last word of the path. Comments do not count: documentation may point anywhere.
fn imports(text: &str) -> Vec<(String, String)> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` in a macro and `mycrate::` elsewhere.
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| -> String {
            text.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect()
        };
        let paths: Vec<String> = match rest.strip_prefix('{') {
            Some(group) => {
                // One level of the group is enough to know the modules.
                let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => items.push(std::mem::take(&mut item)),
                        _ => item.push(c),
                    }
                }
                items.push(item);
                items.iter().map(|item| word(item.trim())).filter(|item| !item.is_empty()).collect()
            }
            None => vec![word(rest)],
        };
        for path in paths {
            let mut parts = path.split("::").filter(|part| !part.is_empty());
            let first = parts.next().unwrap_or_default().to_owned();
            found.push((first.clone(), parts.last().unwrap_or(&first).to_owned()));
        }
    }
    found
}

#[test]
fn each_layer_imports_only_what_stands_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let relative = file.strip_prefix(&root).expect("inside the folder");
        let module = relative.components().next().expect("a path").as_os_str().to_string_lossy();
        let module = module.trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("source is text");
        seen.insert(module.clone());
        for (target, name) in imports(&text) {
            // The crate's own error, re-exported at the root.
            if target == module || target == "Error" || target == "error" {
                continue;
            }
            let allowed = match TABLE.iter().find(|(known, _)| *known == module) {
                _ if module == "error" => name.ends_with("Error"),
                Some((_, allowed)) => allowed.contains(&target.as_str()),
                None => false,
            };
            if !allowed {
                faults.push(format!("{} imports crate::{target} ({name})", relative.display()));
            }
        }
    }
    for module in seen.iter().filter(|module| *module != "error") {
        if !TABLE.iter().any(|(known, _)| known == module) {
            faults.push(format!("module `{module}` has no layer: add it to the table"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A file that `tests.rs` does not name is not compiled, so its tests would not run.
#[test]
fn every_file_of_tests_is_a_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = Vec::new();
    sources(&root, &mut files);
    // The macro is a crate of its own.
    files.retain(|file| !file.starts_with(root.join("attribute")) && !file.ends_with("tests.rs"));
    assert!(files.len() > 50, "{} files", files.len());
    for file in files {
        let folder = file.parent().expect("inside the folder");
        let (name, parent) = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod") => (folder.file_name().and_then(|name| name.to_str()), folder.parent()),
            name => (name, Some(folder)),
        };
        let (name, parent) = (name.expect("names are UTF-8"), parent.expect("inside the folder"));
        let beside = parent.with_extension("rs");
        let places = [parent.join("tests.rs"), parent.join("mod.rs"), beside];
        let named = places.iter().filter_map(|place| std::fs::read_to_string(place).ok()).any(|text| {
            let declares = |line: &str| {
                line.strip_suffix(';')
                    .and_then(|line| line.split_once("mod "))
                    .is_some_and(|(_, module)| module == name)
            };
            text.lines().any(declares)
        });
        assert!(named, "no `mod {name};` for {}", file.display());
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::gpu::Device;\nuse crate::{model::{a, b}, ops};\nlet x = crate::quant::Quant::F32;\n\
                /// see crate::cli::main\n$crate::hub::y; mycrate::z();";
    let found: BTreeSet<String> = imports(text).into_iter().map(|(module, _)| module).collect();
    let expected = ["gpu", "hub", "model", "ops", "quant"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}
