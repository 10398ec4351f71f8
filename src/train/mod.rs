//! What a model is taught with: rows of data, a schedule, an objective, metrics, states to resume from.
//!
//! Everything here runs on the CPU and is a pure function of its inputs, files aside: the same settings,
//! data and seed give the same run, and a run that was interrupted goes on as if it had not been.
//!
//! | part | holds |
//! |---|---|
//! | [`objective`] | losses over log-probabilities, entropies and values, with their gradients |

pub mod objective;

pub use objective::{Evaluated, Objective, TokenStats};
