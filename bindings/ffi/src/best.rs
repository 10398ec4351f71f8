//! The best of several replies.

use std::sync::Arc;

use crate::ParrError;
use crate::call::{CancelToken, start};
use crate::callback::Told;
use crate::reply::{FinishReason, Reply, ReplyOptions};
use crate::reward::{RewardModel, Score};
use crate::session::{ChatSession, generate, generator};

/// A generated reply and its score.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Candidate {
    /// The reply.
    pub reply: Reply,
    /// The reward model's score.
    pub score: Score,
}

/// The reply with the highest score among several.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct BestReply {
    /// The reply that was added to the conversation.
    pub reply: Reply,
    /// Index of the chosen reply among the candidates.
    pub chosen: u32,
    /// All candidates, in the order of their seeds.
    pub candidates: Vec<Candidate>,
}

#[uniffi::export]
impl ChatSession {
    /// Sends `text` and generates `count` replies with consecutive seeds, starting at the seed of
    /// `options`. Scores the replies under `principles` (definitions, as text), and adds the best to the
    /// conversation.
    ///
    /// # Errors
    ///
    /// The errors of [`ChatSession::reply`] and [`RewardModel::score`], [`ParrError::Argument`] for a count
    /// of 0, and [`ParrError::Cancelled`] after a cancel. After an error the conversation is unchanged.
    #[uniffi::method(default(options = None, cancel = None))]
    pub async fn best_of(
        self: Arc<Self>,
        text: String,
        count: u32,
        judge: Arc<RewardModel>,
        principles: Vec<String>,
        options: Option<ReplyOptions>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<BestReply, ParrError> {
        let options = options.unwrap_or_default();
        start(cancel.as_deref(), move |token| {
            if count == 0 {
                return Err(ParrError::Argument("the best of 0 replies was asked for".to_owned()));
            }
            let loaded = self.model.loaded()?;
            let (chat, before) = (loaded.chat()?, self.talk());
            let placed = before.adapter.as_ref().map(|adapter| adapter.place(&loaded)).transpose()?;
            let (bank, adapter) = placed.unzip();
            let mut generator = generator(&self.model, &loaded, count as usize, self.context, bank.as_ref())?;
            let asked = before.ask(&text, chat, generator.context(), options.max_tokens as usize)?;
            let request = |offset| options.request(asked.prompt.clone(), chat, adapter, offset);
            let requests: Vec<_> = (0..u64::from(count)).map(request).collect();
            let replies = generate(&mut generator, &requests, None, token, &Told::default())?;
            drop(generator);
            let replies: Vec<Reply> = replies.iter().map(|reply| Reply::new(reply, asked.dropped)).collect();
            if replies.iter().any(|reply| reply.finish == FinishReason::Cancelled) {
                return Err(ParrError::Cancelled("cancelled before all replies were there".to_owned()));
            }
            let texts: Vec<&str> = replies.iter().map(|reply| reply.text.as_str()).collect();
            let scores = judge.judge(&text, &texts, &principles, token)?;
            let best = |best: usize, at: usize| if scores[at].value > scores[best].value { at } else { best };
            let chosen = (0..scores.len()).fold(0, best);
            let candidates: Vec<Candidate> =
                replies.into_iter().zip(&scores).map(|(reply, &score)| Candidate { reply, score }).collect();
            let reply = candidates[chosen].reply.clone();
            self.keep(&before, asked.conversation, &reply.text);
            Ok(BestReply { reply, chosen: chosen as u32, candidates })
        })
        .await
    }
}
