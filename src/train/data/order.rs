//! Order of the training rows, and the choice of held-out rows.

use crate::random::{Philox, Purpose};

/// Numbers of the random draws that order an epoch and that choose held-out rows.
const EPOCH: u32 = 0;
const HELD_OUT: u32 = 1;

/// An endless sequence of row numbers: epoch after epoch, each a new permutation of all rows.
///
/// The row at a position depends only on the seed, the number of rows and the position. A run therefore needs
/// only its position to resume.
///
/// ```
/// use parr::train::Order;
///
/// let mut order = Order::new(7, 3);
/// let mut epoch: Vec<usize> = (3..6).map(|position| order.example(position)).collect();
/// assert_eq!(order.example(4), epoch[1]);
/// epoch.sort();
/// assert_eq!(epoch, [0, 1, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct Order {
    seed: u64,
    rows: usize,
    /// Epoch of the last call, and its permutation.
    current: Option<(u64, Vec<u32>)>,
}

impl Order {
    /// The order of `rows` rows under `seed`.
    ///
    /// # Panics
    ///
    /// If there are no rows, or more than `u32::MAX` rows.
    pub fn new(seed: u64, rows: usize) -> Order {
        assert!(rows > 0 && u32::try_from(rows).is_ok(), "{rows} rows cannot be ordered");
        Order { seed, rows, current: None }
    }

    /// The row at `position`, counted from the first row of the first epoch.
    pub fn example(&mut self, position: u64) -> usize {
        let (epoch, at) = (position / self.rows as u64, (position % self.rows as u64) as usize);
        match &self.current {
            Some((known, rows)) if *known == epoch => rows[at] as usize,
            _ => {
                let rows = shuffled(self.seed, self.rows, epoch as u32, EPOCH);
                let row = rows[at] as usize;
                self.current = Some((epoch, rows));
                row
            }
        }
    }
}

/// The `count` rows to hold out.
pub(super) fn held_out(seed: u64, rows: usize, count: usize) -> impl Iterator<Item = usize> {
    shuffled(seed, rows, 0, HELD_OUT).into_iter().take(count).map(|row| row as usize)
}

/// All rows in the order of their random keys. Keys have 64 bits, so equal keys are very unlikely.
fn shuffled(seed: u64, rows: usize, step: u32, draw: u32) -> Vec<u32> {
    let random = Philox::new(seed);
    let key = |row: u32| random.bits64(Purpose::Shuffle, step, row, draw);
    let mut keyed: Vec<(u64, u32)> = (0..rows as u32).map(|row| (key(row), row)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(seed: u64, rows: usize, epoch: u64) -> Vec<usize> {
        let mut order = Order::new(seed, rows);
        let start = epoch * rows as u64;
        (start..start + rows as u64).map(|position| order.example(position)).collect()
    }

    #[test]
    fn every_epoch_is_another_permutation() {
        let (first, second) = (epoch(1, 100, 0), epoch(1, 100, 1));
        assert_ne!(first, second);
        assert_ne!(first, epoch(2, 100, 0));
        for mut rows in [first, second, epoch(1, 100, u64::from(u32::MAX))] {
            rows.sort_unstable();
            assert!(rows.into_iter().eq(0..100));
        }
    }

    /// A saved run must get the same rows after an update of the program.
    #[test]
    fn the_order_never_changes() {
        assert_eq!(epoch(7, 8, 0), PINNED[0]);
        assert_eq!(epoch(7, 8, 1), PINNED[1]);
    }

    const PINNED: [[usize; 8]; 2] = [[1, 4, 5, 6, 7, 3, 0, 2], [6, 1, 0, 2, 4, 5, 7, 3]];

    #[test]
    fn positions_may_be_asked_for_in_any_order() {
        let mut order = Order::new(3, 10);
        let forward: Vec<usize> = (0..50).map(|position| order.example(position)).collect();
        for position in (0..50).rev() {
            assert_eq!(Order::new(3, 10).example(position), forward[position as usize]);
            assert_eq!(order.example(position), forward[position as usize]);
        }
    }

    #[test]
    fn all_permutations_are_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        const EPOCHS: u64 = 2400;
        let mut order = Order::new(11, 4);
        for epoch in 0..EPOCHS {
            let rows: [usize; 4] = std::array::from_fn(|at| order.example(epoch * 4 + at as u64));
            *counts.entry(rows).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        let expected = EPOCHS as f64 / 24.0;
        let chi2: f64 = counts.values().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        // 23 degrees of freedom: 99.9% lie below 49.7.
        assert!(chi2 < 49.7, "chi squared {chi2}");
    }

    #[test]
    fn what_is_held_out_is_not_the_start_of_an_epoch() {
        let held: Vec<usize> = held_out(7, 100, 100).collect();
        assert_ne!(held, epoch(7, 100, 0));
        assert!(held_out(7, 100, 10).eq(held[..10].iter().copied()));
    }
}
