//! The language of the project: phrases that a reader has to translate, and sentences that are too long.
//!
//! Comments, strings, Markdown, settings files and help pages are read as running text, so a phrase is also found
//! across a line break. Code blocks and code spans are left out. What a model reads is not prose: such texts are
//! exceptions, with a reason each (`phrases.rs`).

/// The phrases, what to write instead, and the exceptions.
mod phrases;
/// Rust sources: comments and string literals.
mod rust;
/// Markdown, settings files and help pages; sentences.
mod text;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use phrases::{EXCEPTIONS, Exception, Phrase, phrases};
use text::{Passage, long_sentences};

/// The most words of a sentence in README.md and in help pages.
const LONGEST_SENTENCE: usize = 35;

/// Passages of one file, with its name as a report gives it.
struct Source {
    name: String,
    passages: Vec<Passage>,
    /// Whether its sentences are counted.
    short_sentences: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` whose names end with `ending`, sorted; none if there is no such folder.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What builds of the bindings leave behind is not ours.
            if path.is_dir() && !name.starts_with('.') && !["build", "target"].contains(&&*name) {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Everything that is read as prose, but for the help pages.
fn sources() -> Vec<Source> {
    let read = |path: &Path, passages: fn(&str) -> Vec<Passage>| {
        let name =
            path.strip_prefix(root()).expect("a file of the project").to_string_lossy().replace('\\', "/");
        let content = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let short_sentences = name == "README.md";
        Source { name, passages: passages(&content), short_sentences }
    };
    let mut sources = Vec::new();
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md"] {
        let path = root().join(name);
        if path.is_file() {
            sources.push(read(&path, text::markdown));
        }
    }
    for folder in ["src/guide", "examples", "principles", "reward-models", "bindings"] {
        sources.extend(files(folder, ".md").iter().map(|path| read(path, text::markdown)));
    }
    for folder in ["examples", "principles"] {
        sources.extend(files(folder, ".toml").iter().map(|path| read(path, text::settings)));
    }
    for folder in ["src", "bindings/ffi/src"] {
        sources.extend(files(folder, ".rs").iter().map(|path| read(path, rust::passages)));
    }
    sources
}

/// The long help of every command, read from the built program.
#[cfg(feature = "cli")]
fn help_pages() -> Vec<Source> {
    let mut pages = Vec::new();
    let mut commands = vec![Vec::<String>::new()];
    while let Some(command) = commands.pop() {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_parr"))
            .args(&command)
            .arg("--help")
            .output()
            .expect("the program starts");
        let help = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && !help.is_empty(), "parr {} --help", command.join(" "));
        let below = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in below.take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap_or_default();
            if line.starts_with("  ") && !line.starts_with("   ") && name != "help" {
                commands.push([&command[..], &[name.to_owned()]].concat());
            }
        }
        let name = ["parr"].into_iter().chain(command.iter().map(String::as_str)).chain(["--help"]);
        let name = name.collect::<Vec<_>>().join(" ");
        pages.push(Source { name, passages: text::help(&help), short_sentences: true });
    }
    pages
}

/// The phrases in a passage, in order, with what to write instead; of two that overlap the longer one.
fn in_passage(passage: &Passage, phrases: &[Phrase]) -> Vec<(Range<usize>, &'static str)> {
    let mut found = Vec::new();
    for phrase in phrases {
        let all =
            phrase.pattern.find_iter(&passage.text).map(|one| one.expect("a pattern that ends").range());
        found.extend(all.map(|range| (range, phrase.write)));
    }
    found.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut until = 0;
    found.retain(|(range, _)| {
        let apart = range.start >= until;
        until = until.max(range.end);
        apart
    });
    found
}

/// Every phrase and every sentence that is too long, each as one line of the report.
fn findings(sources: &[Source], phrases: &[Phrase], exceptions: &[Exception]) -> Vec<String> {
    let mut findings = Vec::new();
    for Source { name, passages, short_sentences } in sources {
        let mut in_file = Vec::new();
        for passage in passages {
            let found = in_passage(passage, phrases);
            for (range, write) in found {
                if !exceptions.iter().any(|one| one.allows(name, &passage.text, range.clone())) {
                    let (line, words) = (passage.line_at(range.start), &passage.text[range]);
                    in_file.push((line, format!("\"{words}\" -> write \"{write}\"")));
                }
            }
            if *short_sentences {
                for (at, words, start) in long_sentences(passage, LONGEST_SENTENCE) {
                    let line = passage.line_at(at);
                    let text =
                        format!("a sentence of {words} words: \"{start} ...\" -> write \"two sentences\"");
                    in_file.push((line, text));
                }
            }
        }
        in_file.sort_by_key(|(line, _)| *line);
        findings.extend(in_file.into_iter().map(|(line, text)| format!("{name}:{line}: {text}")));
    }
    findings
}

#[test]
fn texts_are_plain_english() {
    let mut sources = sources();
    // A folder that was renamed would make this test pass by reading nothing.
    for name in
        ["README.md", "src/guide/salmon.md", "examples/align.toml", "principles/style.toml", "src/lib.rs"]
    {
        assert!(sources.iter().any(|source| source.name == name), "{name} is not read");
    }
    #[cfg(feature = "cli")]
    {
        let pages = help_pages();
        assert!(pages.iter().any(|page| page.name == "parr salmon run --help"));
        sources.extend(pages);
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    let findings = findings(&sources, &phrases(), EXCEPTIONS);
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// Every exception is still needed.
#[test]
fn exceptions_are_in_use() {
    let (sources, phrases) = (sources(), phrases());
    for exception in EXCEPTIONS {
        let used = sources.iter().filter(|source| source.name == exception.file).any(|source| {
            source.passages.iter().any(|passage| {
                let mut found = in_passage(passage, &phrases).into_iter();
                found.any(|(range, _)| exception.allows(&source.name, &passage.text, range))
            })
        });
        assert!(used, "{} no longer needs {:?} ({})", exception.file, exception.text, exception.reason);
    }
}

/// Findings in one file of these passages.
fn found_in(passages: Vec<Passage>, short_sentences: bool) -> Vec<String> {
    let source = Source { name: "file".to_owned(), passages, short_sentences };
    findings(&[source], &phrases(), &[])
}

#[test]
fn a_phrase_across_two_comment_lines_is_found() {
    let source =
        "//! A cache.\n\nfn open() {} // of so\n\n/// It has room for so\n/// many tokens.\nfn f() {}\n";
    assert_eq!(found_in(rust::passages(source), false), ["file:5: \"so many\" -> write \"N\""]);
    // Two comments that belong to different things are not one text.
    let apart = "// so\nfn f() {}\n// many\n/// so\n\n/// many\n";
    assert_eq!(found_in(rust::passages(apart), false), [""; 0]);
}

#[test]
fn strings_are_read_as_they_are_printed() {
    let source = r##"
fn f(text: &'static str) -> char {
    error("the run is given \
           up", 'so', '"', "\"", b"so many");
    error(r#"one
so "many", by
heart"#);
    /* so many /* comments */ */
    '\''
}
"##;
    let found = found_in(rust::passages(source), false);
    let places: Vec<&str> = found.iter().map(|line| line.split(" ->").next().unwrap_or_default()).collect();
    let expected = ["3: \"given up\"", "4: \"so many\"", "6: \"by heart\"", "8: \"so many\""];
    assert_eq!(places, expected.map(|place| format!("file:{place}")));
}

#[test]
fn code_is_not_prose() {
    let source = "Use `so many` or:\n\n```sh\nparr so many  # hangs on it\n```\n\nso\nmany\n";
    let found = found_in(text::markdown(source), false);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("file:4: \"hangs on\""), "a comment in code is: {found:?}");
    assert!(found[1].starts_with("file:7: \"so many\""), "{found:?}");
    let doc = "/// Like this:\n///\n/// ```\n/// let so_many = \"so many\";\n/// ```\nfn f() {}\n";
    assert_eq!(found_in(rust::passages(doc), false), [""; 0]);
}

