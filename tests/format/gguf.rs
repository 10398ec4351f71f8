//! Sound GGUF files: round trips through the writer, and the names the model sees.

use parr::format::Checkpoint;
use parr::format::gguf::{Array, Gguf, GgufWriter, Value};
use parr::quant::Quant;
use proptest::prelude::*;

/// Writes a file of metadata and tensors; tensor `i` is filled with byte `i`.
pub fn write(metadata: &[(&str, Value)], tensors: &[(&str, &[usize], Quant)]) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    for (key, value) in metadata {
        writer.set(key, value.clone());
    }
    for (name, shape, quant) in tensors {
        writer.declare(name, shape, *quant).unwrap();
    }
    let mut body = writer.start(Vec::new()).unwrap();
    for (i, (_, shape, quant)) in tensors.iter().enumerate() {
        let (cols, rows) = shape.split_last().unwrap();
        let len = quant.row_bytes(*cols).unwrap() * rows.iter().product::<usize>();
        body.tensor(&vec![i as u8; len]).unwrap();
    }
    body.finish().unwrap()
}

/// Metadata that holds every type.
pub fn every_type() -> Vec<(&'static str, Value)> {
    vec![
        ("u8", Value::U8(250)),
        ("i8", Value::I8(-8)),
        ("u16", Value::U16(65000)),
        ("i16", Value::I16(-300)),
        ("u32", Value::U32(4_000_000_000)),
        ("i32", Value::I32(-70_000)),
        ("f32", Value::F32(0.1)),
        ("bool", Value::Bool(true)),
        ("string", Value::String("grüße".into())),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f64", Value::F64(1e300)),
        ("array.u8", Value::Array(Array::U8(vec![1, 2]))),
        ("array.i8", Value::Array(Array::I8(vec![-1]))),
        ("array.u16", Value::Array(Array::U16(vec![1, 500]))),
        ("array.i16", Value::Array(Array::I16(vec![-500]))),
        ("array.u32", Value::Array(Array::U32(vec![]))),
        ("array.i32", Value::Array(Array::I32(vec![1, -1]))),
        ("array.f32", Value::Array(Array::F32(vec![0.5; 7]))),
        ("array.bool", Value::Array(Array::Bool(vec![true, false]))),
        ("array.string", Value::Array(Array::String(vec!["a".into(), "".into()]))),
        ("array.array", Value::Array(Array::Array(vec![Array::U8(vec![3]), Array::F64(vec![])]))),
        ("array.u64", Value::Array(Array::U64(vec![u64::MAX]))),
        ("array.i64", Value::Array(Array::I64(vec![i64::MIN]))),
        ("array.f64", Value::Array(Array::F64(vec![-0.0]))),
    ]
}

#[test]
fn metadata_of_every_type_survives_a_round_trip() {
    let metadata = every_type();
    let gguf = Gguf::parse("all.gguf".as_ref(), &write(&metadata, &[])).unwrap();
    assert_eq!(gguf.version(), 3);
    let found: Vec<(&str, Value)> = gguf.metadata().map(|(key, value)| (key, value.clone())).collect();
    assert_eq!(found, metadata);
    assert_eq!(gguf.count("u64").unwrap(), Some(usize::MAX));
    assert_eq!(gguf.integers("array.i32").unwrap(), Some(vec![1, -1]));
    assert_eq!(gguf.strings("array.string").unwrap().unwrap().len(), 2);
    assert_eq!(gguf.float("u8").unwrap(), Some(250.0));
}

#[test]
fn version_2_is_read_as_version_3() {
    let mut bytes = write(&every_type(), &[("output.weight", &[2, 32], Quant::Q8_0)]);
    bytes[4] = 2;
    let gguf = Gguf::parse("v2.gguf".as_ref(), &bytes).unwrap();
    assert_eq!((gguf.version(), gguf.tensors().len()), (2, 1));
}

