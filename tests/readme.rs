//! What the README lists is what the code has.

use std::fs;
use std::path::Path;

use parr::model::config::Architecture;

/// The line before the list of architectures.
const BEFORE: &str =
    "- **Models**, by architecture, for chat, LoRA training, reward models and reinforcement learning:\n";

#[test]
fn the_readme_lists_every_architecture() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).expect("the README");
    let list: String =
        Architecture::all().map(|one| format!("  - {}: {}\n", one.name(), one.models())).collect();
    let (before, rest) = text.split_once(BEFORE).expect("the README lists models");
    let after: String = rest.split_inclusive('\n').skip_while(|line| line.starts_with("  - ")).collect();
    let wanted = format!("{before}{BEFORE}{list}{after}");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &wanted).expect("the README is writable");
    } else {
        assert!(text == wanted, "the list of models is not that of the code: run with UPDATE_SNAPSHOTS=1");
    }
}
