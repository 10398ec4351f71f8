//! Tensors on the host: a shape and f32 values, no device.

/// A dense row-major f32 tensor on the CPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostTensor {
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// Values in row-major order; their number is the product of `shape`.
    pub data: Vec<f32>,
}
