//! Guided decoding: chooses the best of several blocks of tokens at each step.

use super::search::{Lists, Parts, best, of_ask, seeded};
use super::{Answer, Ask, Candidate, Choice, Cost, SteerError, SteerEvent, Steering};
use crate::generate::{CancelToken, Finish, Reply, Request, StopMatcher};
use crate::model::Model;
use crate::tokenizer::TokenId;

/// A reply that is not complete.
struct Growing {
    reply: Reply,
    finish: Option<Finish>,
    choices: Vec<Choice>,
    cost: Cost,
}

/// A reply with one more block, before the choice.
struct Longer {
    tokens: Vec<TokenId>,
    logprobs: Vec<f32>,
    sampling_logprobs: Vec<f32>,
    text: String,
    finish: Option<Finish>,
}

/// Answers every question with the best of `n` continuations of `block` tokens at each step. All questions
/// take their steps together.
pub(super) fn answer(
    parts: &mut Parts<'_, '_>,
    steering: &Steering,
    (n, block): (usize, usize),
    asks: &[Ask],
    cancel: &CancelToken,
    on_progress: &mut dyn FnMut(SteerEvent<'_>),
) -> Result<Vec<Answer>, SteerError> {
    let mut growing: Vec<Growing> = asks.iter().map(Growing::new).collect();
    loop {
        let places: Vec<usize> = (0..asks.len()).filter(|&ask| growing[ask].finish.is_none()).collect();
        if places.is_empty() {
            break;
        }
        let requests: Vec<Request> =
            places.iter().flat_map(|&ask| growing[ask].requests(&asks[ask], n, block)).collect();
        let drawn = parts.replies.generate(&requests, cancel, &mut |_| on_progress(SteerEvent::Drawn));
        let mut drawn = drawn.map_err(|error| of_ask(error, n))?.into_iter();
        if cancel.is_cancelled() {
            places.iter().for_each(|&ask| growing[ask].finish = Some(Finish::Cancelled));
            break;
        }
        let (model, context) = (parts.replies.model().clone(), parts.replies.context());
        let mut longer: Vec<Vec<Longer>> = Vec::with_capacity(places.len());
        let mut choices: Vec<Choice> = Vec::with_capacity(places.len());
        for &ask in &places {
            let one = &mut growing[ask];
            if one.choices.is_empty() {
                one.reply.reused_tokens = drawn.as_slice().first().map_or(0, |reply| reply.reused_tokens);
            }
            let grown: Vec<Longer> =
                drawn.by_ref().take(n).map(|block| one.longer(&asks[ask], &model, context, block)).collect();
            let candidates: Vec<Candidate> = grown
                .iter()
                .enumerate()
                .map(|(place, longer)| one.candidate(asks[ask].seed(place), longer))
                .collect();
            one.cost.generated_tokens += candidates.iter().map(|candidate| candidate.tokens).sum::<usize>();
            choices.push(Choice { candidates, chosen: 0 });
            longer.push(grown);
        }
        let lists = Lists { whole: true, alone: false };
        let scored = parts.judge(steering, lists, asks, &places, &mut choices, cancel, on_progress)?;
        for (((&ask, mut choice), mut longer), tokens) in places.iter().zip(choices).zip(longer).zip(scored) {
            let one = &mut growing[ask];
            one.cost.scored_tokens += tokens;
            if cancel.is_cancelled() {
                one.finish = Some(Finish::Cancelled);
                continue;
            }
            choice.chosen = best(&choice);
            let kept = longer.swap_remove(choice.chosen);
            // Text that no longer changes: a longer reply only adds to it.
            let shown = one.reply.text.len();
            on_progress(SteerEvent::Text { ask, text: &kept.text[shown..] });
            one.keep(kept, choice);
        }
    }
    if steering.scores && !cancel.is_cancelled() {
        let (places, mut last): (Vec<usize>, Vec<Choice>) = growing
            .iter_mut()
            .enumerate()
            .filter_map(|(ask, one)| one.choices.pop().map(|choice| (ask, choice)))
            .unzip();
        let lists = Lists { whole: false, alone: true };
        let scored = parts.judge(steering, lists, asks, &places, &mut last, cancel, on_progress)?;
        for ((ask, choice), tokens) in places.into_iter().zip(last).zip(scored) {
            growing[ask].choices.push(choice);
            growing[ask].cost.scored_tokens += tokens;
        }
    }
    Ok(growing.into_iter().map(Growing::answer).collect())
}

impl Growing {
    fn new(ask: &Ask) -> Growing {
        let reply = Reply {
            tokens: Vec::new(),
            logprobs: Vec::new(),
            sampling_logprobs: Vec::new(),
            top_logprobs: Vec::new(),
            text: String::new(),
            finish: Finish::Cancelled,
            prompt_tokens: ask.request.prompt.len(),
            reused_tokens: 0,
        };
        let finish = (ask.request.max_tokens == 0).then_some(Finish::Length);
        Growing { reply, finish, choices: Vec::new(), cost: Cost::default() }
    }

    /// Returns the next requests: `n` continuations of the same text, each with its own seed. Random draws
    /// depend on the position, so a seed gives the same tokens with or without interruption.
    fn requests(&self, ask: &Ask, n: usize, block: usize) -> Vec<Request> {
        let Request { max_tokens, .. } = ask.request;
        let one = Request {
            prompt: [&ask.request.prompt[..], &self.reply.tokens].concat(),
            max_tokens: block.min(max_tokens - self.reply.tokens.len()),
            // A stop text may begin in one block and end in the next, so the whole reply is searched for it.
            stop: Vec::new(),
            ..ask.request.clone()
        };
        (0..n).map(|place| seeded(&one, ask.seed(place))).collect()
    }

    /// Returns this reply with `block` appended. `context` is the maximum number of tokens.
    fn longer(&self, ask: &Ask, model: &Model, context: usize, block: Reply) -> Longer {
        let Request { prompt, stop, max_tokens, .. } = &ask.request;
        let stop_ids = ask.request.stop_ids.of(model);
        let tokenizer = model.tokenizer();
        let mut stream = tokenizer.map(|tokenizer| tokenizer.stream_after(prompt));
        let mut matcher = StopMatcher::new(stop);
        let mut text = String::new();
        let mut tokens = Vec::new();
        let mut finish = None;
        for &token in self.reply.tokens.iter().chain(&block.tokens) {
            tokens.push(token);
            if stop_ids.contains(&token) {
                finish = Some(ask.request.stop_ids.finish());
                break;
            }
            if let Some(stream) = &mut stream {
                text.push_str(&matcher.push(&stream.push(token)));
            }
            if let Some(stop) = matcher.matched() {
                finish = Some(Finish::Stop(stop.to_owned()));
                break;
            }
        }
        let finish = finish.or_else(|| match block.finish {
            Finish::Length if tokens.len() < *max_tokens => {
                (prompt.len() + tokens.len() >= context).then_some(Finish::ContextFull)
            }
            finish => Some(finish),
        });
        if finish.is_some() {
            if let Some(stream) = stream {
                text.push_str(&matcher.push(&stream.finish()));
            }
            text.push_str(&matcher.finish());
        }
        // As far as the tokens go.
        let joined =
            |known: &[f32], more: &[f32]| known.iter().chain(more).take(tokens.len()).copied().collect();
        let logprobs = joined(&self.reply.logprobs, &block.logprobs);
        let sampling_logprobs = joined(&self.reply.sampling_logprobs, &block.sampling_logprobs);
        Longer { tokens, logprobs, sampling_logprobs, text, finish }
    }

    fn candidate(&self, seed: u64, longer: &Longer) -> Candidate {
        Candidate {
            seed,
            text: longer.text.clone(),
            tokens: longer.tokens.len() - self.reply.tokens.len(),
            finish: longer.finish.clone(),
            score: None,
            by_principle: Vec::new(),
        }
    }

    fn keep(&mut self, kept: Longer, choice: Choice) {
        let Longer { tokens, logprobs, sampling_logprobs, text, finish } = kept;
        self.reply.tokens = tokens;
        self.reply.logprobs = logprobs;
        self.reply.sampling_logprobs = sampling_logprobs;
        self.reply.text = text;
        self.finish = finish;
        self.choices.push(choice);
    }

    fn answer(self) -> Answer {
        let Growing { mut reply, finish, choices, cost } = self;
        reply.finish = finish.unwrap_or(Finish::Cancelled);
        Answer { reply, choices, cost }
    }
}
