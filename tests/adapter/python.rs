//! Adapters between us, Hugging Face's `peft` and llama.cpp: the same logits on every side, ours by the
//! CPU oracle on merged weights.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use parr::adapter::{Adapter, MergeOptions, merge};
use parr::format::Checkpoint;
use parr::model::ModelConfig;
use parr::model::lora::Projection;
use parr::quant::Quant;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{adapter, config_of, golden};
use crate::support::harness::ignore;

/// What `peft_logits.py` needs.
const PEFT: &str = "peft, safetensors, torch, transformers";

/// Largest difference between a logit of the oracle and PyTorch's, which sums in f32.
const TOLERANCE: f32 = 1e-4;

/// The Python to use, which has `modules`; without them the running test ends as ignored.
fn python(modules: &str) -> String {
    let python = std::env::var("PARR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let check = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    match check {
        Ok(output) if output.status.success() => python,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            ignore(format_args!("{python}: {}", said.lines().last().unwrap_or_default()))
        }
        Err(error) => ignore(format_args!("cannot run {python} (PARR_TEST_PYTHON names another): {error}")),
    }
}

/// A tiny model, its golden ids, and a place for files.
struct Bench {
    name: &'static str,
    folder: TempDir,
    ids: Vec<u32>,
}

impl Bench {
    fn new(name: &'static str) -> Bench {
        let bytes = fs::read(golden(name).join("expected.safetensors")).unwrap();
        let ids = SafeTensors::deserialize(&bytes).unwrap().tensor("ids").unwrap().data().to_vec();
        let ids = ids.chunks_exact(8).map(|id| i64::from_le_bytes(id.try_into().unwrap()) as u32).collect();
        Bench { name, folder: tempfile::tempdir().unwrap(), ids }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// PEFT's logits: see `peft_logits.py`.
    fn peft(&self, python: &str, load: &[String], make: &[Value]) -> Vec<u8> {
        let (request, logits) = (self.path("request.json"), self.path("logits.safetensors"));
        let base = golden(self.name);
        let json = json!({ "base": base, "ids": self.ids, "load": load, "make": make, "logits": logits });
        fs::write(&request, json.to_string()).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/adapter/peft_logits.py");
        let output = Command::new(python).args([script, &request]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(&logits).unwrap()
    }

    /// The oracle's logits of the model with `adapter` merged into it.
    fn ours(&self, adapter: &Adapter, name: &str) -> Vec<f32> {
        let out = self.folder.path().join(format!("merged {name}"));
        let base = Checkpoint::open(&golden(self.name)).unwrap();
        merge(&base, adapter, &out, &MergeOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
        crate::reference::load(&out).logits(&self.ids)
    }

    /// Asserts that `ours` are PEFT's logits `name`, and no longer the base's.
    fn compare(&self, theirs: &[u8], name: &str, ours: &[f32]) {
        let file = SafeTensors::deserialize(theirs).unwrap();
        let logits =
            |name: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data()) };
        let apart = furthest(ours, &logits(name));
        let moved = furthest(&logits("base"), &logits(name));
        let short = Path::new(name).file_name().unwrap().to_string_lossy().into_owned();
        println!("{} {short}: {apart:.1e}, moved by {moved:.1e}", self.name);
        assert!(moved > 100.0 * TOLERANCE, "{short}: the adapter changes too little: {moved}");
        assert!(apart <= TOLERANCE, "{short}: {apart}");
    }
}

fn furthest(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

const MODELS: [&str; 2] = ["tiny/llama3-rope-gqa", "tiny/qwen2-bias"];

#[test]
fn peft_computes_the_same_with_our_adapters() {
    let python = python(PEFT);
    for name in MODELS {
        let bench = Bench::new(name);
        let model = config_of(name);
        let mut some_layers = adapter(&model, 3, 7.5, "q,k,o,up");
        some_layers.weights.layers[0].remove(&Projection::Q);
        some_layers.weights.layers[1].clear();
        let mut rs_lora = adapter(&model, 6, 5.0, "v,gate");
        rs_lora.weights.config.rs_lora = true;
        let adapters =
            [("all", adapter(&model, 4, 8.0, "all")), ("some layers", some_layers), ("rs_lora", rs_lora)];
        let load: Vec<String> = adapters.iter().map(|(name, _)| bench.path(name)).collect();
        for ((_, adapter), path) in adapters.iter().zip(&load) {
            adapter.write_peft(path.as_ref()).unwrap();
        }
        let theirs = bench.peft(&python, &load, &[]);
        for ((name, adapter), path) in adapters.iter().zip(&load) {
            bench.compare(&theirs, path, &bench.ours(adapter, name));
        }
    }
}

#[test]
fn we_compute_the_same_with_pefts_adapters() {
    let python = python(PEFT);
    let configs = [
        ("list", json!({ "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"] })),
        ("all-linear", json!({ "r": 2, "lora_alpha": 3, "target_modules": "all-linear" })),
        ("regex", json!({ "r": 3, "lora_alpha": 6, "target_modules": r".*\.[02]\.(?!mlp).*\.(k|o)_proj" })),
        (
            "layers",
            json!({ "r": 4, "target_modules": ["up_proj"], "layers_to_transform": [0, 2], "layers_pattern": "layers" }),
        ),
        (
            "exclude",
            json!({ "r": 4, "target_modules": ["up_proj", "k_proj"], "exclude_modules": ["model.layers.1.self_attn.k_proj"] }),
        ),
        (
            "rs_lora",
            json!({ "r": 5, "lora_alpha": 4, "target_modules": ["down_proj", "k_proj"], "use_rslora": true }),
        ),
        (
            "patterns",
            json!({
                "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "gate_proj"], "use_rslora": true,
                "rank_pattern": { r"layers\.1\.self_attn\.q_proj": 7, "q_proj": 2 },
                "alpha_pattern": { "gate_proj": 20, "model.layers.0.self_attn.q_proj": 3 },
            }),
        ),
    ];
    for name in MODELS {
        let bench = Bench::new(name);
        let mut make: Vec<Value> = configs
            .iter()
            .map(|(name, config)| json!({ "out": bench.path(name), "config": config }))
            .collect();
        for dtype in ["bfloat16", "float16"] {
            make.push(json!({ "out": bench.path(dtype), "config": configs[0].1, "dtype": dtype }));
        }
        let theirs = bench.peft(&python, &[], &make);
        let model = config_of(name);
        for path in make.iter().map(|make| make["out"].as_str().unwrap()) {
            let adapter = Adapter::open(path.as_ref(), &model).unwrap();
            let name = Path::new(path).file_name().unwrap().to_str().unwrap();
            bench.compare(&theirs, path, &bench.ours(&adapter, name));
            if name == "patterns" {
                // By way of llama.cpp's format, where the rule of the scale is another.
                let gguf = format!("{path}.gguf");
                adapter.write_gguf(gguf.as_ref(), &model, Quant::F32).unwrap();
                let back = Adapter::open(gguf.as_ref(), &model).unwrap();
                bench.compare(&theirs, path, &bench.ours(&back, "back"));
            }
        }
    }
}

/// Log-probabilities of the likeliest next tokens, by llama.cpp: see `llama_cpp.py`.
fn llama_cpp(python: &str, files: &[&Path]) -> BTreeMap<String, f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/adapter/llama_cpp.py");
    let output = Command::new(python).arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}

