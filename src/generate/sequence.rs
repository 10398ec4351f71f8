//! One reply in progress: its tokens, its text, its end.

use super::error::GenerateError;
use super::logits::LogitState;
use super::request::{Finish, Reply, Request, TokenEvent};
use super::running::{Ticket, Waiting};
use super::stop::StopMatcher;
use crate::model::Model;
use crate::model::lora::AdapterId;
use crate::ops::{Drawn, SampleRow};
use crate::tokenizer::{DecodeState, TokenId};

/// How far a sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has a slot. Its prefix may be copied from another slot, now or after an earlier sequence computed it.
    Admitted,
    /// Its prompt is computed.
    Prefill,
    /// Tokens are drawn.
    Decode,
}

/// A request that runs in a slot.
#[derive(Debug)]
pub(super) struct Sequence {
    pub ticket: Ticket,
    /// Index of the request for its caller.
    pub index: usize,
    pub slot: usize,
    pub stage: Stage,
    asked: Request,
    context: usize,
    /// `None` if the request changes and reads no logits.
    logits: Option<LogitState>,
    stream: Option<DecodeState>,
    stop: StopMatcher,
    stop_ids: Vec<TokenId>,
    tokens: Vec<TokenId>,
    logprobs: Vec<f32>,
    sampling_logprobs: Vec<f32>,
    top_logprobs: Vec<Vec<(TokenId, f32)>>,
    text: String,
    /// Number of tokens of the prompt that were in the cache.
    pub reused: usize,
    finish: Option<Finish>,
}

impl Sequence {
    pub fn new(waiting: Waiting, slot: usize, context: usize, model: &Model) -> Self {
        let Waiting { ticket, index, request: asked, .. } = waiting;
        let tokenizer = model.tokenizer();
        Sequence {
            ticket,
            index,
            slot,
            stage: Stage::Admitted,
            context,
            logits: LogitState::new(&asked.logits),
            stream: tokenizer.map(|tokenizer| DecodeState::after(tokenizer, &asked.prompt)),
            stop: StopMatcher::new(&asked.stop),
            stop_ids: asked.stop_ids.of(model),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            sampling_logprobs: Vec::new(),
            top_logprobs: Vec::new(),
            text: String::new(),
            reused: 0,
            finish: (asked.max_tokens == 0).then_some(Finish::Length),
            asked,
        }
    }

    /// The prompt.
    pub fn prompt(&self) -> &[TokenId] {
        &self.asked.prompt
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

    pub fn is_cancelled(&self) -> bool {
        self.finish == Some(Finish::Cancelled)
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

    /// Whether a draw needs the logits on the CPU.
    pub fn needs_logits(&self) -> bool {
        self.logits.is_some() && !self.is_finished()
    }

    /// Takes the next row of logits, and returns the row to draw from, or `None` if it is the same.
    pub fn change(&mut self, row: Vec<f32>) -> Result<Option<Vec<f32>>, GenerateError> {
        let Some(logits) = self.logits.as_mut() else { return Ok(None) };
        logits.change(row).map_err(|reason| self.constraint_fault(reason))
    }

    fn constraint_fault(&self, reason: String) -> GenerateError {
        GenerateError::Constraint { request: self.index, tokens: self.tokens.len(), reason }
    }

    /// Appends a drawn token. `None` once the sequence has ended.
    pub fn push(&mut self, drawn: &Drawn, model: &Model) -> Result<Option<TokenEvent>, GenerateError> {
        if self.is_finished() {
            return Ok(None);
        }
        let mut drawn = *drawn;
        let mut top = Vec::new();
        if let Some(logits) = &mut self.logits {
            (drawn.logprob, top) =
                logits.accept(drawn.token).map_err(|reason| self.constraint_fault(reason))?;
            if self.asked.logits.top_logprobs > 0 {
                self.top_logprobs.push(top.clone());
            }
        }
        self.tokens.push(drawn.token);
        self.logprobs.push(drawn.logprob);
        self.sampling_logprobs.push(drawn.sampling_logprob);
        let mut text = String::new();
        if self.stop_ids.contains(&drawn.token) {
            self.finish = Some(self.asked.stop_ids.finish());
        } else if let (Some(stream), Some(tokenizer)) = (&mut self.stream, model.tokenizer()) {
            text = self.stop.push(&stream.push(tokenizer, drawn.token));
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
        let (request, token, logprob) = (self.index, drawn.token, drawn.logprob);
        Ok(Some(TokenEvent { request, token, logprob, top, text }))
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
            top_logprobs: std::mem::take(&mut self.top_logprobs),
            text: std::mem::take(&mut self.text),
            finish: self.finish.take().unwrap_or(Finish::Cancelled),
            prompt_tokens: self.asked.prompt.len(),
            reused_tokens: self.reused,
        }
    }
}
