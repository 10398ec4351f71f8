//! PEFT directories: what is written is read back to the bit, and what PEFT's options mean.

use std::collections::BTreeMap;
use std::fs;

use parr::adapter::{Adapter, AdapterFormat, check_base};
use parr::format::Checkpoint;
use parr::format::safetensors::Dtype;
use parr::model::ModelConfig;
use parr::model::lora::{LoraConfig, LoraPair, Projection, Projections};
use parr::quant::Quant;
use serde_json::{Value, json};

use super::*;

#[test]
fn what_is_written_is_read_back_to_the_bit() {
    let model = llama();
    let mut some_layers = adapter(&model, 3, 0.1, "q,down");
    some_layers.weights.layers[1].remove(&Projection::Q);
    some_layers.weights.layers[2].clear();
    let mut rs_lora = adapter(&model, 8, 16.0, "gate");
    rs_lora.weights.config.rs_lora = true;
    for (name, adapter) in [
        ("all", adapter(&model, 4, 8.0, "all")),
        ("some layers", some_layers),
        ("rs_lora", rs_lora),
        ("reward", reward_adapter(&model)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        adapter.write_peft(&first).unwrap();
        let read = Adapter::open(&first, &model).unwrap();
        assert_eq!(read, adapter, "{name}");
        read.write_peft(&second).unwrap();
        assert_eq!(names(&first), names(&second), "{name}");
        for file in names(&first) {
            assert!(fs::read(first.join(&file)).unwrap() == fs::read(second.join(&file)).unwrap(), "{file}");
        }
        let summary = Adapter::inspect(&first).unwrap();
        assert_eq!(summary.format, AdapterFormat::Peft);
        assert_eq!(summary.config, adapter.weights.config, "{name}");
        assert_eq!(summary.parameters, adapter.weights.parameters(), "{name}");
        assert_eq!((summary.head, &summary.card), (adapter.head.is_some(), &adapter.card), "{name}");
    }
}

/// PEFT's own tensors for SmolLM2, which need no model to be read: only its shape.
#[test]
fn pytorchs_adapter_passes_through_to_the_bit() {
    let model = ModelConfig {
        hidden: 576,
        layers: layers(30),
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        ffn: 1536,
        ..llama()
    };
    let golden_path = golden("lora/lora_init.safetensors");
    let folder = peft_folder(&json!({ "target_modules": "all-linear" }), &[]);
    fs::copy(&golden_path, folder.path().join(WEIGHTS)).unwrap();
    let adapter = Adapter::open(folder.path(), &model).unwrap();
    assert_eq!(adapter.weights.config.scale(), 2.0);
    let out = folder.path().join("out");
    adapter.write_peft(&out).unwrap();
    let (ours, theirs) = (
        Checkpoint::open_tensors(&out.join(WEIGHTS)).unwrap(),
        Checkpoint::open_tensors(&golden_path).unwrap(),
    );
    assert_eq!(ours.tensors().count(), 420);
    for tensor in theirs.tensors() {
        let found = ours.need_tensor(&tensor.name, &tensor.shape).unwrap();
        assert!(ours.bytes(found) == theirs.bytes(tensor), "{}", tensor.name);
    }
    let config: Value = serde_json::from_slice(&fs::read(out.join(CONFIG)).unwrap()).unwrap();
    // PEFT's type is an integer.
    assert_eq!((&config["r"], config["lora_alpha"].to_string()), (&json!(4), "8".to_owned()));
    let names: Vec<&str> =
        config["target_modules"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(names, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]);
}

#[test]
fn half_floats_are_read_exactly() {
    let model = llama();
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let mut tensors = all_factors(&model, "q,v", 4);
        for tensor in &mut tensors {
            tensor.dtype = dtype;
            // Few enough bits for either type.
            tensor.values.iter_mut().for_each(|value| *value = (*value * 64.0).round() / 64.0);
        }
        let adapter = Adapter::open(peft_folder(&json!({}), &tensors).path(), &model).unwrap();
        assert_eq!(adapter.weights.layers[0][&Projection::Q].a, tensors[0].values);
        assert_eq!(adapter.weights.layers[0][&Projection::Q].b, tensors[1].values);
    }
}

