//! Training: what it reads, in which order, what it computes, and what it leaves on disk.

mod config;
mod data;
mod metrics;
mod state;
mod tabular;
