//! The tables of cosines and sines of a model's layers.

use super::config::ModelConfig;
use crate::gpu::{Device, DeviceError};
use crate::ops::{RopeTable, buffer_bytes};

/// A table for each rotation that a model has, and which one each layer uses.
#[derive(Clone, Debug)]
pub(crate) struct Rotations {
    tables: Vec<RopeTable>,
    of_layer: Vec<usize>,
}

/// A rotation: frequencies, and the factor of cosines and sines.
type Rotation = (Vec<f32>, f32);

/// The different rotations of `config` for sequences of `context` tokens, and the index of each layer's.
fn rotations(config: &ModelConfig, context: usize) -> (Vec<Rotation>, Vec<usize>) {
    let mut found: Vec<Rotation> = Vec::new();
    let of_layer = config.layers.iter().map(|layer| {
        let rotation = match &layer.rope {
            Some(rope) => (rope.inverse_frequencies(context), rope.magnitude()),
            // Without positions, one pair that does not turn.
            None => (vec![0.0], 1.0),
        };
        found.iter().position(|known| *known == rotation).unwrap_or_else(|| {
            found.push(rotation);
            found.len() - 1
        })
    });
    let of_layer = of_layer.collect();
    (found, of_layer)
}

impl Rotations {
    /// The tables for sequences of up to `context` tokens.
    pub fn new(device: &Device, config: &ModelConfig, context: usize) -> Result<Self, DeviceError> {
        let (found, of_layer) = rotations(config, context);
        let table =
            |(frequencies, magnitude): &Rotation| RopeTable::new(device, frequencies, *magnitude, context);
        Ok(Rotations { tables: found.iter().map(table).collect::<Result<_, _>>()?, of_layer })
    }

    /// The table of a layer.
    pub fn of_layer(&self, layer: usize) -> &RopeTable {
        &self.tables[self.of_layer[layer]]
    }

    /// Device memory of the tables, in bytes.
    pub fn bytes(config: &ModelConfig, context: usize) -> u64 {
        let (found, _) = rotations(config, context);
        found.iter().map(|(frequencies, _)| buffer_bytes::<[f32; 2]>(context * frequencies.len())).sum()
    }
}
