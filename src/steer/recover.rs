//! Answers that survive the loss of the GPU.

use std::path::PathBuf;

use super::{Answer, Ask, SteerError, SteerEvent, SteeredModel, Steering};
use crate::generate::{CancelToken, GeneratorOptions};
use crate::model::Model;
use crate::model::lora::LoraWeights;
use crate::reward::RewardOptions;

/// What a model was opened with, for opening it again.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub model: Model,
    pub policy: Option<LoraWeights>,
    pub reward: Option<PathBuf>,
    pub generator: GeneratorOptions,
    pub reading: RewardOptions,
}

impl SteeredModel {
    /// Whether it was lost with its device, and can be loaded again.
    pub(crate) fn is_lost(&self) -> bool {
        self.generator.is_lost()
    }

    /// Answers as [`SteeredModel::answer`]. If the GPU is lost meanwhile, opens it again, loads the model
    /// again, replaces `self` by what `rebuild` makes, and answers again, once.
    ///
    /// Text that was passed on is not passed on twice: the same seed gives the same text. If it does not,
    /// because another kernel family is used now, the error of the first attempt is returned.
    pub(crate) fn answer_rebuilding(
        &mut self,
        steering: &Steering,
        asks: &[Ask],
        cancel: &CancelToken,
        on_progress: &mut dyn FnMut(SteerEvent<'_>),
        rebuild: impl FnOnce() -> Option<SteeredModel>,
    ) -> Result<Vec<Answer>, SteerError> {
        // Requests may name an adapter by its place before a loss.
        let mut asks = asks.to_vec();
        for ask in &mut asks {
            if ask.request.adapter.is_some_and(|id| self.former.contains(&id)) {
                ask.request.adapter = self.policy();
            }
        }
        let mut told = vec![String::new(); asks.len()];
        let answers = self.answer_once(steering, &asks, cancel, &mut |event| {
            if let SteerEvent::Text { ask, text } = &event {
                told[*ask].push_str(text);
            }
            on_progress(event);
        });
        if answers.is_ok() || !self.is_lost() || self.model().reload().is_err() {
            return answers;
        }
        let Some(rebuilt) = rebuild() else { return answers };
        let policy = self.policy();
        let former = self.former.iter().copied().chain(policy).collect();
        *self = SteeredModel { former, ..rebuilt };
        for ask in asks.iter_mut().filter(|ask| policy.is_some() && ask.request.adapter == policy) {
            ask.request.adapter = self.policy();
        }
        let mut known: Vec<&str> = told.iter().map(String::as_str).collect();
        let mut same = true;
        let again = self.answer_once(steering, &asks, cancel, &mut |event| match event {
            SteerEvent::Text { ask, text } => {
                let (rest, agrees) = untold(&mut known[ask], text);
                same &= agrees;
                if same && !rest.is_empty() {
                    on_progress(SteerEvent::Text { ask, text: rest });
                }
            }
            event => on_progress(event),
        });
        // Another kernel family may give another text.
        same &= cancel.is_cancelled() || known.iter().all(|rest| rest.is_empty());
        if same { again } else { answers }
    }
}

/// The part of `text` that goes beyond `known`, and whether the rest agrees with it. `known` loses that rest.
fn untold<'a>(known: &mut &str, text: &'a str) -> (&'a str, bool) {
    let length = text.len().min(known.len());
    let (Some((told, rest)), Some((expected, later))) =
        (text.split_at_checked(length), known.split_at_checked(length))
    else {
        return ("", false);
    };
    *known = later;
    (rest, told == expected)
}

#[cfg(test)]
mod tests {
    use super::untold;

    #[test]
    fn text_is_not_told_twice() {
        let mut known = "Yes, it";
        assert_eq!(untold(&mut known, "Yes"), ("", true));
        assert_eq!(untold(&mut known, ", it is"), (" is", true));
        assert_eq!(untold(&mut known, " so."), (" so.", true));
        let mut known = "Yes";
        assert!(!untold(&mut known, "No.").1);
        let mut known = "né";
        assert_eq!(untold(&mut known, "nö"), ("", false), "the first byte of both letters is the same");
        let mut known = "né";
        assert!(!untold(&mut known, "n€").1);
    }
}
