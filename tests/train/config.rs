//! Settings files.

use std::path::Path;

use parr::file::FileError;
use parr::model::lora::{Projection, Projections};
use parr::settings::{Auto, Share};
use parr::settings::{Settings, SettingsError};
use parr::train::SftConfig;
use parr::train::config::{Decay, Recompute, TrainOn};

fn parse(text: &str) -> Result<SftConfig, SettingsError> {
    SftConfig::parse(text, Path::new("run.toml"))
}

#[test]
fn the_sample_says_every_setting_with_its_default() {
    assert_eq!(parse(SftConfig::SAMPLE).expect("a sound sample"), SftConfig::default());
    SftConfig::default().validate().expect("sound defaults");

    // Every setting there is stands in the sample: none was forgotten when it was added.
    let json = serde_json::to_value(SftConfig::default()).expect("plain values");
    let sample: toml::Table = toml::from_str(SftConfig::SAMPLE).expect("toml");
    for (key, value) in json.as_object().expect("a struct") {
        let said = sample.get(key).unwrap_or_else(|| panic!("{key} is not in the sample"));
        for inner in value.as_object().into_iter().flatten() {
            assert!(said.get(inner.0).is_some(), "{key}.{} is not in the sample", inner.0);
        }
    }
}

#[test]
fn what_a_file_leaves_out_keeps_its_default() {
    let text = "seed = 9\nsteps = 40\n[lora]\ntargets = \"q,v_proj\"\nalpha = 8\n[schedule]\nwarmup = 5\n\
                decay = \"linear\"\n[data]\ntrain_on = \"last_assistant\"\n[memory]\nrecompute = \"always\"\n\
                budget_mib = 900\n[optimizer]\nmax_grad_norm = inf\n[evaluation]\nheld_out = 0.1\n";
    let config = parse(text).expect("sound settings");
    let mut expected = SftConfig { seed: 9, steps: Auto::Fixed(40), ..SftConfig::default() };
    expected.lora.targets = Projections::from_iter([Projection::Q, Projection::V]);
    expected.lora.alpha = 8.0;
    expected.schedule.warmup = Share::Count(5);
    expected.schedule.decay = Decay::Linear;
    expected.data.train_on = TrainOn::LastAssistant;
    expected.memory.recompute = Recompute::Always;
    expected.memory.budget_mib = Auto::Fixed(900);
    expected.optimizer.max_grad_norm = f64::INFINITY;
    expected.evaluation.held_out = Share::Fraction(0.1);
    assert_eq!(config, expected);
    config.validate().expect("clipping may be off");
    assert_eq!(parse("").expect("an empty file"), SftConfig::default());
}

#[test]
fn mistakes_are_named_by_line_and_column() {
    let cases = [
        ("seed = 1\n[lora]\nrnak = 8\n", (3, 1), "unknown field `rnak`, expected one of `rank`"),
        ("seed = \"x\"\n", (1, 8), "invalid type: string \"x\", expected u64"),
        ("seed = -1\n", (1, 8), "`-1`, expected u64"),
        ("seed = 1\nseed = 2\n", (2, 1), "duplicate key"),
        ("[lora]\nrank = \n", (2, 8), ""),
        ("[lora]\nrank = 1.5\n", (2, 8), "`1.5`, expected usize"),
        (
            "[schedule]\n# Größe\nwarmup = \"viel\"\n",
            (3, 10),
            "a count such as 20, or a fraction such as 0.05",
        ),
        ("[schedule]\ndecay = \"sine\"\n", (2, 9), "unknown variant `sine`, expected one of `constant`"),
        ("[lora]\ntargets = \"q,x\"\n", (2, 11), "unknown projection `x`: expected all, or some of q,k,v"),
        ("[batch]\nmicro_batch = \"most\"\n", (2, 15), "expected \"auto\" or a number"),
        ("[optimizer]\nbetas = [0.9]\n", (2, 9), "invalid length 1, expected an array of length 2"),
        ("[lora\n", (1, 6), ""),
        ("[nothing]\n", (1, 2), "unknown field `nothing`"),
    ];
    for (text, place, expected) in cases {
        let error = parse(text).expect_err(text);
        let SettingsError::Syntax { line, column, reason, .. } = &error else {
            panic!("an error of the wrong kind: {error}");
        };
        assert_eq!((*line, *column), place, "{text:?}: {error}");
        assert!(reason.contains(expected) && !reason.contains('\n'), "{text:?}: {error}");
        let start = format!("run.toml line {line} column {column}: ");
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}

#[test]
fn files_that_are_no_settings_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.toml");
    assert!(matches!(SftConfig::read(&path), Err(SettingsError::Io(FileError { action: "read", .. }))));
    std::fs::write(&path, b"seed = 3 # \xFF").expect("written");
    let error = SftConfig::read(&path).expect_err("not UTF-8").to_string();
    assert!(error.contains("line 1") && error.contains("UTF-8"), "{error}");
    std::fs::write(&path, format!("# {}\nseed = 3", "x".repeat(2 << 20))).expect("written");
    let error = SftConfig::read(&path).expect_err("two MiB").to_string();
    assert!(error.contains("bytes, a settings file may have 1048576"), "{error}");
    let nested = format!("seed = {}", "[".repeat(100_000));
    parse(&nested).expect_err("nested too deeply");
    std::fs::write(&path, "seed = 3").expect("written");
    assert_eq!(SftConfig::read(&path).expect("settings").seed, 3);
}

