//! PEFT directories that are damaged, made for another model, or ask for what is not computed here:
//! each by a name, each with the message it must give.

use std::fs;
use std::time::{Duration, Instant};

use parr::adapter::Adapter;
use parr::format::safetensors::Dtype;
use parr::model::lora::Projection;
use serde_json::{Value, json};

use super::*;

/// Opens `folder` and checks what is said, without a model first where that is enough.
fn refused(name: &str, folder: &Path, says: &[&str]) {
    let error = Adapter::open(folder, &llama()).map(drop).expect_err(name);
    check_message(name, &error, says);
    assert!(error.to_string().contains(&folder.display().to_string()), "{name}: names no file: {error}");
}

/// A sound directory but for its configuration.
fn option(name: &str, change: Value, says: &[&str]) {
    let folder = peft_folder(&change, &all_factors(&llama(), "q,v", 4));
    refused(name, folder.path(), &[&[CONFIG], says].concat());
}

#[test]
fn options_that_are_not_computed_are_named() {
    for (name, change, says) in [
        ("another method", json!({ "peft_type": "IA3" }), ["`peft_type` is \"IA3\"", "merge"]),
        ("no method", json!({ "peft_type": null }), ["`peft_type`", "is missing"]),
        ("DoRA", json!({ "use_dora": true }), ["`use_dora` is true", "merge_and_unload"]),
        ("biases", json!({ "bias": "lora_only" }), ["`bias` is \"lora_only\"", "merge"]),
        ("biases of factors", json!({ "lora_bias": true }), ["`lora_bias` is true", "merge"]),
        ("transposed weights", json!({ "fan_in_fan_out": true }), ["`fan_in_fan_out`", "merge"]),
        ("whole modules", json!({ "modules_to_save": ["score"] }), ["`modules_to_save` is set", "merge"]),
        ("new tokens", json!({ "trainable_token_indices": [5] }), ["`trainable_token_indices`", "merge"]),
        ("parameters", json!({ "target_parameters": ["x"] }), ["`target_parameters`", "merge"]),
        ("repeated layers", json!({ "layer_replication": [[0, 2]] }), ["`layer_replication`", "merge"]),
        ("activated", json!({ "alora_invocation_tokens": [1] }), ["`alora_invocation_tokens`", "merge"]),
        ("PiSSA", json!({ "init_lora_weights": "pissa_niter_4" }), ["pissa_niter_4", "base's own weights"]),
        ("OLoRA", json!({ "init_lora_weights": "olora" }), ["`init_lora_weights`", "merge"]),
        ("output matrix", json!({ "target_modules": ["q_proj", "lm_head"] }), ["`lm_head`", "merge"]),
        (
            "embedding",
            json!({ "target_modules": ".*(q_proj|embed_tokens)" }),
            ["`model.embed_tokens`", "merge"],
        ),
    ] {
        option(name, change, &says);
    }
}

#[test]
fn options_that_do_not_change_the_result_are_taken() {
    for change in [
        json!({ "init_lora_weights": "gaussian" }),
        json!({ "init_lora_weights": "eva", "eva_config": { "rho": 2.0 } }),
        json!({ "modules_to_save": [], "use_dora": false, "bias": "none", "lora_dropout": 0.5 }),
        json!({ "some_future_key": null, "inference_mode": false }),
    ] {
        let folder = peft_folder(&change, &all_factors(&llama(), "q,v", 4));
        Adapter::open(folder.path(), &llama()).unwrap_or_else(|error| panic!("{change}: {error}"));
    }
}

