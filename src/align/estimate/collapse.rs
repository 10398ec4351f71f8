//! Detects a collapsed policy: a large KL to the reference, a low entropy, or repetition.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::generate::DISTINCT_WINDOW;

/// Limits beyond which a run stops because its policy has collapsed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollapseConfig {
    /// Maximum mean KL from the reference, in nats per reply. `inf` for no limit. 25 is Parr's own default.
    /// Useful steering needs less than 10.
    pub kl: f64,
    /// Minimum mean entropy of a token, as a fraction of the first rollout's. 0 for no limit. 0.2 is Parr's
    /// own default.
    pub entropy: f64,
    /// Minimum distinct-2 of the replies, as a fraction of the first rollout's. 0 for no limit. 0.8 is Parr's
    /// own default.
    pub distinct_2: f64,
    /// Number of first tokens of each reply that distinct-2 is measured on. On whole replies, distinct-2
    /// would be lower for longer replies, which is not a sign of collapse.
    pub window: usize,
    /// Number of consecutive rollouts that must show a sign. 3 is Parr's own default.
    pub patience: usize,
}

impl Default for CollapseConfig {
    fn default() -> Self {
        CollapseConfig { kl: 25.0, entropy: 0.2, distinct_2: 0.8, window: DISTINCT_WINDOW, patience: 3 }
    }
}

/// State of a policy, measured on one rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Mean KL to the reference, in nats per reply.
    pub kl: f64,
    /// Mean entropy of a token, in nats.
    pub entropy: f64,
    /// [`distinct`](crate::generate::distinct) of the replies, for pairs of tokens.
    pub distinct_2: f64,
}

/// A sign of collapse, with the measured value and its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Collapse {
    /// The KL from the reference is too large.
    Kl {
        /// Measured mean KL, in nats per reply.
        found: f64,
        /// Limit, in nats per reply.
        limit: f64,
    },
    /// The entropy is too low.
    Entropy {
        /// Measured mean entropy, in nats per token.
        found: f64,
        /// Limit, in nats per token.
        limit: f64,
    },
    /// The replies repeat themselves.
    Repetition {
        /// Measured distinct-2.
        found: f64,
        /// Limit of distinct-2.
        limit: f64,
    },
}

impl fmt::Display for Collapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Collapse::Kl { found, limit } => {
                write!(f, "the KL from the reference is {found:.2} nats per reply, more than {limit:.2}")
            }
            Collapse::Entropy { found, limit } => {
                write!(f, "the policy's entropy is {found:.3} nats per token, less than {limit:.3}")
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

/// Watches the rollouts of a run. Its fields hold its whole state, so a resumed run can restore it.
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
    /// Creates the watch of a new run.
    pub fn new(config: &CollapseConfig) -> Watch {
        Watch { config: *config, first: None, signs: 0 }
    }

    /// The watch as named numbers, for a saved state. Empty before the first rollout.
    pub fn entries(&self) -> Vec<(&'static str, f64)> {
        let Some(first) = self.first else { return Vec::new() };
        vec![
            ("watch.kl", first.kl),
            ("watch.entropy", first.entropy),
            ("watch.distinct_2", first.distinct_2),
            ("watch.signs", self.signs as f64),
        ]
    }

    /// Restores the watch from its [`Watch::entries`], under the same settings. `entry` returns a number by
    /// its name.
    pub fn restored(config: &CollapseConfig, entry: impl Fn(&str) -> Option<f64>) -> Watch {
        let first = || {
            let (kl, entropy) = (entry("watch.kl")?, entry("watch.entropy")?);
            Some(Health { kl, entropy, distinct_2: entry("watch.distinct_2")? })
        };
        let signs = entry("watch.signs").unwrap_or(0.0) as usize;
        Watch { config: *config, first: first(), signs }
    }

    /// Records a rollout. The first one, from the unchanged policy, is the baseline of the later ones.
    /// Returns the last sign once [`CollapseConfig::patience`] consecutive rollouts have shown one.
    pub fn observe(&mut self, health: Health) -> Option<Collapse> {
        let first = *self.first.get_or_insert(health);
        let CollapseConfig { kl, entropy, distinct_2, patience, .. } = self.config;
        let (entropy, distinct_2) = (entropy * first.entropy, distinct_2 * first.distinct_2);
        // NaN is outside every limit.
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
                "the KL from the reference is 26.00 nats per reply, more than 25.00",
            ),
            (
                Health { entropy: 0.39, ..WELL },
                "the policy's entropy is 0.390 nats per token, less than 0.400",
            ),
            (
                Health { distinct_2: 0.7, ..WELL },
                "distinct-2 of the replies is 0.700, less than 0.720: they repeat themselves",
            ),
            (
                Health { kl: f64::NAN, ..WELL },
                "the KL from the reference is NaN nats per reply, more than 25.00",
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
