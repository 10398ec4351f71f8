//! LFM2, whose modules PEFT calls by other names, and whose layers are of two kinds.

use std::collections::BTreeSet;
use std::fs;

use parr::adapter::Adapter;
use parr::model::lora::Projection;
use safetensors::SafeTensors;
use serde_json::json;

use super::*;

fn lfm2() -> ModelConfig {
    config_of("architectures/lfm2")
}

/// The factors of PyTorch's adapter, under the names that PEFT gave them.
fn of_pytorch() -> Vec<Stored> {
    let bytes = fs::read(golden("architectures/lfm2/expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let factors = file.tensors().into_iter().filter_map(|(name, view)| {
        let values = bytemuck::pod_collect_to_vec(view.data());
        Some(Stored::new(name.strip_prefix("init.")?, view.shape(), values))
    });
    factors.collect()
}

const SHORT: [&str; 8] = ["q_proj", "k_proj", "v_proj", "out_proj", "in_proj", "w1", "w2", "w3"];

#[test]
fn an_adapter_of_peft_is_read_and_written_under_its_names() {
    let (model, tensors) = (lfm2(), of_pytorch());
    // Attention in one layer of four, a convolution in the others, three matrices of the feed-forward half in all.
    assert_eq!(tensors.len(), 2 * (4 + 3 * 2 + 4 * 3));
    for targets in [json!(SHORT), json!("all-linear"), json!(r".*\.(out_proj|in_proj|[qkv]_proj|w\d)")] {
        let folder = peft_folder(&json!({ "target_modules": targets }), &tensors);
        let adapter = Adapter::open(folder.path(), &model).unwrap();
        let pairs = &adapter.weights.layers;
        assert_eq!(
            pairs[0].keys().copied().collect::<Vec<_>>(),
            [Projection::Gate, Projection::Up, Projection::Down, Projection::In, Projection::Out,]
        );
        let of = |name: &str| &tensors.iter().find(|tensor| tensor.name.contains(name)).expect(name).values;
        assert_eq!(&pairs[0][&Projection::In].a, of("layers.0.conv.in_proj.lora_A"));
        assert_eq!(&pairs[1][&Projection::O].b, of("layers.1.self_attn.out_proj.lora_B"));
        assert_eq!(&pairs[3][&Projection::Up].a, of("layers.3.feed_forward.w3.lora_A"));

        let written = folder.path().join("written");
        adapter.write_peft(&written).unwrap();
        assert_eq!(Adapter::open(&written, &model).unwrap().weights, adapter.weights);
        let bytes = fs::read(written.join(WEIGHTS)).unwrap();
        let names: BTreeSet<String> =
            SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect();
        assert_eq!(names, tensors.iter().map(|tensor| tensor.name.clone()).collect());
        let config: Value = serde_json::from_slice(&fs::read(written.join(CONFIG)).unwrap()).unwrap();
        let modules = config["target_modules"].as_array().unwrap();
        assert!(modules.contains(&json!("model.layers.1.self_attn.out_proj")), "{modules:?}");
    }
}

#[test]
fn an_adapter_of_another_family_or_kind_of_layer_is_refused() {
    let error = |model: &ModelConfig, targets: &[&str], tensors: &[Stored]| {
        let folder = peft_folder(&json!({ "target_modules": targets }), tensors);
        Adapter::open(folder.path(), model).unwrap_err().to_string()
    };
    // Llama's names.
    let names = error(&lfm2(), &["o_proj"], &factors(&lfm2(), 1, Projection::O, 4));
    assert!(names.contains("leaves out `model.layers.1.self_attn.out_proj`"), "{names}");
    // Queries of a layer that has a convolution.
    let queries = error(&lfm2(), &["q_proj"], &{
        let layers = (0..4).flat_map(|layer| factors(&lfm2(), layer, Projection::Q, 4));
        layers.collect::<Vec<_>>()
    });
    assert!(queries.contains("changes q_proj in layer 0"), "{queries}");
    let other = error(&llama(), &["in_proj"], &factors(&llama(), 0, Projection::In, 4));
    assert!(other.contains("changes in_proj in layer 0"), "{other}");
}
