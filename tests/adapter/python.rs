//! Adapters between us and Hugging Face's `peft`: the same logits on either side, ours by the CPU oracle
//! on merged weights.

use std::fs;
use std::path::Path;
use std::process::Command;

use parr::adapter::{Adapter, MergeOptions, merge};
use parr::format::Checkpoint;
use parr::model::lora::Projection;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{adapter, config_of, golden};

/// Largest difference between a logit of the oracle and PyTorch's, which sums in f32.
const TOLERANCE: f32 = 1e-4;

/// The Python to use, if it has `peft`; without it the test that asks is skipped, with a line that
/// says so.
fn python() -> Option<String> {
    let python = std::env::var("PARR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let check = Command::new(&python).args(["-c", "import peft, safetensors, torch, transformers"]).output();
    match check {
        Ok(output) if output.status.success() => Some(python),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            println!("skipped: {python} has no peft: {}", said.lines().last().unwrap_or_default());
            None
        }
        Err(error) => {
            println!("skipped: cannot run {python} (PARR_TEST_PYTHON names another): {error}");
            None
        }
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
        merge(&base, adapter, &out, &MergeOptions::default(), &mut |_| {}).unwrap();
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
    let Some(python) = python() else { return };
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
    let Some(python) = python() else { return };
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
                adapter.write_gguf(gguf.as_ref(), &model, parr::quant::Quant::F32).unwrap();
                let back = Adapter::open(gguf.as_ref(), &model).unwrap();
                bench.compare(&theirs, path, &bench.ours(&back, "back"));
            }
        }
    }
}