#[test]
fn values_that_make_no_sense_are_named_by_key() {
    for (name, change, says) in [
        ("rank in words", json!({ "r": "four" }), ["`r`", "whole number"]),
        ("negative rank", json!({ "r": -4 }), ["`r`", "whole number"]),
        ("another rank", json!({ "r": 5 }), ["rank 5 for `model.layers.0.self_attn.q_proj`", "have rank 4"]),
        ("rank of a pattern", json!({ "rank_pattern": { "v_proj": 2 } }), ["rank 2", "self_attn.v_proj`"]),
        (
            "rank of no number",
            json!({ "rank_pattern": { "v_proj": [] } }),
            ["`rank_pattern`", "a rank for \"v_proj\""],
        ),
        ("patterns as a list", json!({ "rank_pattern": [] }), ["`rank_pattern`", "an object"]),
        ("alpha in words", json!({ "lora_alpha": "x" }), ["`lora_alpha`", "a number"]),
        ("endless alpha", json!({ "lora_alpha": 1e300 }), ["`lora_alpha`", "a number"]),
        (
            "endless alpha of a pattern",
            json!({ "alpha_pattern": { "q_proj": 1e39 } }),
            ["`alpha_pattern`", "q_proj"],
        ),
        ("no targets", json!({ "target_modules": null }), ["`target_modules`", "is missing"]),
        ("targets of numbers", json!({ "target_modules": [1] }), ["`target_modules`", "list of texts"]),
        (
            "a broken pattern",
            json!({ "target_modules": "(q_proj" }),
            ["`target_modules`", "not a regular expression"],
        ),
        ("a long pattern", json!({ "target_modules": "q".repeat(5000) }), ["`target_modules`", "5008 bytes"]),
        (
            "layers of a pattern",
            json!({ "target_modules": ".*", "layers_to_transform": [1] }),
            ["`layers_to_transform`", "as a list"],
        ),
        ("negative layer", json!({ "layers_to_transform": [-1] }), ["`layers_to_transform`", "a layer"]),
        ("flag in words", json!({ "use_rslora": "yes" }), ["`use_rslora`", "true or false"]),
    ] {
        option(name, change, &says);
    }
}

#[test]
fn factors_and_targets_must_agree() {
    option(
        "too few",
        json!({ "target_modules": ["q_proj"] }),
        &["leaves out `model.layers.0.self_attn.v_proj`"],
    );
    option(
        "other layers",
        json!({ "layers_to_transform": [0, 1] }),
        &["leaves out `model.layers.2.self_attn.q_proj`"],
    );
    let folder = peft_folder(
        &json!({ "target_modules": ["q_proj", "v_proj", "o_proj"] }),
        &all_factors(&llama(), "q,v", 4),
    );
    let missing = "`base_model.model.model.layers.0.self_attn.o_proj.lora_A.weight`";
    refused("missing", folder.path(), &[WEIGHTS, "holds no tensor", missing]);
}

