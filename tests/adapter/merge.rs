//! Merging: `W + scale B A` by plain loops, everything else byte for byte, and what is refused.

use std::fs;
use std::ops::ControlFlow;

use parr::adapter::{Adapter, MergeOptions, merge};
use parr::format::TensorInfo;
use parr::format::gguf::{Array, GgufWriter, Value};
use parr::model::lora::Projection;
use parr::quant::Quant;

use super::*;

const KEEP: MergeOptions = MergeOptions { quant: None };

fn merged(
    base: &Path,
    adapter: &Adapter,
    out: &Path,
    quant: Option<Quant>,
) -> Result<usize, AdapterFileError> {
    let base = Checkpoint::open(base).unwrap();
    let total: u64 = base.tensors().map(|tensor| tensor.byte_len() as u64).sum();
    let mut last = 0;
    let result = merge(&base, adapter, out, &MergeOptions { quant }, &mut |progress| {
        assert!(progress.done_bytes > last && progress.total_bytes == total);
        last = progress.done_bytes;
        ControlFlow::Continue(())
    });
    assert!(result.is_err() || last == total);
    result
}

fn values(file: &Checkpoint, tensor: &TensorInfo) -> Vec<f32> {
    let mut values = vec![0.0; tensor.rows() * tensor.cols()];
    tensor.quant.decode(file.bytes(tensor), &mut values);
    values
}

/// The projection and layer of a matrix.
fn place(name: &str) -> Option<(usize, Projection)> {
    let mut parts = name.strip_prefix("model.layers.")?.strip_suffix(".weight")?.split('.');
    let layer = parts.next()?.parse().ok()?;
    Some((layer, Projection::from_name(parts.nth(1)?)?))
}

/// `W + scale B A` in f64, rows in the order of `tensor`'s file: in a GGUF file of the llama
/// architecture, row `2i + part` of a head of q or k is row `i + part * head_dim / 2` of Hugging Face.
fn expected(base: &Checkpoint, tensor: &TensorInfo, adapter: &Adapter, head_dim: usize) -> Option<Vec<f64>> {
    let (layer, projection) = place(&tensor.name)?;
    let delta = delta(&adapter.weights.config, adapter.weights.layers[layer].get(&projection)?);
    let cols = tensor.cols();
    let interleaved = tensor.rope_permuted;
    let sums = values(base, tensor).into_iter().enumerate().map(|(index, value)| {
        let (row, col) = (index / cols, index % cols);
        let (head, within) = (row / head_dim, row % head_dim);
        let half = if interleaved { head * head_dim + within / 2 + within % 2 * head_dim / 2 } else { row };
        f64::from(value) + delta[half * cols + col]
    });
    Some(sums.collect())
}

/// The largest difference and the root of the sum of squares of all.
fn distances(expected: &[f64], found: &[f32]) -> (f64, f64) {
    let apart = expected.iter().zip(found).map(|(one, other)| (one - f64::from(*other)).abs());
    let (largest, squares) =
        apart.fold((0.0f64, 0.0), |(most, sum), apart| (most.max(apart), sum + apart * apart));
    (largest, squares.sqrt())
}

/// Compares every tensor of `out` with what it must be; `quant` is the format of merged matrices, and
/// `bound` how far a value may be off, as a part of the largest. Returns how many were merged.
fn check(base: &Path, out: &Path, adapter: &Adapter, quant: Option<Quant>, bound: f64) -> usize {
    let (base, out) = (Checkpoint::open(base).unwrap(), Checkpoint::open(out).unwrap());
    let config = ModelConfig::from_checkpoint(&base).unwrap();
    assert_eq!(ModelConfig::from_checkpoint(&out).unwrap(), config);
    assert_eq!(out.tensors().count(), base.tensors().count());
    let mut merged = 0;
    for tensor in base.tensors() {
        let found = out.need_tensor(&tensor.name, &tensor.shape).unwrap();
        let Some(expected) = expected(&base, tensor, adapter, config.head_dim) else {
            assert_eq!((found.quant, &found.source_name), (tensor.quant, &tensor.source_name));
            assert!(out.bytes(found) == base.bytes(tensor), "{}", tensor.name);
            continue;
        };
        merged += 1;
        assert_eq!(found.quant, quant.unwrap_or(tensor.quant), "{}", tensor.name);
        let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let (apart, missed) = distances(&expected, &values(&out, found));
        assert!(apart <= bound * largest, "{} {}: {apart} of {largest}", tensor.name, found.quant);
        // More than twice as near to what it must be as the base was, in the coarsest format too.
        let (_, moved) = distances(&expected, &values(&base, tensor));
        assert!(missed < 0.5 * moved, "{} {}: {missed} of {moved}", tensor.name, found.quant);
    }
    merged
}

