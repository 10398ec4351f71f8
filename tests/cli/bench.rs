//! `parr bench`: every figure it promises, on a model small enough not to wait for.

use parr::format::Checkpoint;
use parr::model::ModelConfig;

use super::{needs_gpu, parr, rows, stderr, tiny};
use crate::adapter::adapter;

#[test]
fn every_promised_figure_is_there_and_positive() {
    needs_gpu();
    let arguments =
        ["bench", &tiny(), "--prefill", "8", "--decode", "1,3", "--steps", "2", "--repeats", "1", "--json"];
    let run = parr().args(arguments).output().expect("the program starts");
    let report = rows(&run).swap_remove(0);
    let positive = |value: &serde_json::Value, what: &str| {
        assert!(value.as_f64().is_some_and(|value| value > 0.0), "{what} is {value}");
    };
    for name in
        ["weight_bytes", "cache_bytes", "load_seconds", "start_to_first_token_seconds", "peak_device_bytes"]
    {
        positive(&report[name], name);
    }
    for name in ["tokens_per_second", "gflops_per_second", "seconds"] {
        positive(&report["prefill"][0][name], name);
        positive(&report["decode"][1][name], name);
    }
    positive(&report["decode"][0]["weight_gb_per_second"], "weight_gb_per_second");
    assert_eq!(report["decode"][1]["sequences"], 3);
    // Without timestamps there is no time by kernel; with them it adds up.
    for run in [&report["prefill"][0], &report["decode"][1]] {
        let kernels = run["kernels"].as_array().expect("an array");
        let shares: f64 = kernels.iter().filter_map(|kernel| kernel["share"].as_f64()).sum();
        assert!(kernels.is_empty() || (shares - 1.0).abs() < 1e-9, "{kernels:?}");
    }
}

#[test]
fn training_is_measured_within_the_memory_that_was_planned() {
    needs_gpu();
    let model = tiny();
    let small =
        ["bench", &model, "--prefill", "8", "--decode", "1", "--steps", "2", "--repeats", "1", "--json"];
    let train = ["--train", "--train-batch", "3x20", "--rank", "4"];
    let run = parr().args(small).args(train).output().expect("the program starts");
    let report = rows(&run).swap_remove(0);
    let found = |name: &str| report["train"][name].as_f64().unwrap_or_else(|| panic!("no {name}"));
    assert!(found("tokens_per_second") > 0.0 && found("seconds") > 0.0);
    assert_eq!((found("sequences"), found("tokens"), found("rank")), (3.0, 20.0, 4.0));
    assert_eq!((found("pass_tokens"), found("kept_layers")), (60.0, found("layers")));
    assert_eq!(found("peak_device_bytes"), found("planned_bytes"));

    let wrong =
        parr().args(small).args(["--train", "--train-batch", "4by9"]).output().expect("the program starts");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("4x256"), "{}", stderr(&wrong));
}

#[test]
fn an_unknown_shape_is_wrong_usage() {
    let run = parr().args(["bench", "--random", "7t"]).output().expect("the program starts");
    assert_eq!(run.status.code(), Some(2));
    assert!(stderr(&run).contains("135m"), "{}", stderr(&run));
}

#[test]
fn what_an_adapter_costs_is_measured_too() {
    needs_gpu();
    let model = tiny();
    let config = ModelConfig::from_checkpoint(&Checkpoint::open(model.as_ref()).unwrap()).unwrap();
    let folder = tempfile::tempdir().expect("a scratch directory");
    let path = folder.path().join("adapter");
    adapter(&config, 4, 8.0, "all").write_peft(&path).expect("it is written");
    let small =
        ["bench", &model, "--prefill", "8", "--decode", "3", "--steps", "2", "--repeats", "1", "--json"];
    let run = parr().args(small).arg("--adapter").arg(&path).output().expect("the program starts");
    let report = rows(&run).swap_remove(0);
    assert_eq!(report["lora"].as_str(), path.to_str());
    for run in [&report["prefill"][0], &report["decode"][0]] {
        let kernels = run["kernels"].as_array().expect("an array");
        let adapted = |kernel: &serde_json::Value| {
            kernel["kernel"].as_str().is_some_and(|name| name.starts_with("lora/"))
        };
        assert!(kernels.is_empty() || kernels.iter().any(adapted), "{kernels:?}");
    }
}