#[test]
fn every_fault_is_told_at_once() {
    let mut config = SftConfig { epochs: f64::NAN, steps: Auto::Fixed(0), ..SftConfig::default() };
    config.lora.rank = 0;
    config.lora.alpha = f32::INFINITY;
    config.lora.targets = Projections::default();
    config.optimizer.learning_rate = -1.0;
    config.optimizer.betas = [1.0, -0.5];
    config.optimizer.eps = 0.0;
    config.optimizer.weight_decay = f64::NAN;
    config.optimizer.max_grad_norm = 0.0;
    config.schedule.warmup = Share::Fraction(1.5);
    config.schedule.floor = -0.1;
    config.batch.sequences = 4;
    config.batch.micro_batch = Auto::Fixed(5);
    config.data.max_tokens = 1;
    config.evaluation.held_out = Share::Fraction(1.0);
    config.checkpoint.keep = 0;
    config.memory.budget_mib = Auto::Fixed(0);
    let Err(SettingsError::Faults { faults }) = config.validate() else {
        panic!("nothing of it is sound");
    };
    let names: Vec<&str> = faults.iter().filter_map(|fault| fault.split(" is ").next()).collect();
    let expected = [
        "epochs",
        "steps",
        "lora.rank",
        "lora.alpha",
        "lora.targets",
        "optimizer.learning_rate",
        "optimizer.betas",
        "optimizer.betas",
        "optimizer.eps",
        "optimizer.weight_decay",
        "optimizer.max_grad_norm",
        "schedule.warmup",
        "schedule.floor",
        "batch.micro_batch",
        "evaluation.held_out",
        "checkpoint.keep",
        "memory.budget_mib",
        "data.max_tokens",
    ];
    assert_eq!(names, expected);
    assert_eq!(faults[5], "optimizer.learning_rate is -1, expected a number above 0");

    config = SftConfig::default();
    config.batch.sequences = 0;
    let error = config.validate().expect_err("no sequence").to_string();
    assert_eq!(error, "the settings are not usable: batch.sequences is 0, expected a number above 0");
}

#[test]
fn steps_follow_from_epochs_unless_they_are_set() {
    let mut config = SftConfig { epochs: 3.0, ..SftConfig::default() };
    assert_eq!((config.total_steps(200), config.total_steps(201), config.total_steps(1)), (75, 76, 1));
    config.epochs = 0.5;
    assert_eq!(config.total_steps(200), 13);
    config.steps = Auto::Fixed(7);
    assert_eq!(config.total_steps(200), 7);
}

#[test]
fn the_hash_changes_with_whatever_the_weights_depend_on() {
    let config = SftConfig::default();
    let hash = config.hash();
    assert_eq!(hash.len(), 64);
    assert_eq!(hash, parse(SftConfig::SAMPLE).expect("the same").hash());
    let mut other = config.clone();
    other.evaluation.every = 7;
    other.checkpoint.every = 7;
    other.memory.recompute = Recompute::Never;
    other.batch.micro_batch = Auto::Fixed(1);
    assert_eq!(other.hash(), hash, "none of these changes what is learned");
    let changes: [fn(&mut SftConfig); 7] = [
        |config| config.seed = 1,
        |config| config.optimizer.learning_rate += 1e-19,
        |config| config.schedule.warmup = Share::Count(0),
        |config| config.data.max_tokens = 512,
        |config| config.evaluation.held_out = Share::Count(1),
        |config| config.lora.rs_lora = true,
        |config| config.batch.sequences = 4,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = config.clone();
        change(&mut other);
        assert_eq!(other.hash() == hash, other == config, "change {number}");
    }
}
