//! Long calls: their own thread, a future to wait on, and ways to cancel.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;

use parr::generate::CancelToken as CallToken;

use crate::ParrError;

/// Locks a mutex and ignores poisoning: the guarded value is replaced as a whole or not at all, so a panic
/// leaves it valid.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A number that is unique in this process. Caches use it to identify what they were made for.
pub(crate) fn serial() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Cancels the calls that it was passed to, from any thread. A cancelled token also cancels later calls,
/// so use each token once.
#[derive(Debug, Default, uniffi::Object)]
pub struct CancelToken {
    asked: AtomicBool,
    calls: Mutex<Vec<Weak<CallToken>>>,
}

#[uniffi::export]
impl CancelToken {
    /// A token that is not cancelled.
    #[uniffi::constructor]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Cancels the calls soon. A reply ends after the current token and keeps the text so far.
    pub fn cancel(&self) {
        let calls = lock(&self.calls);
        self.asked.store(true, Ordering::Release);
        calls.iter().filter_map(Weak::upgrade).for_each(|call| call.cancel());
    }

    /// Whether the token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

impl CancelToken {
    fn watch(&self, call: &Arc<CallToken>) {
        let mut calls = lock(&self.calls);
        calls.retain(|call| call.strong_count() > 0);
        calls.push(Arc::downgrade(call));
        if self.is_cancelled() {
            call.cancel();
        }
    }
}

/// The result that a thread passes to the waiting future.
enum Outcome<T> {
    Pending(Option<Waker>),
    Ready(T),
    Taken,
}

/// The future of work on a thread. Dropping it cancels the work.
pub(crate) struct Call<T> {
    outcome: Arc<Mutex<Outcome<Result<T, ParrError>>>>,
    token: Arc<CallToken>,
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl<T> Future for Call<T> {
    type Output = Result<T, ParrError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = lock(&self.outcome);
        match std::mem::replace(&mut *outcome, Outcome::Taken) {
            Outcome::Ready(result) => Poll::Ready(result),
            _ => {
                *outcome = Outcome::Pending(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Runs `work` on its own thread, with a token that `cancel` or dropping the future cancels. A panic becomes
/// [`ParrError::Internal`].
pub(crate) fn start<T: Send + 'static>(
    cancel: Option<&CancelToken>,
    work: impl FnOnce(&CallToken) -> Result<T, ParrError> + Send + 'static,
) -> Call<T> {
    let token = Arc::new(CallToken::new());
    if let Some(cancel) = cancel {
        cancel.watch(&token);
    }
    let outcome = Arc::new(Mutex::new(Outcome::Pending(None)));
    let (its_token, its_outcome) = (Arc::clone(&token), Arc::clone(&outcome));
    let finish = move |result| {
        let before = std::mem::replace(&mut *lock(&its_outcome), Outcome::Ready(result));
        if let Outcome::Pending(Some(waker)) = before {
            waker.wake();
        }
    };
    let refused = finish.clone();
    let spawned = thread::Builder::new()
        .name("parr-call".to_owned())
        .spawn(move || finish(guarded(|| work(&its_token))));
    if let Err(error) = spawned {
        refused(Err(ParrError::Internal(format!("no thread for the call: {error}"))));
    }
    Call { outcome, token }
}

/// The result of `work`. A panic becomes an error.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, ParrError>) -> Result<T, ParrError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(ParrError::Internal(format!("a bug in Parr, please report it: {}", words(&*panic))))
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use std::task::Wake;
    use std::thread::Thread;
    use std::time::Duration;

    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn wait<T>(mut call: Call<T>) -> Result<T, ParrError> {
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut call).poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park_timeout(Duration::from_secs(10)),
            }
        }
    }

    fn until_cancelled(token: &CallToken) -> Result<(), ParrError> {
        while !token.is_cancelled() {
            thread::sleep(Duration::from_millis(1));
        }
        Err(ParrError::Cancelled("as asked".to_owned()))
    }

    #[test]
    fn a_call_gives_its_result_and_a_panic_is_an_error() {
        assert_eq!(wait(start(None, |_| Ok(7))), Ok(7));
        let panicked: Result<(), _> = wait(start(None, |_| panic!("the {} broke", "wheel")));
        assert!(matches!(panicked, Err(ParrError::Internal(text)) if text.ends_with("the wheel broke")));
    }

    #[test]
    fn one_token_ends_all_its_calls_and_a_lost_future_only_its_own() {
        let token = CancelToken::new();
        let calls = [start(Some(&token), until_cancelled), start(Some(&token), until_cancelled)];
        let mut calls = calls.into_iter();
        let (sender, receiver) = std::sync::mpsc::channel();
        let dropped = start(Some(&token), move |call| {
            let ended = until_cancelled(call);
            sender.send(()).expect("the test waits");
            ended
        });
        drop(dropped);
        receiver.recv_timeout(Duration::from_secs(10)).expect("a lost future ends its call");
        assert!(!token.is_cancelled());
        token.cancel();
        assert!(calls.all(|call| matches!(wait(call), Err(ParrError::Cancelled(_)))));
        let late = start(Some(&token), until_cancelled);
        assert!(matches!(wait(late), Err(ParrError::Cancelled(_))), "given to a call after it was used");
    }
}
