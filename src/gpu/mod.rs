//! Devices, buffers, the WGSL linker, pipelines and submission.
