//! The measurement of how well a reward model reads sentences.

use parr::attributes::{AttributeSet, CaseOptions, PlainReply, everyday};
use parr::generate::CancelToken;
use parr::gpu::DeviceOptions;
use parr::reward::{RewardCard, RewardError, RewardModel, RewardOptions, read_sentences};
use parr::settings::Auto;

use super::pointwise::{data, settings, train};
use super::{load, tiny_that_reads};
use crate::support::gpu;

#[test]
fn every_verdict_is_counted_once_and_twice_measured_is_the_same() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let mut config = settings();
    config.steps = Auto::Fixed(1);
    let trained =
        train(&model, &data(16), &config, &folder.path().join("run"), None).expect("nobody cancels");
    let mut reward = RewardModel::open(&model, &trained, &RewardOptions::default()).expect("it was written");

    let plain =
        |(prompt, reply): (&str, &str)| PlainReply { prompt: prompt.to_owned(), reply: reply.to_owned() };
    let replies =
        [("Is it far?", "It is a short walk. Take the bridge."), ("Why rest?", "Muscles grow then.")];
    let replies = replies.map(plain);
    let set = AttributeSet::shipped();
    let options = CaseOptions { attributes: 3, lists: 1, ..CaseOptions::default() };
    let mut measure = || {
        let mut seen = (0, 0);
        let report = read_sentences(
            &mut reward,
            &set,
            &everyday(),
            &replies,
            &options,
            &CancelToken::new(),
            &mut |done, of| seen = (done, of),
        );
        assert!(seen.0 == seen.1 && seen.1 > 0, "{seen:?}");
        report.expect("sound cases")
    };
    let report = measure();
    assert!(report.pointwise && report.splits.len() >= 3, "{report}");
    let mut verdicts = 0;
    for split in report.splits.values() {
        let all = &split.all;
        assert!(split.attributes.len() <= 3 && all.principle.of > 0);
        assert_eq!(
            (all.negative.of, all.turned.of, all.single.of),
            (all.principle.of, all.principle.of, 4 * all.principle.of)
        );
        assert!(all.turned.right <= all.principle.right.min(all.negative.right));
        verdicts += all.single.of;
    }
    let calibration = report.calibration.as_ref().expect("scores of a pointwise model have a sign");
    assert_eq!(calibration.bins.iter().map(|bin| bin.observed.of).sum::<usize>(), verdicts);
    assert!(report.to_string().contains("calibration of single verdicts"));
    assert_eq!(measure(), report);
}

#[test]
fn sentences_below_the_bound_in_the_card_are_named() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let model = load(&device, &tiny_that_reads(folder.path()));
    let mut config = settings();
    // After the first step, whose rate is 0, all scores are still 0.
    config.steps = Auto::Fixed(6);
    let run = folder.path().join("run");
    train(&model, &data(64), &config, &run, None).expect("nobody cancels");
    let open = || RewardModel::open(&model, &run, &RewardOptions::default()).expect("it was written");
    let (sentences, cancel) = (["Say yes.", "Be calm.", "Say no."], CancelToken::new());
    let certainty = open().certainty(&sentences, &cancel).expect("it is pointwise");
    assert!(certainty.len() == 3 && certainty.iter().all(|one| *one > 0.0), "{certainty:?}");
    assert!(open().certainty(&[], &cancel).expect("nothing to score").is_empty());
    let unclear = || open().unclear(&sentences, &cancel).expect("sound sentences");
    assert!(unclear().is_empty(), "a card without a bound names none");
    // Between the lowest and the others.
    let mut sorted = certainty.clone();
    sorted.sort_by(f32::total_cmp);
    let bound = (sorted[0] + sorted[1]) / 2.0;
    RewardCard::set_unclear_below(&run, Some(bound)).expect("it has a card");
    assert_eq!(open().reward_card().unclear_below, Some(bound));
    let lowest = certainty.iter().position(|one| *one == sorted[0]).expect("one of them");
    assert_eq!(unclear(), [sentences[lowest]]);
    RewardCard::set_unclear_below(&run, None).expect("it has a card");
    assert!(unclear().is_empty());
    let nothing = RewardCard::set_unclear_below(folder.path(), None).expect_err("no adapter");
    assert!(matches!(nothing, RewardError::AdapterFile(_)), "{nothing}");
}
