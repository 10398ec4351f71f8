//! Runs work on a separate stack, because untrusted input decides how deep it recurses.

use std::thread;

/// Stack, in bytes, that the deepest template needs. Only touched pages take memory.
const STACK_BYTES: usize = 48 << 20;

/// Runs `work` on a thread with a large stack. The error is the reason why there is no result, such as a panic of
/// the engine.
pub(super) fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        let handle = thread.spawn_scoped(scope, work);
        let handle = handle.map_err(|error| format!("no thread to run it on: {error}"))?;
        handle.join().map_err(|_| "the template engine panicked".to_owned())
    })
}
