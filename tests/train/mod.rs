//! Training: what it reads, in which order, what it computes, and what it leaves on disk.

mod config;
mod data;
mod metrics;
mod rows;
mod state;
mod tabular;