#[test]
fn a_directory_becomes_a_directory() {
    for name in ["tiny/llama-mha-untied", "tiny/llama3-rope-gqa", "tiny/qwen2-bias"] {
        let base = golden(name);
        let model = config_of(name);
        let mut adapter = adapter(&model, 4, 8.0, "all");
        adapter.weights.layers[1].remove(&Projection::Up);
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("merged");
        assert_eq!(merged(&base, &adapter, &out, None).unwrap(), 20);
        assert_eq!(check(&base, &out, &adapter, None, 1e-6), 20);
        assert_eq!(names(folder.path()), ["merged"]);
        assert_eq!(names(&out), ["config.json", "generation_config.json", "model.safetensors"]);
        assert_eq!(fs::read(out.join("config.json")).unwrap(), fs::read(base.join("config.json")).unwrap());
        // The reader of the package that everybody uses, with the key that transformers asks for.
        let bytes = fs::read(out.join("model.safetensors")).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
        assert_eq!(safetensors::SafeTensors::deserialize(&bytes).unwrap().len(), header.tensors().len());
    }
}

#[test]
fn a_directory_takes_other_float_types() {
    let base = golden("tiny/qwen2-bias");
    let adapter = adapter(&config_of("tiny/qwen2-bias"), 4, 8.0, "q,down");
    let folder = tempfile::tempdir().unwrap();
    for (quant, bound) in [(Quant::F16, 1e-3), (Quant::Bf16, 4e-3)] {
        let out = folder.path().join(quant.name());
        merged(&base, &adapter, &out, Some(quant)).unwrap();
        check(&base, &out, &adapter, Some(quant), bound);
    }
    // A shard in f16 stays f16, and files that are missing are not made up.
    let half = folder.path().join("f16");
    fs::remove_file(half.join("generation_config.json")).unwrap();
    fs::write(half.join("tokenizer.json"), "{}").unwrap();
    fs::write(half.join("private.key"), "mine").unwrap();
    let out = folder.path().join("again");
    merged(&half, &adapter, &out, None).unwrap();
    check(&half, &out, &adapter, None, 1e-3);
    assert_eq!(names(&out), ["config.json", "model.safetensors", "tokenizer.json"]);
}

/// Two layers of random weights in `quant`, wide enough for its blocks; `architecture` is GGUF's.
fn gguf_model(path: &Path, architecture: &str, quant: Quant) {
    let (hidden, ffn, vocab) = (256, 256, 32);
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", Value::String(architecture.to_owned()));
    writer.set("general.name", Value::String("random \u{1F300}".to_owned()));
    for (key, value) in [
        ("embedding_length", hidden as u32),
        ("block_count", 2),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 2),
        ("feed_forward_length", ffn as u32),
        ("context_length", 128),
    ] {
        writer.set(&format!("{architecture}.{key}"), Value::U32(value));
    }
    writer.set(&format!("{architecture}.attention.layer_norm_rms_epsilon"), Value::F32(1e-5));
    writer.set("general.alignment", Value::U32(64));
    writer.set("tokenizer.ggml.tokens", Value::Array(Array::String(vec!["a".into(), String::new()])));
    writer.set("odd", Value::Array(Array::Array(vec![Array::I8(vec![-1]), Array::Bool(vec![true])])));
    writer.set("nan", Value::F64(f64::NAN));
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![vocab, hidden], quant)];
    for layer in 0..2 {
        for (name, rows, cols) in [
            ("attn_q", hidden, hidden),
            ("attn_k", 64, hidden),
            ("attn_v", 64, hidden),
            ("attn_output", hidden, hidden),
            ("ffn_gate", ffn, hidden),
            ("ffn_up", ffn, hidden),
            ("ffn_down", hidden, ffn),
        ] {
            tensors.push((format!("blk.{layer}.{name}.weight"), vec![rows, cols], quant));
            if architecture == "qwen2" && matches!(name, "attn_q" | "attn_k" | "attn_v") {
                tensors.push((format!("blk.{layer}.{name}.bias"), vec![rows], Quant::F32));
            }
        }
        for norm in ["attn_norm", "ffn_norm"] {
            tensors.push((format!("blk.{layer}.{norm}.weight"), vec![hidden], Quant::F32));
        }
    }
    tensors.push(("output_norm.weight".to_owned(), vec![hidden], Quant::F32));
    for (name, shape, quant) in &tensors {
        writer.declare(name, shape, *quant).unwrap();
    }
    let mut body = writer.start(Vec::new()).unwrap();
    for (matrix, (_, shape, quant)) in tensors.iter().enumerate() {
        let weights: Vec<f32> =
            (0..shape.iter().product()).map(|index| random(index, matrix as u32 + 100)).collect();
        let mut bytes = Vec::new();
        quant.encode(&weights, &mut bytes);
        body.tensor(&bytes).unwrap();
    }
    fs::write(path, body.finish().unwrap()).unwrap();
}

