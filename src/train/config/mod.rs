//! The settings of a training run.

mod knob;

pub use super::data::{DataOptions, TrainOn};
pub use knob::{Auto, Share};
