//! Runs: what they record, where they go on, what they refuse.

use std::fs;
use std::path::Path;

use parr::ErrorKind;
use parr::generate::CancelToken;
use parr::gpu::DeviceOptions;
use parr::judge::{
    AdaptedModel, ContrastJudge, Judge, JudgeError, JudgeKind, PreferenceConfig, PreferenceReport,
    PreferenceRun, Question, ReplyPlan, TooLong, Verdicts, written_report,
};
use parr::model::Model;
use parr::preferences::{Comparison, Prompt, Prompts, judge_report, read_records};
use parr::principles::PrincipleSet;
use parr::random::{Philox, Purpose};
use parr::train::{Control, DataSummary, Event, Items};

use super::{load, prompts, style, tiny_that_chats, without_negative};
use crate::support::gpu;

struct Bench {
    folder: tempfile::TempDir,
    model: Model,
}

impl Bench {
    fn new() -> Bench {
        let device = gpu::open(&DeviceOptions::default());
        let folder = tempfile::tempdir().expect("a scratch directory");
        let model = load(&device, &tiny_that_chats(folder.path()));
        Bench { folder, model }
    }

    fn collect(
        &self,
        prompts: Vec<Prompt>,
        set: &PrincipleSet,
        config: &PreferenceConfig,
        out: &str,
    ) -> Result<PreferenceReport, JudgeError> {
        self.run(prompts, set, config, out, usize::MAX)
    }

    /// A run that is cancelled after so many tokens.
    fn run(
        &self,
        prompts: Vec<Prompt>,
        set: &PrincipleSet,
        config: &PreferenceConfig,
        out: &str,
        tokens: usize,
    ) -> Result<PreferenceReport, JudgeError> {
        let (prompts, control) = (Prompts::of(prompts), Control::default());
        let run = PreferenceRun::new(&self.model, &prompts, set, self.folder.path().join(out));
        let (mut planned, mut counted) = (0, (0, 0));
        let report = run.config(config).name("tiny").run(&control, &mut |event| match event {
            Event::Planned(plan) => {
                let DataSummary::Judged { pairs, .. } = plan.data else { panic!("{plan:?}") };
                planned = pairs;
            }
            Event::Counted(count) => {
                assert_eq!(count.what, Items::Pairs);
                counted = (count.done, count.of);
                if count.tokens >= tokens {
                    control.cancel.cancel();
                }
            }
            _ => panic!("{event:?}"),
        })?;
        assert_eq!(counted, (planned, planned));
        Ok(report)
    }

    fn bytes(&self, out: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(out)).expect("a file of comparisons")
    }

    fn records(&self, out: &str) -> Vec<Comparison> {
        read_records(&self.folder.path().join(out)).expect("sound records")
    }
}

/// Short replies to few prompts at a time, so that a run has several parts.
fn settings(plan: ReplyPlan, judge: JudgeKind) -> PreferenceConfig {
    let mut config = PreferenceConfig { seed: 3, judge, ..PreferenceConfig::default() };
    config.replies.plan = plan;
    config.replies.count = 3;
    config.replies.pairs = 2;
    config.replies.max_tokens = 8;
    config.batch.slots = 4;
    config
}

#[test]
fn plain_replies_are_compared_with_each_other() {
    let _turn = gpu::turn();
    let bench = Bench::new();
    let set = style();
    let config = settings(ReplyPlan::Sample, JudgeKind::Check);
    let report = bench.collect(prompts(4), &set, &config, "out").expect("a sound run");
    let records = bench.records("out");
    assert_eq!(report.comparisons, records.len());
    assert_eq!(records.len() + report.empty + report.identical, 12, "{report:?}");
    assert!(records.len() > 8, "{report:?}");
    assert_eq!((report.replies, report.prompts, report.earlier), (12, 4, 0));
    let first: Vec<&str> =
        records.iter().map(|one| one.id.as_str()).filter(|id| id.starts_with("p0/")).collect();
    assert_eq!(first, ["p0/0-1", "p0/0-2", "p0/1-2"]);
    for one in &records {
        let [a, b] = &one.replies;
        assert!(a.seed != b.seed && a.text != b.text && a.under.is_none(), "{one:?}");
        assert_eq!((one.judge.as_str(), one.model.as_str(), one.seed), ("check", "tiny", 3));
        let under: Vec<&str> = one.verdicts.iter().map(|verdict| verdict.principle.as_str()).collect();
        assert_eq!(under, set.principles.iter().map(|one| one.id.as_str()).collect::<Vec<_>>());
    }
    assert!(judge_report(&records).iter().all(|report| report.position_bias == 0.0));
}

