//! What several tests share.

pub mod http;
