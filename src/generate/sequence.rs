//! One reply in progress: its tokens, its text, its end.

use super::request::{Finish, Reply, Request, TokenEvent};
use super::stop::StopMatcher;
use crate::model::Model;
use crate::model::lora::AdapterId;
use crate::ops::{Drawn, SampleRow};
use crate::tokenizer::{DecodeStream, TokenId};

/// A request that runs in a slot.
pub(super) struct Sequence<'a> {
    pub request: usize,
    pub slot: usize,
    asked: &'a Request,
    context: usize,
    stream: Option<DecodeStream<'a>>,
    stop: StopMatcher,
    stop_ids: Vec<TokenId>,
    tokens: Vec<TokenId>,
    logprobs: Vec<f32>,
    sampling_logprobs: Vec<f32>,
    text: String,
    reused: usize,
    finish: Option<Finish>,
}

impl<'a> Sequence<'a> {
    pub fn new(
        request: usize,
        slot: usize,
        asked: &'a Request,
        context: usize,
        reused: usize,
        model: Option<&'a Model>,
    ) -> Self {
        Sequence {
            request,
            slot,
            asked,
            context,
            stream: model.and_then(Model::tokenizer).map(|tokenizer| tokenizer.stream_after(&asked.prompt)),
            stop: StopMatcher::new(&asked.stop),
            stop_ids: model.map(|model| asked.stop_ids.of(model)).unwrap_or_default(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            sampling_logprobs: Vec::new(),
            text: String::new(),
            reused,
            finish: (asked.max_tokens == 0).then_some(Finish::Length),
        }
    }

    /// Position of the next token to be drawn.
    pub fn position(&self) -> usize {
        self.asked.prompt.len() + self.tokens.len()
    }

    /// The next input token.
    pub fn last_token(&self) -> TokenId {
        let drawn = self.tokens.last().or(self.asked.prompt.last());
        *drawn.expect("a sequence starts from a prompt of at least one token")
    }

    /// The tokens computed so far: prompt and reply.
    pub fn input(&self) -> Vec<TokenId> {
        self.asked.prompt.iter().chain(&self.tokens).copied().collect()
    }

    /// The adapter in use.
    pub fn adapter(&self) -> Option<AdapterId> {
        self.asked.adapter
    }

    pub fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Settings and state of the next draws, for the device.
    pub fn sample_row(&self, window: usize) -> SampleRow {
        let sampling = &self.asked.sampling;
        SampleRow {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repetition_penalty: sampling.repetition_penalty,
            top_k: sampling.top_k,
            position: self.position() as u32,
            seed_low: sampling.seed as u32,
            seed_high: (sampling.seed >> 32) as u32,
            recent_count: self.recent(window).len() as u32,
        }
    }

    /// The last tokens, including the prompt, as the initial ring of recent tokens.
    pub fn recent(&self, window: usize) -> Vec<TokenId> {
        let all = self.asked.prompt.iter().chain(&self.tokens);
        all.skip(self.position().saturating_sub(window)).copied().collect()
    }

    /// Appends a drawn token; `None` once the sequence has ended.
    pub fn push(&mut self, drawn: &Drawn) -> Option<TokenEvent> {
        if self.is_finished() {
            return None;
        }
        self.tokens.push(drawn.token);
        self.logprobs.push(drawn.logprob);
        self.sampling_logprobs.push(drawn.sampling_logprob);
        let mut text = String::new();
        if self.stop_ids.contains(&drawn.token) {
            self.finish = Some(self.asked.stop_ids.finish());
        } else if let Some(stream) = &mut self.stream {
            text = self.stop.push(&stream.push(drawn.token));
            if let Some(stop) = self.stop.matched() {
                self.finish = Some(Finish::Stop(stop.to_owned()));
            }
        }
        if self.finish.is_none() && self.tokens.len() >= self.asked.max_tokens {
            self.finish = Some(Finish::Length);
        }
        if self.finish.is_none() && self.position() >= self.context {
            self.finish = Some(Finish::ContextFull);
        }
        if self.is_finished() {
            text.push_str(&self.flush());
        }
        self.text.push_str(&text);
        Some(TokenEvent { request: self.request, token: drawn.token, logprob: drawn.logprob, text })
    }

    /// The text that was held back, once the sequence has ended.
    fn flush(&mut self) -> String {
        let mut rest = String::new();
        if let Some(stream) = self.stream.take() {
            rest.push_str(&self.stop.push(&stream.finish()));
        }
        rest.push_str(&self.stop.finish());
        rest
    }

    pub fn cancel(&mut self) {
        if self.finish.is_none() {
            self.finish = Some(Finish::Cancelled);
            let rest = self.flush();
            self.text.push_str(&rest);
        }
    }

    /// The reply of a sequence that has ended.
    pub fn take_reply(&mut self) -> Reply {
        Reply {
            tokens: std::mem::take(&mut self.tokens),
            logprobs: std::mem::take(&mut self.logprobs),
            sampling_logprobs: std::mem::take(&mut self.sampling_logprobs),
            text: std::mem::take(&mut self.text),
            finish: self.finish.take().unwrap_or(Finish::Cancelled),
            prompt_tokens: self.asked.prompt.len(),
            reused_tokens: self.reused,
        }
    }
}