/// Opens a directory whose factors stand at `places` and expects it to be sound.
fn chosen(change: Value, places: &[(usize, Projection)]) {
    let model = llama();
    let tensors: Vec<Stored> =
        places.iter().flat_map(|&(layer, projection)| factors(&model, layer, projection, 4)).collect();
    let folder = peft_folder(&change, &tensors);
    let adapter = Adapter::open(folder.path(), &model).unwrap_or_else(|error| panic!("{change}: {error}"));
    let found: Vec<(usize, Projection)> = adapter
        .weights
        .layers
        .iter()
        .enumerate()
        .flat_map(|(layer, pairs)| pairs.keys().map(move |&projection| (layer, projection)))
        .collect();
    assert_eq!(found, places, "{change}");
}

fn every_layer(projections: &str) -> Vec<(usize, Projection)> {
    let projections = projections.parse::<Projections>().unwrap().of(&llama());
    (0..3).flat_map(|layer| projections.iter().map(move |projection| (layer, projection))).collect()
}

#[test]
fn modules_are_chosen_as_peft_chooses_them() {
    use Projection::{Down, K, Q, V};
    chosen(json!({}), &every_layer("q,v"));
    // Names of other architectures match nothing.
    chosen(json!({ "target_modules": ["mlp.down_proj", "c_attn"] }), &every_layer("down"));
    chosen(json!({ "target_modules": ["model.layers.2.self_attn.k_proj"] }), &[(2, K)]);
    chosen(json!({ "target_modules": "all-linear" }), &every_layer("all"));
    chosen(json!({ "target_modules": r".*\.(q|v)_proj" }), &every_layer("q,v"));
    // A pattern has to match the whole name, and may look around.
    chosen(json!({ "target_modules": r"model\.layers\.[01]\.(?!mlp).*\.q_proj" }), &[(0, Q), (1, Q)]);
    chosen(json!({ "layers_to_transform": [2, 0, 7] }), &[(0, Q), (0, V), (2, Q), (2, V)]);
    chosen(json!({ "layers_to_transform": 1 }), &[(1, Q), (1, V)]);
    chosen(json!({ "layers_to_transform": [] }), &every_layer("q,v"));
    chosen(json!({ "layers_to_transform": 1, "layers_pattern": ["h", "layers"] }), &[(1, Q), (1, V)]);
    chosen(json!({ "exclude_modules": ["v_proj"] }), &every_layer("q"));
    let change =
        json!({ "target_modules": "all-linear", "exclude_modules": r".*self_attn.*|.*(gate|up)_proj" });
    chosen(change, &[(0, Down), (1, Down), (2, Down)]);
}

/// What each module adds must be what its own rank and alpha say, though one rank and one scale are left.
#[test]
fn patterns_of_rank_and_alpha_become_one_rank_and_one_scale() {
    let model = llama();
    for rs_lora in [false, true] {
        // Of two patterns that match, the first counts.
        let change = json!({
            "use_rslora": rs_lora,
            "rank_pattern": { "layers.1.self_attn.q_proj": 7, "q_proj": 2 },
            "alpha_pattern": { r"model\.layers\.[02]\..*v_proj": 3, "layers.2.self_attn.q_proj": 0.5 },
        });
        let own = |layer: usize, projection: Projection| {
            let rank = match (layer, projection) {
                (1, Projection::Q) => 7,
                (_, Projection::Q) => 2,
                _ => 4,
            };
            let alpha = match (layer, projection) {
                (0 | 2, Projection::V) => 3.0,
                (2, Projection::Q) => 0.5,
                _ => 8.0,
            };
            LoraConfig { rank, alpha, rs_lora, targets: "q,v".parse().unwrap() }
        };
        let mut tensors = Vec::new();
        let mut expected = BTreeMap::new();
        for (layer, projection) in every_layer("q,v") {
            let config = own(layer, projection);
            let [a, b] = factors(&model, layer, projection, config.rank);
            let pair = LoraPair { a: a.values.clone(), b: b.values.clone() };
            expected.insert((layer, projection), delta(&config, &pair));
            tensors.extend([a, b]);
        }
        let folder = peft_folder(&change, &tensors);
        let adapter = Adapter::open(folder.path(), &model).unwrap();
        let config = adapter.weights.config;
        assert_eq!((config.rank, config.alpha, config.rs_lora), (7, 8.0, rs_lora));
        for ((layer, projection), expected) in expected {
            let found = delta(&config, &adapter.weights.layers[layer][&projection]);
            let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
            let apart =
                expected.iter().zip(&found).fold(0.0f64, |most, (one, other)| most.max((one - other).abs()));
            assert!(largest > 0.1 && apart <= 1e-6 * largest, "{layer} {projection:?}: {apart} of {largest}");
        }
        // The widest keeps its own numbers.
        let widest = factors(&model, 1, Projection::Q, 7);
        assert_eq!(adapter.weights.layers[1][&Projection::Q].b, widest[1].values);
        assert_eq!(Adapter::inspect(folder.path()).unwrap().config, config);
    }
}

