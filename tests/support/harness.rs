//! The `main` of the test binary: as Rust's own harness, and a running test may end as ignored with a reason.
//!
//! `libtest-mimic` parses the options, runs the tests and prints. Added here: tests come from the attribute in
//! `tests/attribute`, output is captured, several filters work, and at the end the reasons are counted and the
//! slowest tests named.
//!
//! `cargo-nextest` runs one process per test and knows only exit codes, so it counts an ignored test as passed.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, FormatSetting, Trial};

/// One registered test.
pub struct Test {
    /// Its module, with the name of the crate first.
    pub module: &'static str,
    /// The name of the function.
    pub name: &'static str,
    /// The function.
    pub run: fn(),
}

inventory::collect!(Test);

impl Test {
    /// The name that filters and reports use: the module without the crate, and the function.
    pub fn path(&self) -> String {
        match self.module.split_once("::") {
            Some((_, module)) => format!("{module}::{}", self.name),
            None => self.name.to_owned(),
        }
    }
}

/// What an ignored test unwinds with.
struct Ignored(String);

/// Ends the running test as ignored; `reason` says what is missing.
///
/// Only the thread that runs the test may call it: in another thread it is a panic like any other.
pub fn ignore(reason: impl fmt::Display) -> ! {
    // Unlike `panic!` this does not call the panic hook, so nothing is printed.
    std::panic::resume_unwind(Box::new(Ignored(reason.to_string())))
}

/// Output of the running test; `None` if it is printed at once.
type Captured = Option<Arc<Mutex<String>>>;

thread_local! {
    static OUTPUT: RefCell<Captured> = const { RefCell::new(None) };
    /// How long the running test has waited for other tests.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Runs `wait`, in which this test waits for another one. Its own time is counted without that.
pub fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = wait();
    WAITED.set(WAITED.get() + begun.elapsed());
    done
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `println!` calls in these tests (see `tests/tests.rs`).
pub fn print(text: fmt::Arguments<'_>) {
    match OUTPUT.with_borrow(Clone::clone) {
        Some(output) => lock(&output).push_str(&text.to_string()),
        None => {
            // A closed pipe is no fault of the test.
            let _ = std::io::stdout().lock().write_fmt(text);
        }
    }
}

/// Writes the panics of a test into its output, and prints those of other threads as usual.
fn capture_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match OUTPUT.with_borrow(Clone::clone) {
        Some(output) => {
            let mut output = lock(&output);
            *output += &format!("{panic}\n");
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                *output += &short(&backtrace.to_string());
            }
        }
        None => usual(panic),
    }));
}

/// The frames between the test and the panic, as Rust prints them: it marks both ends.
fn short(backtrace: &str) -> String {
    let frames = backtrace.lines().skip_while(|line| !line.contains("__rust_end_short_backtrace")).skip(1);
    let frames = frames.take_while(|line| !line.contains("__rust_begin_short_backtrace"));
    let frames: Vec<&str> = frames.collect();
    format!(
        "stack backtrace:\n{}\n",
        if frames.is_empty() { backtrace.to_owned() } else { frames.join("\n") }
    )
}

/// What is done with the output of tests.
#[derive(Clone, Copy, PartialEq)]
pub enum Output {
    /// It is shown for tests that fail.
    Captured,
    /// It is also shown for tests that pass.
    Shown,
    /// It is printed at once.
    Direct,
}

/// What is printed after the tests.
#[derive(Default)]
pub struct Closing {
    /// Number of ignored tests by reason.
    pub reasons: BTreeMap<String, usize>,
    /// The tests that passed, with their own time.
    pub times: Vec<(Duration, String)>,
}

/// Tests that take less are not among the slowest.
const SLOW: Duration = Duration::from_secs(5);
/// How many of the slowest are named.
const SLOWEST: usize = 12;

/// Runs one test in a thread of its own.
///
/// # Errors
///
/// What the test printed, with the message of the panic that ended it.
pub fn run(path: &str, test: fn(), output: Output, closing: &Mutex<Closing>) -> Result<Completion, Failed> {
    let captured: Captured = (output != Output::Direct).then(Arc::default);
    let of_thread = captured.clone();
    let thread = thread::Builder::new().name(path.to_owned()).spawn(move || {
        OUTPUT.set(of_thread);
        let begun = Instant::now();
        test();
        begun.elapsed().saturating_sub(WAITED.get())
    })?;
    let ended = thread.join();
    let text = captured.map(|output| lock(&output).clone()).unwrap_or_default();
    match ended.map_err(|panic| panic.downcast::<Ignored>()) {
        Ok(took) => {
            if output == Output::Shown && !text.is_empty() {
                print(format_args!("---- {path} stdout ----\n{text}\n"));
            }
            lock(closing).times.push((took, path.to_owned()));
            Ok(Completion::Completed)
        }
        Err(Ok(ignored)) => {
            let Ignored(reason) = *ignored;
            // A report is one line.
            let reason = reason.lines().collect::<Vec<_>>().join(" ");
            *lock(closing).reasons.entry(reason.clone()).or_default() += 1;
            Ok(Completion::ignored_with(reason))
        }
        Err(Err(_)) if text.is_empty() => Err(Failed::without_message()),
        Err(Err(_)) => Err(text.trim_end().into()),
    }
}

