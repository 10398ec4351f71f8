//! A limit of llvmpipe: it ends a shader after a number of rounds of all its loops together, and reports no error.

use crate::gpu::{Device, DeviceError};

/// Rounds before and behind the loops that are counted here.
const OTHER_ROUNDS: usize = 1000;

/// `Ok` if a kernel that `what` describes can take this number of rounds on `device`.
///
/// # Errors
///
/// [`DeviceError::Limit`], because the result would be wrong.
pub(super) fn rounds_fit(
    device: &Device,
    what: impl FnOnce() -> String,
    rounds: usize,
) -> Result<(), DeviceError> {
    let Some(allowed) = device.capabilities().loop_rounds else { return Ok(()) };
    let needed = (rounds + OTHER_ROUNDS) as u64;
    if needed <= allowed {
        return Ok(());
    }
    Err(DeviceError::Limit {
        what: what(),
        needed,
        allowed,
        limit: "rounds of loops in a shader of llvmpipe",
    })
}