/// Half a step of a format, as a part of the largest value.
fn step(quant: Quant) -> f64 {
    match quant {
        Quant::F32 => 1e-6,
        Quant::F16 => 1e-3,
        Quant::Bf16 => 4e-3,
        Quant::Q8_0 => 6e-3,
        Quant::Q6K => 0.05,
        Quant::Q5_0 | Quant::Q5_1 | Quant::Q5K => 0.08,
        Quant::Q4_0 | Quant::Q4_1 | Quant::Iq4Nl | Quant::Q4K => 0.15,
        _ => 0.5,
    }
}

#[test]
fn a_gguf_file_becomes_a_gguf_file_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for &quant in Quant::ALL {
        let (base, out) = (folder.path().join("base.gguf"), folder.path().join("merged.gguf"));
        // Files of one architecture have rows of q and k in another order, those of the other have not.
        gguf_model(&base, if quant == Quant::F16 { "qwen2" } else { "llama" }, quant);
        let model = ModelConfig::from_checkpoint(&Checkpoint::open(&base).unwrap()).unwrap();
        let adapter = adapter(&model, 2, 256.0, "q,k,down");
        assert_eq!(merged(&base, &adapter, &out, None).unwrap(), 6);
        assert_eq!(check(&base, &out, &adapter, None, step(quant)), 6);
        // The header has one key more, the mark of an output: metadata, names, shapes and types are the same.
        let header = |path: &Path| {
            let file = Checkpoint::open(path).unwrap();
            let metadata = file.gguf().unwrap().metadata();
            let metadata = metadata.filter(|(key, _)| *key != parr::output::GGUF_KEY);
            let metadata: Vec<String> = metadata.map(|(key, value)| format!("{key} {value:?}")).collect();
            let tensor =
                |one: &parr::format::TensorInfo| format!("{} {:?} {}", one.source_name, one.shape, one.quant);
            (metadata, file.tensors().map(tensor).collect::<Vec<_>>())
        };
        assert_eq!(header(&base), header(&out), "{quant}");
    }
}

#[test]
fn merged_matrices_of_a_gguf_file_take_another_format() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (folder.path().join("base.gguf"), folder.path().join("merged.gguf"));
    gguf_model(&base, "llama", Quant::Q4_0);
    let model = ModelConfig::from_checkpoint(&Checkpoint::open(&base).unwrap()).unwrap();
    let adapter = adapter(&model, 2, 256.0, "k,gate");
    for quant in [Quant::F32, Quant::F16, Quant::Q8_0, Quant::Q5K] {
        assert_eq!(merged(&base, &adapter, &out, Some(quant)).unwrap(), 4);
        assert_eq!(check(&base, &out, &adapter, Some(quant), step(quant)), 4);
    }
    // Rows of 64 do not fill blocks of 256.
    let narrow = golden("tiny/qwen2-bias");
    assert_eq!(Quant::Q4K.fitting(64), Quant::Q8_0);
    let error =
        merged(&narrow, &super::adapter(&config_of("tiny/qwen2-bias"), 2, 2.0, "q"), &out, Some(Quant::Q4K));
    check_message("q4_k", &error.unwrap_err(), &["would be q8_0", "f32, f16 or bf16"]);
}

