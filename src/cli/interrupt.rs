//! Ctrl-C, SIGTERM and SIGHUP cancel the current work, so that it saves what it can.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use parr::generate::CancelToken;

/// Exit code after ctrl-C, as shells define it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

static WORK: Mutex<Work> = Mutex::new(Work { token: None, signalled: false, number: 0 });
static INSTALL: Once = Once::new();
/// Exit code of the signal that cancelled the work.
static CODE: AtomicU8 = AtomicU8::new(INTERRUPTED);

/// The current work.
struct Work {
    token: Option<CancelToken>,
    /// Whether a signal has cancelled it.
    signalled: bool,
    /// Counts the works, so that a late step of a signal does not apply to the next work.
    number: u64,
}

fn work() -> MutexGuard<'static, Work> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Exit code of a command that a signal ended: 128 and the number of the signal.
pub(super) fn exit_code() -> u8 {
    CODE.load(Ordering::Relaxed)
}

/// Runs `work` with a token that ctrl-C, SIGTERM and SIGHUP cancel. A second ctrl-C or SIGTERM before `work`
/// returns, or a signal while no work runs, ends the process at once, whatever it is doing.
///
/// A SIGHUP that is ignored when the program starts, as under nohup, stays ignored.
pub(super) fn interruptible<T>(run: impl FnOnce(&CancelToken) -> T) -> T {
    // Without a handler a signal ends the program, which is what it did before.
    INSTALL.call_once(|| drop(system::install()));
    let token = CancelToken::new();
    {
        let mut work = work();
        work.token = Some(token.clone());
        work.signalled = false;
        work.number += 1;
        system::end_on_signal(false);
    }
    let result = run(&token);
    let mut work = work();
    work.token = None;
    system::end_on_signal(true);
    drop(work);
    result
}

/// Reports why the program ends when a file that is mapped into memory cannot be read any more. The system sends a
/// signal then, which ends the program without a word.
pub(super) fn report_bus_errors() {
    // Without the message the program ends as well.
    #[cfg(unix)]
    drop(system::report_bus_errors());
}

#[cfg(unix)]
mod system {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, OnceLock};
    use std::thread;
    use std::time::Duration;

    use signal_hook::consts::{SIGBUS, SIGHUP, SIGINT, SIGTERM};
    use signal_hook::flag::register_conditional_shutdown;
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::exit;

    use super::{CODE, work};

    /// Some programs send the same signal to a process and to its group. Signals in this time are one.
    const ONE_SIGNAL: Duration = Duration::from_millis(50);

    /// Whether the next ctrl-C or SIGTERM ends the process, inside of the signal handler: a driver that hangs
    /// cannot stop it.
    static ENDS: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    /// Whether a thread cancels the work at a signal. Without it every signal ends the process.
    static WATCHED: AtomicBool = AtomicBool::new(false);

    pub(super) fn end_on_signal(ends: bool) {
        if let Some(flag) = ENDS.get() {
            flag.store(ends || !WATCHED.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    pub(super) fn install() -> io::Result<()> {
        let ends = ENDS.get_or_init(|| Arc::new(AtomicBool::new(true)));
        // Not SIGHUP: when a terminal closes, the system and the shell both send one.
        for signal in [SIGINT, SIGTERM] {
            register_conditional_shutdown(signal, 128 + signal, Arc::clone(ends))?;
        }
        let mut watched = vec![SIGINT, SIGTERM];
        if !is_ignored(SIGHUP) {
            watched.push(SIGHUP);
        }
        let mut signals = Signals::new(watched)?;
        let watch = move || signals.forever().for_each(on_signal);
        thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
        WATCHED.store(true, Ordering::SeqCst);
        Ok(())
    }

    pub(super) fn report_bus_errors() -> io::Result<()> {
        const SAID: &[u8] =
            b"error: a model file could not be read: another program made it shorter meanwhile, or the \
            disk failed; run the command again\n";
        // SAFETY: in a signal handler only `write` and `_exit` are called, both of which may be called there.
        let registered = unsafe {
            signal_hook::low_level::register(SIGBUS, || {
                libc::write(libc::STDERR_FILENO, SAID.as_ptr().cast(), SAID.len());
                exit(1)
            })
        };
        registered.map(drop)
    }

    fn on_signal(signal: i32) {
        let number = {
            let mut current = work();
            let Some(token) = &current.token else { exit(128 + signal) };
            if current.signalled {
                return;
            }
            CODE.store((128 + signal) as u8, Ordering::Relaxed);
            token.cancel();
            current.signalled = true;
            current.number
        };
        thread::sleep(ONE_SIGNAL);
        let current = work();
        if current.number == number {
            end_on_signal(true);
        }
    }

    fn is_ignored(signal: i32) -> bool {
        // SAFETY: without a new action the call only writes the present one, and all zeros is a valid value of
        // this plain C struct.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_signal_that_nobody_watches_for_ends_the_program() {
            // As after a failed start of the thread. No other test of this crate installs the handlers.
            let ends = ENDS.get_or_init(Arc::default);
            end_on_signal(false);
            assert!(ends.load(Ordering::SeqCst));
            WATCHED.store(true, Ordering::SeqCst);
            end_on_signal(false);
            assert!(!ends.load(Ordering::SeqCst));
            WATCHED.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::process;

    use super::{INTERRUPTED, work};

    pub(super) fn end_on_signal(_: bool) {}

    pub(super) fn install() -> Result<(), ctrlc::Error> {
        ctrlc::set_handler(|| {
            let mut current = work();
            match &current.token {
                Some(token) if !current.signalled => token.cancel(),
                _ => process::exit(INTERRUPTED.into()),
            }
            current.signalled = true;
        })
    }
}
