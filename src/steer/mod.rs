//! Replies steered by written principles: while the model answers, without training it, or beside training.
//!
//! Four methods, each above the one before in what it costs and in how far it moves a model:
//!
//! 1. principles in the prompt: the model that answers is told them ([`Tell`]);
//! 2. best of n: so many replies are drawn, and a reward model that reads the principles chooses one
//!    ([`Search::BestOf`]);
//! 3. guided decoding: the same block by block, so that a bad turn is left before the reply is whole
//!    ([`Search::Guided`]);
//! 4. an adapter that was trained to please that reward model answers
//!    ([`Request::adapter`](crate::generate::Request::adapter)).
//!
//! Principles are text, and nothing is prepared for them: a set that was edited a moment ago steers the next
//! reply ([`WatchedSet`]).
//!
//! | part | holds |
//! |---|---|
//! | [`Steering`], [`Tell`], [`Search`] | how replies are steered, and by which principles |
//! | [`SteeredModel`], [`Ask`] | a base that answers and a reward model that reads, one copy of the weights |
//! | [`Answer`], [`Candidate`] | what was chosen, what else there was, with scores and seeds |
//! | [`compare`](compare::compare), [`ComparisonReport`](compare::ComparisonReport) | the methods side by side: effect, distance from the base, cost |
//! | [`WatchedSet`] | principles that are edited while they are used |

mod answer;
pub mod compare;
mod error;
mod guided;
mod model;
mod steering;
mod watch;

pub use answer::{Answer, Candidate, Choice, Cost, SteerEvent};
pub use error::SteerError;
pub use model::{Ask, SteeredModel};
pub use steering::{Search, Steering, Tell};
pub use watch::WatchedSet;
