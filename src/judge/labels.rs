//! SALMON's judge: the model names the label of the better reply.

use super::chat::AdaptedModel;
use super::{Judge, JudgeError, Question};
use crate::generate::{CancelToken, Generator, GeneratorOptions};
use crate::ops::KvFormat;
use crate::preferences::Scores;
use crate::principles::Principle;
use crate::tokenizer::{ChatFormat, Message, Specials, TextError, TokenId, Tokenizer};

const SYSTEM: &str = "You compare two replies to the same request. You are given the request, reply (a), \
    reply (b) and one guideline. Only the guideline counts: say which of the two replies keeps to it better.";

/// Start of the assistant's turn. The next token is a label.
const START: &str = "I have read the request, both replies and the guideline. The reply that keeps to the \
    guideline better is (";

const LABELS: [&str; 2] = ["a", "b"];

/// The judge of SALMON (arXiv 2310.05910, section 3.2). The model reads a request with two replies, labelled
/// (a) and (b), a principle, and the start of an answer up to the label. The score is the difference of the
/// logits of both labels. Each pair is read in both orders.
///
/// The principle comes last, so the text before it is computed once for all principles of a question.
#[derive(Debug)]
pub struct LabelJudge<'a> {
    model: AdaptedModel<'a>,
    chat: &'a ChatFormat,
    generator: Generator,
    reply_tokens: usize,
    start: Vec<TokenId>,
    labels: [TokenId; 2],
}

impl<'a> LabelJudge<'a> {
    /// Creates a judge that reads `slots` inputs at the same time, each of up to `context` tokens. Of a reply
    /// it reads the first `reply_tokens`.
    ///
    /// # Errors
    ///
    /// * [`JudgeError::NoChat`] if the model has no chat template;
    /// * [`JudgeError::Labels`] if a label is not a single token after the opening parenthesis;
    /// * [`JudgeError::Generate`] if the device cannot hold it.
    pub fn new(
        model: AdaptedModel<'a>,
        slots: usize,
        context: usize,
        reply_tokens: usize,
    ) -> Result<LabelJudge<'a>, JudgeError> {
        let chat = model.chat()?;
        let (start, labels) = labels(chat.tokenizer(), START)?;
        // A verdict is a small difference, so keys and values are not rounded.
        let options = GeneratorOptions { slots, context, kv: KvFormat::F32, ..GeneratorOptions::default() };
        let generator = model.generator(options)?;
        Ok(LabelJudge { model, chat, generator, reply_tokens, start, labels })
    }

    /// Context in tokens that a judge needs for `prompt` under each of `principles`, for replies of up to
    /// `reply_tokens` tokens.
    ///
    /// # Errors
    ///
    /// As [`Judge::judge`].
    pub fn context<'b>(
        chat: &ChatFormat,
        prompt: &str,
        principles: impl IntoIterator<Item = &'b Principle>,
        reply_tokens: usize,
    ) -> Result<usize, JudgeError> {
        // Tokens where two texts meet may differ from those of each text alone: a few at each of four
        // borders.
        const BORDERS: usize = 16;
        let mut longest = 0;
        for principle in principles {
            longest = longest.max(encode(chat, prompt, ["", ""], principle)?.len());
        }
        let start = chat.tokenizer().encode(START, Specials::AsText)?;
        Ok(longest + start.len() + 2 * reply_tokens + BORDERS)
    }

    /// The part of a reply that the judge reads.
    fn cut(&self, reply: &str) -> Result<String, JudgeError> {
        let tokenizer = self.chat.tokenizer();
        let ids = tokenizer.encode(reply, Specials::AsText)?;
        if ids.len() <= self.reply_tokens {
            return Ok(reply.to_owned());
        }
        let text = tokenizer.decode(&ids[..self.reply_tokens], false);
        Ok(text.trim_end_matches('\u{FFFD}').to_owned())
    }
}

