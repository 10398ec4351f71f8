//! The single integration binary; each `mod` line says what goes there.

#![allow(clippy::unwrap_used, reason = "a test that unwraps what is missing fails, as it should")]

/// `#[test]` of every module below: it registers the function with the harness in `support`.
#[macro_use]
extern crate parr_test_attribute;

/// `println!` of every module below: into the output of the running test, which is shown if the test fails.
macro_rules! println {
    ($($text:tt)*) => {
        $crate::support::harness::print(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Adapters on disk: PEFT directories, GGUF files, merging.
mod adapter;
/// Reinforcement learning: rollouts, updates, toy tasks with a known optimum, resuming.
mod align;
/// The order of the modules: who may import whom.
mod architecture;
/// The attributes that ship, and what the factory makes of them.
mod attributes;
/// Sessions: streaming, cancelling, principles, saved conversations.
mod chat;
/// The program from outside: arguments, output, exit codes.
#[cfg(feature = "cli")]
mod cli;
/// Hugging Face directories as GGUF files.
mod convert;
/// The programs in `examples/`, run on the real model.
#[cfg(feature = "cli")]
mod examples;
/// Programs under faults of the driver, the disk and the system: nothing is lost, nothing panics or hangs.
mod faults;
/// Checkpoints: sound files, malformed ones, configurations, atomic writing.
mod format;
/// The harness that runs all of this: ignored tests, filters, the closing lines.
mod harness;
/// Judges, and the collection of preferences.
mod judge;
/// Learning on whole models: PyTorch's losses and gradients, finite differences, invariants.
mod learn;
/// Whole models: PyTorch's values, batches, reuse, errors.
mod model;
/// Every kernel against its oracle, on a device.
mod ops;
/// The optimizer against PyTorch's.
mod optimizer;
/// Preferences: records, training pairs, what a reward model reads.
mod preferences;
/// Files of principles: sound and faulty ones, collections, draws.
mod principles;
/// The language of documentation, messages and help pages: phrases to avoid, long sentences.
mod prose;
/// Storage formats: decoding, encoding, packing, and the shader fragments that read them.
mod quant;
/// Lists in the README.
mod readme;
/// The CPU oracle against PyTorch.
mod reference;
/// Reward models: PyTorch's scores, learning to follow principles, what is refused.
mod reward;
/// All stages from one settings file: what is skipped and redone, runs that are killed.
mod salmon;
/// Self-alignment: the prompt, the filters, a run and its resumption.
mod self_align;
/// The server over real connections: OpenAI's interface, adapters, principles, runs, and what it refuses.
#[cfg(feature = "serve")]
mod serve;
/// Every specialisation of every kernel: valid, within limits, translatable. Needs no GPU.
mod shaders;
/// Replies steered by principles: candidates, choices, files that change.
mod steer;
/// What several of the others share.
mod support;
/// Tokenizers and chat templates against other implementations.
mod text;
/// Training: rows, order, settings, logs, states.
mod train;

fn main() -> std::process::ExitCode {
    support::harness::main()
}
