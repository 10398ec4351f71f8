#![doc = include_str!("front.md")]

// Modules stand in dependency order: each imports only from those above it
// (`tests/architecture.rs` holds the table).

// Layer 0: data on the CPU.
pub mod atomic;
pub mod cache;
pub mod error;
pub mod file;
mod lock;
pub mod random;
mod report;
pub mod settings;
pub mod tensor;
// Layer 1: how weights and text are coded.
pub mod quant;
pub mod tokenizer;
// Layer 2: files, written principles, and the CPU oracle that every kernel is checked against.
pub mod format;
pub mod principles;
pub mod reference;
// Layer 3: devices, buffers, shaders, submission.
pub mod gpu;
// Layer 4: one file per kernel family.
pub mod ops;
// Layer 5: architectures, weights, the forward pass.
pub mod model;
// Layer 6: tokens out; adapters in and out.
pub mod adapter;
pub mod generate;
// Layer 7: what stands beside the runtime: models by name, every kernel against its oracle, preferences
// and what a reward model reads.
pub mod conformance;
pub mod hub;
pub mod preferences;
// Layer 8: what a model is taught with.
pub mod train;
// Layer 9: answers that a model writes for itself; replies sampled and judged; reward models, from judged
// replies to scores.
pub mod judge;
pub mod reward;
pub mod self_align;
// Layer 10: policies aligned by what reward models say of their replies; replies steered by principles
// without training.
pub mod align;
pub mod steer;
// Layer 11: the front door: models by name, conversations.
pub mod chat;
// Layer 11: all stages of SALMON from one settings file.
pub mod salmon;
// Layer 12: the `parr` program, on the public API alone.
#[cfg(feature = "cli")]
pub mod cli;
// How all this is built, for readers of the documentation.
#[cfg(doc)]
pub mod guide;

pub use error::{Error, ErrorKind};
pub use model::Model;
pub use settings::Settings;

// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
