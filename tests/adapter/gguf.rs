//! llama.cpp's GGUF adapters: to the bit and back, the order of rows, scales, and broken files.

use std::fs;

use parr::adapter::{Adapter, AdapterFormat};
use parr::format::gguf::{Gguf, GgufWriter, Value};
use parr::model::lora::Projection;
use parr::quant::Quant;

use super::*;

fn written(adapter: &Adapter, model: &ModelConfig, quant: Quant) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.gguf");
    adapter.write_gguf(&path, model, quant).unwrap();
    assert_eq!(names(folder.path()), ["adapter.gguf"]);
    (folder, path)
}

#[test]
fn what_is_written_is_read_back_to_the_bit() {
    for model in [llama(), config_of("tiny/qwen2-bias"), config_of("architectures/lfm2")] {
        let mut adapter = Adapter { head: None, ..reward_adapter(&model) };
        adapter.weights.layers[1].remove(&Projection::Up);
        let (_folder, path) = written(&adapter, &model, Quant::F32);
        let read = Adapter::open(&path, &model).unwrap();
        assert_eq!(read, adapter);
        let second = path.with_file_name("second.gguf");
        read.write_gguf(&second, &model, Quant::F32).unwrap();
        assert!(fs::read(&second).unwrap() == fs::read(&path).unwrap());
        let summary = Adapter::inspect(&path).unwrap();
        assert_eq!((summary.format, summary.config), (AdapterFormat::Gguf, adapter.weights.config));
        // By way of PEFT too.
        let peft = path.with_file_name("peft");
        read.write_peft(&peft).unwrap();
        assert_eq!(Adapter::open(&peft, &model).unwrap(), adapter);
    }
}

/// What llama.cpp's loader asks for, by its own source: keys, names, and A and B in the shapes of a matrix
/// that takes `inputs` and gives `outputs`.
#[test]
fn the_file_is_laid_out_as_llama_cpp_wants_it() {
    let model = llama();
    let adapter = adapter(&model, 4, 6.0, "all");
    let (_folder, path) = written(&adapter, &model, Quant::F32);
    let bytes = fs::read(&path).unwrap();
    let gguf = Gguf::parse(&path, &bytes).unwrap();
    for (key, value) in [
        ("general.type", Value::String("adapter".into())),
        ("general.architecture", Value::String("llama".into())),
        ("adapter.type", Value::String("lora".into())),
        ("adapter.lora.alpha", Value::F32(6.0)),
    ] {
        assert_eq!(gguf.value(key), Some(&value), "{key}");
    }
    assert_eq!(gguf.tensors().len(), 3 * 7 * 2);
    let shape = |name: &str| {
        let tensor = gguf.tensors().iter().find(|tensor| tensor.source_name == name).expect(name);
        tensor.shape.clone()
    };
    for (name, outputs, inputs) in [
        ("blk.0.attn_q", 128, 64),
        ("blk.1.attn_k", 32, 64),
        ("blk.2.attn_v", 32, 64),
        ("blk.0.attn_output", 64, 128),
        ("blk.0.ffn_gate", 160, 64),
        ("blk.0.ffn_up", 160, 64),
        ("blk.0.ffn_down", 64, 160),
    ] {
        assert_eq!(shape(&format!("{name}.weight.lora_a")), [4, inputs]);
        assert_eq!(shape(&format!("{name}.weight.lora_b")), [outputs, 4]);
    }
}

/// llama.cpp's converter: `weights.reshape(heads, 2, rows / heads / 2, cols).swapaxes(1, 2)`.
fn permuted(rows: &[f32], cols: usize, heads: usize) -> Vec<f32> {
    let half = rows.len() / cols / heads / 2;
    let mut out = Vec::new();
    for head in 0..heads {
        for pair in 0..half {
            for part in 0..2 {
                let row = (head * 2 + part) * half + pair;
                out.extend_from_slice(&rows[row * cols..(row + 1) * cols]);
            }
        }
    }
    out
}

#[test]
fn rows_of_b_follow_those_of_the_matrix() {
    for (name, interleaved) in [
        ("tiny/llama3-rope-gqa", true),
        ("architectures/granite", true),
        ("architectures/smollm3", true),
        ("tiny/qwen2-bias", false),
        ("architectures/gemma3", false),
    ] {
        let model = config_of(name);
        let adapter = adapter(&model, 4, 8.0, "q,k,v");
        let (_folder, path) = written(&adapter, &model, Quant::F32);
        let file = Checkpoint::open(&path).unwrap();
        let values = |name: &str| -> Vec<f32> {
            let tensor = file.tensors().find(|tensor| tensor.source_name == name).expect(name);
            bytemuck::pod_collect_to_vec(file.bytes(tensor))
        };
        let pairs = &adapter.weights.layers[1];
        for (projection, tensor, heads) in [
            (Projection::Q, "blk.1.attn_q.weight", model.heads),
            (Projection::K, "blk.1.attn_k.weight", model.kv_heads),
        ] {
            let pair = &pairs[&projection];
            let expected = if interleaved { permuted(&pair.b, 4, heads) } else { pair.b.clone() };
            assert_eq!(values(&format!("{tensor}.lora_b")), expected, "{name} {tensor}");
            assert_eq!(interleaved, expected != pair.b);
            // What goes in has no order of heads.
            assert_eq!(values(&format!("{tensor}.lora_a")), pair.a);
        }
        assert_eq!(values("blk.1.attn_v.weight.lora_b"), pairs[&Projection::V].b);
    }
}

