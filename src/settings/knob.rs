//! Settings that can be written in two ways.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of a number of items: an integer is a count, a number with a decimal point is a fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// Number of items.
    Count(usize),
    /// Fraction of all items, from 0 to 1.
    Fraction(f64),
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Count(count) => write!(f, "{count}"),
            Share::Fraction(part) => write!(f, "{part:?}"),
        }
    }
}

/// As in a settings file: `0.05` is a fraction, `20` is a count.
impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = || text.parse().ok().map(Share::Count);
        let fraction = || text.parse().ok().filter(|part: &f64| part.is_finite()).map(Share::Fraction);
        count()
            .or_else(fraction)
            .ok_or_else(|| format!("`{text}` is neither a count nor a fraction such as 0.05"))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Share::Count(count) => serializer.serialize_u64(count as u64),
            Share::Fraction(part) => serializer.serialize_f64(part),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count such as 20, or a fraction such as 0.05")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Share, E> {
                let count = usize::try_from(value).ok();
                count.map(Share::Count).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Share, E> {
                let count = usize::try_from(value).ok();
                count.map(Share::Count).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Share, E> {
                Ok(Share::Fraction(value))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

/// A number, or `auto` for a value that the runtime chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auto {
    /// Chosen by the runtime.
    #[default]
    Auto,
    /// A fixed number.
    Fixed(usize),
}

impl fmt::Display for Auto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auto::Auto => f.write_str("auto"),
            Auto::Fixed(number) => write!(f, "{number}"),
        }
    }
}

/// As in a settings file, without the quotes.
impl std::str::FromStr for Auto {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Auto::Auto),
            _ => text.parse().map(Auto::Fixed).map_err(|_| format!("`{text}` is neither auto nor a number")),
        }
    }
}

impl Serialize for Auto {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Auto::Auto => serializer.serialize_str("auto"),
            Auto::Fixed(number) => serializer.serialize_u64(number as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Auto {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Auto, D::Error> {
        struct AutoOrNumber;

        impl Visitor<'_> for AutoOrNumber {
            type Value = Auto;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a number that is not negative")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Auto, E> {
                match value {
                    "auto" => Ok(Auto::Auto),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Auto, E> {
                let number = usize::try_from(value).ok();
                number.map(Auto::Fixed).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Auto, E> {
                let number = usize::try_from(value).ok();
                number.map(Auto::Fixed).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
            }
        }

        deserializer.deserialize_any(AutoOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_on_the_command_line_mean_what_they_mean_in_a_file() {
        for text in ["20", "0", "0.05", "1.0"] {
            let typed: Share = text.parse().expect("a share");
            assert_eq!(serde_json::from_str::<Share>(text).expect("a share"), typed);
            assert_eq!(serde_json::to_string(&typed).expect("a number"), text);
            assert_eq!(typed.to_string(), text);
        }
        assert_eq!("20".parse(), Ok(Share::Count(20)));
        assert_eq!("1.0".parse(), Ok(Share::Fraction(1.0)));
        for text in ["", "x", "-1x", "nan", "inf"] {
            text.parse::<Share>().expect_err(text);
        }
        serde_json::from_str::<Share>("-3").expect_err("a count below 0");

        for (text, json) in [("auto", "\"auto\""), ("12", "12")] {
            let typed: Auto = text.parse().expect("auto or a number");
            assert_eq!(serde_json::from_str::<Auto>(json).expect("auto or a number"), typed);
            assert_eq!(serde_json::to_string(&typed).expect("json"), json);
            assert_eq!(typed.to_string(), text);
        }
        "some".parse::<Auto>().expect_err("another word");
        for json in ["\"some\"", "-1", "1.5", "true"] {
            let error = serde_json::from_str::<Auto>(json).expect_err(json).to_string();
            assert!(error.contains("expected \"auto\" or a number"), "{error}");
        }
    }
}
