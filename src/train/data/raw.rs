//! Prompt and response as plain text, for models and tasks without a chat template.

use super::{Encoded, TrainOn, shared};
use crate::tokenizer::{Specials, Tokenizer};

/// Beginning of text if the model wants one, prompt, response, end of text; the last two are learned from.
///
/// The two texts are encoded together, as a model reads them, and the response begins with the first token
/// that it changes. Special tokens written out in either stay text.
pub(super) fn encode(
    tokenizer: &Tokenizer,
    prompt: &str,
    response: &str,
    train_on: TrainOn,
) -> Result<Encoded, String> {
    let eos = tokenizer.eos().ok_or(
        "the model names no end-of-text token, which raw text is closed with; give ids and loss_mask",
    )?;
    let text = |text: &str| tokenizer.encode(text, Specials::AsText).map_err(|error| error.to_string());
    let both = text(&[prompt, response].concat())?;
    let start = shared(&text(prompt)?, &both);
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
    let first = match train_on {
        TrainOn::Assistant | TrainOn::LastAssistant => usize::from(bos.is_some()) + start,
        TrainOn::All => 0,
    };
    let ids: Vec<_> = bos.into_iter().chain(both).chain([eos]).collect();
    let loss_mask = (0..ids.len()).map(|at| at >= first).collect();
    Ok(Encoded { ids, loss_mask, unclosed_turns: 0 })
}
