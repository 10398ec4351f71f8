//! Settings of reinforcement learning.

use std::path::Path;

use parr::align::AlignConfig;
use parr::align::estimate::{LengthTerm, ValueClip};
use parr::align::{Algorithm, Preset};
use parr::settings::{Auto, Share};
use parr::settings::{Settings, SettingsError};
use parr::train::objective::KlEstimator;
use parr::train::objective::{Aggregate, Clip, GroupScale};
use serde_json::Value;

fn parse(text: &str) -> Result<AlignConfig, SettingsError> {
    AlignConfig::parse(text, Path::new("align.toml"))
}

/// Every setting of `value`, in full.
fn settings(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                settings(value, &format!("{name}.{key}"), found);
            }
        }
        _ => found.push(name.to_owned()),
    }
}

#[test]
fn the_sample_says_every_setting_with_its_default() {
    assert_eq!(parse(AlignConfig::SAMPLE).expect("a sound sample"), AlignConfig::default());
    AlignConfig::default().validate().expect("sound defaults");

    // Every setting there is stands in the sample: none was forgotten when it was added.
    let mut found = Vec::new();
    settings(&serde_json::to_value(AlignConfig::default()).expect("plain values"), "", &mut found);
    assert!(found.len() > 50, "{found:?}");
    let sample: toml::Table = toml::from_str(AlignConfig::SAMPLE).expect("toml");
    let sample = serde_json::to_value(&sample).expect("plain values");
    for name in found {
        let said = sample.pointer(&name.replace('.', "/"));
        assert!(said.is_some(), "{name} is not in the sample");
    }
}

#[test]
fn the_salmon_preset_has_the_values_of_its_script() {
    let salmon = AlignConfig::salmon();
    salmon.validate().expect("sound settings");
    assert_eq!(salmon.algorithm, Algorithm::PPO);
    assert_eq!((salmon.rollout.prompts, salmon.rollout.replies), (576, 1));
    assert_eq!((salmon.update.epochs, salmon.update.mini_batches), (2, 2));
    assert_eq!((salmon.epochs, salmon.seed), (2.0, 42));
    assert_eq!((salmon.optimizer.learning_rate, salmon.optimizer.max_grad_norm), (2e-5, 1.0));
    assert_eq!((salmon.optimizer.betas, salmon.optimizer.weight_decay), ([0.9, 0.999], 0.0));
    assert_eq!(salmon.schedule.warmup, Share::Count(5));
    assert_eq!(
        (salmon.kl.coefficient, salmon.kl.estimator, salmon.kl.adaptive),
        (0.01, KlEstimator::K1, false)
    );
    assert_eq!((salmon.update.gamma, salmon.update.lambda), (1.0, 1.0));
    assert_eq!((salmon.clip(), salmon.value.weight), (Clip::symmetric(0.2), 0.1));
    assert!(salmon.update.whiten_advantages && !salmon.reward.whiten);
    assert_eq!((salmon.reward.scale, salmon.reward.unfinished.penalty), (10.0, 6.0));
    assert_eq!(salmon.rollout.temperature, 0.7);
    assert_eq!((salmon.rollout.max_prompt_tokens, salmon.rollout.max_reply_tokens), (256, 1024));
    let length = LengthTerm::new(&salmon.reward.length, salmon.rollout.max_reply_tokens);
    assert_eq!(length.of(parr::principles::PromptType::General, 1000), 4.0);
    assert_eq!((salmon.lora.rank, salmon.lora.alpha), (64, 16.0));
    // The one number that means something else: a part of the distance to the returns.
    assert_eq!(salmon.value.clip, ValueClip::Returns(0.2));
    assert_eq!(salmon.ppo(40.0).value_radius, 8.0);
}

