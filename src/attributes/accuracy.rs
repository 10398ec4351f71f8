//! Counts of right decisions, with intervals.

use std::fmt;

use serde::Serialize;

/// How many of some decisions are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accuracy {
    /// Number of right ones.
    pub right: usize,
    /// Number of all.
    pub of: usize,
}

impl Accuracy {
    pub(crate) fn add(&mut self, right: bool) {
        self.right += usize::from(right);
        self.of += 1;
    }

    pub(crate) fn join(&mut self, other: Accuracy) {
        self.right += other.right;
        self.of += other.of;
    }

    /// The part that is right. 0 of none.
    pub fn part(&self) -> f64 {
        if self.of == 0 { 0.0 } else { self.right as f64 / self.of as f64 }
    }

    /// The 95% interval of the part (Wilson, 1927).
    pub fn interval(&self) -> [f64; 2] {
        if self.of == 0 {
            return [0.0, 1.0];
        }
        let (n, p, z) = (self.of as f64, self.part(), 1.959_964);
        let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        [(middle - half).max(0.0), (middle + half).min(1.0)]
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of == 0 {
            return f.pad("-");
        }
        let [low, high] = self.interval();
        f.pad(&format!("{:.0}% ({:.0}-{:.0})", 100.0 * self.part(), 100.0 * low, 100.0 * high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_wilson() {
        let share = Accuracy { right: 81, of: 263 };
        let [low, high] = share.interval();
        // The example of Newcombe (1998), method 3.
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        assert_eq!(Accuracy { right: 9, of: 9 }.interval()[1], 1.0);
        assert_eq!(Accuracy::default().to_string(), "-");
        assert_eq!(Accuracy { right: 3, of: 4 }.to_string(), "75% (30-95)");
    }
}
