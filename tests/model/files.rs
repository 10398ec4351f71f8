//! Files that disagree with themselves: tensors that nothing reads, heads and biases that config.json denies.

use std::collections::BTreeMap;
use std::path::Path;

use parr::generate::CancelToken;
use parr::gpu::{Device, DeviceOptions};
use parr::model::{LoadOptions, Model};
use parr::ops::KvFormat;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value as Json, json};

use super::{generator, load};
use crate::support::gpu;
use crate::support::synthetic::{ODD, Shape, Tensors, weights, write_directory};

fn logits(model: &Model) -> Vec<f32> {
    let mut logits = Vec::new();
    generator(model, 1, 64, KvFormat::F32)
        .logits(&[3, 41, 93, 159], None, &CancelToken::new(), &mut |rows| logits.extend_from_slice(rows))
        .expect("known ids have logits");
    logits
}

/// The odd model after `edit` has changed its weights and its config.json.
fn edited(
    device: &Device,
    shape: Shape,
    edit: impl FnOnce(&mut Tensors, &mut Json),
) -> Result<Model, String> {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let mut tensors = weights(&shape);
    write_directory(&shape, &tensors, folder.path());
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).expect("just written");
    let mut config: Json = serde_json::from_str(&text).expect("just written");
    edit(&mut tensors, &mut config);
    write_directory(&shape, &tensors, folder.path());
    std::fs::write(&path, config.to_string()).expect("a scratch directory is writable");
    Model::load(device, folder.path(), &LoadOptions::default(), &mut |_| {})
        .map_err(|error| error.to_string())
}

/// Adds tensors of any type to the safetensors file of `folder`.
fn add(folder: &Path, more: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).expect("just written");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("just written");
    let mut views: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
    for (name, dtype, shape, data) in more {
        let view = TensorView::new(*dtype, shape.clone(), data).expect("a sound shape");
        views.insert((*name).to_owned(), view);
    }
    let written = safetensors::serialize(views, None).expect("sound tensors");
    std::fs::write(path, written).expect("a scratch directory is writable");
}

#[test]
fn tensors_that_nothing_reads_stop_no_load_and_are_noted() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    write_directory(&ODD, &weights(&ODD), folder.path());
    let plain = load(&device, folder.path());
    assert_eq!((plain.notes(), plain.unused_tensors()), (&[][..], &[][..]));
    add(
        folder.path(),
        &[
            ("model.position_ids", Dtype::I64, vec![4], vec![0; 32]),
            ("model.layers.0.self_attn.rotary_emb.inv_freq", Dtype::F32, vec![10], vec![0; 40]),
            ("model.layers.2.mlp.up_proj.weight", Dtype::F8_E4M3, vec![2, 3], vec![0; 6]),
            ("vision.mask", Dtype::BOOL, vec![1, 1, 5, 1, 1, 1, 1, 1, 1], vec![0; 5]),
            ("empty", Dtype::F32, vec![0, 7], vec![]),
        ],
    );
    let model = load(&device, folder.path());
    assert_eq!(
        model.unused_tensors(),
        ["empty", "model.layers.2.mlp.up_proj.weight", "model.position_ids", "vision.mask"]
    );
    let [note] = model.notes() else { panic!("{:?}", model.notes()) };
    assert_eq!(
        note,
        "4 tensors of the model are not used: `empty`, `model.layers.2.mlp.up_proj.weight`, \
         `model.position_ids` and 1 more"
    );
    assert_eq!(logits(&model), logits(&plain));
    // The same type in a tensor that is used is named.
    add(
        folder.path(),
        &[("model.layers.1.mlp.up_proj.weight", Dtype::F8_E4M3, vec![92, 100], vec![0; 9200])],
    );
    let error = Model::load(&device, folder.path(), &LoadOptions::default(), &mut |_| {}).expect_err("f8");
    let message = error.to_string();
    assert!(message.contains("tensor `model.layers.1.mlp.up_proj.weight` has format F8_E4M3"), "{message}");
    // A bias that cannot be read is not taken for none.
    write_directory(&ODD, &weights(&ODD), folder.path());
    add(
        folder.path(),
        &[
            ("model.layers.0.self_attn.q_proj.bias", Dtype::I8, vec![120], vec![1; 120]),
            ("model.layers.1.self_attn.q_proj.bias", Dtype::I8, vec![120], vec![1; 120]),
        ],
    );
    let error = Model::load(&device, folder.path(), &LoadOptions::default(), &mut |_| {}).expect_err("i8");
    assert!(error.to_string().contains("q_proj.bias` has format I8"), "{error}");
}

