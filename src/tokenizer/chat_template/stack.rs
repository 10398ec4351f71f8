//! Runs work on a separate stack, because untrusted input decides how deep it recurses.

use std::thread;

use crate::guarded::guarded;

/// Stack, in bytes, that the deepest template needs. Only touched pages take memory.
const STACK_BYTES: usize = 48 << 20;

/// Runs `work` on a thread with a large stack. The error is the reason why there is no result, such as a panic of
/// the engine.
pub(super) fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        // The guard belongs to the thread that panics.
        let handle = thread.spawn_scoped(scope, || guarded(work));
        let handle = handle.map_err(|error| format!("no thread to run it on: {error}"))?;
        let result = handle.join().unwrap_or_else(|_| Err("its thread panicked".to_owned()));
        result.map_err(|message| format!("the template engine panicked: {message}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarded::is_silent;

    #[test]
    fn a_panic_is_an_error_and_is_not_printed() {
        assert_eq!(with_stack(is_silent), Ok(true));
        let error = with_stack::<()>(|| panic!("index 3")).expect_err("a panic");
        assert_eq!(error, "the template engine panicked: index 3");
    }
}
