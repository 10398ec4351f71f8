//! Training: what it reads, in which order, what it computes, and what it leaves on disk.

mod config;
mod data;
mod metrics;
mod ppo;
mod ppo_config;
mod state;
mod tabular;
