use parr::gpu::KernelFamily;

use crate::support::gpu;

/// This test runs itself again with it set, so that no other test's memory is counted.
const ALONE: &str = "PARR_TEST_STAGED";
const BUFFERS: usize = 4096;
const BYTES: usize = 64 << 10;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux has it");
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib << 10
}

/// Buffers that are written to and dropped, with nothing submitted between, leave no memory behind.
#[test]
fn what_is_written_and_dropped_is_given_back_without_a_submit() {
    let name = "ops::staged::what_is_written_and_dropped_is_given_back_without_a_submit";
    if std::env::var_os(ALONE).is_none() {
        let _turn = gpu::alone();
        // What the other run lacks this one lacks too.
        drop(gpu::device(KernelFamily::Tiled));
        let tests = std::env::current_exe().expect("the path of this program");
        let run = std::process::Command::new(tests)
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .expect("this program starts once more");
        let out = String::from_utf8_lossy(&run.stdout);
        assert!(out.contains("1 passed"), "{out}{}", String::from_utf8_lossy(&run.stderr));
        return;
    }
    let device = gpu::device(KernelFamily::Tiled);
    let bytes = vec![1u8; BYTES];
    let before = resident();
    for _ in 0..BUFFERS {
        drop(device.upload("dropped", &bytes).expect("64 KiB fit"));
    }
    let left = resident().saturating_sub(before);
    assert!(left < BUFFERS * BYTES / 8, "{left} bytes of {} are still held", BUFFERS * BYTES);
}
