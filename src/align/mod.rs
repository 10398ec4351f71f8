//! Reinforcement learning of a policy against a reward model that reads principles: stage 3 of SALMON
//! (arXiv 2310.05910).
//!
//! Memory holds one quantized base and up to four adapters: the policy, its reference, the critic and the
//! reward model. Each step samples replies and scores them under principles drawn for each prompt. Policy,
//! critic and reference then read the replies in mixed passes, and one of the [`ALGORITHMS`] updates the
//! policy. [The guide](crate::guide::salmon) explains the metrics of a run.
//!
//! | part | holds |
//! |---|---|
//! | [`DpoTraining`], [`DpoConfig`] | a run without rewards: DPO trains a policy on judged replies |
//! | [`Align`] | a run: trains an adapter on prompts, principles and rewards |
//! | [`Algorithm`], [`AlgorithmSpec`] | the objective of a rollout: PPO, GRPO, RLOO, or your own |
//! | [`AlignPrompts`] | the prompts, as tokens |
//! | [`Guidelines`] | sets of principles, and the draw for each prompt |
//! | [`Workers`], [`Worker`] | other processes that compute the heavy parts of a run |
//! | [`RewardRole`], [`ModelReward`] | the reward model, on the same base or on another |
//! | [`AlignMetrics`], [`RolloutSample`] | the report of a step: metrics, and replies with their scores |

mod algorithm;
mod config;
mod dpo;
mod error;
pub mod estimate;
mod guidelines;
mod prompts;
mod reward_role;
mod roles;
mod rollout;
mod run;
mod samples;
mod steps;
mod units;
mod update;
mod workers;

pub use algorithm::{
    ALGORITHMS, Algorithm, AlgorithmSpec, GroupObjective, PartReply, RolloutObjective, RolloutPart,
};
pub use config::{
    AlignConfig, GrpoConfig, Preset, RewardTermsConfig, RolloutConfig, UpdateConfig, ValueConfig,
};
pub use dpo::{DpoConfig, DpoTraining};
pub use error::AlignError;
pub use guidelines::Guidelines;
pub use prompts::{AlignPrompt, AlignPrompts};
pub use reward_role::{ModelReward, RewardRole};
pub use run::{Align, Outcome};
pub use workers::{Worker, Workers};

pub use crate::train::metrics::{AlignMetrics, RolloutSample};