/// The tokens of `start`, and those of the labels after it.
fn labels(tokenizer: &Tokenizer, start: &str) -> Result<(Vec<TokenId>, [TokenId; 2]), JudgeError> {
    let ids = tokenizer.encode(start, Specials::AsText)?;
    let label = |label: &str| {
        let with = tokenizer.encode(&format!("{start}{label}"), Specials::AsText)?;
        match with.strip_prefix(ids.as_slice()) {
            Some(&[id]) => Ok(id),
            _ => {
                let last: Vec<String> =
                    with.iter().rev().take(3).rev().filter_map(|&id| tokenizer.token_text(id)).collect();
                let reason =
                    format!("its tokens for `({label}` end in {last:?}, and `{label}` is not a token there");
                Err(JudgeError::Labels { reason })
            }
        }
    };
    let found = [label(LABELS[0])?, label(LABELS[1])?];
    if found[0] == found[1] {
        return Err(JudgeError::Labels { reason: "both labels are the same token".to_owned() });
    }
    Ok((ids, found))
}

/// The tokens of a question, up to the start of the assistant's turn.
fn encode(
    chat: &ChatFormat,
    prompt: &str,
    replies: [&str; 2],
    principle: &Principle,
) -> Result<Vec<TokenId>, JudgeError> {
    let [a, b] = replies;
    let Principle { dimension, definition, .. } = principle;
    let question = format!(
        "Here are a request and two replies to it.\n\n# Request\n{prompt}\n\n# Reply (a)\n{a}\n\n# Reply (b)\n{b}\n\n\
         # Guideline: {dimension}\n{definition}\n\nWhich reply keeps to the guideline better, (a) or (b)?"
    );
    let messages = [Message::new("system", SYSTEM), Message::new("user", question)];
    chat.encode_chat(&messages, true).map_err(|source| match source {
        TextError::TemplateRefused { .. } => JudgeError::Template {
            what: "a system message, which holds the instructions of the judge",
            source,
        },
        source => JudgeError::Text(source),
    })
}

impl Judge for LabelJudge<'_> {
    fn name(&self) -> &'static str {
        "ab"
    }

    fn inputs_per_principle(&self) -> usize {
        2
    }

    fn judge(
        &mut self,
        questions: &[Question<'_>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Option<Scores>>>, JudgeError> {
        let mut inputs = Vec::new();
        for Question { prompt, replies: [first, second], principles } in questions {
            let (first, second) = (self.cut(first)?, self.cut(second)?);
            // First one order, then the other, so that inputs with the same start are next to each other.
            for replies in [[&first, &second], [&second, &first]] {
                for principle in principles {
                    let mut ids = encode(self.chat, prompt, replies.map(String::as_str), principle)?;
                    ids.extend_from_slice(&self.start);
                    inputs.push(ids);
                }
            }
        }
        let adapter = self.model.adapter_id();
        let logits = self.generator.next_logits(&inputs, &self.labels, adapter, cancel)?;
        let mut remaining = logits.iter().map(|logits| [f64::from(logits[0]), f64::from(logits[1])]);
        let of_question = |question: &Question<'_>| {
            let count = question.principles.len();
            let both_orders: Vec<[f64; 2]> = remaining.by_ref().take(2 * count).collect();
            let (first_first, second_first) = both_orders.split_at(count);
            let scores = first_first.iter().zip(second_first);
            scores.map(|(first, second)| Some(Scores::from_labels(*first, *second))).collect()
        };
        Ok(questions.iter().map(of_question).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Vocab;

    /// A vocabulary of single characters without `missing`.
    fn tokenizer(missing: Option<char>) -> Tokenizer {
        let letters = ('!'..='~').filter(|letter| Some(*letter) != missing);
        let tokens: Vec<String> = letters.map(String::from).collect();
        let vocab = Vocab {
            model: "gpt2".to_owned(),
            pre: "default".to_owned(),
            token_types: Some(vec![1; tokens.len()]),
            tokens,
            scores: None,
            merges: Some(Vec::new()),
            bos: None,
            eos: None,
            unk: None,
            add_bos: None,
            add_space_prefix: None,
        };
        Tokenizer::from_vocab(vocab).expect("a sound vocabulary")
    }

    #[test]
    fn labels_are_single_tokens_after_the_parenthesis() {
        let plain = tokenizer(None);
        let (start, [a, b]) = labels(&plain, "is(").expect("single characters");
        assert_eq!(
            (start.len(), a, b),
            (3, u32::from('a') - u32::from('!'), u32::from('b') - u32::from('!'))
        );
        for missing in ['a', 'b'] {
            let error = labels(&tokenizer(Some(missing)), "is(").expect_err("no token for a label");
            assert!(matches!(error, JudgeError::Labels { .. }));
            assert!(error.to_string().contains(&format!("({missing}")), "{error}");
        }
    }
}