#[test]
fn one_reply_is_edited_to_keep_and_to_break_principles() {
    let _turn = gpu::turn();
    let bench = Bench::new();
    let set = style();
    let mut config = settings(ReplyPlan::Edit, JudgeKind::Check);
    config.replies.pairs = 3;
    let report = bench.collect(prompts(6), &set, &config, "out").expect("a sound run");
    let records = bench.records("out");
    assert_eq!(report.replies, 6, "one to a prompt");
    let left_out = report.empty + report.identical + report.not_edited;
    assert_eq!(records.len() + left_out, 18, "{report:?}");
    assert!(records.len() > 6, "{report:?}");
    let mut shown_first = 0;
    for one in &records {
        let [first, second] = one.replies.each_ref().map(|reply| reply.under.as_ref().expect("an edit"));
        assert!(first.principle == second.principle && first.negated != second.negated);
        assert_eq!(one.replies[0].seed, one.replies[1].seed);
        let scores = one.verdict(&first.principle).expect("it was checked").scores;
        assert_eq!(scores.s12, if first.negated { -1.0 } else { 1.0 });
        shown_first += usize::from(!first.negated);
    }
    assert!(shown_first > 0 && shown_first < records.len(), "always in one order");
    assert_eq!(written_report(&records).iter().map(|one| one.against).sum::<usize>(), 0);
}

#[test]
fn pairs_are_written_under_principles_and_their_negatives() {
    let _turn = gpu::turn();
    let bench = Bench::new();
    let set = style();
    for (plan, out) in [(ReplyPlan::Contrast, "contrast"), (ReplyPlan::Mix, "mix")] {
        let mut config = settings(plan, JudgeKind::Contrast);
        config.verdicts = Verdicts::Own;
        let report = bench.collect(prompts(6), &set, &config, out).expect("a sound run");
        let records = bench.records(out);
        assert_eq!(records.len() + report.empty + report.identical, 12, "{report:?}");
        assert!(records.len() > 8, "{report:?}");
        let mut shown_first = 0;
        for one in &records {
            let unders = one.replies.each_ref().map(|reply| reply.under.as_ref());
            let written: Vec<_> = unders.iter().flatten().collect();
            match plan {
                ReplyPlan::Contrast => {
                    assert_eq!(written.len(), 2);
                    assert!(
                        written[0].principle == written[1].principle
                            && written[0].negated != written[1].negated
                    );
                    assert!(one.id.ends_with(&format!("/{}", written[0].principle)), "{}", one.id);
                    shown_first += usize::from(!written[0].negated);
                }
                _ => {
                    assert_eq!(written.len(), 1);
                    let mark = if written[0].negated { "!" } else { "" };
                    assert!(one.id.ends_with(&format!("/{mark}{}", written[0].principle)), "{}", one.id);
                    shown_first += usize::from(unders[0].is_some());
                }
            }
            assert_eq!(one.verdicts.len(), 1);
            assert_eq!(one.verdicts[0].principle, written[0].principle);
            let scores = one.verdicts[0].scores;
            assert!(scores.s12 == scores.s21 && scores.s12 != 0.0, "{scores:?}");
        }
        assert!(shown_first > 0 && shown_first < records.len(), "always in one order");
        let of_a_prompt: Vec<&Comparison> = records.iter().filter(|one| one.prompt.id == "p1").collect();
        if let [one, other] = of_a_prompt[..] {
            assert_ne!(one.verdicts[0].principle, other.verdicts[0].principle, "the same principle twice");
        }
        let written = written_report(&records);
        assert_eq!(written.iter().map(|one| one.pairs).sum::<usize>(), records.len());
        assert_eq!(written.iter().map(|one| one.as_written + one.against).sum::<usize>(), records.len());
    }
}

