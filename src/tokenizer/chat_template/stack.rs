//! Runs work on a separate stack, because untrusted input decides how deep it recurses.

use std::thread;

/// Stack, in bytes, that even shallow work needs.
const BASE_BYTES: usize = 4 << 20;

/// Runs `work` on a thread whose stack has `bytes` more than the base; only touched pages take
/// memory. The error is the reason why there is no result, such as a panic of the engine.
pub(super) fn with_stack<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(BASE_BYTES.saturating_add(bytes));
        let handle = thread.spawn_scoped(scope, work);
        let handle = handle.map_err(|error| format!("no thread to run it on: {error}"))?;
        handle.join().map_err(|_| "the template engine panicked".to_owned())
    })
}
