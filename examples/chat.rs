//! Chats with a model, and streams its replies.
//!
//!     cargo run --release --example chat -- smollm2 'Why is the sky blue?' 'And at sunset?'

use std::io::Write;

use parr::Model;

fn main() -> Result<(), parr::Error> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "smollm2".to_owned());
    let mut questions: Vec<String> = arguments.collect();
    if questions.is_empty() {
        questions.push("Why is the sky blue?".to_owned());
    }

    // Downloads the model the first time.
    let model = Model::builder(name).on_pull(|event| eprintln!("{event}")).open()?;
    let mut chat = model.chat().system("Answer in one sentence.").start()?;
    for question in questions {
        println!("> {question}");
        for part in chat.say(question)? {
            print!("{}", part?);
            let _ = std::io::stdout().flush();
        }
        println!();
    }
    Ok(())
}
