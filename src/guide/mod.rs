//! How Parr works and why: one page per topic, for readers and contributors.

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("adding.md")]
pub mod adding {}

#[doc = include_str!("training.md")]
pub mod training {}

#[doc = include_str!("steering.md")]
pub mod steering {}

#[doc = include_str!("serve.md")]
pub mod serve {}

#[doc = include_str!("salmon.md")]
pub mod salmon {}

#[doc = include_str!("reading.md")]
pub mod reading {}

#[doc = include_str!("sentences.md")]
pub mod sentences {}

#[doc = include_str!("workers.md")]
pub mod workers {}

#[doc = include_str!("bindings.md")]
pub mod bindings {}

#[doc = include_str!("numerics.md")]
pub mod numerics {}

#[doc = include_str!("measurements.md")]
pub mod measurements {}
