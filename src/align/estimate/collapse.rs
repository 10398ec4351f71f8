//! Whether a policy has collapsed: far from its reference, sure of itself, or repeating itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::generate::DISTINCT_WINDOW;

/// When a run is ended because its policy has collapsed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollapseConfig {
    /// The most that the policy may be from its reference, in nats a reply; `inf` for any. 25, ours: steering that
    /// is worth having takes less than 10.
    pub kl: f64,
    /// The least mean entropy of a token, as a part of the first rollout's; 0 for any. 0.2, ours.
    pub entropy: f64,
    /// The least distinct-2 of the replies, as a part of the first rollout's; 0 for any. 0.8, ours.
    pub distinct_2: f64,
    /// Tokens of each reply that distinct-2 looks at: over more of them it is lower for longer replies, which
    /// are no fault.
    pub window: usize,
    /// Rollouts in a row that must show a sign. 3, ours.
    pub patience: usize,
}

impl Default for CollapseConfig {
    fn default() -> Self {
        CollapseConfig { kl: 25.0, entropy: 0.2, distinct_2: 0.8, window: DISTINCT_WINDOW, patience: 3 }
    }
}

/// How a policy is, from one rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Mean KL to the reference, in nats a reply.
    pub kl: f64,
    /// Mean entropy of a token, in nats.
    pub entropy: f64,
    /// [`distinct`](crate::generate::distinct) of the replies, for pairs of tokens.
    pub distinct_2: f64,
}

/// A sign of collapse, with what was found and the limit that it is beyond.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Collapse {
    /// Too far from the reference.
    Kl {
        /// Nats a reply.
        found: f64,
        /// Nats a reply.
        limit: f64,
    },
    /// Too sure of itself.
    Entropy {
        /// Nats a token.
        found: f64,
        /// Nats a token.
        limit: f64,
    },
    /// Saying the same again and again.
    Repetition {
        /// Distinct-2.
        found: f64,
        /// Distinct-2.
        limit: f64,
    },
}

impl fmt::Display for Collapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Collapse::Kl { found, limit } => {
                write!(f, "the policy is {found:.2} nats a reply from its reference, more than {limit:.2}")
            }
            Collapse::Entropy { found, limit } => {
                write!(f, "the policy's entropy is {found:.3} nats a token, less than {limit:.3}")
            }
            Collapse::Repetition { found, limit } => {
                write!(
                    f,
                    "distinct-2 of the replies is {found:.3}, less than {limit:.3}: they repeat themselves"
                )
            }
        }
    }
}

/// Watches the rollouts of a run. All of its state is in its fields, so that a run resumes with it.
///
/// ```
/// use parr::align::estimate::{CollapseConfig, Health, Watch};
///
/// let mut watch = Watch::new(&CollapseConfig { patience: 2, ..CollapseConfig::default() });
/// let well = Health { kl: 0.0, entropy: 2.0, distinct_2: 0.9 };
/// assert!(watch.observe(well).is_none());
/// let ill = Health { distinct_2: 0.3, ..well };
/// assert!(watch.observe(ill).is_none() && watch.observe(ill).is_some());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    config: CollapseConfig,
    first: Option<Health>,
    signs: usize,
}

impl Watch {
    /// Of a run that begins.
    pub fn new(config: &CollapseConfig) -> Watch {
        Watch { config: *config, first: None, signs: 0 }
    }

    /// What a state keeps of the watch, as plain numbers by name; nothing before the first rollout.
    pub fn entries(&self) -> Vec<(&'static str, f64)> {
        let Some(first) = self.first else { return Vec::new() };
        vec![
            ("watch.kl", first.kl),
            ("watch.entropy", first.entropy),
            ("watch.distinct_2", first.distinct_2),
            ("watch.signs", self.signs as f64),
        ]
    }

    /// The watch that [`Watch::entries`] were taken from, under the same settings. `entry` finds a number by
    /// its name.
    pub fn restored(config: &CollapseConfig, entry: impl Fn(&str) -> Option<f64>) -> Watch {
        let first = || {
            let (kl, entropy) = (entry("watch.kl")?, entry("watch.entropy")?);
            Some(Health { kl, entropy, distinct_2: entry("watch.distinct_2")? })
        };
        let signs = entry("watch.signs").unwrap_or(0.0) as usize;
        Watch { config: *config, first: first(), signs }
    }