#[test]
fn what_stands_in_the_way_stays() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.gguf");
    gguf_model(&base, "llama", Quant::Q4_0);
    let model = ModelConfig::from_checkpoint(&Checkpoint::open(&base).unwrap()).unwrap();
    let plain = adapter(&model, 2, 2.0, "q");
    let before = fs::read(&base).unwrap();
    let refused = |name: &str, base: &Path, adapter: &Adapter, out: &Path, says: &[&str]| {
        let error =
            merge(&Checkpoint::open(base).unwrap(), adapter, out, &KEEP, &mut |_| ControlFlow::Continue(()))
                .unwrap_err();
        check_message(name, &error, says);
    };
    refused("itself", &base, &plain, &base, &["will not be replaced", "the base itself"]);
    let link = folder.path().join("link.gguf");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("base.gguf", &link).unwrap();
        refused("a link to itself", &base, &plain, &link, &["the base itself"]);
        fs::remove_file(&link).unwrap();
    }
    refused("a directory", &base, &plain, folder.path(), &["it is a directory"]);
    assert!(fs::read(&base).unwrap() == before && names(folder.path()) == ["base.gguf"]);

    let tiny = golden("tiny/llama3-rope-gqa");
    let small = adapter(&llama(), 2, 2.0, "q");
    refused("not empty", &tiny, &small, folder.path(), &["will not be replaced", "not empty"]);
    refused("a file", &tiny, &small, &base, &["it is a file"]);
    refused("nowhere", &tiny, &small, &folder.path().join("a/b"), &["cannot write"]);
    // A file of somebody else stays; an older merged model is replaced.
    fs::write(&link, "older").unwrap();
    refused(
        "a file of others",
        &base,
        &plain,
        &link,
        &["will not be replaced", "parr did not write it as a GGUF file"],
    );
    fs::remove_file(&link).unwrap();
    merged(&base, &plain, &link, None).unwrap();
    merged(&base, &plain, &link, None).unwrap();
    assert_eq!(names(folder.path()), ["base.gguf", "link.gguf"]);
}

#[test]
fn what_cannot_be_merged_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (golden("tiny/llama3-rope-gqa"), folder.path().join("out"));
    let refused = |name: &str, adapter: &Adapter, quant: Option<Quant>, says: &[&str]| {
        check_message(name, &merged(&base, adapter, &out, quant).unwrap_err(), says);
        assert!(names(folder.path()).is_empty(), "{name}");
    };
    refused("head", &reward_adapter(&llama()), None, &["no place for the adapter's scalar head"]);
    let plain = adapter(&llama(), 2, 2.0, "q");
    refused(
        "quantized",
        &plain,
        Some(Quant::Q8_0),
        &["`model.layers.0.self_attn.q_proj.weight` would be q8_0"],
    );
    let other = adapter(&ModelConfig { layers: layers(2), ..llama() }, 2, 2.0, "q");
    refused("other model", &other, None, &["llama3-rope-gqa", "the adapter has 2 layers, the model 3"]);
    let mut large = plain.clone();
    large.weights.layers[2].get_mut(&Projection::Q).unwrap().b[6] = 1e7;
    let says = ["row 3 of the merged `model.layers.2.self_attn.q_proj.weight`", "inf in f16", "wider format"];
    refused("overflow", &large, Some(Quant::F16), &says);
}

#[test]
fn a_cancelled_merge_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("base.gguf");
    gguf_model(&gguf, "llama", Quant::Q4_0);
    for base in [&gguf, &golden("tiny/llama3-rope-gqa")] {
        let base = Checkpoint::open(base).unwrap();
        let adapter = adapter(&ModelConfig::from_checkpoint(&base).unwrap(), 2, 2.0, "q");
        let mut tensors = 0;
        let cancelled = merge(&base, &adapter, &folder.path().join("out"), &KEEP, &mut |_| {
            tensors += 1;
            if tensors == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let error = parr::Error::from(cancelled.unwrap_err());
        assert!(error.is_cancelled() && tensors == 3, "{error}");
        assert_eq!(names(folder.path()), ["base.gguf"]);
    }
}
