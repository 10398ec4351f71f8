//! Batched generation: sessions, sampling, stopping.

mod stop;

pub use stop::StopMatcher;
