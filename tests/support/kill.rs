//! Kills a program while it works.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Kills `child` with SIGKILL after `seconds`. Returns its status if it ended earlier.
pub fn kill_after(child: &mut Child, seconds: f64) -> Option<ExitStatus> {
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    loop {
        match child.try_wait().expect("the child is ours") {
            Some(status) => return Some(status),
            None if Instant::now() >= deadline => break,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    child.kill().expect("SIGKILL reaches the child");
    child.wait().expect("the child is gone");
    None
}
