//! Adapters on disk: what is read, what is written, what is refused, and merging.

/// llama.cpp's GGUF adapters.
mod gguf;
/// Adapters of a model with other names of modules.
mod lfm2;
/// Adapters into their bases.
mod merge;
/// Damaged files of either kind.
mod mutation;
/// PEFT directories.
mod peft;
/// PEFT directories that are damaged, or ask for what is not computed.
mod peft_refused;
/// The real `peft` package, if Python has it.
mod python;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use parr::adapter::{Adapter, AdapterFileError, Card};
use parr::format::Checkpoint;
use parr::format::safetensors::{Dtype, SafetensorsWriter};
use parr::model::config::{LayerConfig, ModelConfig};
use parr::model::lora::{
    LoraConfig, LoraPair, LoraWeights, ModuleNames, Projection, Projections, ScalarHead,
};
use parr::random::{Philox, Purpose, uniform01};
use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// `tests/golden/NAME`.
pub fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden", name].iter().collect()
}

/// Three layers, hidden 64, 8 heads and 2 kv heads of 16.
fn llama() -> ModelConfig {
    config_of("tiny/llama3-rope-gqa")
}

fn config_of(name: &str) -> ModelConfig {
    ModelConfig::from_checkpoint(&Checkpoint::open(&golden(name)).unwrap()).unwrap()
}

fn random(index: usize, matrix: u32) -> f32 {
    let block = Philox::new(7).block(Purpose::Conformance, matrix, index as u32 / 4, 0);
    2.0 * uniform01(block[index % 4]) - 1.0
}

/// An adapter for `model` in which neither factor is zero.
pub fn adapter(model: &ModelConfig, rank: usize, alpha: f32, targets: &str) -> Adapter {
    let config = LoraConfig { rank, alpha, rs_lora: false, targets: targets.parse().unwrap() };
    let mut weights = LoraWeights::fresh(config, model, 11).unwrap();
    for (layer, pairs) in weights.layers.iter_mut().enumerate() {
        for (&projection, pair) in pairs {
            let matrix = (layer * 7 + projection as usize) as u32;
            for (index, value) in pair.b.iter_mut().enumerate() {
                *value = 0.2 * random(index, matrix);
            }
        }
    }
    Adapter { weights, head: None, card: Card::default() }
}

/// The same with a head and a card that has more keys than we know.
fn reward_adapter(model: &ModelConfig) -> Adapter {
    let json = serde_json::json!({
        "base": "tiny", "base_sha256": "00ff", "seed": u64::MAX, "steps": 12, "data_sha256": "ab",
        "metrics": { "loss": 0.25, "notes": ["a"] }, "written_by": { "version": 9 },
    });
    let weight = (0..model.hidden).map(|index| random(index, 999)).collect();
    let head = Some(ScalarHead { weight, bias: -0.5 });
    Adapter { head, card: serde_json::from_value(json).unwrap(), ..adapter(model, 4, 8.0, "all") }
}

/// What a projection adds to its matrix, in f64.
fn delta(config: &LoraConfig, pair: &LoraPair) -> Vec<f64> {
    let rank = config.rank;
    let inputs = pair.a.len() / rank;
    let scale = f64::from(config.alpha) / if config.rs_lora { (rank as f64).sqrt() } else { rank as f64 };
    let value = |row: usize, col: usize| -> f64 {
        let products =
            (0..rank).map(|j| f64::from(pair.b[row * rank + j]) * f64::from(pair.a[j * inputs + col]));
        scale * products.sum::<f64>()
    };
    let rows = pair.b.len() / rank;
    (0..rows)
        .flat_map(|row| (0..inputs).map(move |col| (row, col)))
        .map(|(row, col)| value(row, col))
        .collect()
}

/// A tensor of a safetensors file to be made.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Stored {
    fn new(name: &str, shape: &[usize], values: Vec<f32>) -> Stored {
        Stored { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec(), values }
    }

    fn bytes(&self) -> Vec<u8> {
        let values = self.values.iter();
        match self.dtype {
            Dtype::F32 => values.flat_map(|value| value.to_le_bytes()).collect(),
            Dtype::F16 => values.flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            Dtype::Bf16 => values.flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
            Dtype::I64 => values.flat_map(|value| (*value as i64).to_le_bytes()).collect(),
        }
    }
}

fn safetensors(tensors: &[Stored]) -> Vec<u8> {
    let mut writer = SafetensorsWriter::new();
    for tensor in tensors {
        writer.declare(&tensor.name, tensor.dtype, &tensor.shape).unwrap();
    }
    let mut body = writer.start(Vec::new()).unwrap();
    tensors.iter().for_each(|tensor| body.data(&tensor.bytes()).unwrap());
    body.finish().unwrap()
}

/// Factors of rank `rank` at `model.layers.LAYER.MODULE`, under PEFT's names.
fn factors(model: &ModelConfig, layer: usize, projection: Projection, rank: usize) -> [Stored; 2] {
    let (outputs, inputs) = projection.shape(model);
    let module = format!("model.layers.{layer}.{}", ModuleNames::Llama.module(projection));
    let factor = |name: &str, shape: [usize; 2]| {
        let matrix = (layer * 16 + projection as usize) as u32;
        let values = (0..shape[0] * shape[1]).map(|index| random(index, matrix)).collect();
        Stored::new(&format!("base_model.model.{module}.lora_{name}.weight"), &shape, values)
    };
    [factor("A", [rank, inputs]), factor("B", [outputs, rank])]
}

/// Factors of `projections` in every layer.
fn all_factors(model: &ModelConfig, projections: &str, rank: usize) -> Vec<Stored> {
    let projections = projections.parse::<Projections>().unwrap().of(model);
    let places = (0..model.layers.len()).flat_map(|layer| projections.iter().map(move |p| (layer, p)));
    places.flat_map(|(layer, projection)| factors(model, layer, projection, rank)).collect()
}

/// A PEFT directory of these tensors, with the keys of `change` put into a plain configuration of
/// rank 4 and alpha 8 on q and v.
fn peft_folder(change: &Value, tensors: &[Stored]) -> TempDir {
    let mut config = serde_json::json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj"], "bias": "none", "use_rslora": false,
        "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": null,
        // What PEFT writes too, and what does not change the result.
        "lora_dropout": 0.1, "loftq_config": {}, "megatron_core": "megatron.core", "revision": null,
        "peft_version": "0.21.2", "qalora_group_size": 16,
    });
    for (key, value) in change.as_object().unwrap() {
        config[key] = value.clone();
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
    std::fs::write(folder.path().join(WEIGHTS), safetensors(tensors)).unwrap();
    folder
}

/// Asserts that a message says all of `says`, in one line.
fn check_message(name: &str, error: &AdapterFileError, says: &[&str]) {
    let message = error.to_string();
    for part in says {
        assert!(message.contains(part), "{name}: wants {part:?}: {message}");
    }
    assert!(!message.contains('\n') && message.len() < 700 && !message.ends_with('.'), "{name}: {message}");
}

/// Names in a directory, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// `n` layers as in Llama. Adapters do not depend on what is in a layer.
fn layers(n: usize) -> Vec<LayerConfig> {
    vec![llama().layers[0].clone(); n]
}
