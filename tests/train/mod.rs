//! Training: what it reads, in which order, and what it leaves on disk.

mod data;
mod metrics;
mod state;
