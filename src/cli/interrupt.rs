//! Ctrl-C cancels the current work, not the whole program.

use std::process;
use std::sync::{Mutex, Once, PoisonError};

use super::error::INTERRUPTED;
use parr::generate::CancelToken;

static RUNNING: Mutex<Option<CancelToken>> = Mutex::new(None);
static INSTALL: Once = Once::new();

/// Runs `work` with a token that ctrl-C cancels. A second ctrl-C before `work` returns, or one
/// while no work runs, ends the process with exit code 130.
pub(super) fn interruptible<T>(work: impl FnOnce(&CancelToken) -> T) -> T {
    INSTALL.call_once(|| {
        let installed = ctrlc::set_handler(|| match take() {
            Some(token) => token.cancel(),
            None => process::exit(INTERRUPTED.into()),
        });
        installed.expect("nothing else in this program handles ctrl-C");
    });
    let token = CancelToken::new();
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
    let result = work(&token);
    take();
    result
}

fn take() -> Option<CancelToken> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take()
}
