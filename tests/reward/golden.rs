//! SmolLM2 with PyTorch's adapter and head.

use parr::generate::CancelToken;
use parr::gpu::KernelFamily;
use parr::model::lora::{AdapterBank, LoraConfig, Projections, ScalarHead};
use parr::reward::{LimitSettings, RewardCard, RewardModel, RewardOptions};
use parr::train::{Learner, Sequence};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::learn::{ADAMW, golden_path, peft, shape};
use crate::support::{gpu, model};

fn scores(family: KernelFamily) {
    let _turn = gpu::turn();
    let (device, path) = (gpu::device(family), model::smollm2());
    let golden = std::fs::read(golden_path("reward/reward.json")).expect("a golden file");
    let golden: Value = serde_json::from_slice(&golden).expect("golden JSON");
    let number = |value: &Value| value.as_f64().expect("a number");
    let config = LoraConfig {
        rank: number(&golden["r"]) as usize,
        alpha: number(&golden["alpha"]) as f32,
        rs_lora: false,
        targets: Projections::ALL,
    };
    let bytes = std::fs::read(golden_path("reward/reward.safetensors")).expect("a golden file");
    let file = SafeTensors::deserialize(&bytes).expect("golden tensors");
    let head = file.tensor("head.weight").expect("a head").data();
    let head = head.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let model = super::load(&device, &path);
    let bank = AdapterBank::new(&model, config.rank, config.targets, 1).expect("a small bank fits");
    let weights = peft(&file, "init.", config, model.config());
    let id = bank.attach(&weights, Some(&ScalarHead { weight: head, bias: 0.0 })).expect("it fits");

    let limits = LimitSettings { tokens: 256, request: 32, reply: 64 };
    let card = RewardCard { limits, ..RewardCard::default() };
    let options = RewardOptions { slots: 3, any_base: false };
    let mut reward = RewardModel::in_bank(&model, &bank, id, card, &options).expect("it has a head");
    let list = |value: &Value| value.as_array().expect("a list").iter().map(number).collect::<Vec<_>>();
    let rows: Vec<Vec<u32>> = ["chosen", "rejected"]
        .map(|name| list(&golden[name]).into_iter().map(|id| id as u32).collect())
        .into();
    let found = reward.score_ids(&rows, &CancelToken::new()).expect("sound rows");
    for (score, expected) in found.iter().zip(list(&golden["scores"])) {
        println!("{score} of {expected}");
        assert!((f64::from(*score) - expected).abs() <= 2e-3, "{score} of {expected}");
    }

    // The forward pass of training says the same.
    let mut learner =
        Learner::new(&model, &bank, &[id], &shape(&model, 64, 30), ADAMW).expect("a small pass fits");
    let units: Vec<Vec<Sequence>> =
        rows.iter().map(|ids| vec![Sequence::with_head(ids.clone(), id)]).collect();
    let trained = learner.read(&units).expect("a sound pass").value;
    for (score, trained) in found.iter().zip(&trained) {
        assert!((score - trained).abs() <= 1e-3, "{score}, in training {trained}");
    }
    println!("training: {trained:?}");
}

#[test]
fn scores_are_pytorchs_lane8() {
    scores(KernelFamily::Lane8);
}

#[test]
fn scores_are_pytorchs_tiled() {
    scores(KernelFamily::Tiled);
}