#[test]
fn tensors_get_their_hugging_face_names_and_their_own_bytes() {
    let names = [
        ("token_embd.weight", "model.embed_tokens.weight", false),
        ("output.weight", "lm_head.weight", false),
        ("output_norm.weight", "model.norm.weight", false),
        ("rope_freqs.weight", "rope_freqs.weight", false),
        ("blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", false),
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", true),
        ("blk.0.attn_q.bias", "model.layers.0.self_attn.q_proj.bias", true),
        ("blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", true),
        ("blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias", true),
        ("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight", false),
        ("blk.0.attn_v.bias", "model.layers.0.self_attn.v_proj.bias", false),
        ("blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight", false),
        ("blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight", false),
        ("blk.0.attn_k_norm.weight", "model.layers.0.self_attn.k_norm.weight", false),
        ("blk.11.ffn_norm.weight", "model.layers.11.post_attention_layernorm.weight", false),
        ("blk.11.ffn_gate.weight", "model.layers.11.mlp.gate_proj.weight", false),
        ("blk.11.ffn_up.weight", "model.layers.11.mlp.up_proj.weight", false),
        ("blk.11.ffn_down.weight", "model.layers.11.mlp.down_proj.weight", false),
    ];
    let tensors: Vec<(&str, &[usize], Quant)> =
        names.iter().map(|(name, ..)| (*name, &[3, 32][..], Quant::Q4_0)).collect();
    let folder = tempfile::tempdir().unwrap();
    for architecture in ["llama", "qwen2", "qwen3"] {
        let metadata = [("general.architecture", Value::String(architecture.into()))];
        let path = folder.path().join(format!("{architecture}.gguf"));
        std::fs::write(&path, write(&metadata, &tensors)).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.tensors().count(), names.len());
        for (i, (source, canonical, permuted)) in names.iter().enumerate() {
            let tensor = checkpoint.tensor(canonical).unwrap_or_else(|| panic!("{canonical} is missing"));
            assert_eq!(tensor.source_name, *source);
            assert_eq!(tensor.rope_permuted, *permuted && architecture == "llama", "{source}");
            assert_eq!((tensor.rows(), tensor.cols(), tensor.quant), (3, 32, Quant::Q4_0));
            assert_eq!(checkpoint.bytes(tensor), vec![i as u8; 3 * 18]);
        }
    }
}

#[test]
fn alignment_is_kept() {
    let metadata = [("general.alignment", Value::U32(256))];
    let bytes = write(&metadata, &[("a", &[1], Quant::F32), ("b", &[1], Quant::F32)]);
    assert_eq!(bytes.len() % 256, 0);
    let gguf = Gguf::parse("aligned.gguf".as_ref(), &bytes).unwrap();
    assert_eq!((gguf.alignment(), gguf.tensors().len()), (256, 2));
}

#[test]
fn the_writer_refuses_what_no_reader_would_take() {
    let mut writer = GgufWriter::new();
    writer.declare("a", &[2, 32], Quant::Q4_0).unwrap();
    let error = |result: std::io::Result<()>| result.unwrap_err().to_string();
    assert!(error(writer.declare("a", &[32], Quant::Q4_0)).contains("declared twice"));
    assert!(error(writer.declare("b", &[33], Quant::Q4_0)).contains("q4_0 blocks"));
    assert!(error(writer.declare("c", &[], Quant::F32)).contains("no axes"));
    assert!(error(writer.declare("d", &[0], Quant::F32)).contains("at least one element"));
    let mut body = writer.clone().start(Vec::new()).unwrap();
    assert!(error(body.tensor(&[0; 35])).contains("36 bytes, not 35"));
    assert!(error(writer.clone().start(Vec::new()).unwrap().finish().map(drop)).contains("not written"));
    writer.set("general.alignment", Value::U32(48));
    assert!(error(writer.start(Vec::new()).map(drop)).contains("power of two"));
}

