//! Peak device memory is what was planned. A device that computes nothing is enough to count.

use parr::adapter::Adapter;
use parr::align::Algorithm;
use parr::align::{Align, Guidelines, RewardRole};
use parr::gpu::{Device, KernelFamily};
use parr::train::{Control, DataSummary, Event};

use super::{Toy, load, opinionated, prompts, settings, tiny};
use crate::reward::tiny_that_reads;

#[test]
fn a_run_takes_what_was_planned() {
    for (algorithm, share_trunk, adapters) in
        [(Algorithm::PPO, false, 2), (Algorithm::PPO, true, 1), (Algorithm::GRPO, false, 1)]
    {
        let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
        let folder = tempfile::tempdir().expect("a scratch directory");
        let model = tiny(&device, folder.path());
        let mut config = settings(algorithm, 0, 2);
        config.value.share_trunk = share_trunk;
        let (out, prompts, guidelines) = (folder.path().join("run"), prompts(24), Guidelines::default());
        let toy = Toy { model: &model, config: &config, out: &out, init: None, budget: None };
        device.reset_peak_memory();
        let mut planned = 0;
        let on_event = &mut |event: Event<'_>| {
            if let Event::Planned(plan) = event {
                assert_eq!((plan.adapters, plan.count, plan.steps), (adapters, 24, Some(2)));
                assert_eq!(plan.data, DataSummary::Prompts { replies: 32 });
                planned = plan.peak_bytes();
            }
        };
        toy.align(&prompts, &guidelines)
            .run(&Control::default(), on_event)
            .expect("a device that computes nothing will do");
        let taken = device.memory().peak_bytes;
        // The plan of a generator counts the two buffers of scoring too, 12 bytes a row of logits.
        assert!((taken..=taken + 1024).contains(&planned), "{algorithm}: {taken} of {planned}");
    }
}

/// Everyone on one base: policy, critic, reference, reward model.
#[test]
fn so_does_one_with_four_adapters() {
    let device = Device::noop(KernelFamily::Lane8).expect("the noop back end is built in");
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let path = opinionated(&model, folder.path());
    let reward = Adapter::open(&path, model.config()).expect("it was written");
    let init = Adapter { head: None, ..reward.clone() };
    let config = settings(Algorithm::PPO, 0, 2);
    let (out, prompts, guidelines) = (folder.path().join("run"), prompts(24), Guidelines::default());
    let role = RewardRole::shared(&reward, &path).expect("it has a head");
    let align = Align::new(&model, &prompts, &guidelines, &out).config(&config).init(&init).reward(role);
    device.reset_peak_memory();
    let mut planned = 0;
    let on_event = &mut |event: Event<'_>| {
        if let Event::Planned(plan) = event {
            assert_eq!(plan.adapters, 4);
            planned = plan.peak_bytes();
        }
    };
    align.run(&Control::default(), on_event).expect("a device that computes nothing will do");
    let taken = device.memory().peak_bytes;
    // Two generators, of which the reward model's makes its buffers of scoring when it scores.
    assert!((taken..=taken + 2048).contains(&planned), "{taken} of {planned}");
}
