//! Sentences that are composed of a frame and a name.

/// Frames that ask for an attribute. They are as different as possible, because what a model learns of a frame it
/// does not learn of the others.
pub(super) const WANT: &[&str] = &[
    "Use {}.",
    "The reply should contain {}.",
    "I want to see {}.",
    "Make sure there is room for {}.",
    "A good reply has {}.",
    "Please include {}.",
    "Add {}.",
    "It must have {}.",
    "Write with {}.",
    "There should be {} in the answer.",
    "I like replies with {}.",
    "Give me {}.",
    "Always use {}.",
    "The answer needs {}.",
    "Replies with {} are better.",
    "Prefer {}.",
    "Can you work in {}?",
    "More points for {}.",
    "An answer without {} is no good to me.",
    "Do not forget {}.",
    "Never leave out {}.",
    "What matters most to me: {}.",
    "I expect {}.",
    "Reward {}.",
];

/// Frames that forbid an attribute.
pub(super) const AVOID: &[&str] = &[
    "Do not use {}.",
    "The reply should not contain {}.",
    "I do not want to see {}.",
    "There is no room for {}.",
    "A good reply has nothing like {}.",
    "Please leave out {}.",
    "No {}.",
    "It must not have {}.",
    "Write without {}.",
    "There should not be {} in the answer.",
    "I dislike replies with {}.",
    "Spare me {}.",
    "Never use {}.",
    "The answer must be free of {}.",
    "Replies without {} are better.",
    "Avoid {}.",
    "Can you do without {}?",
    "Points off for {}.",
    "An answer with {} is no good to me.",
    "Forget about {}.",
    "Always leave out {}.",
    "What I cannot stand: {}.",
    "I expect an answer without {}.",
    "Punish {}.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_one_place_and_comes_once() {
        let mut all: Vec<&str> = WANT.iter().chain(AVOID).copied().collect();
        assert!(all.iter().all(|frame| frame.matches("{}").count() == 1));
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n);
    }
}
