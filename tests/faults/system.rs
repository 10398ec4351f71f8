//! A full disk, a killed process, too few descriptors, too little memory: nothing is lost.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::bench::{Bench, Ended, Kind};
use super::built::{counts, under_files};
use crate::support::gpu::alone;
use crate::support::kill::kill_after;

const LIMIT: Duration = Duration::from_secs(120);

/// Parts of a run at which it fails.
const MOMENTS: [f64; 3] = [0.0, 0.5, 1.0];

/// A run without faults, and its result.
fn clean(bench: &Bench, kind: Kind) -> Vec<u8> {
    let out = bench.path(&format!("clean-{}", kind.name()));
    let ended = bench.run(kind, &mut bench.command(kind, &out), LIMIT);
    assert!(ended.succeeded(), "{kind:?}: {}", ended.stderr);
    bench.keep_pipelines(&out);
    bench.result(kind, &ended, &out)
}

/// Resumes the run in `out`, which comes to `result`.
fn resumes(bench: &Bench, kind: Kind, out: &Path, result: &[u8]) -> Result<(), String> {
    let again = bench.run(kind, bench.command(kind, out).arg("--resume"), LIMIT);
    if !again.succeeded() {
        return Err(format!("it does not resume: {}", again.stderr));
    }
    if bench.result(kind, &again, out) != result {
        return Err("the resumed run has another result".to_owned());
    }
    Ok(())
}

#[test]
fn a_full_disk_loses_nothing() {
    let _turn = alone();
    let bench = Bench::new();
    let mut wrong = Vec::new();
    let mut trials = 0;
    for kind in [Kind::Sft, Kind::Align] {
        let out = bench.path(&format!("counted-{}", kind.name()));
        let counted = bench.path("counts");
        let mut command = bench.command(kind, &out);
        let command = under_files(&mut command, &out).env("FAULT_FILE_COUNTS", &counted);
        let ended = bench.run(kind, command, LIMIT);
        assert!(ended.succeeded(), "{kind:?}: {}", ended.stderr);
        let result = bench.result(kind, &ended, &out);
        for (call, calls) in counts(&counted) {
            assert!(calls > 0, "{kind:?} never calls {call}");
            let mut moments: Vec<u64> =
                MOMENTS.iter().map(|part| 1 + ((calls - 1) as f64 * part) as u64).collect();
            moments.dedup();
            for at in moments {
                let out = bench.path(&format!("full-{}-{call}-{at}", kind.name()));
                let mut command = bench.command(kind, &out);
                under_files(&mut command, &out).env("FAULT_FILES", format!("{call}:{at}"));
                let ended = bench.run(kind, &mut command, LIMIT);
                trials += 1;
                let told = ended.stderr.contains("No space left on device");
                let fault =
                    ended.fault().or((!ended.succeeded() && !told).then(|| "the reason is missing".into()));
                let fault = fault.map_or_else(|| resumes(&bench, kind, &out, &result), Err);
                if let Err(fault) = fault {
                    wrong.push(format!("{kind:?}, {call} {at} of {calls}: {fault}: {}", ended.stderr));
                }
            }
        }
    }
    println!("{trials} trials, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_killed_run_loses_nothing() {
    let _turn = alone();
    let bench = Bench::new();
    for kind in [Kind::Sft, Kind::Align] {
        let begun = Instant::now();
        let result = clean(&bench, kind);
        let whole = begun.elapsed().as_secs_f64();
        for (number, part) in MOMENTS.iter().enumerate() {
            let out = bench.path(&format!("killed-{}-{number}", kind.name()));
            let mut command = bench.command(kind, &out);
            let mut child = command.spawn().expect("the program starts");
            kill_after(&mut child, whole * (0.1 + 0.8 * part));
            let resumed = resumes(&bench, kind, &out, &result);
            assert!(resumed.is_ok(), "{kind:?} at {part}: {resumed:?}");
        }
    }
}

/// `command` under a limit of the shell's `ulimit`.
#[cfg(unix)]
fn limited(command: &Command, limit: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit {limit}; exec \"$@\"")).arg("sh");
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}

#[cfg(unix)]
#[test]
fn too_few_descriptors_lose_nothing() {
    let _turn = alone();
    let bench = Bench::new();
    for kind in Kind::ALL {
        let result = clean(&bench, kind);
        for descriptors in [8, 12, 20] {
            let out = bench.path(&format!("descriptors-{}-{descriptors}", kind.name()));
            let command = bench.command(kind, &out);
            let ended = bench.run(kind, &mut limited(&command, &format!("-n {descriptors}")), LIMIT);
            check(&bench, kind, &ended, &out, &result, &format!("{descriptors} descriptors"));
        }
    }
}

#[cfg(unix)]
fn check(bench: &Bench, kind: Kind, ended: &Ended, out: &Path, result: &[u8], what: &str) {
    assert_eq!(ended.fault(), None, "{kind:?} with {what}: {}", ended.stderr);
    if kind.trains() && !ended.succeeded() {
        let resumed = resumes(bench, kind, out, result);
        assert!(resumed.is_ok(), "{kind:?} with {what}: {resumed:?}");
    } else if ended.succeeded() {
        assert!(bench.result(kind, ended, out) == result, "{kind:?} with {what}: another result");
    }
}