#[test]
fn a_file_says_what_differs_from_its_preset() {
    let quick = parse("preset = \"quick\"\nseed = 3\n[rollout]\nprompts = 2\n").expect("sound settings");
    let mut expected = AlignConfig::quick();
    (expected.seed, expected.rollout.prompts) = (3, 2);
    assert_eq!(quick, expected);

    let mut expected = AlignConfig::salmon();
    expected.rollout.prompts = 16;
    expected.optimizer.weight_decay = 0.1;
    expected.reward.length.score = 0.0;
    expected.reward.weights.insert("language".to_owned(), 0.5);
    expected.value.clip = ValueClip::Off;
    let text = "preset = \"salmon\"\n[rollout]\nprompts = 16\n[optimizer]\nweight_decay = 0.1\n[value]\nclip = \"off\"\n\
                [reward.length]\nscore = 0\n[reward.weights]\nlanguage = 0.5\n";
    assert_eq!(parse(text).expect("sound settings"), expected);
    assert_eq!(expected.reward.weight("language"), 0.5);
    assert_eq!(expected.reward.weight("reward_model"), 1.0);
    assert_eq!(parse("preset = \"salmon\"").expect("the preset"), AlignConfig::salmon());
    assert_eq!(parse("").expect("an empty file"), AlignConfig::default());
    assert_eq!(parse(&expected.to_toml()).expect("what was written"), expected);
}

/// `[optimizer]` has another rate where rewards are learned from than where answers are.
#[test]
fn a_table_that_is_there_in_part_keeps_the_other_defaults_of_these_settings() {
    let config = parse("[optimizer]\neps = 1e-6\n[checkpoint]\nkeep = 5\n").expect("sound settings");
    assert_eq!(config.optimizer.learning_rate, AlignConfig::default().optimizer.learning_rate);
    assert_eq!(config.checkpoint.every, AlignConfig::default().checkpoint.every);
    assert_eq!((config.optimizer.eps, config.checkpoint.keep), (1e-6, 5));
}

