//! Prompt and response as plain text, for models and tasks without a chat template.

use super::{Encoded, TrainOn, shared};
use crate::tokenizer::{Specials, Tokenizer};

/// Encodes beginning of text if the model uses it, prompt, response and end of text. The last two are
/// targets.
///
/// Prompt and response are encoded together, as a model reads them. The response begins with the first token
/// that differs from the prompt encoded alone. Special tokens that are written out in the texts stay text.
pub(super) fn encode(
    tokenizer: &Tokenizer,
    prompt: &str,
    response: &str,
    train_on: TrainOn,
) -> Result<Encoded, String> {
    let eos = tokenizer
        .eos()
        .ok_or("the model has no end-of-text token, which must end raw text; give ids and loss_mask")?;
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
