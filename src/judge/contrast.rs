//! A judge that compares how likely a reply is under a principle and under its negative.

use super::chat::{AdaptedModel, encode};
use super::{Judge, JudgeError, Question, mean_logprob};
use crate::generate::{CancelToken, Continuation, Generator, GeneratorOptions};
use crate::ops::KvFormat;
use crate::preferences::Scores;
use crate::principles::Principle;
use crate::tokenizer::{ChatFormat, Specials, TokenId};

/// Scores each reply `y` to `x` with `(log p(y | x, principle) - log p(y | x, negative)) / tokens of y`,
/// where the system message holds the principle or its negative. The score of a pair is the difference of
/// both.
///
/// The model only has to continue a text, which even small models can do. It reads one reply at a time, so
/// the order of the replies has no effect. Related: context distillation, and RLCD (arXiv 2307.12950).
#[derive(Debug)]
pub struct ContrastJudge<'a> {
    model: AdaptedModel<'a>,
    chat: &'a ChatFormat,
    generator: Generator,
    reply_tokens: usize,
}

impl<'a> ContrastJudge<'a> {
    /// Creates a judge that reads `slots` inputs at the same time, each of up to `context` tokens. Of a reply
    /// it reads the first `reply_tokens`.
    ///
    /// # Errors
    ///
    /// * [`JudgeError::NoChat`] if the model has no chat template;
    /// * [`JudgeError::Generate`] if the device cannot hold it.
    pub fn new(
        model: AdaptedModel<'a>,
        slots: usize,
        context: usize,
        reply_tokens: usize,
    ) -> Result<ContrastJudge<'a>, JudgeError> {
        // A verdict is a small difference of large sums, so keys and values are not rounded.
        let options = GeneratorOptions { slots, context, kv: KvFormat::F32, ..GeneratorOptions::default() };
        Ok(ContrastJudge { model, chat: model.chat()?, generator: model.generator(options)?, reply_tokens })
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
        let mut longest = 0;
        for principle in principles {
            for text in texts(principle)? {
                longest = longest.max(encode(chat, Some(text), prompt)?.len());
            }
        }
        Ok(longest + reply_tokens)
    }

    /// The inputs of one question: for each principle, both replies under it, then both under its negative.
    fn inputs(&self, question: &Question<'_>) -> Result<Vec<Continuation>, JudgeError> {
        let replies: Vec<Vec<TokenId>> = question
            .replies
            .iter()
            .map(|reply| {
                let mut ids = self.chat.tokenizer().encode(reply, Specials::AsText)?;
                ids.truncate(self.reply_tokens);
                Ok(ids)
            })
            .collect::<Result<_, JudgeError>>()?;
        let mut inputs = Vec::new();
        for principle in &question.principles {
            for text in texts(principle)? {
                let given = encode(self.chat, Some(text), question.prompt)?;
                inputs.extend(replies.iter().map(|reply| Continuation {
                    ids: [given.as_slice(), reply].concat(),
                    from: given.len(),
                }));
            }
        }
        Ok(inputs)
    }
}

/// The principle and its negative.
fn texts(principle: &Principle) -> Result<[&str; 2], JudgeError> {
    let negative = principle.negative.as_deref().ok_or_else(|| JudgeError::Principle {
        principle: principle.id.clone(),
        reason: "has no negative, which the judge `contrast` needs".to_owned(),
    })?;
    Ok([&principle.definition, negative])
}

impl Judge for ContrastJudge<'_> {
    fn name(&self) -> &'static str {
        "contrast"
    }

    fn inputs_per_principle(&self) -> usize {
        4
    }

    fn judge(
        &mut self,
        questions: &[Question<'_>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Option<Scores>>>, JudgeError> {
        let mut inputs = Vec::new();
        for question in questions {
            inputs.extend(self.inputs(question)?);
        }
        let adapter = self.model.adapter_id();
        let stats = self.generator.continuation_stats(&inputs, adapter, cancel)?;
        let mut means = stats.iter().map(|stats| mean_logprob(stats));
        let mut scores = |_: &&Principle| {
            let mut next = || means.next().expect("four inputs for each principle");
            let [first_with, second_with, first_against, second_against] = [(); 4].map(|()| next());
            Some(Scores::without_order((first_with - first_against) - (second_with - second_against)))
        };
        Ok(questions.iter().map(|question| question.principles.iter().map(&mut scores).collect()).collect())
    }
}