#[test]
fn half_floats_are_rounded_once() {
    let model = llama();
    let adapter = adapter(&model, 4, 8.0, "q,down");
    let (_folder, path) = written(&adapter, &model, Quant::F16);
    let read = Adapter::open(&path, &model).unwrap();
    let pairs = |adapter: &Adapter| adapter.weights.layers[2][&Projection::Q].clone();
    let rounded =
        |values: &[f32]| -> Vec<f32> { values.iter().map(|value| f16::from_f32(*value).to_f32()).collect() };
    assert_eq!(pairs(&read).a, rounded(&pairs(&adapter).a));
    assert_eq!(pairs(&read).b, rounded(&pairs(&adapter).b));
}

/// llama.cpp knows `alpha / rank` only: another rule becomes another alpha.
#[test]
fn the_scale_holds_whatever_the_rule() {
    let model = llama();
    let mut adapter = adapter(&model, 6, 5.0, "q");
    adapter.weights.config.rs_lora = true;
    let (_folder, path) = written(&adapter, &model, Quant::F32);
    let read = Adapter::open(&path, &model).unwrap().weights.config;
    assert!(!read.rs_lora);
    assert!((read.scale() / adapter.weights.config.scale() - 1.0).abs() < 1e-6);
}

/// A GGUF adapter of `q` in layer 0, with whatever `change` does to it.
fn file(change: impl FnOnce(&mut GgufWriter, &mut Vec<Tensor>)) -> (TempDir, PathBuf) {
    let mut writer = GgufWriter::new();
    for (key, value) in
        [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")]
    {
        writer.set(key, Value::String(value.to_owned()));
    }
    writer.set("adapter.lora.alpha", Value::F32(8.0));
    let mut tensors = vec![
        Tensor("blk.0.attn_q.weight.lora_a".to_owned(), vec![4, 64], Quant::F32, vec![0.5; 256]),
        Tensor("blk.0.attn_q.weight.lora_b".to_owned(), vec![128, 4], Quant::F32, vec![0.25; 512]),
    ];
    change(&mut writer, &mut tensors);
    for Tensor(name, shape, quant, _) in &tensors {
        writer.declare(name, shape, *quant).unwrap();
    }
    let mut body = writer.start(Vec::new()).unwrap();
    for Tensor(_, _, quant, values) in &tensors {
        let mut bytes = Vec::new();
        quant.encode(values, &mut bytes);
        body.tensor(&bytes).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.gguf");
    fs::write(&path, body.finish().unwrap()).unwrap();
    (folder, path)
}

struct Tensor(String, Vec<usize>, Quant, Vec<f32>);

#[test]
fn without_an_alpha_the_scale_is_1() {
    for alpha in [None, Some(0.0)] {
        let (_folder, path) = file(|writer, _| {
            *writer = GgufWriter::new();
            for (key, value) in
                [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")]
            {
                writer.set(key, Value::String(value.to_owned()));
            }
            if let Some(alpha) = alpha {
                writer.set("adapter.lora.alpha", Value::F32(alpha));
            }
        });
        assert_eq!(Adapter::open(&path, &llama()).unwrap().weights.config.scale(), 1.0);
    }
}

#[test]
fn quantized_factors_and_ranks_that_differ_are_read() {
    let (_folder, path) = file(|_, tensors| {
        tensors[0].2 = Quant::Q8_0;
        tensors.push(Tensor("blk.2.ffn_down.weight.lora_a".into(), vec![2, 160], Quant::F16, vec![1.0; 320]));
        tensors.push(Tensor("blk.2.ffn_down.weight.lora_b".into(), vec![64, 2], Quant::F32, vec![1.0; 128]));
    });
    let weights = Adapter::open(&path, &llama()).unwrap().weights;
    assert_eq!((weights.config.rank, weights.config.scale()), (4, 2.0));
    assert!(weights.layers[0][&Projection::Q].a.iter().all(|value| (value - 0.5).abs() < 1e-3));
    // Its own scale is 8 / 2, twice the other's.
    assert_eq!(weights.layers[2][&Projection::Down].b[..4], [2.0, 2.0, 0.0, 0.0]);
}

#[test]
fn broken_files_are_refused_by_name() {
    let refused = |name: &str, change: &dyn Fn(&mut GgufWriter, &mut Vec<Tensor>), says: &[&str]| {
        let (_folder, path) = file(change);
        let error = Adapter::open(&path, &llama()).map(drop).expect_err(name);
        check_message(name, &error, says);
        check_message(name, &error, &[&path.display().to_string()]);
    };
    let set = |key: &'static str, value: Value| {
        move |writer: &mut GgufWriter, _: &mut Vec<Tensor>| writer.set(key, value.clone())
    };
    let text = |text: &str| Value::String(text.to_owned());
    refused(
        "a model",
        &set("general.type", text("model")),
        &["is not an adapter", "`general.type` is model"],
    );
    refused(
        "another kind",
        &set("adapter.type", text("ia3")),
        &["is not an adapter", "`adapter.type` is ia3"],
    );
    refused("kind of a number", &set("adapter.type", Value::U32(1)), &["`adapter.type`", "must be a string"]);
    refused(
        "another model",
        &set("general.architecture", text("qwen2")),
        &["`general.architecture`", "\"qwen2\"", "\"llama\""],
    );
    refused(
        "no number",
        &set("adapter.lora.alpha", Value::F32(f32::NAN)),
        &["`adapter.lora.alpha`", "finite"],
    );
    refused("activated", &set("adapter.alora.invocation_tokens", Value::U32(1)), &["activated LoRA"]);
    refused("card", &set("parr.card", text("{")), &["`parr.card`", "is not JSON"]);
    refused("card of a list", &set("parr.card", text("[]")), &["its card"]);
    let rename = |from: usize, name: &'static str| {
        move |_: &mut GgufWriter, tensors: &mut Vec<Tensor>| tensors[from].0 = name.to_owned()
    };
    for name in [
        "token_embd.weight.lora_a",
        "output.weight.lora_a",
        "blk.0.attn_norm.weight",
        "blk.0.attn_q.bias.lora_a",
        "blk.x.attn_q.weight.lora_a",
        "\u{7}",
    ] {
        let shown: String = name.chars().flat_map(char::escape_debug).collect();
        refused(name, &rename(0, name), &[&format!("tensor `{shown}`"), "supported decoder projection"]);
    }
    refused(
        "no A",
        &rename(0, "blk.1.attn_q.weight.lora_a"),
        &["holds no tensor `blk.0.attn_q.weight.lora_a`"],
    );
    refused("no B", &|_, tensors| drop(tensors.pop()), &["holds no tensor `blk.0.attn_q.weight.lora_b`"]);
    refused("no factors", &|_, tensors| tensors.clear(), &["is not an adapter", "no factor"]);
    refused(
        "transposed",
        &|_, tensors| tensors[0].1 = vec![64, 4],
        &["lora_b` has shape [128, 4], expected [128, 64]"],
    );
    refused(
        "other inputs",
        &|_, tensors| {
            tensors[0].1 = vec![4, 32];
            tensors[0].3.truncate(128);
        },
        &["lora_a` has shape [4, 32], expected [4, 64]"],
    );
    refused(
        "nan",
        &|_, tensors| tensors[1].3[7] = f32::NAN,
        &["value 7 of tensor `blk.0.attn_q.weight.lora_b` is NaN"],
    );
    let (_folder, path) = file(|_, tensors| {
        tensors.iter_mut().for_each(|tensor| tensor.0 = tensor.0.replace("blk.0", "blk.7"));
    });
    check_message(
        "layers",
        &Adapter::open(&path, &llama()).unwrap_err(),
        &["the adapter has 8 layers, the model 3"],
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "hello, world").unwrap();
    check_message("text", &Adapter::open(&path, &llama()).unwrap_err(), &["starts with `GGUF`"]);
}

#[test]
fn what_the_format_cannot_hold_is_not_written() {
    let model = llama();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.gguf");
    let refused = |name: &str, adapter: &Adapter, model: &ModelConfig, quant: Quant, says: &[&str]| {
        check_message(name, &adapter.write_gguf(&path, model, quant).unwrap_err(), says);
        assert!(names(folder.path()).is_empty(), "{name}");
    };
    let plain = adapter(&model, 4, 8.0, "q");
    refused("head", &reward_adapter(&model), &model, Quant::F32, &["no place for a scalar head", "PEFT"]);
    refused("quantized", &plain, &model, Quant::Q8_0, &["cannot be q8_0", "f32 or f16"]);
    refused("scale", &adapter(&model, 4, 0.0, "q"), &model, Quant::F32, &["scale is 0", "alpha"]);
    let other = ModelConfig { layers: layers(5), ..model.clone() };
    refused("layers", &plain, &other, Quant::F32, &["the adapter has 3 layers, the model 5"]);
    let mut large = plain.clone();
    large.weights.layers[0].get_mut(&Projection::Q).unwrap().b[4] = 1e6;
    refused("overflow", &large, &model, Quant::F16, &["`blk.0.attn_q.weight", "is inf"]);
    large.write_gguf(&path, &model, Quant::F32).unwrap();
}
