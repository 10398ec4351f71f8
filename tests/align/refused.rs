//! What cannot be run is refused before anything is written.

use parr::align::Algorithm;
use parr::align::AlignConfig;
use parr::align::{Align, AlignError, AlignProgress, Guidelines};
use parr::gpu::{Device, KernelFamily};
use parr::train::{Control, TrainError};

use super::{Toy, prompts, settings, tiny, wanted};

fn refused(change: impl FnOnce(&mut AlignConfig), with_sources: bool, expected: &str) -> AlignError {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = tiny(&device, folder.path());
    let mut config = settings(Algorithm::PPO, 0, 2);
    change(&mut config);
    let (out, prompts, guidelines) = (folder.path().join("run"), prompts(4), Guidelines::default());
    let align = Align {
        model: &model,
        prompts: &prompts,
        guidelines: &guidelines,
        init: None,
        reward: None,
        sources: if with_sources { wanted() } else { Vec::new() },
        out: &out,
        config: &config,
        budget: None,
        resume: false,
    };
    let error = align.run(&Control::default(), &mut |_| {}, &mut |_| {}).expect_err(expected);
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
    refused(weigh, true, "reward.weights.wnated is 2, expected the weight of a source that there is: wanted");
    let error =
        refused(|config| config.memory.budget_mib = parr::settings::Auto::Fixed(1), true, "device memory");
    assert!(error.to_string().contains("weights of the base"), "{error}");
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
    let mut listen = |_: AlignProgress<'_>| {
        let error = align().run(&Control::default(), &mut |_| {}, &mut |_| {}).expect_err("it is taken");
        second.push(error);
    };
    align().run(&Control::default(), &mut |_| {}, &mut listen).expect("the first is not disturbed");
    assert!(!second.is_empty());
    for error in second {
        assert!(
            matches!(&error, AlignError::Train(TrainError::Busy { folder }) if *folder == out),
            "{error}"
        );
    }
    // And what the first has left can be gone on from.
    align().run(&Control::default(), &mut |_| {}, &mut |_| {}).expect("nobody has it");
}
