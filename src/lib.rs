#![doc = include_str!("front.md")]

// Modules are in dependency order: each imports only from those above it
// (`tests/architecture.rs` holds the table).

// Layer 0: data on the CPU.
#[cfg(feature = "internals")]
pub mod atomic;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, unused_imports, reason = "used in full by the checks behind `internals`")]
mod atomic;
#[cfg(feature = "internals")]
pub mod cache;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, unused_imports, reason = "used in full by the checks behind `internals`")]
mod cache;
pub mod error;
pub mod file;
mod guarded;
mod lock;
#[cfg(feature = "internals")]
pub mod output;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, unused_imports, reason = "used in full by the checks behind `internals`")]
mod output;
#[cfg(feature = "internals")]
pub mod random;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, unused_imports, reason = "used in full by the checks behind `internals`")]
mod random;
mod report;
pub mod settings;
#[cfg(feature = "internals")]
pub mod tensor;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, unused_imports, reason = "used in full by the checks behind `internals`")]
mod tensor;
// Layer 1: how weights and text are coded.
pub mod quant;
pub mod tokenizer;
// Layer 2: files, written principles, and the CPU oracle that every kernel is checked against.
pub mod format;
pub mod principles;
#[cfg(feature = "internals")]
pub mod reference;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, unused_imports, reason = "used in full by the checks behind `internals`")]
mod reference;
// Layer 3: devices, buffers, shaders, submission.
#[cfg_attr(
    not(feature = "internals"),
    allow(dead_code, reason = "used in full by the checks behind `internals`")
)]
pub mod gpu;
// Layer 4: one file per kernel family.
#[cfg(feature = "internals")]
pub mod ops;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, unused_imports, reason = "used in full by the checks behind `internals`")]
mod ops;
// Layer 5: architectures, weights, the forward pass.
pub mod model;
// Layer 6: tokens out; adapters in and out.
pub mod adapter;
pub mod convert;
pub mod generate;
// Layer 7: parts beside the runtime: every kernel checked against its oracle, models by name, records of
// prompts and comparisons; the fastest kernels of a device.
#[cfg(feature = "internals")]
pub mod conformance;
pub mod hub;
pub mod preferences;
pub mod tune;

pub mod attributes;
// Layer 8: training.
pub mod train;
// Layer 9: replies sampled and judged; reward models, from judged replies to scores; training on a model's
// own answers.
pub mod judge;
pub mod reward;
pub mod self_align;
// Layer 10: policies aligned with reward models; replies steered by principles without training.
pub mod align;
pub mod steer;
// Layer 11: conversations with a model that is opened by name.
pub mod chat;
// Layer 11: all stages of SALMON from one settings file.
pub mod salmon;
// Layer 12: the same over HTTP.
#[cfg(feature = "serve")]
pub mod serve;
// The guide to the design, for readers of the documentation.
#[cfg(doc)]
pub mod guide;

pub use error::{Error, ErrorKind};
pub use model::Model;
pub use settings::Settings;

// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
