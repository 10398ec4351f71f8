//! Errors of ops, which are returned before anything is recorded.

use crate::gpu::DeviceError;

/// Operands that do not fit together, or a failure of the device.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Two extents that must be equal differ.
    #[error("{op}: {what} is {found}, expected {expected}")]
    Mismatch {
        /// The op.
        op: &'static str,
        /// The extent in question.
        what: &'static str,
        /// The given extent.
        found: usize,
        /// The extent that the other operands require.
        expected: usize,
    },
    /// The device refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// `Ok` if `found` is `expected`.
pub(super) fn same(
    op: &'static str,
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), ShapeError> {
    if found == expected { Ok(()) } else { Err(ShapeError::Mismatch { op, what, found, expected }) }
}

/// `Ok` if `found` is at least `least`.
pub(super) fn holds(
    op: &'static str,
    what: &'static str,
    found: usize,
    least: usize,
) -> Result<(), ShapeError> {
    if found >= least { Ok(()) } else { Err(ShapeError::Mismatch { op, what, found, expected: least }) }
}
