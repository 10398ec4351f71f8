//! Checks of every kernel against its oracle on a device, for tests and `parr doctor`.
//!
//! A [`Case`] is one op in one storage format. It runs shapes that reach every branch (one row and many,
//! widths that are not multiples of a tile, positions across tile borders) and compares the device's
//! results with [`crate::reference`]. Outputs are filled with NaN first, so that unwritten elements are
//! found. They are followed by guard rows of NaN, which must not change, nor must the zeros between a
//! row's width and its stride. Inputs are followed by NaN too, which would spread to results.
//!
//! ```no_run
//! use parr::{conformance, gpu::{Device, DeviceOptions}};
//!
//! let device = Device::open(&DeviceOptions::default())?;
//! for case in conformance::cases() {
//!     let report = case.run(&device);
//!     println!("{} {}: {}", report.kernel, report.variant, if report.passed { "ok" } else { &report.note });
//! }
//! # Ok::<(), parr::gpu::DeviceError>(())
//! ```

mod advance;
mod attention;
mod attention_backward;
mod cap_logits;
mod check;
mod embed;
mod glu;
mod linear;
mod linear_backward;
mod lora;
mod multiply_add;
mod norm;
mod optimizer;
#[cfg(feature = "html")]
mod page;
mod rates;
mod report;
mod rope;
mod rope_backward;
mod rows;
mod sample;
mod scalar_head;
mod short_conv;
mod short_conv_backward;
mod token_stats;

use std::collections::BTreeSet;

use check::Check;
#[cfg(feature = "html")]
pub use page::to_html;
pub use rates::Rates;
pub use report::{CheckResult, DeviceFacts, DeviceReport, OpResult, OpResults, compare};

use crate::gpu::Device;
use crate::ops::ShapeError;

/// One op in one variant, checked over many shapes.
pub struct Case {
    op: &'static str,
    variant: String,
    bound: f64,
    body: Box<Body>,
}

type Body = dyn Fn(&mut Check<'_>) -> Result<(), ShapeError> + Send + Sync;

/// The result of a case.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// The kernels that ran, separated by `, `, such as `linear/matmul_lane8`.
    pub kernel: String,
    /// The variant of the op: a storage format, a cache format.
    pub variant: String,
    /// Number of shapes compared.
    pub cases: usize,
    /// Largest normalised mean square error, `sum (found - expected)^2 / sum expected^2`, of any output.
    pub worst_nmse: f64,
    /// Largest allowed error.
    pub bound: f64,
    /// Whether every output was within bounds and complete, and no write was outside its buffer.
    pub passed: bool,
    /// The first fault, with its shape; empty if there is none.
    pub note: String,
    /// Every specialisation that ran: the kernel's name, and its slots and constants as text.
    pub specializations: BTreeSet<(&'static str, String)>,
}

/// All cases: every op, in every storage format that it takes. The kernel family is the device's.
pub fn cases() -> Vec<Case> {
    let groups = [
        embed::cases(),
        norm::cases(),
        linear::cases(),
        linear_backward::cases(),
        lora::cases(),
        rope::cases(),
        rope_backward::cases(),
        attention::cases(),
        attention_backward::cases(),
        short_conv::cases(),
        short_conv_backward::cases(),
        glu::cases(),
        cap_logits::cases(),
        rows::cases(),
        token_stats::cases(),
        scalar_head::cases(),
        optimizer::cases(),
        sample::cases(),
        advance::cases(),
        multiply_add::cases(),
    ];
    groups.into_iter().flatten().collect()
}

impl Case {
    fn new(
        op: &'static str,
        variant: impl Into<String>,
        bound: f64,
        body: impl Fn(&mut Check<'_>) -> Result<(), ShapeError> + Send + Sync + 'static,
    ) -> Self {
        Case { op, variant: variant.into(), bound, body: Box::new(body) }
    }

    /// The op, such as `linear`.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// The variant, such as `q4_1`.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// Runs the case. It fails if the device refuses or is lost; the note gives the reason.
    pub fn run(&self, device: &Device) -> CaseReport {
        let mut check = Check::new(device, self.bound);
        if let Err(error) = (self.body)(&mut check) {
            check.fault(error.to_string());
        }
        check.report(self.op, &self.variant)
    }
}
