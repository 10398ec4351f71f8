//! The harness of these tests: what is ignored, what fails, which tests run.

use std::process::Command;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::{Completion, Failed};
use parr::gpu::KernelFamily;

use crate::support::gpu;
use crate::support::harness::{Closing, Output, ignore, run, selects, split, waiting};

fn ends(test: fn()) -> Result<Completion, Failed> {
    run("a::test", test, Output::Captured, &Mutex::default())
}

#[test]
fn a_test_passes_fails_or_is_ignored() {
    assert!(matches!(ends(|| {}), Ok(Completion::Completed)));
    let failed = ends(|| {
        println!("before {}", 1);
        panic!("the message");
    });
    let failed = failed.err().expect("it panics");
    let text = failed.message().expect("it has output");
    assert!(text.starts_with("before 1\npanicked at tests/harness.rs:"), "{text}");
    assert!(text.contains("the message"), "{text}");
    let ignored = ends(|| ignore("no GPU:\nnone found"));
    assert!(
        matches!(ignored, Ok(Completion::Ignored { reason: Some(reason) }) if reason == "no GPU: none found")
    );
}

#[test]
fn reasons_are_counted() {
    let closing = Mutex::<Closing>::default();
    let tests: [fn(); 4] = [|| ignore("one"), || ignore("two"), || ignore("one"), || {}];
    for test in tests {
        run("a::test", test, Output::Captured, &closing).expect("none fails");
    }
    let text = closing.into_inner().expect("nobody panics").to_string();
    assert_eq!(text, "ignored tests by reason:\n     2  one\n     1  two\n\n", "and no test is slow");
}

#[test]
fn the_slowest_tests_are_named_with_their_own_time() {
    let closing = Mutex::<Closing>::default();
    run("waits", || waiting(|| sleep(Duration::from_millis(400))), Output::Captured, &closing)
        .expect("passes");
    run("works", || sleep(Duration::from_millis(300)), Output::Captured, &closing).expect("passes");
    let mut closing = closing.into_inner().expect("nobody panics");
    assert!(closing.times[0].0 < closing.times[1].0, "{:?}", closing.times);
    closing.times = (1..20).map(|number| (Duration::from_secs(number), format!("test {number}"))).collect();
    let text = closing.to_string();
    assert!(text.starts_with("slowest tests:\n   19s  test 19\n   18s  test 18\n"), "{text}");
    assert_eq!(text.trim_end().lines().count(), 13, "{text}");
}

#[test]
fn filters_are_separated_from_options() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (filters, rest) =
        split(words("one --skip two --exact three --test-threads=1 --no-capture -- --four"));
    assert_eq!(filters, ["one", "three", "--four"]);
    assert_eq!(rest, ["--skip", "two", "--exact", "--test-threads=1", "--nocapture"]);
}

#[test]
fn any_filter_selects_and_any_skip_leaves_out() {
    let of = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    assert!(selects(&[], &[], false, "a::one"));
    assert!(selects(&of(&["two", "one"]), &[], false, "a::one"));
    assert!(!selects(&of(&["two"]), &[], false, "a::one"));
    assert!(!selects(&of(&["one"]), &of(&["a::"]), false, "a::one"));
    assert!(selects(&of(&["a::one"]), &of(&["a::on"]), true, "a::one"));
    assert!(!selects(&of(&["one"]), &[], true, "a::one"));
}

/// For the test below, which runs it in another process. Both families, because the attribute makes two tests.
#[test]
fn on_a_device(family: KernelFamily) {
    let _turn = gpu::turn();
    println!("kernels: {}", gpu::device(family).tuning().family.name());
}

/// This program, with these arguments, without a GPU.
fn without_a_gpu(arguments: &[&str]) -> String {
    let tests = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(tests);
    command.args(arguments).env("GPU_TESTS", "skip").env_remove("RUST_TEST_NOCAPTURE");
    let output = command.output().expect("this program starts once more");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_run_without_a_gpu_says_what_it_left_out() {
    let names = ["harness::on_a_device::lane8", "harness::on_a_device::tiled"];
    let listed = without_a_gpu(&["--list", "on_a_device"]);
    assert_eq!(listed, format!("{}: test\n{}: test\n\n2 tests, 0 benchmarks\n", names[0], names[1]));
    let told = without_a_gpu(&["on_a_device"]);
    for name in names {
        assert!(told.contains(&format!("test {name} ... ignored (GPU_TESTS=skip)")), "{told}");
    }
    assert!(told.contains("test result: ok. 0 passed; 0 failed; 2 ignored; 0 measured; "), "{told}");
    assert!(told.contains("ignored tests by reason:\n     2  GPU_TESTS=skip\n"), "{told}");
    let told = without_a_gpu(&["--exact", names[1], "harness::filters_are_separated_from_options"]);
    assert!(told.contains("1 passed; 0 failed; 1 ignored"), "{told}");
}