/// Options of the command line that take a value.
const WITH_VALUE: [&str; 6] = ["--test-threads", "--logfile", "--skip", "--color", "--format", "-Z"];

/// Splits the arguments behind the program's name into filters and the rest: `libtest-mimic` takes one filter,
/// Rust's harness any number.
pub fn split(arguments: impl IntoIterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let (mut filters, mut rest) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            filters.extend(arguments.by_ref());
        } else if WITH_VALUE.contains(&&argument[..]) {
            rest.push(argument);
            rest.extend(arguments.next());
        } else if argument == "--no-capture" {
            rest.push("--nocapture".to_owned());
        } else if argument.starts_with('-') {
            rest.push(argument);
        } else {
            filters.push(argument);
        }
    }
    (filters, rest)
}

/// Whether a test of this path runs.
pub fn selects(filters: &[String], skip: &[String], exact: bool, path: &str) -> bool {
    let matches = |filter: &String| if exact { path == filter } else { path.contains(filter) };
    (filters.is_empty() || filters.iter().any(matches)) && !skip.iter().any(matches)
}

/// Runs the registered tests that the command line selects.
pub fn main() -> ExitCode {
    // Programs that tests start do not measure kernels, except where a test is about that.
    // SAFETY: no other thread has started so far, so none reads the environment.
    unsafe { std::env::set_var("PARR_NO_TUNE", "1") };
    let mut given = std::env::args();
    let program = given.next().unwrap_or_default();
    let (filters, rest) = split(given);
    let mut arguments = Arguments::from_iter(std::iter::once(program).chain(rest));

    let mut tests: Vec<&Test> = inventory::iter::<Test>.into_iter().collect();
    tests.sort_by_cached_key(|test| test.path());
    // `libtest-mimic` counts as filtered out what it is told to skip.
    let skip = std::mem::take(&mut arguments.skip);
    let (selected, left_out): (Vec<String>, Vec<String>) = tests
        .iter()
        .map(|test| test.path())
        .partition(|path| selects(&filters, &skip, arguments.exact, path));
    (arguments.skip, arguments.exact) = (left_out, true);

    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty() && value != "0");
    if arguments.test_threads.is_none() {
        arguments.test_threads = set("RUST_TEST_THREADS").and_then(|value| value.parse().ok());
    }
    let output = if arguments.nocapture || set("RUST_TEST_NOCAPTURE").is_some() {
        Output::Direct
    } else if arguments.show_output {
        Output::Shown
    } else {
        Output::Captured
    };
    capture_panics();

    let closing = Arc::<Mutex<Closing>>::default();
    let trials = tests.into_iter().map(|test| {
        let (path, run_it, closing) = (test.path(), test.run, Arc::clone(&closing));
        Trial::ignorable_test(path.clone(), move || run(&path, run_it, output, &closing))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let for_people = arguments.format.unwrap_or_default() == FormatSetting::Pretty;
    if for_people && arguments.list && !arguments.ignored {
        print(format_args!("\n{} tests, 0 benchmarks\n", selected.len()));
    }
    if arguments.format != Some(FormatSetting::Json) {
        print(format_args!("{}", lock(&closing)));
    }
    conclusion.exit_code()
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.reasons.is_empty() {
            writeln!(f, "ignored tests by reason:")?;
            for (reason, count) in &self.reasons {
                writeln!(f, "{count:6}  {reason}")?;
            }
            writeln!(f)?;
        }
        let mut slowest: Vec<_> = self.times.iter().filter(|(took, _)| *took >= SLOW).collect();
        slowest.sort_by(|left, right| right.cmp(left));
        if !slowest.is_empty() {
            writeln!(f, "slowest tests:")?;
            for (took, path) in slowest.iter().take(SLOWEST) {
                writeln!(f, "{:5.0}s  {path}", took.as_secs_f64())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
