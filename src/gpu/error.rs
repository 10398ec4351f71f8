//! Errors of the device.

use super::compose::ComposeError;
use crate::error::ErrorKind;

/// A failure of the adapter, the driver or a shader, grouped by what the caller can do next.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No adapter was found: install a driver. A software driver is enough.
    #[error(
        "no GPU adapter found on {backends}; install a Vulkan driver \
         (on Debian: `apt install mesa-vulkan-drivers`, a software one)"
    )]
    NoAdapter {
        /// The back ends that were tried.
        backends: String,
    },

    /// The named adapter does not exist: choose one of those listed.
    #[error("no GPU matches `{wanted}`; this machine has: {found}")]
    AdapterNotFound {
        /// The adapter that the caller requested.
        wanted: String,
        /// Names of the adapters that exist, separated by `, `.
        found: String,
    },

    /// The adapter exists but refuses to open a device: often the driver is outdated.
    #[error("adapter `{adapter}` refused a device: {reason}")]
    Refused {
        /// Name of the adapter.
        adapter: String,
        /// The driver's words.
        reason: String,
    },

    /// The limits of the adapter are too small: use another one.
    #[error("adapter `{adapter}` cannot be used: {reason}; `parr doctor --gpus` lists the others")]
    Unsupported {
        /// Name of the adapter.
        adapter: String,
        /// The limit, and what is needed.
        reason: String,
    },

    /// The adapter cannot run the requested kernel family.
    #[error("kernel family `{family}` needs {needs}, but adapter `{adapter}` has {has}")]
    Family {
        /// The requested family.
        family: &'static str,
        /// What the family requires.
        needs: &'static str,
        /// Name of the adapter.
        adapter: String,
        /// What the adapter offers.
        has: String,
    },

    /// A request exceeds a limit of the device: use less, or another adapter.
    #[error("{what} needs {needed} but the device allows {allowed} ({limit})")]
    Limit {
        /// What was requested.
        what: String,
        /// The requested amount, in the unit of `limit`.
        needed: u64,
        /// The amount that the device allows.
        allowed: u64,
        /// Name of the limit.
        limit: &'static str,
    },

    /// The device has no memory left: close other programs, or use a smaller context, batch or model.
    #[error("the GPU has no memory left for {what} ({reason}); use a smaller context, batch or model")]
    OutOfMemory {
        /// What needed memory.
        what: String,
        /// The driver's words.
        reason: String,
    },

    /// A shader could not be linked: a bug in Parr or in an edited shader.
    #[error(transparent)]
    Compose(#[from] ComposeError),

    /// The driver rejected a shader or a command: a bug in Parr or in the driver.
    #[error("device rejected {what}: {reason}")]
    Rejected {
        /// The resource or command that was rejected.
        what: String,
        /// The validation message.
        reason: String,
    },

    /// The device is gone (driver reset, unplugged, suspended): open it and load the model again.
    #[error("the GPU was lost: {reason}; open the device and load the model again")]
    Lost {
        /// The driver's words.
        reason: String,
    },
}

impl DeviceError {
    /// The error for buffers and recordings of an earlier generation of the device.
    pub(super) fn stale() -> Self {
        let reason = "it was lost earlier and is open again, without what it held".to_owned();
        DeviceError::Lost { reason }
    }

    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DeviceError::NoAdapter { .. }
            | DeviceError::AdapterNotFound { .. }
            | DeviceError::Refused { .. }
            | DeviceError::Unsupported { .. }
            | DeviceError::Family { .. } => ErrorKind::Gpu,
            DeviceError::Limit { .. } | DeviceError::OutOfMemory { .. } => ErrorKind::Memory,
            DeviceError::Lost { .. } => ErrorKind::DeviceLost,
            DeviceError::Compose(_) | DeviceError::Rejected { .. } => ErrorKind::Internal,
        }
    }
}
