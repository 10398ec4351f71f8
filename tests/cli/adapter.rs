//! `parr adapter`: info, export, merge. None of it needs a GPU.

use std::fs;
use std::path::Path;
use std::process::Output;

use parr::adapter::Adapter;
use parr::format::Checkpoint;
use parr::model::ModelConfig;
use serde_json::json;

use super::{golden, parr, rows, stderr, stdout};
use crate::adapter::adapter;

const MODEL: &str = "tiny/llama3-rope-gqa";

fn config() -> ModelConfig {
    ModelConfig::from_checkpoint(&Checkpoint::open(&golden(MODEL)).unwrap()).unwrap()
}

fn run(arguments: &[&str]) -> Output {
    // No driver: what needs no GPU must not ask for one.
    let mut command = parr();
    command.env("VK_ICD_FILENAMES", "/nonexistent").env("VK_DRIVER_FILES", "/nonexistent");
    command.arg("adapter").args(arguments).output().expect("the program starts")
}

/// An adapter in a PEFT directory, and what is in it.
fn written(folder: &Path, base_sha256: Option<String>) -> (String, Adapter) {
    let mut adapter = adapter(&config(), 4, 6.0, "q,v,down");
    adapter.card.base = Some("tiny".to_owned());
    adapter.card.base_sha256 = base_sha256;
    adapter.card.steps = Some(12);
    adapter.card.metrics.insert("loss".to_owned(), json!(0.5));
    let path = folder.join("adapter");
    adapter.write_peft(&path).unwrap();
    (path.to_str().unwrap().to_owned(), adapter)
}

#[test]
fn info_tells_what_an_adapter_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, adapter) = written(folder.path(), None);
    let info = rows(&run(&["info", &path, "--json"])).swap_remove(0);
    let expected = json!({
        "format": "peft", "rank": 4, "alpha": 6.0, "rs_lora": false, "scale": 1.5,
        "targets": ["q_proj", "v_proj", "down_proj"], "layers": 3, "matrices": 9,
        "parameters": adapter.weights.parameters(), "head": false,
        "card": { "base": "tiny", "steps": 12, "metrics": { "loss": 0.5 } },
    });
    assert_eq!(info, expected);
    let table = run(&["info", &path]);
    for line in [
        "format      peft",
        "scale       1.5 (alpha / rank, alpha 6)",
        "matrices    9 in 3 layers",
        "loss        0.5",
    ] {
        assert!(stdout(&table).contains(line), "{line}: {}", stdout(&table));
    }

    let model = run(&["info", golden(MODEL).to_str().unwrap()]);
    assert_eq!(model.status.code(), Some(1));
    assert!(stderr(&model).starts_with("error: ") && stderr(&model).contains("is not an adapter"));
}

#[test]
fn export_goes_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (path, adapter) = written(folder.path(), None);
    let model = golden(MODEL);
    let model = model.to_str().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (gguf, half, back) = (place("adapter.gguf"), place("half.gguf"), place("back"));
    let half_back = place("half-back");
    for (from, to, arguments) in [
        (&path, &gguf, &["--to", "gguf"][..]),
        (&path, &half, &["--to", "gguf", "--quant", "f16"]),
        (&gguf, &back, &["--to", "peft"]),
        (&gguf, &half_back, &["--to", "peft", "--quant", "f16"]),
    ] {
        let output = run(&[&["export", from, "--model", model, "--out", to], arguments].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!((stdout(&output).as_str(), stderr(&output)), ("", format!("wrote {to}\n")));
    }
    assert_eq!(Adapter::open(back.as_ref(), &config()).unwrap(), adapter);
    assert!(fs::metadata(&half).unwrap().len() < fs::metadata(&gguf).unwrap().len());
    let factors = |folder: &str| Path::new(folder).join("adapter_model.safetensors");
    let size = |folder: &str| fs::metadata(factors(folder)).unwrap().len();
    assert!(size(&half_back) < size(&back));
    let rounded = Adapter::open(half_back.as_ref(), &config()).unwrap();
    assert_ne!(rounded, adapter);
    let values = |adapter: &Adapter| -> Vec<f32> {
        let pairs = adapter.weights.layers.iter().flat_map(|pairs| pairs.values());
        pairs.flat_map(|pair| pair.a.iter().chain(&pair.b)).copied().collect()
    };
    for (half, whole) in values(&rounded).into_iter().zip(values(&adapter)) {
        // Half a unit of f16 in the last place, or of its smallest number.
        assert!((half - whole).abs() <= whole.abs() / 2048.0 + 6e-8, "{half} for {whole}");
    }

    for (arguments, code, says) in [
        (&["--to", "peft", "--quant", "q4_0"][..], 1, "cannot be q4_0"),
        (&["--to", "gguf", "--quant", "q4_0"], 1, "cannot be q4_0"),
        (&["--to", "onnx"], 2, "possible values: peft, gguf"),
    ] {
        let out = place("never");
        let output = run(&[&["export", &path, "--model", model, "--out", &out], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
        assert!(!Path::new(&out).exists());
    }
}

#[test]
fn merge_writes_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = written(folder.path(), None);
    let out = folder.path().join("merged");
    let model = golden(MODEL);
    let arguments =
        ["merge", "--model", model.to_str().unwrap(), "--adapter", &path, "--out", out.to_str().unwrap()];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("merged 9 matrices into "), "{}", stderr(&output));
    let (merged, base) = (Checkpoint::open(&out).unwrap(), Checkpoint::open(&model).unwrap());
    for tensor in base.tensors() {
        let found = merged.need_tensor(&tensor.name, &tensor.shape).unwrap();
        let changed = ["q_proj", "v_proj", "down_proj"].iter().any(|name| tensor.name.contains(name));
        assert_eq!(merged.bytes(found) != base.bytes(tensor), changed, "{}", tensor.name);
    }
    // Once more would replace a model.
    let again = run(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("will not be replaced: the directory is not empty"),
        "{}",
        stderr(&again)
    );
    let quant = run(&[&arguments[..], &["--quant", "q9"]].concat());
    assert_eq!(quant.status.code(), Some(2));
}

#[test]
fn another_base_is_refused_unless_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let base = golden(MODEL);
    let hash = Checkpoint::open(&base).unwrap().content_hash().unwrap();
    let (path, _) = written(folder.path(), Some(hash));
    // The same shape, but not the same bytes.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::write(other.join(name), fs::read(base.join(name)).unwrap()).unwrap();
    }
    let mut config = fs::read(other.join("config.json")).unwrap();
    config.push(b' ');
    fs::write(other.join("config.json"), config).unwrap();
    let merge = |model: &Path, out: &str, more: &[&str]| {
        let out = folder.path().join(out);
        let (model, out) = (model.to_str().unwrap(), out.to_str().unwrap());
        run(&[&["merge", "--model", model, "--adapter", &path, "--out", out], more].concat())
    };
    assert!(merge(&base, "own", &[]).status.success());
    let refused = merge(&other, "other base", &[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("error: the adapter was trained on tiny") && said.contains("--any-base"), "{said}");
    assert!(merge(&other, "wanted", &["--any-base"]).status.success());
    assert!(folder.path().join("wanted").is_dir() && !folder.path().join("other base").exists());
}