/// A pattern that backtracks for ever, against names it can nearly match.
#[test]
fn a_pattern_that_never_ends_is_cut_off() {
    let started = Instant::now();
    let change = json!({ "target_modules": r"((?:[a-z0-9._]+)+)\1+!(?=x)" });
    option("backtracking", change, &["`target_modules`", "cannot be matched"]);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// A sound directory but for its tensors.
fn tensors(name: &str, change: impl FnOnce(&mut Vec<Stored>), says: &[&str]) {
    let mut tensors = all_factors(&llama(), "q,v", 4);
    change(&mut tensors);
    let folder = peft_folder(&json!({}), &tensors);
    refused(name, folder.path(), &[&[WEIGHTS], says].concat());
}

#[test]
fn tensors_that_are_no_factors_are_named() {
    let prefix = "base_model.model.model.layers.0.self_attn";
    for (name, what) in [
        (format!("{prefix}.q_proj.lora_magnitude_vector"), "belongs to DoRA"),
        (format!("{prefix}.q_proj.lora_B.bias"), "supported decoder projection"),
        (format!("{prefix}.qkv_proj.lora_A.weight"), "supported decoder projection"),
        (format!("{prefix}.q_proj.lora_A.default.weight"), "supported decoder projection"),
        (
            "base_model.model.model.layers.0.mlp.q_proj.lora_A.weight".to_owned(),
            "supported decoder projection",
        ),
        (
            "base_model.model.model.layers.00.mlp.up_proj.lora_A.weight".to_owned(),
            "supported decoder projection",
        ),
        (
            "base_model.model.model.layers.99999999999999999999.mlp.up_proj.lora_A.weight".to_owned(),
            "supported decoder projection",
        ),
        (
            "base_model.model.model.layers.-1.mlp.up_proj.lora_A.weight".to_owned(),
            "supported decoder projection",
        ),
        ("base_model.model.model.embed_tokens.lora_embedding_A".to_owned(), "changes the embedding"),
        ("base_model.model.lm_head.lora_A.weight".to_owned(), "changes the output matrix"),
        ("base_model.model.score.weight".to_owned(), "is not a factor"),
        ("\u{1b}[31m".to_owned(), "is not a factor"),
    ] {
        let add = |tensors: &mut Vec<Stored>| tensors.push(Stored::new(&name, &[1, 64], vec![0.0; 64]));
        let shown: String = name.chars().flat_map(char::escape_debug).collect();
        tensors(&name, add, &[&format!("tensor `{shown}` "), what]);
    }
}

#[test]
fn factors_that_make_no_pair_are_named() {
    let q = "base_model.model.model.layers.0.self_attn.q_proj";
    tensors("no B", |tensors| drop(tensors.remove(1)), &["holds no tensor", &format!("`{q}.lora_B.weight`")]);
    tensors("no A", |tensors| drop(tensors.remove(0)), &["holds no tensor", &format!("`{q}.lora_A.weight`")]);
    tensors(
        "other ranks",
        |tensors| {
            tensors[1] = Stored::new(&format!("{q}.lora_B.weight"), &[64, 3], vec![0.0; 192]);
        },
        &["lora_B.weight` has shape [64, 3], expected [64, 4]"],
    );
    tensors(
        "rank 0",
        |tensors| {
            tensors[0] = Stored::new(&format!("{q}.lora_A.weight"), &[0, 64], vec![]);
            tensors[1] = Stored::new(&format!("{q}.lora_B.weight"), &[64, 0], vec![]);
        },
        &["rank is 0", "1 to 1024"],
    );
    tensors(
        "rank 1025",
        |tensors| {
            tensors[0] = Stored::new(&format!("{q}.lora_A.weight"), &[1025, 1], vec![0.0; 1025]);
            tensors[1] = Stored::new(&format!("{q}.lora_B.weight"), &[1, 1025], vec![0.0; 1025]);
        },
        &["rank is 1025"],
    );
    tensors(
        "a vector",
        |tensors| {
            tensors[0] = Stored::new(&format!("{q}.lora_A.weight"), &[256], vec![0.0; 256]);
        },
        &["lora_A.weight` has shape [256]"],
    );
    tensors(
        "three axes",
        |tensors| {
            tensors[0] = Stored::new(&format!("{q}.lora_A.weight"), &[4, 1, 64], vec![0.0; 256]);
        },
        &["lora_A.weight` has shape [4, 1, 64]"],
    );
    tensors("nothing", Vec::clear, &["is not an adapter", "no factor"]);
    tensors("integers", |tensors| tensors[0].dtype = Dtype::I64, &["format I64"]);
}

#[test]
fn values_that_are_not_finite_are_named() {
    tensors(
        "nan",
        |tensors| tensors[3].values[70] = f32::NAN,
        &["value 70 of tensor", "layers.0.self_attn.v_proj.lora_B.weight` is NaN"],
    );
    tensors(
        "infinite",
        |tensors| tensors[0].values[0] = f32::NEG_INFINITY,
        &["value 0 of tensor", "is -inf"],
    );
    tensors(
        "half",
        |tensors| {
            tensors[2].dtype = Dtype::F16;
            tensors[2].values[9] = 1e9;
        },
        &["value 9 of tensor", "is inf"],
    );
    // Finite in the file, but not once its scale is another's.
    let mut tensors = all_factors(&llama(), "q,v", 4);
    tensors[1].values[3] = 1e38;
    let change = json!({ "lora_alpha": 1e-30, "alpha_pattern": { "layers.1.self_attn.q_proj": 1e-30, "q_proj": 8 },
        "rank_pattern": { "layers.1.self_attn.q_proj": 5 } });
    tensors.splice(4..6, factors(&llama(), 1, Projection::Q, 5));
    refused("rescaled", peft_folder(&change, &tensors).path(), &["q_proj.lora_B.weight` is"]);
}

#[test]
fn adapters_for_other_models_are_noticed() {
    let bigger = ModelConfig { layers: layers(4), ..llama() };
    let folder = peft_folder(&json!({}), &all_factors(&bigger, "q,v", 4));
    refused("more layers", folder.path(), &["the adapter has 4 layers, the model 3"]);
    let smaller = ModelConfig { layers: layers(2), ..llama() };
    let folder = peft_folder(&json!({}), &all_factors(&smaller, "q,v", 4));
    refused("fewer layers", folder.path(), &["layers.2.self_attn.q_proj.lora_A.weight"]);
    let wider = ModelConfig { hidden: 128, ..llama() };
    let folder = peft_folder(&json!({}), &all_factors(&wider, "q,v", 4));
    refused("wider", folder.path(), &["has shape [4, 128], expected [4, 64]", "another model"]);
    let heads = ModelConfig { kv_heads: 4, ..llama() };
    let folder = peft_folder(&json!({}), &all_factors(&heads, "q,v", 4));
    refused("more heads", folder.path(), &["v_proj.lora_B.weight` has shape [64, 4], expected [32, 4]"]);
}

#[test]
fn directories_that_hold_no_adapter_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    refused("empty", empty.path(), &["is not an adapter", "no adapter_config.json", "gguf"]);
    fs::write(empty.path().join(CONFIG), "{}").unwrap();
    refused("no weights", empty.path(), &["is not an adapter", "no adapter_model.safetensors"]);
    fs::write(empty.path().join("adapter_model.bin"), "pickle").unwrap();
    refused("pickle", empty.path(), &["adapter_model.bin", "pickle", "save it as adapter_model.safetensors"]);
    let error = Adapter::open(&empty.path().join("absent"), &llama()).unwrap_err();
    check_message("absent", &error, &["cannot read", "absent"]);
    refused("a model", &golden("tiny/qwen2-bias"), &["is not an adapter"]);
    refused(
        "its file",
        &golden("tiny/qwen2-bias/model.safetensors"),
        &["is not an adapter", "name the directory"],
    );

    let damaged = peft_folder(&json!({}), &all_factors(&llama(), "q,v", 4));
    fs::write(damaged.path().join(CONFIG), "{\"r\": ,}").unwrap();
    refused("damaged", damaged.path(), &[CONFIG, "byte 6"]);
    fs::write(damaged.path().join(CONFIG), "[]").unwrap();
    refused("a list", damaged.path(), &[CONFIG, "`peft_type`", "is missing"]);
    let damaged = peft_folder(&json!({}), &all_factors(&llama(), "q,v", 4));
    let bytes = fs::read(damaged.path().join(WEIGHTS)).unwrap();
    fs::write(damaged.path().join(WEIGHTS), &bytes[..bytes.len() - 1]).unwrap();
    refused("cut short", damaged.path(), &[WEIGHTS, "the file holds"]);
}

