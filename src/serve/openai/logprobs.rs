//! Log-probabilities of tokens, as chats and as completions report them.

use serde_json::{Map, Value, json};

use crate::generate::Reply;
use crate::tokenizer::{TokenId, Tokenizer};

/// Maximum number of alternatives that are reported with a token.
pub(crate) const MOST_TOP: usize = 20;

/// A token with its log-probability, and the most probable tokens in its place.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    pub token: TokenId,
    /// `None` for the first token of a prompt.
    pub logprob: Option<f32>,
    pub top: Vec<(TokenId, f32)>,
}

/// The tokens of a reply, without the one that ended it.
pub(crate) fn of_reply(reply: &Reply, stops: &[TokenId]) -> Vec<Scored> {
    let mut scored: Vec<Scored> = Vec::with_capacity(reply.tokens.len());
    for (place, (&token, &logprob)) in reply.tokens.iter().zip(&reply.logprobs).enumerate() {
        let top = reply.top_logprobs.get(place).cloned().unwrap_or_default();
        scored.push(Scored { token, logprob: Some(logprob), top });
    }
    scored.pop_if(|last| stops.contains(&last.token));
    scored
}

/// An entry of `logprobs.content` in a chat.
pub(crate) fn of_chat(tokenizer: &Tokenizer, scored: &Scored) -> Value {
    let one = |token: TokenId, logprob: f32| {
        json!({
            "token": tokenizer.token_shown(token),
            "logprob": logprob,
            "bytes": tokenizer.token_bytes(token),
        })
    };
    let mut entry = one(scored.token, scored.logprob.unwrap_or_default());
    entry["top_logprobs"] = scored.top.iter().map(|&(token, logprob)| one(token, logprob)).collect();
    entry
}

/// The name of a token in completions: its text, or its bytes if they are not characters.
pub(crate) fn shown(tokenizer: Option<&Tokenizer>, token: TokenId) -> String {
    let Some(tokenizer) = tokenizer else { return format!("token:{token}") };
    match std::str::from_utf8(tokenizer.token_bytes(token)) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let bytes: String =
                tokenizer.token_bytes(token).iter().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("bytes:{bytes}")
        }
    }
}

/// `logprobs` of a completion: four lists with one entry for each token. `offset` is where the first token begins, in
/// characters, and `top` the number of alternatives.
pub(crate) fn of_completion(
    tokenizer: Option<&Tokenizer>,
    scored: &[Scored],
    top: usize,
    mut offset: usize,
) -> Value {
    let (mut tokens, mut logprobs, mut alternatives, mut offsets) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut stream = tokenizer.map(Tokenizer::stream);
    for one in scored {
        tokens.push(shown(tokenizer, one.token));
        logprobs.push(one.logprob);
        alternatives.push(one.logprob.filter(|_| top > 0).map(|logprob| {
            let mut map = Map::new();
            for &(token, logprob) in one.top.iter().take(top) {
                map.entry(shown(tokenizer, token)).or_insert_with(|| logprob.into());
            }
            // The token itself is always there.
            map.entry(shown(tokenizer, one.token)).or_insert_with(|| logprob.into());
            Value::Object(map)
        }));
        offsets.push(offset);
        offset += stream.as_mut().map_or(0, |stream| stream.push(one.token).chars().count());
    }
    json!({
        "tokens": tokens,
        "token_logprobs": logprobs,
        "top_logprobs": if top > 0 { json!(alternatives) } else { Value::Null },
        "text_offset": offsets,
    })
}