#[test]
fn a_missing_file_says_which() {
    let error = Checkpoint::open("no/such/model.gguf".as_ref()).unwrap_err();
    super::check_message("missing", &error, "no/such/model.gguf".as_ref(), &["cannot read"]);
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn the_content_hash_is_that_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    let mut bytes = write(&[], &[]);
    bytes.truncate(24);
    std::fs::write(&path, bytes).unwrap();
    // sha256sum of `GGUF`, 3 as u32 and two zeros as u64.
    let expected = "a4e5e156ddec27e286f75328784d7106b60a4eb1d246e950a001a3f944fbda99";
    assert_eq!(Checkpoint::open(&path).unwrap().content_hash().unwrap(), expected);
}

fn arrays() -> impl Strategy<Value = Array> {
    let flat = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Array::U8),
        prop::collection::vec(any::<i64>(), 0..9).prop_map(Array::I64),
        prop::collection::vec(any::<bool>(), 0..9).prop_map(Array::Bool),
        prop::collection::vec(-1e30f32..1e30, 0..9).prop_map(Array::F32),
        prop::collection::vec(".{0,9}", 0..9).prop_map(Array::String),
    ];
    flat.prop_recursive(3, 20, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Array::Array))
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::U64),
        any::<i16>().prop_map(Value::I16),
        any::<bool>().prop_map(Value::Bool),
        (-1e300f64..1e300).prop_map(Value::F64),
        ".{0,40}".prop_map(Value::String),
        arrays().prop_map(Value::Array),
    ]
}

proptest! {
    #![proptest_config(crate::support::cases(128))]

    /// Whatever is written is read back, in order, from where it was put.
    #[test]
    fn files_survive_a_round_trip(
        metadata in prop::collection::btree_map("[a-z_.]{1,20}", values(), 0..8),
        tensors in prop::collection::btree_map("[a-z]{1,20}", (0..Quant::ALL.len(), 1usize..4, 1usize..3), 0..8),
        alignment in 0u32..10,
    ) {
        let mut metadata: Vec<(&str, Value)> =
            metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        metadata.retain(|(key, _)| !key.starts_with("general.") && !key.starts_with("split."));
        metadata.push(("general.alignment", Value::U32(1 << alignment)));
        let shapes: Vec<(&str, [usize; 2], Quant)> = tensors
            .iter()
            .map(|(name, (quant, rows, blocks))| {
                let quant = Quant::ALL[*quant];
                (name.as_str(), [*rows, blocks * quant.block_weights()], quant)
            })
            .collect();
        let tensors: Vec<(&str, &[usize], Quant)> =
            shapes.iter().map(|(name, shape, quant)| (*name, &shape[..], *quant)).collect();
        let bytes = write(&metadata, &tensors);
        let gguf = Gguf::parse("any.gguf".as_ref(), &bytes).unwrap();
        let found: Vec<(&str, Value)> = gguf.metadata().map(|(k, v)| (k, v.clone())).collect();
        prop_assert_eq!(found, metadata);
        prop_assert_eq!(gguf.tensors().len(), tensors.len());
        for (found, (name, shape, quant)) in gguf.tensors().iter().zip(&tensors) {
            prop_assert_eq!(&found.source_name, name);
            prop_assert_eq!(&found.shape, shape);
            prop_assert_eq!(found.quant, *quant);
        }
    }
}

