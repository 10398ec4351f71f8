//! Trains a policy by PPO to follow one sentence, as scored by the reward model that comes with Parr.
//!
//!     cargo run --release --example align -- runs/brief 8

use parr::Model;
use parr::align::{Align, AlignConfig, AlignPrompts, Guidelines, Outcome, RewardRole};
use parr::principles::Selection;
use parr::settings::Auto;
use parr::train::{Control, Event};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().unwrap_or_else(|| "runs/brief".to_owned());
    let steps = arguments.next().and_then(|steps| steps.parse().ok()).unwrap_or(8);

    let model = Model::builder("smollm2").pull().open()?;
    let chat = model.chat_format().ok_or("the model has no chat template")?;
    let questions = ["Why is the sky blue?", "How do I make tea?", "What is a river?", "Why do cats purr?"];
    let prompts = AlignPrompts::of(questions, chat, 64)?;
    let principles = Guidelines::new(vec![Selection::open("style:style-concise")?.into_set()]);
    let reward = RewardRole::open(&model, "reward-models/smollm2-principles", false)?;

    let mut config = AlignConfig { steps: Auto::Fixed(steps), ..AlignConfig::default() };
    config.rollout.prompts = 4;
    config.rollout.max_reply_tokens = 32;
    config.update.epochs = 2;
    let align = Align::new(&model, &prompts, &principles, out).config(&config).reward(reward).resume(true);
    let outcome = align.run(&Control::default(), &mut |event| {
        if let Event::Step(step) = event {
            println!("step {}: reward {:.2}", step.number(), step.reward().unwrap_or_default());
        }
    })?;
    if let Outcome::Done(adapter) = outcome {
        println!("parr chat --adapter {}", adapter.display());
    }
    Ok(())
}