#[test]
fn a_head_of_its_own_is_used_although_the_config_says_tied() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let tie = |config: &mut Json, tied: bool| config["tie_word_embeddings"] = json!(tied);
    let untied = edited(&device, ODD, |_, config| tie(config, false)).expect("a sound model");
    let tied = edited(&device, ODD, |_, config| tie(config, true)).expect("a sound model");
    assert!(!tied.config().tied);
    assert_eq!(logits(&tied), logits(&untied));
    let [note] = tied.notes() else { panic!("{:?}", tied.notes()) };
    assert!(note.contains("lm_head.weight") && note.contains("tie_word_embeddings"), "{note}");
    // A copy of the embedding is not loaded twice, and no news.
    let copied = edited(&device, ODD, |tensors, config| {
        let embedding = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".into(), embedding);
        tie(config, true);
    })
    .expect("a sound model");
    assert!(copied.config().tied && copied.notes().is_empty(), "{:?}", copied.notes());
    assert!(copied.weight_bytes() < untied.weight_bytes());
}

#[test]
fn biases_are_used_in_directories_as_in_gguf_files() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let parts = [
        ("self_attn.q_proj", 120),
        ("self_attn.k_proj", 40),
        ("self_attn.v_proj", 40),
        ("self_attn.o_proj", 100),
        ("mlp.gate_proj", 92),
        ("mlp.up_proj", 92),
        ("mlp.down_proj", 100),
    ];
    let plain = logits(&edited(&device, ODD, |_, _| ()).expect("a sound model"));
    for (key, range) in [("attention_bias", 0..4), ("mlp_bias", 4..7)] {
        let biased = |tensors: &mut Tensors, size: f32| {
            for (layer, (part, rows)) in
                (0..2).flat_map(|layer| parts[range.clone()].iter().map(move |part| (layer, part)))
            {
                let values = (0..*rows).map(|row| size * ((row % 7) as f32 - 3.0)).collect();
                tensors.insert(format!("model.layers.{layer}.{part}.bias"), (vec![*rows], values));
            }
        };
        let with = edited(&device, ODD, |tensors, config| {
            biased(tensors, 0.1);
            config[key] = json!(true);
        })
        .expect(key);
        assert!(with.notes().is_empty(), "{key}: {:?}", with.notes());
        let with = logits(&with);
        assert!(super::furthest(&with, &plain) > 0.05, "{key}");
        let zeros = edited(&device, ODD, |tensors, config| {
            biased(tensors, 0.0);
            config[key] = json!(true);
        });
        assert_eq!(logits(&zeros.expect(key)), plain, "{key}");
        // Biases that the config denies are used, and that is said.
        let denied = edited(&device, ODD, |tensors, config| {
            biased(tensors, 0.1);
            config[key] = json!(false);
        })
        .expect(key);
        assert_eq!(logits(&denied), with, "{key}");
        assert!(denied.notes().iter().any(|note| note.contains(key)), "{key}: {:?}", denied.notes());
        // The config may promise biases that the weights do not have: zeros, as in transformers.
        let none = edited(&device, ODD, |_, config| config[key] = json!(true)).expect(key);
        assert_eq!(logits(&none), plain, "{key}");
        assert!(none.notes().iter().any(|note| note.contains("counts as 0")), "{key}: {:?}", none.notes());
        // One that only some layers have is not taken for zeros.
        let error = edited(&device, ODD, |tensors, config| {
            biased(tensors, 0.1);
            let last = parts[range.clone()].last().expect("not empty").0;
            tensors.remove(&format!("model.layers.1.{last}.bias"));
            config[key] = json!(true);
        })
        .expect_err(key);
        assert!(error.contains("holds no tensor `model.layers.1."), "{key}: {error}");
    }
}