#[test]
fn a_run_that_was_cut_anywhere_ends_with_the_same_bytes() {
    let _turn = gpu::turn();
    let bench = Bench::new();
    let set = style();
    let random = Philox::new(8);
    for (plan, judge) in [(ReplyPlan::Contrast, JudgeKind::Check), (ReplyPlan::Sample, JudgeKind::Contrast)] {
        let config = settings(plan, judge);
        let whole = bench.collect(prompts(9), &set, &config, "whole").expect("a sound run");
        let bytes = bench.bytes("whole");
        let out = bench.folder.path().join("cut");
        for cut in 0..6 {
            let most = bytes.len() as f32 * random.uniform(Purpose::Conformance, cut, 0, 0);
            fs::write(&out, &bytes[..most as usize]).expect("a scratch directory is writable");
            fs::copy(bench.folder.path().join("whole.toml"), bench.folder.path().join("cut.toml"))
                .expect("settings stand beside the file");
            let report = bench.collect(prompts(9), &set, &config, "cut").expect("it goes on");
            assert!(bench.bytes("cut") == bytes, "cut at byte {most}");
            assert_eq!(report.comparisons, whole.comparisons);
            let left_out = report.empty + report.identical + report.dropped_earlier;
            assert_eq!(left_out, whole.empty + whole.identical, "{report:?}");
        }
        // A cancel is a cut between two records.
        fs::remove_file(&out).expect("written above");
        let error = bench.run(prompts(9), &set, &config, "cut", 130).expect_err("it was cancelled");
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        let begun = bench.records("cut").len();
        assert!(begun > 0 && begun < whole.comparisons, "{begun} of {}", whole.comparisons);
        bench.collect(prompts(9), &set, &config, "cut").expect("it goes on");
        assert!(bench.bytes("cut") == bytes);
        // One that is done has nothing left to do but what is never recorded.
        let again = bench.collect(prompts(9), &set, &config, "cut").expect("there is nothing left to do");
        assert_eq!((again.earlier, again.comparisons), (whole.comparisons, whole.comparisons));
        assert!(bench.bytes("cut") == bytes);
        // More prompts go on behind.
        let mut fewer = config.clone();
        fewer.prompts.limit = 5;
        fs::remove_file(&out).expect("written above");
        bench.collect(prompts(9), &set, &fewer, "cut").expect("a sound run");
        assert!(bytes.starts_with(&bench.bytes("cut")) && bytes != bench.bytes("cut"));
        bench.collect(prompts(9), &set, &config, "cut").expect("it goes on");
        assert!(bench.bytes("cut") == bytes);
        for name in ["whole", "cut"] {
            fs::remove_file(bench.folder.path().join(name)).expect("written above");
        }
    }
}

#[test]
fn another_model_may_judge_the_replies() {
    let _turn = gpu::turn();
    let bench = Bench::new();
    let (set, config) = (style(), settings(ReplyPlan::Sample, JudgeKind::Contrast));
    // The same weights without the second layer: it reads the same tokens and finds other replies likely.
    let judge = bench.model.first_layers(1).expect("it has two");
    let prompts = Prompts::of(prompts(3));
    let run = |out: &str, judge: Option<&Model>| {
        let run = PreferenceRun::new(&bench.model, &prompts, &set, bench.folder.path().join(out));
        let run = run.config(&config);
        let run = if let Some(judge) = judge { run.judge_model(judge) } else { run };
        run.run(&Control::default(), &mut |_| {})
    };
    run("own", None).expect("a sound run");
    run("other", Some(&judge)).expect("a sound run");
    let (own, other) = (bench.records("own"), bench.records("other"));
    let mut alone = ContrastJudge::new(AdaptedModel::base(&judge), 4, 256, 8).expect("it fits");
    let mut differ = 0;
    for (own, other) in own.iter().zip(&other) {
        assert_eq!(own.replies, other.replies, "the same model replies");
        let question = Question {
            prompt: &other.prompt.text,
            replies: other.replies.each_ref().map(|reply| reply.text.as_str()),
            principles: set.principles.iter().collect(),
        };
        let scores = alone.judge(&[question], &CancelToken::new()).expect("a sound question").remove(0);
        for (verdict, score) in other.verdicts.iter().zip(scores) {
            let score = score.expect("it decides on every principle").s12;
            assert!((verdict.scores.s12 - score).abs() < 1e-6, "{verdict:?} and {score}");
        }
        differ += usize::from(own.verdicts != other.verdicts);
    }
    assert!(own.len() == other.len() && differ > 4, "{differ} of {}", own.len());
    let error = run("other", None).expect_err("verdicts of two models must not mix");
    assert!(error.to_string().contains("judge_model was"), "{error}");
}

