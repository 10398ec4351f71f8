//! The reinforcement-learning algorithms: one file and one line of [`ALGORITHMS`] for each.
//!
//! | part | holds |
//! |---|---|
//! | [`AlgorithmSpec`] | one algorithm: its name, what it needs, how it turns a rollout into an objective |
//! | [`Algorithm`] | the choice in the settings: refers to a spec |
//! | [`RolloutObjective`], [`RolloutPart`] | the loss of some replies of a rollout |
//! | [`GroupObjective`] | the same for every objective with one advantage per reply |

mod grpo;
mod objective;
mod ppo;
mod rloo;

use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use objective::{GroupObjective, PartReply, RolloutObjective, RolloutPart};

use super::estimate::Trace;
use super::{AlignConfig, AlignError};

/// The algorithms that settings files and the command line can name.
pub const ALGORITHMS: &[&AlgorithmSpec] = &[&ppo::SPEC, &grpo::SPEC, &rloo::SPEC];

/// Description of one reinforcement-learning algorithm.
///
/// A run samples a rollout, scores it, and reads it with policy, reference and critic. The algorithm turns
/// the result into an objective, and the run updates the adapters with it.
#[derive(Clone, Copy, Debug)]
pub struct AlgorithmSpec {
    /// Name in settings files, on the command line and in the adapter's card. Each algorithm has its own.
    pub name: &'static str,
    /// Description in one line, with the paper.
    pub description: &'static str,
    /// Whether it compares replies to the same prompt. Then a run needs at least 2 replies per prompt.
    pub needs_groups: bool,
    /// Whether it needs a critic. Then a run trains one, and [`Trace::value`] holds its values.
    pub needs_critic: bool,
    /// Computes the advantages of a rollout and returns the objective of its updates.
    ///
    /// The arguments are the settings, one trace per reply (B), and the current KL coefficient. Replies to
    /// the same prompt are next to each other, `rollout.replies` for each prompt.
    pub objective: fn(&AlignConfig, &[Trace], f64) -> Box<dyn RolloutObjective>,
}

/// The algorithm that a run trains with.
///
/// Settings files and the command line name one of [`ALGORITHMS`]. A program can also bring its own:
///
/// ```
/// use parr::align::estimate::Trace;
/// use parr::align::{Algorithm, AlgorithmSpec, AlignConfig, GroupObjective};
/// use parr::settings::Settings;
///
/// // REINFORCE with the mean reward of the rollout as baseline.
/// static BATCH_MEAN: AlgorithmSpec = AlgorithmSpec {
///     name: "batch-mean",
///     description: "REINFORCE with the mean reward of the rollout as baseline",
///     needs_groups: false,
///     needs_critic: false,
///     objective: |config, traces, kl_coefficient| {
///         let reward = |trace: &Trace| trace.penalised(config.kl.estimator, kl_coefficient);
///         let rewards: Vec<f64> = traces.iter().map(reward).collect();
///         let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
///         let advantages = rewards.iter().map(|reward| reward - mean).collect();
///         Box::new(GroupObjective { objective: config.rloo(), advantages })
///     },
/// };
///
/// let config = AlignConfig { algorithm: Algorithm::new(&BATCH_MEAN), ..AlignConfig::default() };
/// config.validate()?;
/// assert_eq!(config.algorithm.to_string(), "batch-mean");
/// assert_eq!("grpo".parse::<Algorithm>()?, Algorithm::GRPO);
/// # Ok::<(), parr::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Algorithm(&'static AlgorithmSpec);

impl Algorithm {
    /// Proximal policy optimization with a critic (arXiv 1707.06347).
    pub const PPO: Algorithm = Algorithm(&ppo::SPEC);
    /// Group relative policy optimization (arXiv 2402.03300).
    pub const GRPO: Algorithm = Algorithm(&grpo::SPEC);
    /// REINFORCE leave-one-out (arXiv 2402.14740).
    pub const RLOO: Algorithm = Algorithm(&rloo::SPEC);

    /// The algorithm that `spec` describes, which need not be in [`ALGORITHMS`].
    pub const fn new(spec: &'static AlgorithmSpec) -> Algorithm {
        Algorithm(spec)
    }

    /// Its description.
    pub const fn spec(self) -> &'static AlgorithmSpec {
        self.0
    }
}

impl Default for Algorithm {
    fn default() -> Self {
        Algorithm::PPO
    }
}

/// Algorithms with the same name are the same.
impl PartialEq for Algorithm {
    fn eq(&self, other: &Algorithm) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Algorithm {}

impl Display for Algorithm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl Debug for Algorithm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Algorithm({})", self.0.name)
    }
}

impl FromStr for Algorithm {
    type Err = AlignError;

    /// The algorithm of [`ALGORITHMS`] with this name.
    ///
    /// # Errors
    ///
    /// [`AlignError::Algorithm`] if there is none.
    fn from_str(name: &str) -> Result<Algorithm, AlignError> {
        let spec = ALGORITHMS.iter().find(|spec| spec.name == name);
        spec.map(|spec| Algorithm(spec)).ok_or_else(|| AlignError::Algorithm { name: name.to_owned() })
    }
}

/// The names in [`ALGORITHMS`], for messages.
pub(super) fn known_names() -> String {
    let names: Vec<String> = ALGORITHMS.iter().map(|spec| format!("`{}`", spec.name)).collect();
    names.join(", ")
}

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name)
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Algorithm;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                write!(f, "one of {}", known_names())
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Algorithm, E> {
                name.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_unique_and_refers_to_its_own_spec() {
        for (at, spec) in ALGORITHMS.iter().enumerate() {
            assert!(ALGORITHMS[..at].iter().all(|other| other.name != spec.name), "{} twice", spec.name);
            assert!(!spec.description.is_empty() && !spec.description.contains('\n'), "{}", spec.name);
            let algorithm: Algorithm = spec.name.parse().expect("it is in the table");
            assert!(std::ptr::eq(algorithm.spec(), *spec));
            let json = serde_json::to_string(&algorithm).expect("a name");
            assert_eq!(json, format!("\"{}\"", spec.name));
            assert_eq!(serde_json::from_str::<Algorithm>(&json).expect("a name"), algorithm);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_in_the_table() {
        let parsed = "sarsa".parse::<Algorithm>().expect_err("no such algorithm").to_string();
        assert!(parsed.starts_with("unknown algorithm `sarsa`, expected one of `ppo`, `grpo`, "), "{parsed}");
        let read = serde_json::from_str::<Algorithm>("3").expect_err("not a name").to_string();
        for spec in ALGORITHMS {
            let name = format!("`{}`", spec.name);
            assert!(parsed.contains(&name) && read.contains(&name), "{parsed}; {read}");
        }
    }
}
