//! Scores two replies under a principle, and under its negative.
//!
//!     cargo run --release --example score

use parr::Model;
use parr::principles::Selection;

const PROMPT: &str = "How do I make tea?";
const REPLIES: [&str; 2] = [
    "Pour boiling water over the leaves and wait three minutes.",
    "Making tea is a rewarding ritual! First, choose your favourite leaves. Then heat fresh water until it \
     boils, warm the pot, add the leaves, pour the water, and wait. Finally, enjoy every single sip of it!",
];

fn main() -> Result<(), parr::Error> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "smollm2".to_owned());
    let model = Model::builder(name).pull().open()?;
    let mut reward = model.reward_model("reward-models/smollm2-style")?;
    for principle in ["style:style-concise", "style:!style-concise"] {
        let set = Selection::open(principle)?.into_set();
        println!("{}", set.principles[0].definition);
        for reply in REPLIES {
            // Only the difference of two scores under the same principle has a meaning.
            let score = reward.rate(PROMPT, reply, &set)?;
            println!("{:8.2}  {}", score.value, reply.split_at(40).0);
        }
    }
    Ok(())
}
