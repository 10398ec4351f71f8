//! Work that may recurse as deep as a stranger likes, on a stack of its own.

use std::thread;

/// What any work needs, however shallow.
const BASE_BYTES: usize = 4 << 20;

/// Runs `work` on a thread whose stack has `bytes` more than the usual; only what is touched of it
/// takes memory. The error is the reason why there is no result: a panic of the engine included.
pub(super) fn with_stack<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(BASE_BYTES.saturating_add(bytes));
        let handle = thread.spawn_scoped(scope, work);
        let handle = handle.map_err(|error| format!("no thread to run it on: {error}"))?;
        handle.join().map_err(|_| "the template engine panicked".to_owned())
    })
}
