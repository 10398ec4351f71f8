//! Architectures, weights on the device, and the forward pass.

pub mod config;
pub mod text;
