//! The boundary around code that may panic, such as wgpu: a panic inside it becomes a value.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Runs `call` and returns its value, or the message of its panic.
///
/// wgpu panics where a driver fails in a place for which it has no error, such as a wait. The tokenizers library and
/// the template engine check their input, and this is their last defence. Nothing is printed: the caller reports the
/// failure. Panics outside `call`, and on threads that `call` starts, are printed as before.
///
/// The caller must not use the state that a panic leaves behind.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !INSIDE.get() {
                previous(info);
            }
        }));
    });
    let outer = INSIDE.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(outer);
    result.map_err(|payload| message(payload.as_ref()))
}

/// Whether this thread is inside [`guarded`], where no panic is printed.
#[cfg(test)]
pub(crate) fn is_silent() -> bool {
    INSIDE.get()
}

/// The message of a panic, in one line.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "it failed without a message",
    };
    // Of `unwrap` on an error, only the error means something to a user.
    let text = text.split_once("on an `Err` value: ").map_or(text, |(_, error)| error);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(guarded::<()>(|| panic!("Error in\n  Device::poll")), Err("Error in Device::poll".into()));
        let number = 3;
        assert_eq!(guarded::<()>(|| panic!("call {number}")), Err("call 3".into()));
        let unwrapped = "called `Result::unwrap()` on an `Err` value: OutOfMemory";
        assert_eq!(guarded::<()>(|| panic!("{unwrapped}")), Err("OutOfMemory".into()));
        assert_eq!(guarded::<()>(|| panic::panic_any(3)), Err("it failed without a message".into()));
    }

    #[test]
    fn calls_nest() {
        let nested = guarded(|| (guarded::<()>(|| panic!("inner")), INSIDE.get()));
        assert_eq!(nested, Ok((Err("inner".to_owned()), true)));
        assert!(!INSIDE.get());
    }
}