#[test]
fn mistakes_are_named_by_line_and_column() {
    let cases = [
        ("seed = 1\n[updte]\n", (2, 2), "unknown field `updte`"),
        ("[update]\nclip = 0.2\n", (2, 1), "unknown field `clip`, expected one of `epochs`"),
        ("[value]\nclip = \"on\"\n", (2, 8), "expected \"off\" or a number such as 0.2"),
        ("algorithm = \"dpo\"\n", (1, 13), "unknown algorithm `dpo`, expected one of `ppo`, `grpo`, `rloo`"),
        (
            "preset = \"paper\"\n",
            (1, 10),
            "unknown variant `paper`, expected one of `small`, `quick`, `salmon`",
        ),
        ("[reward.length]\nGeneral = 1\n", (2, 1), "unknown field `General`"),
    ];
    for (text, place, expected) in cases {
        let error = parse(text).expect_err(text);
        let SettingsError::Syntax { line, column, reason, .. } = &error else {
            panic!("an error of the wrong kind: {error}");
        };
        assert_eq!((*line, *column), place, "{text:?}: {error}");
        assert!(reason.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let mut config = AlignConfig { epochs: 0.0, algorithm: Algorithm::RLOO, ..AlignConfig::default() };
    config.lora.rank = 0;
    config.optimizer.learning_rate = f64::NAN;
    config.schedule.floor = 2.0;
    config.rollout.prompts = 0;
    config.rollout.replies = 1;
    config.rollout.temperature = 0.0;
    config.rollout.max_prompt_tokens = 0;
    config.rollout.max_reply_tokens = 0;
    config.update.epochs = 0;
    config.update.mini_batches = 9;
    config.update.clip_low = 1.5;
    config.update.clip_high = f64::NAN;
    config.update.entropy_weight = -0.1;
    config.update.gamma = 1.1;
    config.update.lambda = -0.1;
    config.update.target_kl = 0.0;
    config.value.weight = 0.0;
    config.value.clip = ValueClip::Returns(0.0);
    config.kl.coefficient = -1.0;
    config.kl.target = 0.0;
    config.kl.rate = 5.0;
    config.reward.weights.insert("length".to_owned(), f64::INFINITY);
    config.reward.unfinished.penalty = -1.0;
    config.reward.length.score = -1.0;
    config.reward.length.cap = f64::INFINITY;
    config.reward.length.reasoning = f64::NAN;
    config.reward.scale = 0.0;
    config.collapse.kl = 0.0;
    config.collapse.entropy = 2.0;
    config.collapse.distinct_2 = f64::NAN;
    config.collapse.window = 1;
    config.collapse.patience = 0;
    config.checkpoint.keep = 0;
    config.memory.budget_mib = Auto::Fixed(0);
    let Err(SettingsError::Faults { faults }) = config.validate() else {
        panic!("nothing of it is sound");
    };
    let names: Vec<&str> = faults.iter().filter_map(|fault| fault.split(" is ").next()).collect();
    let expected = [
        "epochs",
        "lora.rank",
        "optimizer.learning_rate",
        "schedule.floor",
        "rollout.prompts",
        "rollout.replies",
        "rollout.temperature",
        "rollout.max_prompt_tokens",
        "rollout.max_reply_tokens",
        "update.epochs",
        "update.clip_low",
        "update.clip_high",
        "update.entropy_weight",
        "update.gamma",
        "update.lambda",
        "update.target_kl",
        "update.mini_batches",
        "value.weight",
        "value.clip",
        "kl.coefficient",
        "kl.target",
        "kl.rate",
        "reward.weights.length",
        "reward.unfinished.penalty",
        "reward.length.score",
        "reward.length.cap",
        "reward.length.reasoning",
        "reward.scale",
        "collapse.kl",
        "collapse.entropy",
        "collapse.distinct_2",
        "collapse.window",
        "collapse.patience",
        "checkpoint.keep",
        "memory.budget_mib",
    ];
    assert_eq!(names, expected);
    assert_eq!(faults[5], "rollout.replies is 1, expected at least 2: rloo compares replies to one prompt");

    let mut config = AlignConfig::default();
    config.kl.adaptive = true;
    config.kl.coefficient = 0.0;
    let error = config.validate().expect_err("a price that cannot move").to_string();
    assert!(
        error.ends_with("kl.coefficient is 0, expected a number above 0 if kl.adaptive is true"),
        "{error}"
    );
    config.kl.adaptive = false;
    config.validate().expect("no price at all is a choice");
}

/// The released SALMON code takes `adaptive_kl`, `target_kl`, `k_beta` and others, and reads none of them. Here
/// each setting of the mathematics changes an objective, an estimate, or whoever is made of it.
#[test]
fn no_setting_of_the_mathematics_is_dead() {
    let base = AlignConfig::default();
    let ppo: [fn(&mut AlignConfig); 5] = [
        |config| config.update.clip_low = 0.1,
        |config| config.update.clip_high = 0.28,
        |config| config.update.entropy_weight = 0.01,
        |config| config.value.weight = 0.5,
        |config| config.value.clip = ValueClip::Returns(0.2),
    ];
    for (number, change) in ppo.into_iter().enumerate() {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(other.ppo(1.0), base.ppo(1.0), "change {number}");
    }
    let estimator: [fn(&mut AlignConfig); 6] = [
        |config| config.update.gamma = 0.99,
        |config| config.update.lambda = 1.0,
        |config| config.update.whiten_advantages = false,
        |config| config.kl.estimator = KlEstimator::K3,
        |config| config.reward.scale = 10.0,
        |config| config.reward.whiten = true,
    ];
    for (number, change) in estimator.into_iter().enumerate() {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(other.estimator(0.05), base.estimator(0.05), "change {number}");
    }
    let grpo: [fn(&mut AlignConfig); 3] = [
        |config| config.update.clip_high = 0.28,
        |config| config.grpo.aggregate = Aggregate::Constant,
        |config| config.rollout.max_reply_tokens = 64,
    ];
    for (number, change) in grpo.into_iter().enumerate() {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(other.grpo(0.05), base.grpo(0.05), "change {number}");
    }
    assert_ne!(base.grpo(0.05), base.grpo(0.0));
    assert_eq!(base.rloo().clip, base.clip());
    assert_eq!(base.grpo.scale, GroupScale::Group);
}

#[test]
fn rollouts_follow_from_epochs_unless_they_are_set() {
    let mut config = AlignConfig::default();
    assert_eq!((config.total_steps(320), config.total_steps(321), config.total_steps(1)), (20, 21, 1));
    config.steps = Auto::Fixed(7);
    assert_eq!(config.total_steps(320), 7);
}

#[test]
fn the_hash_changes_with_whatever_the_weights_depend_on() {
    let config = AlignConfig::default();
    let mut other = config.clone();
    other.preset = Preset::Salmon;
    other.checkpoint.every = 3;
    other.memory.budget_mib = Auto::Fixed(700);
    assert_eq!(other.hash(), config.hash(), "none of these changes what is learned");
    let changes: [fn(&mut AlignConfig); 5] = [
        |config| config.seed = 1,
        |config| config.kl.coefficient += 1e-16,
        |config| config.collapse.patience = 9,
        |config| config.rollout.replies = 2,
        |config| config.reward.weights = [("length".to_owned(), 1.0)].into(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = config.clone();
        change(&mut other);
        assert_eq!(other.hash() == config.hash(), other == config, "change {number}");
    }
}
