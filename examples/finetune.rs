//! Fine-tunes a model on a few rows in memory, then chats with the result.
//!
//!     cargo run --release --example finetune -- runs/pirate 20

use parr::Model;
use parr::settings::Auto;
use parr::train::{Control, Event, Row, Sft, SftConfig};

fn main() -> Result<(), parr::Error> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().unwrap_or_else(|| "runs/pirate".to_owned());
    let steps = arguments.next().and_then(|steps| steps.parse().ok()).unwrap_or(20);

    let model = Model::builder("smollm2").pull().open()?;
    let rows = vec![
        Row::pair("Who are you?", "Arr! I be the captain of this ship."),
        Row::pair("What do you like?", "Arr! I like the open sea and a fair wind."),
        Row::pair("Where do you live?", "Arr! I live aboard, and the harbour be my garden."),
        Row::pair("Give me some advice.", "Arr! Keep yer powder dry and yer rope coiled."),
    ];
    let mut config = SftConfig { steps: Auto::Fixed(steps), ..SftConfig::default() };
    config.batch.sequences = 4;
    config.optimizer.learning_rate = 1e-3;
    let adapter =
        Sft::new(&model, rows, out).config(&config).resume(true).run(&Control::default(), &mut |event| {
            if let Event::Step(step) = event {
                println!("step {}: loss {:.3}", step.number(), step.loss().unwrap_or_default());
            }
        })?;

    let mut chat = model.chat().adapter(&adapter).max_tokens(40).start()?;
    println!("{}", chat.ask("Who are you?")?.text());
    Ok(())
}