#[test]
fn settings_files_are_comments_and_descriptions() {
    let source =
        "# so\n# many\nid = \"so many # so many\"\ndescription = \"by heart\" # hangs on it\n\n# so\n";
    let found = found_in(text::settings(source), false);
    let places: Vec<&str> = found.iter().map(|line| line.split(" ->").next().unwrap_or_default()).collect();
    assert_eq!(places, ["file:1: \"so many\"", "file:4: \"by heart\"", "file:4: \"hangs on\""]);
}

#[test]
fn long_sentences_are_counted_in_words() {
    let words = |n: usize| vec!["word"; n].join(" ");
    let long = |text: &str| found_in(text::markdown(text), true).len();
    assert_eq!(long(&format!("{}.", words(35))), 0);
    assert_eq!(long(&format!("{}.", words(36))), 1);
    assert_eq!(long(&format!("{}.\n{}, e.g. {}.", words(30), words(18), words(18))), 1);
    assert_eq!(long(&format!("{}. {}? {}! {}", words(30), words(30), words(30), words(30))), 0);
    // One list item is one text; a table has no sentences; code and addresses are not counted.
    assert_eq!(long(&format!("- {}\n- {}\n", words(30), words(30))), 0);
    assert_eq!(long(&format!("| {} | {} |\n", words(30), words(30))), 0);
    assert_eq!(long(&format!("```sh\n{}\n```\n", words(60))), 0);
    assert_eq!(long(&format!("{} `{}` [{}](https://example.org/a)\n", words(20), words(20), words(14))), 0);
    assert_eq!(long(&format!("{} https://example.org/a {}\n", words(20), words(15))), 0);
    let found = found_in(text::markdown(&format!("Short.\n\nFirst {}.", words(40))), true);
    assert!(found[0].starts_with("file:3: a sentence of 41 words: \"First word word"), "{found:?}");
}

#[test]
fn help_pages_have_paragraphs_options_and_examples() {
    let help = "Runs so\nmany.\n\nUsage: parr run [OPTIONS]\n\nOptions:\n      --so <N>\n          many of\n          \
                these hang\n          on it\n\nExamples:\n  parr run so many    by heart\n";
    let found = found_in(text::help(help), true);
    let places: Vec<&str> = found.iter().map(|line| line.split(" ->").next().unwrap_or_default()).collect();
    assert_eq!(places, ["file:1: \"so many\"", "file:9: \"hang on\"", "file:13: \"by heart\""]);
}

#[test]
fn exceptions_are_narrow() {
    let exception = Exception { file: "a.rs", text: "so many words", reason: "a test" };
    let text = "so many words, so many";
    assert!(exception.allows("a.rs", text, 0..7) && !exception.allows("b.rs", text, 0..7));
    assert!(!exception.allows("a.rs", text, 15..22));
}
