//! Batched generation: sessions, sampling, stopping.
