//! Hugging Face directories as GGUF files: the same model afterwards, in every architecture that GGUF can express.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use parr::convert::{ConvertError, ConvertOptions, Converted, convert};
use parr::format::Checkpoint;
use parr::generate::{CancelToken, Generator, GeneratorOptions};
use parr::gpu::{Device, DeviceOptions};
use parr::model::{LoadOptions, Model};
use parr::ops::KvFormat;
use parr::quant::Quant;
use parr::tokenizer::Specials;

use crate::support::synthetic::{ODD, Shape, weights, write_directory};
use crate::support::{gpu, model};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/architectures").join(name)
}

fn to_gguf(from: &Path, out: &Path, options: &ConvertOptions) -> Result<Converted, ConvertError> {
    let checkpoint = Checkpoint::open(from).expect("a sound directory");
    convert(&checkpoint, out, options, &mut |_| ControlFlow::Continue(()))
}

fn load(device: &Device, path: &Path) -> Model {
    Model::load(device, path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint loads")
}

fn logits(device: &Device, path: &Path) -> Vec<f32> {
    let ids: Vec<u32> = (0..45).map(|at| (at * at * 31 + at * 7 + 3) % 157 + 3).collect();
    let options =
        GeneratorOptions { slots: 1, context: 45, kv: KvFormat::F32, ..GeneratorOptions::default() };
    let mut logits = Vec::new();
    Generator::new(&load(device, path), options)
        .expect("a small cache fits")
        .logits(&ids, None, &CancelToken::new(), &mut |rows| logits.extend_from_slice(rows))
        .expect("known ids have logits");
    logits
}

#[test]
fn every_architecture_is_the_same_as_a_gguf_file() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let scratch = tempfile::tempdir().expect("a scratch directory");
    for name in [
        "gemma3",
        "granite",
        "lfm2",
        "llama-linear",
        "mistral-yarn",
        "olmo2",
        "olmo3",
        "phi3",
        "qwen2-mixed",
        "qwen3",
        "qwen3-yarn",
        "smollm3",
    ] {
        let out = scratch.path().join(format!("{name}.gguf"));
        let converted = to_gguf(&golden(name), &out, &ConvertOptions::default()).expect(name);
        assert!(converted.left_out.is_empty() && converted.tensors > 20, "{name}: {converted:?}");
        let (whole, file) = (logits(&device, &golden(name)), logits(&device, &out));
        let largest = whole.iter().zip(&file).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{name}: {largest:.1e}");
        // The weights are the same bits. Only the attention factor of YaRN is rounded once more.
        let bound = if name.contains("yarn") || name == "olmo3" { 1e-4 } else { 0.0 };
        assert!(largest <= bound, "{name}: logits differ by {largest:.1e}");
    }
}

#[test]
fn what_gguf_cannot_express_is_refused_by_name() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let out = scratch.path().join("model.gguf");
    for (name, part) in [
        ("gemma2", "attention scale"),
        ("lfm2-bias", "convolutions have biases"),
        ("llama-dynamic", "rope scaling is dynamic"),
    ] {
        let error = to_gguf(&golden(name), &out, &ConvertOptions::default()).expect_err(name);
        assert!(error.to_string().contains(part) && error.to_string().contains(name), "{error}");
        assert!(!out.exists(), "{name} left a file");
    }
    // A file of another program stays, and a cancel leaves nothing.
    std::fs::write(&out, b"not ours").expect("writable");
    let error = to_gguf(&golden("qwen3"), &out, &ConvertOptions::default()).expect_err("an occupied path");
    assert!(error.to_string().contains("model.gguf"), "{error}");
    assert_eq!(std::fs::read(&out).expect("there"), b"not ours");
    let checkpoint = Checkpoint::open(&golden("qwen3")).expect("a sound directory");
    let other = scratch.path().join("other.gguf");
    let cancelled = convert(&checkpoint, &other, &ConvertOptions::default(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(ConvertError::Cancelled)) && !other.exists(), "{cancelled:?}");
    let gguf = scratch.path().join("sound.gguf");
    to_gguf(&golden("qwen3"), &gguf, &ConvertOptions::default()).expect("a sound directory");
    let error = to_gguf(&gguf, &other, &ConvertOptions::default()).expect_err("no directory");
    assert!(error.to_string().contains("no Hugging Face directory"), "{error}");
}

/// A directory with SmolLM2's tokenizer becomes a file with the same tokenizer and template.
#[test]
fn a_tokenizer_is_the_same_as_a_gguf_file() {
    let path = model::smollm2();
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let smollm2 = load(&device, &path);
    let tokenizer = smollm2.tokenizer().expect("SmolLM2 has a tokenizer");
    let template = smollm2.text().chat().expect("SmolLM2 has a template").template().source().to_owned();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let folder = scratch.path().join("model");
    std::fs::create_dir(&folder).expect("a scratch directory");
    // More rows than tokens, as models have that are padded to a round number.
    let shape = Shape {
        vocab: tokenizer.vocab_len() + 7,
        hidden: 64,
        heads: 2,
        kv_heads: 1,
        head_dim: 32,
        ffn: 64,
        ..ODD
    };
    write_directory(&shape, &weights(&shape), &folder);
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("writable");
    write("tokenizer.json", tokenizer.to_json().expect("a tokenizer that can be written"));
    let settings = serde_json::json!({
        "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": template,
    });
    write("tokenizer_config.json", settings.to_string());

    let out = scratch.path().join("model.gguf");
    let options = ConvertOptions { quant: Some(Quant::Q4K), ..ConvertOptions::default() };
    to_gguf(&folder, &out, &options).expect("a sound directory");
    let checkpoint = Checkpoint::open(&out).expect("a sound file");
    let gguf = checkpoint.gguf().expect("a GGUF file");
    assert_eq!(gguf.string("tokenizer.ggml.pre").expect("a string"), Some("smollm"));
    assert_eq!(
        checkpoint.tensor("model.embed_tokens.weight").expect("there").quant,
        Quant::Q8_0,
        "64 columns"
    );
    let found = load(&device, &out);
    assert!(found.notes().is_empty(), "{:?}", found.notes());
    let other = found.tokenizer().expect("a tokenizer");
    assert_eq!((other.bos(), other.eos()), (tokenizer.bos(), tokenizer.eos()));
    for text in ["Hello, world! 12345", "<|im_start|>user\nhi<|im_end|>", "na\u{EF}ve \u{1F600}\n\n  x = 1"] {
        for specials in [Specials::AsText, Specials::Parse] {
            let ids = |tokenizer: &parr::tokenizer::Tokenizer| {
                tokenizer.encode(text, specials).expect("known rules")
            };
            assert_eq!(ids(other), ids(tokenizer), "{text:?}");
        }
    }
    assert_eq!(found.text().chat().expect("a template").template().source(), template);
}
