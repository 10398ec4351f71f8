//! Runs of all stages on a tiny model of random weights, between edits.

use std::fs;
use std::path::Path;

use parr::ErrorKind;
use parr::gpu::KernelFamily;
use parr::model::{LoadOptions, Model};
use parr::salmon::{
    ComparisonConfig, Event, Made, Manifest, Measure, Pipeline, PipelineConfig, PipelineError,
    PipelineReport, Stage, StageStatus, status,
};
use parr::settings::Settings;
use parr::steer::compare::MethodKind;
use parr::train::{self, Control, Items};

use super::{edit, folder, minimal, tiny, write};
use crate::support;

fn run(model: &Model, path: &Path) -> Vec<Made> {
    let config = PipelineConfig::read(&path.join(PipelineConfig::FILE)).expect("sound settings");
    Pipeline::new(model, path, &config).run(&Control::default(), &mut |_| {}).expect("it runs")
}

/// The stages that were not skipped.
fn redone(made: &[Made]) -> Vec<Stage> {
    made.iter().filter(|one| one.status != StageStatus::Done).map(|one| one.stage).collect()
}

/// What the report tells of stages that are all done.
fn told(path: &Path, config: &PipelineConfig) {
    let report = PipelineReport::gather(path, config).expect("sound files");
    assert_eq!(report.folders.len(), 4);
    // The reward model was measured once before its first step.
    assert_eq!((report.reward.len(), report.align.len(), report.rollouts.len()), (5, 2, 2));
    assert!(report.rollouts.iter().zip(1..).all(|((step, samples), at)| *step == at && samples.len() == 9));
    assert!(report.comparisons > 0 && !report.judge.is_empty() && !report.evaluation.is_null());
    let pairs = report.before_and_after();
    // Two prompts are answered twice, one of them within the second rollout.
    assert_eq!(pairs.len(), 1, "{pairs:?}");
    for [(first_step, first), (last_step, last)] in pairs {
        assert!(first.id == last.id && first_step < last_step);
    }
    let drawn: usize = report.by_principle().values().map(|[before, after]| before.1 + after.1).sum();
    let listed = report.rollouts.iter().flat_map(|(_, samples)| samples);
    assert_eq!(drawn, listed.map(|one| one.principles.len()).sum::<usize>());
    let page = report.to_html();
    for told in ["<h2>Principles</h2>", "<h2>The judge</h2>", "objective/kl", "train/loss", "/report.html"] {
        assert!(page.contains(told), "{told} is not in {page}");
    }
    assert!(!page.contains("<script") && page.ends_with("</body></html>\n"));

    // A folder in which nothing was run yet has its principles to show.
    let fresh = tempfile::tempdir().expect("a scratch directory");
    folder(fresh.path(), config);
    let report = PipelineReport::gather(fresh.path(), config).expect("settings and principles are there");
    assert!(report.folders.is_empty() && report.evaluation.is_null());
    assert!(report.to_html().contains("<h2>Principles</h2>"));
}