/// The largest difference over tokens that are likely on both sides, of which there must be some.
fn differ(one: &BTreeMap<String, f64>, other: &BTreeMap<String, f64>) -> f64 {
    let both = one.iter().filter_map(|(token, logprob)| Some((logprob - other.get(token)?).abs()));
    let both: Vec<f64> = both.collect();
    assert!(both.len() >= 10, "{} likely tokens in common", both.len());
    both.into_iter().fold(0.0, f64::max)
}

/// llama.cpp with our adapter against llama.cpp with our merged model. The layers are f32 in both, and so
/// is the cache: llama.cpp rounds what it multiplies with anything less. Its output matrix stays quantized
/// and mostly hides what is left, so that equal to the last digit is no surprise.
#[test]
fn llama_cpp_computes_the_same_with_our_adapters() {
    let model = crate::support::model::smollm2();
    let python = python("xllamacpp");
    let checkpoint = Checkpoint::open(&model).unwrap();
    let config = ModelConfig::from_checkpoint(&checkpoint).unwrap();
    let mut ours = adapter(&config, 6, 12.0, "all");
    ours.weights.config.rs_lora = true;
    // As large a change as the model bears.
    ours.weights.layers.iter_mut().flat_map(BTreeMap::values_mut).for_each(|pair| {
        pair.b.iter_mut().for_each(|value| *value *= 0.1);
    });
    let mut nothing = ours.clone();
    nothing.weights.layers.iter_mut().flat_map(BTreeMap::values_mut).for_each(|pair| pair.b.fill(0.0));

    let folder = tempfile::tempdir().unwrap();
    let [base, merged, lora, half] =
        ["base.gguf", "merged.gguf", "lora.gguf", "half.gguf"].map(|name| folder.path().join(name));
    let options = MergeOptions { quant: Some(Quant::F32) };
    merge(&checkpoint, &nothing, &base, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    merge(&checkpoint, &ours, &merged, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    ours.write_gguf(&lora, &config, Quant::F32).unwrap();
    ours.write_gguf(&half, &config, Quant::F16).unwrap();

    let expected = llama_cpp(&python, &[&merged]);
    let moved = differ(&expected, &llama_cpp(&python, &[&base]));
    for (name, adapter) in [("f32", &lora), ("f16", &half)] {
        let found = llama_cpp(&python, &[&base, adapter]);
        let apart = differ(&expected, &found);
        println!("llama.cpp, {name} factors: {apart:.1e}, moved by {moved:.1e}");
        assert!(apart <= 0.01 && moved > 0.5, "{name}: {apart} of {moved}");
    }
}