#[test]
fn runs_of_other_settings_are_not_mixed() {
    let _turn = gpu::turn();
    let bench = Bench::new();
    let set = style();
    let config = settings(ReplyPlan::Sample, JudgeKind::Check);
    bench.collect(prompts(2), &set, &config, "out").expect("a sound run");
    let bytes = bench.bytes("out");
    let refused = |prompts: Vec<Prompt>, set: &PrincipleSet, config: &PreferenceConfig, part: &str| {
        let error = bench.collect(prompts, set, config, "out").expect_err("another run");
        assert!(matches!(error, JudgeError::OtherRun { .. }), "{error}");
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
        assert!(bench.bytes("out") == bytes, "it wrote something");
    };
    let mut other = config.clone();
    other.replies.max_tokens = 9;
    refused(prompts(2), &set, &other, "replies.max_tokens was 8 in that run and is 9 now");
    other = PreferenceConfig { seed: 4, ..config.clone() };
    refused(prompts(2), &set, &other, "seed was 3 in that run and is 4 now");
    let mut edited = set.clone();
    edited.principles[0].definition.push_str(" Really.");
    refused(prompts(2), &edited, &config, "principles was ");
    let mut asked = prompts(2);
    asked[1].text.push_str(" And why?");
    refused(asked, &set, &config, "prompt `p1` has changed");
    fs::remove_file(bench.folder.path().join("out.toml")).expect("written beside the records");
    let error = bench.collect(prompts(2), &set, &config, "out").expect_err("perhaps somebody else's file");
    let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(
        reason.contains("out.toml, which records the settings of a run, is missing"),
        "{error}: {reason}"
    );
    assert!(bench.bytes("out") == bytes, "it wrote something");
}

#[test]
fn what_cannot_be_collected_leaves_nothing_behind() {
    let _turn = gpu::turn();
    let bench = Bench::new();
    let set = style();
    let refused = |prompts: Vec<Prompt>, set: &PrincipleSet, config: &PreferenceConfig, part: &str| {
        let error = bench.collect(prompts, set, config, "out").expect_err("it cannot be").to_string();
        assert!(error.contains(part), "`{part}` is not in: {error}");
        assert!(!Path::new(&bench.folder.path().join("out")).exists(), "it left something behind");
    };
    let config = settings(ReplyPlan::Contrast, JudgeKind::Check);
    let mut lacking = set.clone();
    lacking.principles[1] = without_negative(&lacking.principles[1]);
    let id = lacking.principles[1].id.clone();
    refused(prompts(2), &lacking, &config, &format!("principle `{id}` has no negative to write"));
    let contrast = settings(ReplyPlan::Sample, JudgeKind::Contrast);
    refused(prompts(2), &lacking, &contrast, &format!("principle `{id}` has no negative, which the judge"));
    lacking.principles.iter_mut().for_each(|one| one.check = None);
    let check = settings(ReplyPlan::Sample, JudgeKind::Check);
    refused(prompts(2), &lacking, &check, "names a program that checks it");
    let mut many = config.clone();
    many.replies.pairs = 4;
    refused(
        prompts(2),
        &set,
        &many,
        "each of 4 pairs per prompt needs its own principle, but there are 3 principles",
    );
    let mut french = config.clone();
    french.prompts.languages = vec!["fr".to_owned()];
    refused(prompts(2), &set, &french, "prompts has no prompt to reply to");

    let mut long = prompts(3);
    long[1].text = "so ".repeat(600);
    refused(long.clone(), &set, &config, "prompts line 2: prompt `p1` with its replies takes up to");
    let mut skipping = config.clone();
    skipping.prompts.too_long = TooLong::Skip;
    let report = bench.collect(long, &set, &skipping, "out").expect("the others fit");
    assert_eq!((report.too_long, report.prompts), (1, 2));
    assert!(bench.records("out").iter().all(|one| one.prompt.id != "p1"));
}
