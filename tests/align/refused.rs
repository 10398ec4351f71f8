//! What cannot be run is refused before anything is written.

use parr::align::Algorithm;
use parr::align::AlignConfig;
use parr::align::{Align, AlignError, AlignPrompts, Guidelines};
use parr::gpu::{Device, KernelFamily};
use parr::train::{Control, Event, TrainError};

use super::{Toy, load, prompts, settings, tiny, wanted};
use crate::judge::tiny_that_chats;

fn refused(change: impl FnOnce(&mut AlignConfig), with_sources: bool, expected: &str) -> AlignError {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let mut config = settings(Algorithm::PPO, 0, 2);
    change(&mut config);
    let (out, prompts, guidelines) = (folder.path().join("run"), prompts(4), Guidelines::default());
    let mut align = Align::new(&model, &prompts, &guidelines, &out).config(&config);
    if with_sources {
        align = align.source(wanted());
    }
    let error = align.run(&Control::default(), &mut |_| {}).expect_err(expected);
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!out.exists(), "something was written");
    error
}

#[test]
fn settings_and_sources_must_make_sense_together() {
    refused(|_| {}, false, "no source of rewards");
    refused(|config| config.rollout.max_reply_tokens = 300, true, "the model's context has 256");
    refused(|config| config.update.epochs = 0, true, "update.epochs");
    let weigh = |config: &mut AlignConfig| {
        config.reward.weights.insert("wnated".to_owned(), 2.0);
    };
    refused(weigh, true, "reward.weights.wnated is 2, expected the weight of one of these sources: wanted");
    let error =
        refused(|config| config.memory.budget_mib = parr::settings::Auto::Fixed(1), true, "device memory");
    assert!(error.to_string().contains("weights of the base"), "{error}");
}

/// Texts in memory, and a file of the same prompts, are the same data.
#[test]
fn prompts_come_from_memory_or_a_file() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_chats(folder.path()));
    let chat = model.chat_format().expect("it chats");
    let texts = ["Tea?", "Why is it so? Tell me all about it, and more.", "Name a river."];
    let prompts = AlignPrompts::of(texts, chat, 24).expect("two are short");
    assert_eq!((prompts.prompts.len(), prompts.left_out), (2, 1));
    let ids: Vec<&str> = prompts.prompts.iter().map(|one| one.prompt.id.as_str()).collect();
    assert_eq!(ids, ["p1", "p3"]);

    let path = folder.path().join("prompts.jsonl");
    let line = |(number, text): (usize, &&str)| {
        serde_json::json!({ "id": format!("p{number}"), "prompt": text }).to_string() + "\n"
    };
    std::fs::write(&path, (1..).zip(&texts).map(line).collect::<String>()).expect("writable");
    let file = AlignPrompts::read(&path, chat, 24).expect("two are short");
    assert_eq!((&file.prompts, file.sha256()), (&prompts.prompts, prompts.sha256()));
    let records = parr::preferences::read_records(&path).expect("sound prompts");
    assert_eq!(AlignPrompts::of_prompts(records, chat, 24).expect("two are short"), prompts);

    let refused =
        |texts: &[&str]| AlignPrompts::of(texts.iter().copied(), chat, 24).expect_err("a fault").to_string();
    assert_eq!(refused(&["Tea?", " "]), "record `p2`: `prompt` is empty");
    assert!(refused(&[texts[1]]).starts_with("prompts has no usable prompt: 1 have more than 24 tokens"));
}

/// Two at once would mix what they write.
#[test]
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn a_folder_takes_one_run_at_a_time() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let config = settings(Algorithm::GRPO, 0, 2);
    let (out, prompts, guidelines) = (folder.path().join("run"), prompts(4), Guidelines::default());
    let toy = Toy { model: &model, config: &config, out: &out, init: None, budget: None };
    let align = || toy.align(&prompts, &guidelines);
    let mut second = Vec::new();
    let mut listen = |event: Event<'_>| {
        // The folder is taken once the run has begun.
        if !matches!(event, Event::Planned(_)) {
            second.push(align().run(&Control::default(), &mut |_| {}).expect_err("it is taken"));
        }
    };
    align().run(&Control::default(), &mut listen).expect("the first is not disturbed");
    assert!(!second.is_empty());
    for error in second {
        assert!(
            matches!(&error, AlignError::Train(TrainError::Busy { folder }) if *folder == out),
            "{error}"
        );
    }
    // And what the first has left can be gone on from.
    align().run(&Control::default(), &mut |_| {}).expect("nobody has it");
}
