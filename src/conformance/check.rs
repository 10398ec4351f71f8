//! Runs one op on guarded buffers and collects the results.

use std::collections::BTreeSet;

use super::CaseReport;
use crate::gpu::{Buffer, Device, DeviceError, Recording};
use crate::ops::{Activation, ShapeError};
use crate::random::{Philox, Purpose};

/// A quiet NaN that no arithmetic produces; guards with this value must be unchanged afterwards.
pub(super) const GUARD: u32 = 0x7fc0_dead;

/// Number of guard rows after every activation.
const GUARD_ROWS: usize = 2;

/// One running case.
pub(super) struct Check<'a> {
    device: &'a Device,
    bound: f64,
    shapes: usize,
    shape: String,
    worst_nmse: f64,
    note: Option<String>,
    specializations: BTreeSet<(&'static str, String)>,
    stream: u32,
}

impl<'a> Check<'a> {
    pub(super) fn new(device: &'a Device, bound: f64) -> Self {
        Check {
            device,
            bound,
            shapes: 0,
            shape: String::new(),
            worst_nmse: 0.0,
            note: None,
            specializations: BTreeSet::new(),
            stream: 0,
        }
    }

    pub(super) fn device(&self) -> &'a Device {
        self.device
    }

    /// Begins the next shape; `text` names it in faults.
    pub(super) fn shape(&mut self, text: String) {
        self.shapes += 1;
        self.shape = text;
    }

    /// Records a fault at the current shape; the first one is reported.
    pub(super) fn fault(&mut self, what: String) {
        self.note.get_or_insert_with(|| format!("{}: {what}", self.shape));
    }

    /// `len` values, uniform in (-1, 1); every call in a case gives different values.
    pub(super) fn values(&mut self, len: usize) -> Vec<f32> {
        self.stream += 1;
        let random = Philox::new(0);
        (0..len as u32)
            .map(|i| {
                let words = random.block(Purpose::Conformance, self.stream, i / 4, 0);
                crate::random::uniform01(words[i as usize % 4]) * 2.0 - 1.0
            })
            .collect()
    }

    /// `len` integers below `end`.
    pub(super) fn integers(&mut self, len: usize, end: usize) -> Vec<u32> {
        self.values(len).iter().map(|v| ((v * 0.5 + 0.5) * end as f32) as u32 % end as u32).collect()
    }

    /// An activation that holds `data`, zeros between width and stride, and guards below.
    pub(super) fn activation(&self, width: usize, data: &[f32]) -> Result<Activation, DeviceError> {
        let rows = data.len() / width;
        let stride = width.next_multiple_of(32);
        let mut padded = vec![f32::from_bits(GUARD); (rows + GUARD_ROWS) * stride];
        for (row, data) in padded.chunks_exact_mut(stride).zip(data.chunks_exact(width)) {
            row.fill(0.0);
            row[..width].copy_from_slice(data);
        }
        Ok(Activation { buffer: self.device.upload("conformance", &padded)?, rows, width, stride })
    }

    /// An activation to be written: all NaN, except for the zeros between width and stride.
    pub(super) fn output(&self, rows: usize, width: usize) -> Result<Activation, DeviceError> {
        self.activation(width, &vec![f32::from_bits(GUARD); rows * width])
    }

    /// A buffer of `len` values, followed by guards.
    pub(super) fn guarded<T: bytemuck::Pod>(&self, data: &[T]) -> Result<Buffer<T>, DeviceError> {
        let mut bytes = bytemuck::cast_slice::<T, u8>(data).to_vec();
        let guards = GUARD.to_le_bytes();
        bytes.extend(guards.iter().cycle().take(16 * size_of::<T>()));
        self.device.upload("conformance", &bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Records with `record`, runs the recording, and collects the names of its kernels.
    pub(super) fn run(
        &mut self,
        record: impl FnOnce(&mut Recording) -> Result<(), ShapeError>,
    ) -> Result<(), ShapeError> {
        let mut recording = Recording::new(self.device);
        record(&mut recording)?;
        self.specializations.extend(recording.specializations());
        recording.submit()?;
        Ok(())
    }

    /// Reads an output activation and compares it: values, zero padding, guards.
    pub(super) fn compare(
        &mut self,
        what: &str,
        found: &Activation,
        expected: &[f32],
    ) -> Result<(), DeviceError> {
        let all = self.device.read(&found.buffer, 0, found.buffer.len())?;
        let rows = expected.len() / found.width;
        let mut values = Vec::with_capacity(expected.len());
        for (index, row) in all.chunks_exact(found.stride).enumerate() {
            if index < rows {
                values.extend_from_slice(&row[..found.width]);
                if let Some(column) = row[found.width..].iter().position(|v| v.to_bits() != 0) {
                    let column = found.width + column;
                    self.fault(format!("{what}: wrote {} beyond the width, at column {column}", row[column]));
                }
            } else if row.iter().any(|v| v.to_bits() != GUARD) {
                self.fault(format!("{what}: wrote into row {index} of {rows}"));
            }
        }
        self.compare_values(what, &values, expected);
        Ok(())
    }

    /// Reads a buffer made by [`Check::guarded`] and faults if its guards changed.
    pub(super) fn read_guarded<T: bytemuck::Pod>(
        &mut self,
        what: &str,
        buffer: &Buffer<T>,
    ) -> Result<Vec<T>, DeviceError> {
        let mut all = self.device.read(buffer, 0, buffer.len())?;
        let guards = all.split_off(all.len() - 16);
        if bytemuck::cast_slice::<T, u8>(&guards).chunks_exact(4).any(|word| word != GUARD.to_le_bytes()) {
            self.fault(format!("{what}: wrote past the end"));
        }
        Ok(all)
    }

    /// Compares values: none may be NaN, and the normalised mean square error must be in bounds.
    pub(super) fn compare_values(&mut self, what: &str, found: &[f32], expected: &[f32]) {
        debug_assert_eq!(found.len(), expected.len());
        if let Some(index) = found.iter().position(|v| v.is_nan()) {
            let unwritten = found[index].to_bits() == GUARD;
            let kind = if unwritten { "was not written" } else { "is NaN" };
            return self.fault(format!("{what}: element {index} of {} {kind}", found.len()));
        }
        let pairs = || found.iter().zip(expected).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let error: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
        let norm: f64 = pairs().map(|(_, b)| b * b).sum();
        // Relative to at least a tenth, because a sum that happens to cancel is not a useful scale.
        let nmse = error / norm.max(0.01 * found.len() as f64);
        self.worst_nmse = self.worst_nmse.max(nmse);
        // One wrong element among many barely changes the mean. So the bound of each element is ten times
        // the root of the bound of the mean, relative to the largest element.
        let largest = pairs().fold(0.1, |a: f64, (_, b)| a.max(b.abs()));
        let allowed = 10.0 * self.bound.sqrt() * largest;
        let outlier = pairs().position(|(a, b)| (a - b).abs() > allowed);
        if let Some(index) = outlier {
            self.fault(format!("{what}: element {index} is {}, expected {}", found[index], expected[index]));
        } else if nmse > self.bound {
            self.fault(format!("{what}: normalised mean square error {nmse:.1e}"));
        }
    }

    pub(super) fn report(self, op: &str, variant: &str) -> CaseReport {
        let names: BTreeSet<_> = self.specializations.iter().map(|(name, _)| *name).collect();
        let kernel = names.into_iter().collect::<Vec<_>>().join(", ");
        CaseReport {
            kernel: if kernel.is_empty() { op.to_owned() } else { kernel },
            variant: variant.to_owned(),
            cases: self.shapes,
            worst_nmse: self.worst_nmse,
            bound: self.bound,
            passed: self.note.is_none() && self.shapes > 0,
            note: self.note.unwrap_or_default(),
            specializations: self.specializations,
        }
    }
}
