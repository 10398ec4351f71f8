//! What several tests share.

pub mod gpu;
pub mod http;
pub mod model;
pub mod synthetic;
