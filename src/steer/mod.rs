//! Steers replies by written principles, with or without training the model.
//!
//! There are four methods. Each costs more than the one before it, and changes the model's replies more:
//!
//! 1. principles in the prompt: the model that answers reads them ([`Tell`]);
//! 2. best of n: the model generates `n` replies, and a reward model that reads the principles chooses one
//!    ([`Search::BestOf`]);
//! 3. guided decoding: the same choice block by block, so that a bad block is dropped before the reply is
//!    complete ([`Search::Guided`]);
//! 4. an adapter: the model answers with an adapter that was trained on that reward model's scores
//!    ([`Request::adapter`](crate::generate::Request::adapter)).
//!
//! Principles are text and need no preparation. An edited set steers the next reply ([`WatchedSet`]).
//!
//! | part | holds |
//! |---|---|
//! | [`Steering`], [`Tell`], [`Search`] | how replies are steered, and by which principles |
//! | [`SteeredModel`], [`Ask`] | a base that answers and a reward model that scores, on one copy of the weights |
//! | [`answer`](fn@answer), [`Replies`], [`Scores`] | the same with replies and scores from elsewhere, such as a share of a generator |
//! | [`Answer`], [`Candidate`] | the reply and the other candidates, with scores and seeds |
//! | [`compare`](compare::compare), [`ComparisonReport`](compare::ComparisonReport) | the methods side by side: effect, distance from the base, cost |
//! | [`WatchedSet`] | principles that are edited while they are used |

mod answer;
pub mod compare;
mod error;
mod guided;
mod model;
mod recover;
mod replies;
mod search;
mod steering;
mod watch;

pub use answer::{Answer, Candidate, Choice, Cost, SteerEvent};
pub use error::SteerError;
pub use model::{Ask, SteeredModel};
pub use replies::{Replies, SchedulerClient, Scores};
pub use search::answer;
pub use steering::{Search, Steering, Tell};
pub use watch::WatchedSet;
