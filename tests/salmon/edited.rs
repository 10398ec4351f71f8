//! Files that are edited while a run is under way.

use std::fs;
use std::path::Path;

use parr::gpu::DeviceOptions;
use parr::model::{LoadOptions, Model};
use parr::principles::PrincipleSet;
use parr::salmon::{
    Event, Made, Manifest, Pipeline, PipelineConfig, PipelineError, Stage, StageStatus, status,
};
use parr::train::Control;
use parr::{Error, ErrorKind};

use super::{edit, folder, minimal, tiny};
use crate::support;

/// Runs all stages, and `edit` when `stage` is about to begin.
fn run(
    model: &Model,
    path: &Path,
    config: &PipelineConfig,
    stage: Stage,
    edit: impl Fn(),
) -> Result<Vec<Made>, PipelineError> {
    Pipeline::new(model, path, config).run(&Control::default(), &mut |event| {
        if matches!(event, Event::Stage { stage: next, .. } if next == stage) {
            edit();
        }
    })
}

#[test]
fn what_is_edited_during_a_run_is_used_by_the_next() {
    let _turn = support::gpu::turn();
    let device = support::gpu::open(&DeviceOptions::default());
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let base = tiny(scratch.path());
    let model =
        Model::load(&device, &base, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint");
    let base_sha256 = model.content_hash().expect("it was loaded").expect("from files");
    let config = minimal(&base);
    let (whole, edited) = (scratch.path().join("whole"), scratch.path().join("edited"));
    folder(&whole, &config);
    folder(&edited, &config);
    let undisturbed = run(&model, &whole, &config, Stage::Reward, || {}).expect("it runs");
    let principles =
        |path: &Path| PrincipleSet::read(&path.join("principles/small.toml")).expect("sound").sha256;
    let old = principles(&edited);

    let made = run(&model, &edited, &config, Stage::Reward, || {
        edit(&edited, "principles/small.toml", "Say hello to the user", "Greet the user");
        edit(&edited, "prompts.jsonl", "?", "??");
        // Others may look, but not run.
        let stands = status(&edited, &config, base_sha256).expect("sound files");
        let changed = ["principles", "prompts"].map(str::to_owned).to_vec();
        assert_eq!((stands[0].0, &stands[0].1), (Stage::Preferences, &StageStatus::Changed(changed)));
        let second = run(&model, &edited, &config, Stage::Reward, || {});
        assert!(matches!(second, Err(PipelineError::Busy { .. })), "{second:?}");
    });
    let made = made.expect("it runs");
    let new = principles(&edited);
    assert_ne!(old, new);

    // Later stages used the old text: they left what they left where nothing was edited, to the last bit.
    let manifest = |path: &Path| fs::read_to_string(path.join(Manifest::FILE)).expect("written");
    assert_eq!(manifest(&edited), manifest(&whole));
    assert!(manifest(&edited).contains(&old) && !manifest(&edited).contains(&new));
    let card = fs::read_to_string(made[1].folder.join("adapter/parr.json")).expect("written");
    assert!(card.contains(&old) && !card.contains(&new), "{card}");

    // The next run redoes all that depends on the edit, with the new text.
    let again = run(&model, &edited, &config, Stage::Reward, || {}).expect("it runs");
    let changed = |one: &Made| matches!(&one.status, StageStatus::Changed(inputs) if !inputs.is_empty());
    assert!(again.iter().all(changed), "{again:#?}");
    let stages: Vec<Stage> = again.iter().map(|one| one.stage).collect();
    assert_eq!(stages, [Stage::Preferences, Stage::Reward, Stage::Evaluation, Stage::Align]);
    let card = fs::read_to_string(again[1].folder.join("adapter/parr.json")).expect("written");
    assert!(card.contains(&new), "{card}");

    reward_model(&model, &config, &undisturbed[1].folder, scratch.path());
}

/// A given reward model has to stay as it is, too: it is opened when the stage begins.
fn reward_model(model: &Model, config: &PipelineConfig, made: &Path, scratch: &Path) {
    let (given, path) = (scratch.join("reward-model"), scratch.join("policy"));
    fs::create_dir(&given).expect("a scratch directory is writable");
    for file in fs::read_dir(made.join("adapter")).expect("it was trained") {
        let file = file.expect("readable");
        fs::copy(file.path(), given.join(file.file_name())).expect("a scratch directory is writable");
    }
    let mut config = config.clone();
    config.stages.reward_model = Some(given.clone());
    folder(&path, &config);
    let error = run(model, &path, &config, Stage::Align, || {
        edit(&given, "parr.json", "{", "{ ");
    });
    let error = error.expect_err("it was changed");
    assert!(matches!(error, PipelineError::SourceChanged { .. }), "{error:?}");
    assert_eq!(Error::from(error).kind(), ErrorKind::Run);

    let made = run(model, &path, &config, Stage::Align, || {}).expect("it runs");
    assert_eq!(made.iter().map(|one| &one.status).collect::<Vec<_>>(), [&StageStatus::Pending]);
}