    /// Takes note of a rollout; the first, from the policy as it was, is what later ones are held against.
    /// `Some` once as many rollouts in a row as there is patience for have shown a sign: the last one's.
    pub fn observe(&mut self, health: Health) -> Option<Collapse> {
        let first = *self.first.get_or_insert(health);
        let CollapseConfig { kl, entropy, distinct_2, patience, .. } = self.config;
        let (entropy, distinct_2) = (entropy * first.entropy, distinct_2 * first.distinct_2);
        // What is no number is within no limit.
        let within = |found: f64, least: f64| found >= least;
        let sign = if !within(kl, health.kl) {
            Some(Collapse::Kl { found: health.kl, limit: kl })
        } else if !within(health.entropy, entropy) {
            Some(Collapse::Entropy { found: health.entropy, limit: entropy })
        } else if !within(health.distinct_2, distinct_2) {
            Some(Collapse::Repetition { found: health.distinct_2, limit: distinct_2 })
        } else {
            None
        };
        self.signs = if sign.is_some() { self.signs + 1 } else { 0 };
        sign.filter(|_| self.signs >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Health = Health { kl: 0.0, entropy: 2.0, distinct_2: 0.9 };

    fn watch() -> Watch {
        let mut watch = Watch::new(&CollapseConfig { patience: 2, ..CollapseConfig::default() });
        assert_eq!(watch.observe(WELL), None);
        watch
    }

    #[test]
    fn each_sign_ends_a_run_that_keeps_showing_it() {
        for (ill, expected) in [
            (
                Health { kl: 26.0, ..WELL },
                "the policy is 26.00 nats a reply from its reference, more than 25.00",
            ),
            (Health { entropy: 0.39, ..WELL }, "the policy's entropy is 0.390 nats a token, less than 0.400"),
            (
                Health { distinct_2: 0.7, ..WELL },
                "distinct-2 of the replies is 0.700, less than 0.720: they repeat themselves",
            ),
            (
                Health { kl: f64::NAN, ..WELL },
                "the policy is NaN nats a reply from its reference, more than 25.00",
            ),
        ] {
            let mut watch = watch();
            assert_eq!(watch.observe(ill), None, "once is chance");
            assert_eq!(watch.observe(ill).expect("twice is not").to_string(), expected);
        }
    }

    #[test]
    fn a_sound_rollout_between_two_signs_starts_the_count_anew() {
        let (mut watch, ill) = (watch(), Health { entropy: 0.1, ..WELL });
        assert_eq!((watch.observe(ill), watch.observe(WELL), watch.observe(ill)), (None, None, None));
        assert!(watch.observe(ill).is_some());
    }

    #[test]
    fn limits_can_be_turned_off() {
        let config =
            CollapseConfig { kl: f64::INFINITY, entropy: 0.0, distinct_2: 0.0, window: 64, patience: 1 };
        let mut watch = Watch::new(&config);
        watch.observe(WELL);
        assert_eq!(watch.observe(Health { kl: 1e9, entropy: 0.0, distinct_2: 0.0 }), None);
    }

    /// The released code restores nothing of this kind.
    #[test]
    fn a_run_resumes_with_its_watch() {
        let (mut whole, ill) = (watch(), Health { kl: 1e3, ..WELL });
        whole.observe(ill);
        let text = serde_json::to_string(&whole).expect("plain values");
        let mut resumed: Watch = serde_json::from_str(&text).expect("a watch");
        assert_eq!(resumed, whole);
        assert!(resumed.observe(ill).is_some());

        let config = CollapseConfig { patience: 2, ..CollapseConfig::default() };
        let entries: std::collections::BTreeMap<_, _> = whole.entries().into_iter().collect();
        assert_eq!(Watch::restored(&config, |name| entries.get(name).copied()), whole);
        assert_eq!(Watch::restored(&config, |_| None), Watch::new(&config), "before the first rollout");
    }
}