#[test]
fn heads_and_cards_are_distrusted_too() {
    const HEAD: &str = "reward_head.safetensors";
    let head = |name: &str, tensors: &[Stored], says: &[&str]| {
        let folder = peft_folder(&json!({}), &all_factors(&llama(), "q,v", 4));
        fs::write(folder.path().join(HEAD), safetensors(tensors)).unwrap();
        refused(name, folder.path(), says);
    };
    let weight = |len: usize| Stored::new("weight", &[1, len], vec![1.0; len]);
    let bias = |values: Vec<f32>| Stored::new("bias", &[values.len()], values);
    head("other width", &[weight(65), bias(vec![0.0])], &["the scalar head has 65 weights", "64"]);
    head("no weight", &[bias(vec![0.0])], &[HEAD, "`weight`"]);
    head("two rows", &[Stored::new("weight", &[2, 64], vec![1.0; 128])], &[HEAD, "[2, 64]", "[1, 64]"]);
    head("two biases", &[weight(64), bias(vec![0.0; 2])], &[HEAD, "`bias`", "[2]", "[1]"]);
    head("more", &[weight(64), Stored::new("extra", &[1], vec![0.0])], &[HEAD, "`extra`", "nothing else"]);
    head("nan", &[weight(64), bias(vec![f32::NAN])], &[HEAD, "`bias` is NaN"]);

    // A vector of weights, and no bias.
    let folder = peft_folder(&json!({}), &all_factors(&llama(), "q,v", 4));
    let vector = [Stored::new("weight", &[64], vec![2.0; 64])];
    fs::write(folder.path().join(HEAD), safetensors(&vector)).unwrap();
    let read = Adapter::open(folder.path(), &llama()).unwrap().head.unwrap();
    assert_eq!((read.weight, read.bias), (vec![2.0; 64], 0.0));

    for (name, card, says) in [
        ("no card", "[1]", "parr.json"),
        ("seed in words", r#"{"seed": "x"}"#, "invalid type"),
        ("metrics in a list", r#"{"metrics": [1]}"#, "invalid type"),
    ] {
        fs::write(folder.path().join("parr.json"), card).unwrap();
        refused(name, folder.path(), &["parr.json", says]);
    }
}