#[test]
fn an_alpha_of_zero_at_the_widest_pair_silences_no_other() {
    let model = llama();
    let mut tensors = all_factors(&model, "v", 4);
    tensors.extend(all_factors(&model, "q", 6));
    let change = json!({ "rank_pattern": { "q_proj": 6 }, "alpha_pattern": { "q_proj": 0 } });
    let adapter = Adapter::open(peft_folder(&change, &tensors).path(), &model).unwrap();
    assert_eq!(adapter.weights.config.scale(), 1.0);
    let pairs = &adapter.weights.layers[0];
    assert!(pairs[&Projection::Q].b.iter().all(|value| *value == 0.0));
    let expected: Vec<f32> = tensors[1].values.iter().map(|value| value * 2.0).collect();
    let found: Vec<f32> = pairs[&Projection::V].b.chunks(6).flat_map(|row| row[..4].to_vec()).collect();
    assert_eq!(found, expected);
}

#[test]
fn keys_that_are_missing_have_pefts_defaults() {
    let model = llama();
    let folder = peft_folder(&json!({}), &all_factors(&model, "q", 8));
    let config = json!({ "peft_type": "LORA", "target_modules": ["q_proj"] });
    fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
    let config = Adapter::open(folder.path(), &model).unwrap().weights.config;
    assert_eq!((config.rank, config.alpha, config.rs_lora), (8, 8.0, false));
}

#[test]
fn the_name_of_the_base_is_kept() {
    let model = llama();
    let folder =
        peft_folder(&json!({ "base_model_name_or_path": "org/name" }), &all_factors(&model, "q,v", 4));
    let adapter = Adapter::open(folder.path(), &model).unwrap();
    assert_eq!(adapter.card.base.as_deref(), Some("org/name"));
    let out = folder.path().join("out");
    adapter.write_peft(&out).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(out.join(CONFIG)).unwrap()).unwrap();
    assert_eq!(config["base_model_name_or_path"], "org/name");
}

#[test]
fn another_base_is_noticed_by_its_hash() {
    let base = Checkpoint::open(&golden("tiny/llama3-rope-gqa")).unwrap();
    let other = Checkpoint::open(&golden("tiny/qwen2-bias")).unwrap();
    let mut card = parr::adapter::Card::default();
    check_base(&card, &other).unwrap();
    card.base_sha256 = Some(base.content_hash().unwrap().to_uppercase());
    check_base(&card, &base).unwrap();
    card.base = Some("tiny".to_owned());
    let error = check_base(&card, &other).unwrap_err();
    let hashes = [card.base_sha256.unwrap(), other.content_hash().unwrap()];
    check_message("other base", &error, &["trained on tiny", &hashes[0], &hashes[1], "qwen2-bias"]);
}

