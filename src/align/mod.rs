//! Reinforcement learning of a policy by a reward that reads principles: stage 3 of SALMON
//! (arXiv 2310.05910).
//!
//! One quantized base is in memory, and up to four adapters on it: the policy, its reference, the critic and
//! the reward model. A step samples replies, scores them under principles drawn for each prompt, reads them
//! by policy, critic and reference in mixed passes, and updates the policy with one of the [`ALGORITHMS`].
//! [What the figures of a run mean](crate::guide::salmon).
//!
//! | part | holds |
//! |---|---|
//! | [`DpoTraining`], [`DpoConfig`] | the same without rewards: from judged replies alone, by DPO |
//! | [`Align`] | a run: from prompts, principles and rewards to an adapter |
//! | [`Algorithm`], [`AlgorithmSpec`] | how a rollout becomes an objective: PPO, GRPO, RLOO, or one of your own |
//! | [`AlignPrompts`] | what is asked, as tokens |
//! | [`Guidelines`] | sets of principles, and what is drawn of them for a prompt |
//! | [`RewardRole`], [`ModelReward`] | the reward model, on the same base or on another |
//! | [`AlignMetrics`], [`RolloutSample`] | what a step reports: figures, and replies with their scores |

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
mod update;

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

pub use crate::train::metrics::{AlignMetrics, RolloutSample};