#[test]
fn names_and_row_orders_are_known_in_both_directions() {
    for (gguf, hf) in [
        ("blk.11.attn_q.weight", "model.layers.11.self_attn.q_proj.weight"),
        ("blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight"),
        ("blk.2.ffn_down.weight.lora_a", "model.layers.2.mlp.down_proj.weight.lora_a"),
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
    ] {
        assert_eq!(parr::format::gguf::gguf_name(None, hf).as_deref(), Some(gguf));
        let file = write(&[], &[(gguf, &[32], Quant::F32)]);
        assert_eq!(Gguf::parse("names.gguf".as_ref(), &file).unwrap().tensors()[0].name, hf);
    }
    assert_eq!(parr::format::gguf::gguf_name(None, "model.layers.0.unknown.weight"), None);
    // Two heads of six: pairs stand side by side in the file, and three rows apart otherwise.
    let rows: Vec<usize> = (0..12).map(|row| parr::format::gguf::half_split_row(row, 6)).collect();
    assert_eq!(rows, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
}

/// The parts of a model of three tensors, written as `llama-gguf-split` writes them: only the first names the
/// architecture.
fn parts(folder: &std::path::Path, count: u16) -> Vec<std::path::PathBuf> {
    let tensors = ["token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight"];
    let mut paths = Vec::new();
    for (number, name) in tensors.into_iter().enumerate() {
        let mut metadata = vec![
            ("split.no", Value::U16(number as u16)),
            ("split.count", Value::U16(count)),
            ("split.tensors.count", Value::I32(3)),
        ];
        if number == 0 {
            metadata.push(("general.architecture", Value::String("llama".into())));
        }
        let path = folder.join(format!("tiny-{:05}-of-00003.gguf", number + 1));
        std::fs::write(&path, write(&metadata, &[(name, &[2, 32][..], Quant::Q8_0)])).unwrap();
        paths.push(path);
    }
    paths
}

#[test]
fn the_parts_of_a_file_are_one_model_whichever_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = parts(folder.path(), 3);
    let all: Vec<u8> = paths.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    for path in &paths {
        let checkpoint = Checkpoint::open(path).unwrap();
        let found: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.source_name.as_str()).collect();
        assert_eq!(found, ["token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight"]);
        let header = checkpoint.gguf().expect("a gguf file");
        assert_eq!(header.architecture().unwrap(), Some("llama"));
        // Rows are reordered in the second part too, which does not name the architecture.
        let query = checkpoint.need_tensor("model.layers.0.self_attn.q_proj.weight", &[2, 32]).unwrap();
        assert!(query.rope_permuted);
        let bytes = std::fs::read(&paths[1]).unwrap();
        assert!(
            bytes.ends_with(checkpoint.bytes(query))
                || bytes.windows(68).any(|some| some == checkpoint.bytes(query))
        );
        assert_eq!(checkpoint.content_hash().unwrap(), parr::file::sha256(&all));
    }
}

#[test]
fn parts_that_do_not_fit_together_are_named() {
    let refused = |change: &dyn Fn(&[std::path::PathBuf]), says: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let paths = parts(folder.path(), 3);
        change(&paths);
        let error = Checkpoint::open(&paths[0]).expect_err("the parts do not fit").to_string();
        assert!(says.iter().all(|part| error.contains(part)), "{error}");
    };
    refused(&|paths| std::fs::remove_file(&paths[2]).unwrap(), &["tiny-00003-of-00003.gguf", "cannot read"]);
    refused(
        &|paths| {
            std::fs::copy(&paths[1], &paths[2]).unwrap();
        },
        &["tiny-00003-of-00003.gguf", "`split.no`", "part 2 (from 0 on) of 3"],
    );
    let renumbered = |paths: &[std::path::PathBuf]| {
        let bytes = std::fs::read(&paths[1]).unwrap();
        let at = bytes.windows(8).position(|some| some == b"split.no").unwrap() + 8 + 4;
        let mut other = bytes.clone();
        other[at] = 2;
        std::fs::write(&paths[2], other).unwrap();
    };
    refused(&renumbered, &["another part has tensor `model.layers.0.self_attn.q_proj.weight` too"]);

    let folder = tempfile::tempdir().unwrap();
    let paths = parts(folder.path(), 4);
    let error = Checkpoint::open(&paths[0]).expect_err("there are three, not four").to_string();
    assert!(error.contains("one of 4 parts") && error.contains("-00001-of-00004.gguf"), "{error}");
    let lonely = folder.path().join("renamed.gguf");
    std::fs::copy(&paths[0], &lonely).unwrap();
    assert!(Checkpoint::open(&lonely).is_err());
}
