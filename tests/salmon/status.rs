//! The status of stages, as pure functions of files and manifests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use parr::salmon::{
    Budget, Inputs, Manifest, NewRun, PipelineConfig, PipelineError, Sources, Stage, StageRun, StageStatus,
    init,
};
use parr::settings::Auto;
use parr::settings::Settings;

use super::{edit, folder};

fn inputs(pairs: &[(&str, &str)]) -> Inputs {
    let mut inputs = Inputs::default();
    for (name, hash) in pairs {
        inputs.add(name, *hash);
    }
    inputs
}

#[test]
fn the_status_of_a_stage_follows_from_its_inputs_and_outputs() {
    let (old, new) = (inputs(&[("a", "1"), ("b", "2")]), inputs(&[("a", "1"), ("b", "3"), ("c", "4")]));
    assert_eq!(old.differences(&new), ["b", "c"]);
    assert_eq!(new.differences(&old), ["b", "c"]);
    assert_ne!(old.folder(Stage::Reward), new.folder(Stage::Reward));
    assert!(old.folder(Stage::Reward).starts_with("reward-"));

    let stage = Stage::Reward;
    let mut manifest = Manifest::default();
    let of = |manifest: &Manifest, inputs: &Inputs, damaged: &[&str], begun| {
        let damaged = damaged.iter().map(|name| (*name).to_owned()).collect();
        StageStatus::of(manifest, stage, inputs, damaged, begun)
    };
    assert_eq!(of(&manifest, &old, &[], false), StageStatus::Pending);
    assert_eq!(of(&manifest, &old, &[], true), StageStatus::Unfinished);

    let run = StageRun { stage, inputs: old.clone(), outputs: BTreeMap::new() };
    manifest.runs.insert(old.folder(stage), run);
    manifest.current.insert(stage, old.folder(stage));
    assert_eq!(of(&manifest, &old, &[], true), StageStatus::Done);
    assert_eq!(of(&manifest, &old, &["x"], true), StageStatus::Damaged(vec!["x".to_owned()]));
    assert_eq!(of(&manifest, &new, &[], false), StageStatus::Changed(vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(of(&manifest, &new, &[], true), StageStatus::Unfinished);
    // An edit that is undone: what was made then is still known.
    manifest.current.insert(stage, new.folder(stage));
    assert_eq!(of(&manifest, &old, &[], true), StageStatus::Done);
}

#[test]
fn outputs_that_are_not_as_they_were_left_are_found() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    fs::write(folder.path().join("a"), "abc").expect("writable");
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
    let outputs = BTreeMap::from([("a".to_owned(), abc.clone()), ("b".to_owned(), abc)]);
    let run = StageRun { stage: Stage::Reward, inputs: Inputs::default(), outputs };
    assert_eq!(run.damaged(folder.path()).expect("readable"), ["b"]);
    fs::write(folder.path().join("a"), "abd").expect("writable");
    assert_eq!(run.damaged(folder.path()).expect("readable"), ["a", "b"]);
}

/// What each stage is made from, if those before it left what their names say.
fn all_inputs(folder: &Path, config: &PipelineConfig) -> BTreeMap<Stage, Inputs> {
    let sources = Sources::find(folder, config, "base").expect("sound files");
    let mut done = BTreeMap::new();
    let mut all = BTreeMap::new();
    for stage in config.stages() {
        let inputs = sources.inputs(stage, &done).expect("the stages before it are done");
        // The same for whatever it was made from: changes do not travel further here.
        let outputs = BTreeMap::from([("file".to_owned(), stage.to_string())]);
        done.insert(stage, StageRun { stage, inputs: inputs.clone(), outputs });
        all.insert(stage, inputs);
    }
    all
}

#[test]
fn an_edit_changes_what_reads_it_and_nothing_else() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("run");
    let mut config = PipelineConfig::preset(Budget::Small);
    config.stages.self_align = true;
    config.stages.comparison = true;
    folder(&path, &config);
    let before = all_inputs(&path, &config);
    let changed = |config: &PipelineConfig| -> Vec<(Stage, Vec<String>)> {
        let now = all_inputs(&path, config);
        let differences = now.iter().map(|(stage, inputs)| (*stage, inputs.differences(&before[stage])));
        differences.filter(|(_, names)| !names.is_empty()).collect()
    };
    let only = |stages: &[Stage], what: &str| -> Vec<(Stage, Vec<String>)> {
        stages.iter().map(|stage| (*stage, vec![what.to_owned()])).collect()
    };
    assert_eq!(changed(&config), []);

    // The policy is judged by the same principles as the reward model was taught.
    let read_principles = [Stage::Preferences, Stage::Reward, Stage::Evaluation];
    let steered = [Stage::Align, Stage::Comparison];
    let with_policy = [only(&read_principles, "principles"), only(&steered, "guidelines")].concat();
    edit(&path, "principles/small.toml", "Answer in a single", "Reply in a single");
    assert_eq!(changed(&config), with_policy);
    edit(&path, "principles/small.toml", "Reply in a single", "Answer in a single");
    assert_eq!(changed(&config), []);

    edit(&path, "prompts.jsonl", "?", "??");
    let asks = [Stage::SelfAlign, Stage::Preferences, Stage::Align, Stage::Comparison];
    assert_eq!(changed(&config), only(&asks, "prompts"));
    let mut held_out = config.clone();
    held_out.comparison.prompts = Some("held-out.jsonl".into());
    assert!(matches!(Sources::find(&path, &held_out, "base"), Err(PipelineError::Io(_))));
    fs::copy(path.join("prompts.jsonl"), path.join("held-out.jsonl")).expect("writable");
    edit(&path, "prompts.jsonl", "??", "?");
    assert_eq!(changed(&held_out), only(&[Stage::Comparison], "prompts"));

    let mut other = config.clone();
    other.reward.steps = Auto::Fixed(99);
    assert_eq!(changed(&other), only(&[Stage::Reward], "settings"));
    let mut other = config.clone();
    other.reward.factors = parr::reward::Factors::F16;
    assert_eq!(changed(&other), only(&[Stage::Reward], "settings"));
    let mut other = config.clone();
    other.preferences.replies.max_tokens += 1;
    assert_eq!(changed(&other), only(&[Stage::Preferences], "settings"));
    let mut other = config.clone();
    other.self_align.distill.seed = 3;
    assert_eq!(changed(&other), only(&[Stage::SelfAlign], "settings"));
    let mut other = config.clone();
    other.guidelines = vec!["policy".to_owned()];
    assert_eq!(changed(&other), only(&steered, "guidelines"));
    let mut other = config.clone();
    other.comparison.seed += 1;
    assert_eq!(changed(&other), only(&[Stage::Comparison], "settings"));
    // How often a state is saved changes nothing that is made; nor does where the folder lies.
    let mut other = config.clone();
    other.reward.checkpoint.every += 5;
    other.evaluation.batch += 1;
    other.comparison.batch += 1;
    assert_eq!(changed(&other), []);
    let moved = scratch.path().join("moved");
    fs::rename(&path, &moved).expect("the same file system");
    assert_eq!(all_inputs(&moved, &config), before);

    // Without stage 0, the base is what replies.
    let mut other = config.clone();
    other.stages.self_align = false;
    let without = all_inputs(&moved, &other);
    assert_eq!(
        without[&Stage::Preferences].differences(&before[&Stage::Preferences]),
        ["what self-align left"]
    );
    let sources = Sources::find(&moved, &config, "base").expect("sound files");
    assert_eq!(sources.inputs(Stage::Reward, &BTreeMap::new()), None);
}