#[test]
fn an_older_adapter_is_replaced_and_nothing_else_is() {
    let model = llama();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    let first = reward_adapter(&model);
    let second = adapter(&model, 2, 2.0, "v");
    first.write_peft(&path).unwrap();
    second.write_peft(&path).unwrap();
    // The head of the first is gone with it.
    assert_eq!(Adapter::open(&path, &model).unwrap(), second);
    assert_eq!(
        (names(folder.path()), names(&path)),
        (vec!["adapter".to_owned()], vec![CONFIG.to_owned(), WEIGHTS.to_owned()])
    );

    let refused = |path: &Path, says: &[&str]| {
        let before = path.is_dir().then(|| names(path));
        let error = second.write_peft(path).unwrap_err();
        check_message("occupied", &error, &["will not be replaced", &path.display().to_string()]);
        check_message("occupied", &error, says);
        assert_eq!(path.is_dir().then(|| names(path)), before);
        assert!(names(folder.path()).iter().all(|name| !name.ends_with(".tmp")));
    };
    fs::write(path.join("notes.txt"), "mine").unwrap();
    refused(&path, &["`notes.txt`"]);
    fs::remove_file(path.join("notes.txt")).unwrap();
    fs::remove_file(path.join(CONFIG)).unwrap();
    refused(&path, &["no adapter_config.json"]);
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    refused(&file, &["it is a file"]);
    refused(&golden("tiny/llama3-rope-gqa"), &["`config.json`"]);
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let model = llama();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    let mut nan = adapter(&model, 4, 8.0, "q");
    nan.weights.layers[2].get_mut(&Projection::Q).unwrap().b[5] = f32::NAN;
    let error = nan.write_peft(&path).unwrap_err();
    check_message("nan", &error, &["value 5 of tensor `model.layers.2.self_attn.q_proj.lora_B` is NaN"]);
    let mut head = reward_adapter(&model);
    head.head.as_mut().unwrap().bias = f32::INFINITY;
    check_message("head", &head.write_peft(&path).unwrap_err(), &["value 64 of tensor `scalar head` is inf"]);
    let mut short = adapter(&model, 4, 8.0, "q");
    short.weights.layers[0].get_mut(&Projection::Q).unwrap().a.pop();
    check_message(
        "short",
        &short.write_peft(&path).unwrap_err(),
        &["lora_A of model.layers.0", "255 values"],
    );
    assert!(names(folder.path()).is_empty());
}

#[test]
fn f16_factors_halve_the_file_and_keep_three_digits() {
    let model = llama();
    let adapter = reward_adapter(&model);
    let folder = tempfile::tempdir().unwrap();
    let (whole, half) = (folder.path().join("whole"), folder.path().join("half"));
    adapter.write_peft(&whole).unwrap();
    adapter.write_peft_as(&half, Quant::F16).unwrap();
    let size = |folder: &std::path::Path| fs::metadata(folder.join(WEIGHTS)).unwrap().len();
    let values = 2 * adapter.weights.parameters() as u64;
    assert!(size(&whole) - size(&half) >= values - 64, "{} of {}", size(&half), size(&whole));
    let read = Adapter::open(&half, &model).unwrap();
    assert_eq!((&read.head, &read.card), (&adapter.head, &adapter.card), "the head stays f32");
    for (found, expected) in read.weights.layers.iter().zip(&adapter.weights.layers) {
        for (projection, pair) in expected {
            let found = &found[projection];
            for (found, expected) in found.a.iter().zip(&pair.a).chain(found.b.iter().zip(&pair.b)) {
                let apart = (found - expected).abs();
                assert!(apart <= expected.abs() / 2048.0 + 3e-8, "{found} of {expected}");
            }
        }
    }

    let mut large = adapter.clone();
    large.weights.layers[0].values_mut().next().unwrap().a[3] = 1e5;
    let error = large.write_peft_as(&folder.path().join("large"), Quant::F16).unwrap_err().to_string();
    assert!(error.contains("lora_A") && error.contains("inf"), "{error}");
    assert!(!folder.path().join("large").exists());
    let error = adapter.write_peft_as(&folder.path().join("q8"), Quant::Q8_0).unwrap_err().to_string();
    assert!(error.contains("choose f32 or f16"), "{error}");
}
