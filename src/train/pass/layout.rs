//! Layout of the sequences of a batch in its rows: trainable ones first, then the others.

use std::ops::Range;

use super::{PassShape, Sequence};
use crate::model::Learning;
use crate::model::lora::AdapterBank;
use crate::ops::{KeyTile, LoraTile, NO_HEAD, QueryTile, SharedPrefix};
use crate::train::error::TrainError;

/// Target of a reading that reads only a head.
const NO_TARGET: u32 = u32::MAX;

/// A reading in the device's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Index in the caller's order.
    pub index: usize,
    /// Row in the batch.
    pub row: usize,
    pub target: u32,
    /// Slot of the head, or [`NO_HEAD`].
    pub head: u32,
}

/// A batch in the device's layout.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub ids: Vec<u32>,
    /// For each row, the base of its sequence, and its position; their sum is the row, where its key is.
    pub rows_at: Vec<[u32; 2]>,
    pub tiles: Vec<QueryTile>,
    pub key_tiles: Vec<KeyTile>,
    pub lora_tiles: Vec<LoraTile>,
    /// Largest number of positions that a row attends to.
    pub longest: usize,
    /// Readings with a target first, then the others, each in the order of rows.
    pub readings: Vec<Placed>,
    /// Number of readings with a target.
    pub n_targets: usize,
    /// Whether any reading reads a head.
    pub has_heads: bool,
    pub learning: Vec<Learning>,
}

impl Layout {
    pub fn new(
        sequences: &[&Sequence],
        bank: &AdapterBank,
        trainable: usize,
        vocab: usize,
        shape: &PassShape,
    ) -> Result<Self, TrainError> {
        check(sequences, vocab, shape)?;
        let place = |sequence: &&Sequence| sequence.adapter.map(|id| bank.place(id)).transpose();
        let places = sequences.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let learns = |index: usize| places[index].is_some_and(|place| place < trainable);
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&index| (!learns(index), places[index].unwrap_or(usize::MAX)));
        let mut first_index = vec![0; sequences.len()];
        for index in 1..sequences.len() {
            first_index[index] = first_index[index - 1] + sequences[index - 1].readings.len();
        }

        let mut layout = Layout::default();
        let (mut query_runs, mut key_runs) = (Vec::new(), Vec::new());
        for &index in &order {
            let sequence = sequences[index];
            let base = layout.ids.len();
            layout.ids.extend_from_slice(&sequence.ids);
            let shared = sequence.shared();
            for part in sequence.parts() {
                // A branch's first row has the position behind the shared ones.
                let skipped = part.start - shared.min(part.start);
                let rows = part.clone().map(|place| [(base + skipped) as u32, (place - skipped) as u32]);
                layout.rows_at.extend(rows);
                layout.longest = layout.longest.max(part.end - skipped);
                let prefix = if part.start == 0 {
                    SharedPrefix::default()
                } else {
                    SharedPrefix { base: base as u32, positions: shared as u32 }
                };
                query_runs.push((part.len(), prefix));
                let behind = if part.start == 0 { sequence.ids.len() - part.end } else { 0 };
                key_runs.push((part.len(), behind));
            }
            for (nth, reading) in sequence.readings.iter().enumerate() {
                layout.readings.push(Placed {
                    index: first_index[index] + nth,
                    row: base + reading.position,
                    target: reading.target.unwrap_or(NO_TARGET),
                    head: match places[index] {
                        Some(place) if reading.head => place as u32,
                        _ => NO_HEAD,
                    },
                });
            }
        }
        layout.readings.sort_by_key(|reading| (reading.target == NO_TARGET, reading.row));
        layout.n_targets = layout.readings.iter().filter(|reading| reading.target != NO_TARGET).count();
        layout.has_heads = layout.readings.iter().any(|reading| reading.head != NO_HEAD);
        let lengths: Vec<usize> = order.iter().map(|&index| sequences[index].ids.len()).collect();
        layout.tiles = QueryTile::cut_branches(query_runs);
        layout.key_tiles = KeyTile::cut_branches(key_runs);
        let runs =
            bank.runs(order.iter().zip(&lengths).map(|(&index, &rows)| (sequences[index].adapter, rows)))?;
        layout.learning = runs
            .iter()
            .filter(|run| run.adapter < trainable)
            .map(|run| Learning {
                place: run.adapter,
                scale: run.scale,
                rows: run.first_row..run.first_row + run.rows,
            })
            .collect();
        layout.lora_tiles = LoraTile::cut(&runs, LoraTile::most_rows(bank.device()));
        Ok(layout)
    }

    /// Number of rows of trainable sequences, which come first in the batch.
    pub fn learning_rows(&self) -> usize {
        self.learning.last().map_or(0, |learning| learning.rows.end)
    }

    /// Readings of trainable sequences: the range of those with a target, and the range of the others.
    pub fn learning_readings(&self) -> [Range<usize>; 2] {
        let rows = self.learning_rows();
        let run = |range: Range<usize>| {
            let count = self.readings[range.clone()].iter().take_while(|reading| reading.row < rows).count();
            range.start..range.start + count
        };
        [run(0..self.n_targets), run(self.n_targets..self.readings.len())]
    }

    /// Divides `range` into chunks of at most `most` readings. No chunk mixes readings with and without a
    /// target.
    pub fn chunks(&self, range: Range<usize>, most: usize) -> Vec<Range<usize>> {
        let border = self.n_targets.clamp(range.start, range.end);
        let cut = |range: Range<usize>| {
            let end = range.end;
            range.step_by(most).map(move |start| start..end.min(start + most))
        };
        cut(range.start..border).chain(cut(border..range.end)).collect()
    }
}

fn check(sequences: &[&Sequence], vocab: usize, shape: &PassShape) -> Result<(), TrainError> {
    for (index, sequence) in sequences.iter().enumerate() {
        let wrong = |what: String| TrainError::Sequence { sequence: index, what };
        if sequence.ids.is_empty() {
            return Err(wrong("it has no tokens".to_owned()));
        }
        if let Some(place) = sequence.ids.iter().position(|&id| id as usize >= vocab) {
            let id = sequence.ids[place];
            return Err(wrong(format!("token {id} at place {place} is outside the vocabulary of {vocab}")));
        }
        if sequence.parts().any(|part| part.is_empty()) {
            return Err(wrong(format!("a branch is empty, or they do not ascend: {:?}", sequence.branches)));
        }
        let mut read = vec![false; sequence.ids.len()];
        for reading in &sequence.readings {
            let position = reading.position;
            match read.get_mut(position) {
                None => {
                    let length = sequence.ids.len();
                    return Err(wrong(format!("position {position} is read, but there are {length} tokens")));
                }
                Some(true) => return Err(wrong(format!("position {position} is read twice"))),
                Some(seen) => *seen = true,
            }
            if let Some(target) = reading.target.filter(|&target| target as usize >= vocab) {
                return Err(wrong(format!("target {target} is outside the vocabulary of {vocab}")));
            }
            if reading.head && sequence.adapter.is_none() {
                return Err(wrong("a head is read, but it has no adapter".to_owned()));
            }
        }
    }
    let full = |what, needed, allowed| Err(TrainError::PassFull { what, needed, allowed });
    let rows: usize = sequences.iter().map(|sequence| sequence.ids.len()).sum();
    if rows > shape.rows {
        return full("tokens", rows, shape.rows);
    }
    let longest = sequences.iter().map(|sequence| sequence.ids.len()).max().unwrap_or(0);
    if longest > shape.longest {
        return full("tokens of one sequence", longest, shape.longest);
    }
    Ok(())
}
