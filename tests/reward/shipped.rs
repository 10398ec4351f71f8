//! The reward model that comes with the repository, on the base it was made for.

use std::path::Path;

use parr::generate::CancelToken;
use parr::gpu::DeviceOptions;
use parr::model::{LoadOptions, Model};
use parr::principles::PrincipleSet;
use parr::reward::{RewardModel, RewardOptions, ScoreRequest};

use crate::support;

const FOLDER: &str = "reward-models/smollm2-style";

/// Replies to one prompt that differ in one quality: what to look for, one that has it, one that has not. First
/// person is left out, which it is known to tell apart badly.
const PAIRS: [(&str, &str, &str); 7] = [
    (
        "concise",
        "Water them when the soil is dry.",
        "Water them when the soil is dry. Put a finger into the pot first. If it comes out clean, wait for \
         another day or two, and look at the leaves as well: they hang when a plant is thirsty.",
    ),
    (
        "comprehensive",
        "Water them when the soil is dry. Put a finger into the pot first. If it comes out clean, wait for \
         another day or two, and look at the leaves as well: they hang when a plant is thirsty.",
        "Water them when the soil is dry.",
    ),
    (
        "bulleted",
        "- Wait until the soil is dry.\n- Water slowly.\n- Empty the saucer.",
        "Wait until the soil is dry. Water slowly. Empty the saucer.",
    ),
    (
        "bold",
        "Wait until the **soil** is dry. Water slowly. Empty the **saucer**.",
        "Wait until the soil is dry. Water slowly. Empty the saucer.",
    ),
    (
        "ends-question",
        "Water them when the soil is dry. Which plants do you have?",
        "Water them when the soil is dry. That is once a week.",
    ),
    ("emoji", "Water them when the soil is dry. 🌱", "Water them when the soil is dry."),
    ("exclamation", "Water them when the soil is dry!", "Water them when the soil is dry."),
];

#[test]
fn what_ships_is_small() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let files = std::fs::read_dir(&folder).expect("it ships");
    let bytes: u64 = files.map(|file| file.and_then(|file| file.metadata()).expect("readable").len()).sum();
    assert!(bytes < 6_000_000, "{bytes} bytes are more than a repository should carry");
}

#[test]
fn what_ships_ranks_replies_and_turns_round_when_principles_are_negated() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let path = support::model::smollm2();
    let _turn = support::gpu::turn();
    let device = support::gpu::open(&DeviceOptions::default());
    let model =
        Model::load(&device, &path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint");
    let mut reward =
        RewardModel::open(&model, &folder, &RewardOptions::default()).expect("made for this base");

    let prompt = "How often should I water my house plants?";
    let style = PrincipleSet::open("style").expect("built in");
    let text = |quality: &str, negated| {
        let principle = style.principle(&format!("style-{quality}")).expect("of the set");
        principle.text(negated).expect("it has a negative")
    };
    let mut questions = Vec::new();
    for (quality, with, without) in &PAIRS {
        for reply in [with, without] {
            let question = |negated| ScoreRequest::new(prompt, reply, vec![text(quality, negated)]);
            questions.extend([false, true].map(question));
        }
    }
    let scores = reward.score(&questions, &CancelToken::new(), &mut |_| {}).expect("all fit");
    let mut right = 0;
    for ((quality, _, _), scores) in PAIRS.iter().zip(scores.chunks_exact(4)) {
        let [with, with_negated, without, without_negated] = [0, 1, 2, 3].map(|at| scores[at].value);
        println!("{quality}: {with} over {without}, negated {with_negated} over {without_negated}");
        right += usize::from(with > without) + usize::from(with_negated < without_negated);
    }
    // By chance twelve of fourteen come out right once in 155 times.
    assert!(right >= 12, "{right} of 14 right");
}
