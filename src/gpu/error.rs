//! Why the device could not do what was asked.

use super::compose::ComposeError;
use crate::error::ErrorKind;

/// A failure of the adapter, the driver or a shader, by what the caller can do next.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No adapter at all: install a driver. A software one is enough.
    #[error(
        "no GPU adapter found on {backends}; install a Vulkan driver \
         (on Debian: `apt install mesa-vulkan-drivers`, a software one)"
    )]
    NoAdapter {
        /// The back ends that were asked.
        backends: String,
    },

    /// The adapter that was named is not there: choose one of those listed.
    #[error("no adapter matches `{wanted}`; this machine has: {found}")]
    AdapterNotFound {
        /// What the caller asked for.
        wanted: String,
        /// Names of the adapters that exist, separated by `, `.
        found: String,
    },

    /// The adapter exists but refuses a device: often an outdated driver.
    #[error("adapter `{adapter}` refused a device: {reason}")]
    Refused {
        /// Name of the adapter.
        adapter: String,
        /// The driver's words.
        reason: String,
    },

    /// The adapter cannot run the kernel family that was asked for.
    #[error("kernel family `{family}` needs {needs}, but adapter `{adapter}` has {has}")]
    Family {
        /// The family asked for.
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
        /// What was asked for.
        what: String,
        /// How much of it, in the unit of `limit`.
        needed: u64,
        /// How much the device gives.
        allowed: u64,
        /// Name of the limit.
        limit: &'static str,
    },

    /// A shader could not be linked: a bug in Parr or in an edited shader.
    #[error(transparent)]
    Compose(#[from] ComposeError),

    /// The driver rejected a shader or a command: a bug in Parr or in the driver.
    #[error("device rejected {what}: {reason}")]
    Rejected {
        /// What was being made or run.
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
    /// What the caller can do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DeviceError::NoAdapter { .. }
            | DeviceError::AdapterNotFound { .. }
            | DeviceError::Refused { .. }
            | DeviceError::Family { .. } => ErrorKind::Gpu,
            DeviceError::Limit { .. } => ErrorKind::Memory,
            DeviceError::Lost { .. } => ErrorKind::DeviceLost,
            DeviceError::Compose(_) | DeviceError::Rejected { .. } => ErrorKind::Internal,
        }
    }
}