#[test]
fn each_budget_is_what_its_settings_file_says() {
    for budget in Budget::ALL {
        let text = PipelineConfig::sample(budget, None);
        let said = PipelineConfig::parse(&text, Path::new("salmon.toml")).expect("it parses");
        assert_eq!(said, PipelineConfig::preset(budget), "{text}");
        said.validate().expect("a preset is sound");
        let is_whole = text.lines().count() == PipelineConfig::SAMPLE.lines().count();
        assert_eq!(is_whole, budget != Budget::Policy, "tables of stages that do not run are left out");
        // A file that says nothing but the budget means the same.
        let text = format!("budget = \"{}\"\n", budget.name());
        let short = PipelineConfig::parse(&text, Path::new("salmon.toml"));
        assert_eq!(short.expect("it parses"), said);
    }
    assert_eq!(PipelineConfig::sample(Budget::Small, None), PipelineConfig::SAMPLE);

    let text = "budget = \"small\"\n[reward.batch]\nmicro_batch = 1\n";
    let said = PipelineConfig::parse(text, Path::new("salmon.toml")).expect("it parses");
    let mut expected = PipelineConfig::preset(Budget::Small);
    expected.reward.batch.micro_batch = Auto::Fixed(1);
    assert_eq!(said, expected);
    let wrong = PipelineConfig::parse("[reward]\nstep = 4\n", Path::new("salmon.toml"));
    assert!(wrong.expect_err("no such setting").to_string().contains("salmon.toml line 2 column 1"));
}

