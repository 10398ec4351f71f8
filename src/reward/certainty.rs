//! How sure a reward model is about a sentence, and which sentences it hardly reads.

use std::path::Path;

use super::{Form, RewardCard, RewardError, RewardModel, ScoreRequest};
use crate::adapter::Adapter;
use crate::generate::CancelToken;

/// Requests with replies of many kinds. A model that reads a sentence finds that some of them keep it and others do
/// not; for a sentence that it does not read, its log-odds stay near 0 for all of them.
const PROBES: [(&str, &str); 12] = [
    ("How do I clean a window?", "Mix water with a little vinegar, wipe, and dry with a soft cloth."),
    ("Where should we eat tonight?", "Great question!!! Let's try the new pizza place 🍕 You will love it!"),
    ("Is it going to rain?", "I am not sure. Perhaps. I would take an umbrella, just in case."),
    ("How do plants grow?", "- Light\n- Water\n- Soil\n\nEach plant needs all three of them."),
    ("Can I take two of these pills?", "I'm sorry, but I can't advise on that. Please ask your doctor."),
    ("Who won the match?", "The home team won 3 to 1. Would you like to know how it happened?"),
    ("Tell me a story.", "Once upon a time, an old captain sailed home. The end."),
    (
        "What is a loan?",
        "Dear Sir or Madam, a loan is a sum that must be returned with interest. Kind regards.",
    ),
    ("How do I say hello?", "Bonjour ! Comment ça va ?"),
    (
        "Why is my code slow?",
        "Run `time ./main` first. However, according to a 2019 study, 80% of it is waiting.",
    ),
    (
        "I feel sad today.",
        "Oh, my friend, that must be hard. I am here, and we will get through this together.",
    ),
    ("Should I buy it?", "NO. It's rubbish, and you know it."),
];

impl RewardModel {
    /// How sure a pointwise model is about each of `principles`: the mean distance of its log-odds from 0, over replies
    /// of many kinds. Near 0 for a sentence that it does not read.
    ///
    /// On sentences of attributes that it was not trained on, this predicts better which ones a model reads than the
    /// distance of hidden states from those of the training's sentences ([the guide](crate::guide::reading)).
    ///
    /// # Errors
    ///
    /// * [`RewardError::Nothing`] for a pairwise model, whose scores have no sign;
    /// * those of [`RewardModel::score`].
    pub fn certainty(&mut self, principles: &[&str], cancel: &CancelToken) -> Result<Vec<f32>, RewardError> {
        if self.reward_card().form != Form::Pointwise {
            let reason = "only a pointwise reward model has log-odds for a single reply".to_owned();
            return Err(RewardError::Nothing { reason });
        }
        if principles.is_empty() {
            return Ok(Vec::new());
        }
        let question = |(prompt, reply): (_, _)| ScoreRequest::new(prompt, reply, principles.to_vec());
        let scores = self.score(&PROBES.map(question), cancel, &mut |_| {})?;
        let sum = |at: usize| scores.iter().map(|score| score.parts[at].abs()).sum::<f32>();
        Ok((0..principles.len()).map(|at| sum(at) / PROBES.len() as f32).collect())
    }

    /// Those of `principles` that the model hardly reads: its certainty is below the bound in its card
    /// ([`RewardCard::unclear_below`]). Empty if the card has no bound.
    ///
    /// # Errors
    ///
    /// As [`RewardModel::score`].
    pub fn unclear<'a>(
        &mut self,
        principles: &[&'a str],
        cancel: &CancelToken,
    ) -> Result<Vec<&'a str>, RewardError> {
        let Some(bound) = self.reward_card().unclear_below else { return Ok(Vec::new()) };
        let certainty = self.certainty(principles, cancel)?;
        let unclear = principles.iter().zip(certainty).filter(|(_, certainty)| *certainty < bound);
        Ok(unclear.map(|(principle, _)| *principle).collect())
    }
}

impl RewardCard {
    /// Writes a bound of the certainty ([`RewardCard::unclear_below`]) into the card of the reward model in `folder`.
    /// `None` removes it.
    ///
    /// # Errors
    ///
    /// [`RewardError::AdapterFile`] if there is no PEFT directory, or its card cannot be read or written.
    pub fn set_unclear_below(folder: &Path, bound: Option<f32>) -> Result<(), RewardError> {
        let mut card = Adapter::inspect(folder)?.card;
        let mut reward = RewardCard::read(&card, folder)?;
        reward.unclear_below = bound;
        reward.write(&mut card);
        Ok(Adapter::write_card(folder, &card)?)
    }
}