#[test]
fn only_what_an_edit_touches_is_done_again(family: KernelFamily) {
    let _turn = support::gpu::turn();
    let device = support::gpu::device(family);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let base = tiny(scratch.path());
    let model =
        Model::load(&device, &base, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint");
    let path = scratch.path().join("run");
    let config = minimal(&base);
    folder(&path, &config);

    // Stopped between two stages: what is done stays done.
    let control = Control::default();
    let stopped = Pipeline::new(&model, &path, &config).run(&control, &mut |event| {
        if matches!(event, Event::Stage { stage: Stage::Reward, .. }) {
            control.cancel.cancel();
        }
    });
    let stopped = stopped.expect_err("it was cancelled");
    assert!(matches!(stopped, PipelineError::Cancelled { stage: Stage::Reward }), "{stopped:?}");
    assert_eq!(stopped.kind(), ErrorKind::Cancelled);
    let base_sha256 = parr::format::Checkpoint::open(&base).expect("it was loaded").content_hash();
    let base_sha256 = base_sha256.expect("it was loaded");
    let found: Vec<StageStatus> = status(&path, &config, &base_sha256)
        .expect("sound files")
        .into_iter()
        .map(|(_, status, _)| status)
        .collect();
    let waiting = StageStatus::Waiting;
    assert_eq!(found, [StageStatus::Done, StageStatus::Unfinished, waiting.clone(), waiting]);

    let all = [Stage::Preferences, Stage::Reward, Stage::Evaluation, Stage::Align];
    let made = run(&model, &path);
    assert_eq!(redone(&made), all[1..]);
    assert_eq!(redone(&run(&model, &path)), []);
    let first = fs::read(path.join(Manifest::FILE)).expect("written");
    let report = fs::read_to_string(made[2].folder.join("report.html")).expect("written");
    assert!(report.contains("<html"), "{report}");
    told(&path, &config);

    // A setting of the evaluation alone, then of what it measures.
    let mut other = config.clone();
    other.evaluation.limit = 3;
    write(&path, &other);
    assert_eq!(redone(&run(&model, &path)), [Stage::Evaluation]);
    other.reward.seed = 9;
    write(&path, &other);
    assert_eq!(redone(&run(&model, &path)), all[1..]);
    // A principle; then everything undone: what was made first is found again.
    edit(&path, "principles/small.toml", "Say hello to the user", "Greet the user");
    assert_eq!(redone(&run(&model, &path)), all);
    edit(&path, "principles/small.toml", "Greet the user", "Say hello to the user");
    write(&path, &config);
    let again = run(&model, &path);
    assert_eq!(redone(&again), []);
    assert_eq!(again[1].folder, made[1].folder);
    let manifest = Manifest::read(&path).expect("sound");
    let firstly: Manifest = serde_json::from_slice(&first).expect("sound");
    assert_eq!(manifest.current, firstly.current);

    // A changed output file is rebuilt, and no later stage has to run again.
    let weights = made[1].folder.join("adapter/adapter_model.safetensors");
    let sound = fs::read(&weights).expect("written");
    fs::write(&weights, &sound[1..]).expect("writable");
    let repaired = run(&model, &path);
    assert_eq!(redone(&repaired), [Stage::Reward]);
    assert!(
        matches!(&repaired[1].status, StageStatus::Damaged(files) if files == &["adapter/adapter_model.safetensors"])
    );
    assert!(fs::read(&weights).expect("written") == sound);

    given(&model, &config, &made[1].folder, &scratch.path().join("given"));
}

/// With an existing reward model only the stages `align` and `comparison` run. An edit runs only those again.
fn given(model: &Model, config: &PipelineConfig, reward_model: &Path, path: &Path) {
    let mut config = config.clone();
    config.stages.reward_model = Some(reward_model.to_owned());
    config.stages.comparison = true;
    config.comparison = ComparisonConfig {
        limit: 3,
        best_of: 2,
        block: 2,
        max_tokens: 4,
        batch: 2,
        ..ComparisonConfig::default()
    };
    folder(path, &config);
    assert_eq!(redone(&run(model, path)), [Stage::Align, Stage::Comparison]);
    assert_eq!(redone(&run(model, path)), []);
    edit(path, "principles/small.toml", "Say hello to the user", "Greet the user");
    let changed = |made: &[Made]| -> Vec<StageStatus> { made.iter().map(|one| one.status.clone()).collect() };
    let by = |inputs: &[&str]| StageStatus::Changed(inputs.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(changed(&run(model, path)), [by(&["guidelines"]), by(&["guidelines", "what align left"])]);
    let report = PipelineReport::gather(path, &config).expect("sound files");
    assert!(report.principles.is_none() && report.rollouts.len() == 2);
    let page = report.to_html();
    assert!(
        page.contains(&format!("reward model {}", reward_model.display())) && page.contains("objective/kl")
    );
    let comparison = report.comparison.expect("it is a stage");
    let methods: Vec<&str> = comparison.methods.iter().map(|method| method.name.as_str()).collect();
    assert_eq!(methods, ["base", "prompt", "best of 2", "guided", "adapter"]);
    assert_eq!((comparison.prompts, comparison.replies.len()), (3, 3));
    assert!(
        page.contains("3 of the prompts that the stages train on") && page.contains("<td>best of 2</td>")
    );

    // Prompts that no stage trains on: only the comparison uses them. After a cancel the stage starts again.
    fs::write(path.join("others.jsonl"), "{\"id\": \"o\", \"prompt\": \"Is it?\"}\n").expect("writable");
    config.comparison.prompts = Some("others.jsonl".into());
    write(path, &config);
    let control = Control::default();
    let stopped = Pipeline::new(model, path, &config).run(&control, &mut |event| {
        if let Event::Run(train::Event::Counted(count)) = event
            && count.what == Items::Method("guided")
        {
            control.cancel.cancel();
        }
    });
    assert_eq!(stopped.expect_err("it was cancelled").kind(), ErrorKind::Cancelled);
    assert_eq!(changed(&run(model, path)), [StageStatus::Done, StageStatus::Unfinished]);
    let report = PipelineReport::gather(path, &config).expect("sound files");
    assert!(report.to_html().contains("1 prompts that no stage trained on"));

    // Only before and after: one rate for each principle with a program, and the replies side by side.
    config.comparison.methods = vec![MethodKind::Adapter];
    write(path, &config);
    assert_eq!(redone(&run(model, path)), [Stage::Comparison]);
    let report = PipelineReport::gather(path, &config).expect("sound files");
    let comparison = report.comparison.as_ref().expect("it is a stage");
    let methods: Vec<&str> = comparison.methods.iter().map(|method| method.name.as_str()).collect();
    assert_eq!(methods, ["base", "adapter"]);
    let (changes, replies) = (report.changes(), report.replies());
    assert!(changes.iter().any(|one| one.text.starts_with("Greet the user") && one.by == Measure::Program));
    assert!(changes.iter().all(|one| one.by == Measure::Program && (one.before.of, one.after.of) == (1, 1)));
    assert_eq!(replies.iter().map(|pair| pair.prompt).collect::<Vec<_>>(), ["Is it?"]);
    let [before, after] = &comparison.replies[0].replies[..] else { panic!("{comparison:?}") };
    assert_eq!((replies[0].before, replies[0].after), (&*before.text, &*after.text));
    assert!(report.to_html().contains("<h2>Before and after training</h2>"));

    config.stages.reward_model = Some("nowhere".into());
    let refused = |config: &PipelineConfig| match status(path, config, "base") {
        Err(error) => parr::Error::from(error),
        Ok(found) => panic!("{found:?}"),
    };
    let told = format!("{:?}", refused(&config));
    assert!(told.starts_with("stage align failed\n") && told.contains("nowhere"), "{told}");
    config.stages.align = false;
    config.stages.comparison = false;
    assert!(format!("{:?}", refused(&config)).contains("stages.align is false"));
}