#[test]
fn a_new_folder_has_all_that_it_reads_and_is_not_written_over() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("run");
    fs::create_dir_all(&path).expect("writable");
    fs::write(path.join("prompts.jsonl"), "{\"id\": \"a\", \"prompt\": \"Tea?\"}\n").expect("writable");
    let written = init(&path, &NewRun::default()).expect("no settings yet");
    let names = ["principles/small.toml", "salmon.toml"].map(|name| path.join(name));
    assert_eq!(written, names, "prompts were there");
    let config = PipelineConfig::read(&path.join("salmon.toml")).expect("sound settings");
    Sources::find(&path, &config, "base").expect("sound files");
    assert!(matches!(init(&path, &NewRun::default()), Err(PipelineError::Occupied { .. })));

    let other = scratch.path().join("other");
    init(&other, &NewRun { budget: Budget::Standard, ..NewRun::default() }).expect("an empty folder");
    let config = PipelineConfig::read(&other.join("salmon.toml")).expect("sound settings");
    Sources::find(&other, &config, "base").expect("sound files");
    let prompts = fs::read_to_string(other.join("prompts.jsonl")).expect("written");
    assert_eq!(prompts.lines().count(), 320);

    // With a reward model that is there the settings name it, wherever they are read from.
    let (third, reward_model) = (scratch.path().join("third"), scratch.path().join("run/../other"));
    let scored = |path: &Path| NewRun { reward_model: Some(path.to_owned()), ..NewRun::default() };
    init(&third, &scored(&reward_model)).expect("an empty folder");
    let config = PipelineConfig::read(&third.join("salmon.toml")).expect("sound settings");
    let named = config.stages.reward_model.clone().expect("it was given");
    assert_eq!(named, fs::canonicalize(&other).expect("it is there"));
    assert_eq!(config.stages(), [Stage::Align]);
    let fourth = scratch.path().join("fourth");
    let nowhere = scratch.path().join("nowhere");
    assert!(matches!(init(&fourth, &scored(&nowhere)), Err(PipelineError::Io(_))));
    assert!(!fourth.exists());
}

#[test]
fn a_run_that_trains_only_a_policy_has_its_sentences_and_prompts_of_its_own_to_compare() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("run");
    let sentences = ["Mention a \"bird\".", "  Be brief. "].map(str::to_owned);
    let run = NewRun { budget: Budget::Policy, principles: sentences.to_vec(), ..NewRun::default() };
    init(&path, &run).expect("no settings yet");
    let set =
        parr::principles::PrincipleSet::open(path.join("principles/mine.toml").to_str().expect("UTF-8"));
    let set = set.expect("a sound set");
    let texts: Vec<&str> = set.principles.iter().map(|one| one.definition.as_str()).collect();
    assert_eq!(texts, ["Mention a \"bird\".", "Be brief."]);
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(path.join(name)).expect("written");
        text.lines().map(str::to_owned).collect()
    };
    let (trained, held_out) = (lines("prompts.jsonl"), lines("held-out.jsonl"));
    assert_eq!((trained.len(), held_out.len()), (48, 40));
    assert!(held_out.iter().all(|prompt| !trained.contains(prompt)));
    let config = PipelineConfig::read(&path.join("salmon.toml")).expect("sound settings");
    assert_eq!(config.stages(), [Stage::Align, Stage::Comparison]);
    assert_eq!(config.stages.reward_model.as_deref(), Some(Path::new(parr::reward::SHIPPED)));

    // Sentences that are none are refused before anything is written, and so are those that no stage would read.
    let other = scratch.path().join("other");
    let empty = NewRun { budget: Budget::Policy, principles: vec![" ".to_owned()], ..NewRun::default() };
    assert!(matches!(init(&other, &empty), Err(PipelineError::Principles { .. })));
    let unread = NewRun { principles: sentences.to_vec(), ..NewRun::default() };
    assert!(matches!(init(&other, &unread), Err(PipelineError::Principles { .. })));
    assert!(!other.exists());
}

#[test]
fn a_damaged_manifest_is_named() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    assert_eq!(Manifest::read(folder.path()).expect("none is none"), Manifest::default());
    let path = folder.path().join(Manifest::FILE);
    for text in ["{", "{\"format\": 9, \"current\": {}, \"runs\": {}}", "{\"format\": 1}"] {
        fs::write(&path, text).expect("writable");
        let error = Manifest::read(folder.path()).expect_err("no manifest").to_string();
        assert!(error.contains("manifest.json cannot be used"), "{error}");
    }
}
