//! Limit of the change of the critic's values in one rollout.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `off`, or a number: a fraction of the distance between values and returns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ValueClip {
    /// No limit.
    #[default]
    Off,
    /// Multiple of the root mean square of `G_t - V_t` at the rollout, over its real tokens.
    Returns(f64),
}

impl ValueClip {
    /// Radius in the units of the returns. `error` is the root mean square of return minus value
    /// ([`Estimates::value_error`](super::Estimates::value_error)). Infinite for no limit.
    ///
    /// The radius grows with the rewards, so the limit is the same fraction of the distance for all units. A
    /// fixed radius does not grow: SALMON's 0.2 with returns of tens keeps the critic from learning.
    pub fn radius(self, error: f64) -> f64 {
        match self {
            ValueClip::Off => f64::INFINITY,
            ValueClip::Returns(part) => part * error,
        }
    }
}

impl fmt::Display for ValueClip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueClip::Off => f.write_str("off"),
            ValueClip::Returns(part) => write!(f, "{part:?}"),
        }
    }
}

/// As in a settings file, without the quotes.
impl FromStr for ValueClip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(ValueClip::Off),
            _ => text
                .parse()
                .map(ValueClip::Returns)
                .map_err(|_| format!("`{text}` is neither off nor a number")),
        }
    }
}

impl Serialize for ValueClip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            ValueClip::Off => serializer.serialize_str("off"),
            ValueClip::Returns(part) => serializer.serialize_f64(part),
        }
    }
}

impl<'de> Deserialize<'de> for ValueClip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ValueClip, D::Error> {
        struct OffOrNumber;

        impl Visitor<'_> for OffOrNumber {
            type Value = ValueClip;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"off\" or a number such as 0.2")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<ValueClip, E> {
                match value {
                    "off" => Ok(ValueClip::Off),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<ValueClip, E> {
                Ok(ValueClip::Returns(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<ValueClip, E> {
                Ok(ValueClip::Returns(value as f64))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<ValueClip, E> {
                Ok(ValueClip::Returns(value as f64))
            }
        }

        deserializer.deserialize_any(OffOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_radius_grows_with_the_returns() {
        assert_eq!(ValueClip::Returns(0.25).radius(40.0), 10.0);
        assert_eq!(ValueClip::Returns(0.25).radius(0.04), 0.01);
        assert_eq!(ValueClip::Off.radius(0.04), f64::INFINITY);
    }

    #[test]
    fn it_is_said_the_same_way_everywhere() {
        for (text, json) in [("off", "\"off\""), ("0.2", "0.2"), ("1.0", "1.0")] {
            let typed: ValueClip = text.parse().expect("off or a number");
            assert_eq!(serde_json::from_str::<ValueClip>(json).expect("off or a number"), typed);
            assert_eq!(serde_json::to_string(&typed).expect("json"), json);
            assert_eq!(typed.to_string(), text);
        }
        assert_eq!(serde_json::from_str::<ValueClip>("2").expect("a number"), ValueClip::Returns(2.0));
        "on".parse::<ValueClip>().expect_err("another word");
        let error = serde_json::from_str::<ValueClip>("true").expect_err("a bool").to_string();
        assert!(error.contains("expected \"off\" or a number"), "{error}");
    }
}
