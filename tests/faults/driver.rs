//! Every call of the Vulkan driver that matters fails, with every code that it may return, at several moments of
//! several commands. Nothing panics, nothing hangs, nothing is lost.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::bench::{Bench, Ended, Kind};
use super::built::{counts, under_layer};
use crate::support::gpu::alone;

/// Calls, and the codes that they may return.
const CALLS: [(&str, &[&str]); 20] = [
    ("QueueSubmit", &["lost", "oom"]),
    ("WaitSemaphores", &["lost", "oom"]),
    ("GetSemaphoreCounterValue", &["lost", "oom"]),
    ("AllocateMemory", &["oom", "hostoom"]),
    ("MapMemory", &["map", "oom"]),
    ("BindBufferMemory", &["oom"]),
    ("CreateBuffer", &["oom", "hostoom"]),
    ("CreateShaderModule", &["oom", "hostoom"]),
    ("CreateComputePipelines", &["init", "oom", "lost"]),
    ("CreateDescriptorSetLayout", &["oom"]),
    ("CreatePipelineLayout", &["hostoom"]),
    ("CreateDescriptorPool", &["oom"]),
    ("AllocateDescriptorSets", &["oom"]),
    ("CreateCommandPool", &["oom"]),
    ("AllocateCommandBuffers", &["oom"]),
    ("BeginCommandBuffer", &["oom"]),
    ("EndCommandBuffer", &["oom", "lost"]),
    ("CreateSemaphore", &["oom"]),
    ("CreateDevice", &["init", "lost", "oom"]),
    ("CreateInstance", &["init", "hostoom"]),
];

/// Moments of each call, as parts of all calls of an undisturbed run.
const MOMENTS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Time in which a tiny command ends, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// One fault in one command.
struct Trial {
    kind: Kind,
    call: &'static str,
    code: &'static str,
    at: u64,
}

/// How often a command went on, ended with an error, or failed the test.
#[derive(Default)]
struct Tally {
    went_on: usize,
    told: usize,
    wrong: usize,
}

/// An undisturbed run of a command.
struct Clean {
    counts: BTreeMap<String, u64>,
    result: Vec<u8>,
}

#[test]
fn faults_of_the_driver_lose_nothing() {
    let _turn = alone();
    let bench = Bench::new();
    let all = std::env::var_os("PARR_PROOF_FAULTS").is_some();
    let clean: BTreeMap<Kind, Clean> = Kind::ALL.map(|kind| (kind, undisturbed(&bench, kind))).into();
    let trials = trials(&clean, all);
    assert!(trials.len() >= 200, "{} trials", trials.len());
    // Most of a trial is waiting, so two run at a time.
    let ends = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(trial) = trials.get(number) else { return };
                    let out = bench.path(&format!("trial-{number}"));
                    let end = tried(&bench, trial, &clean[&trial.kind], &out);
                    ends.lock().expect("no trial panics").push((number, end));
                }
            });
        }
    });
    let mut ends = ends.into_inner().expect("no trial panics");
    ends.sort_unstable_by_key(|(number, _)| *number);
    let mut table: BTreeMap<(&str, &str), BTreeMap<Kind, Tally>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (trial, (_, end)) in trials.iter().zip(ends) {
        let tally = table.entry((trial.call, trial.code)).or_default().entry(trial.kind).or_default();
        match end {
            Ok(true) => tally.went_on += 1,
            Ok(false) => tally.told += 1,
            Err(reason) => {
                tally.wrong += 1;
                let Trial { kind, call, code, at } = trial;
                wrong.push(format!("{} with call {at} of {call}: {code}: {reason}", kind.name()));
            }
        }
    }
    print_table(&table);
    println!("{} trials, {} wrong", trials.len(), wrong.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), trials.len(), wrong.join("\n"));
}

/// Runs the command without faults.
fn undisturbed(bench: &Bench, kind: Kind) -> Clean {
    let out = bench.path(&format!("clean-{}", kind.name()));
    let counted = bench.path("counts");
    let mut command = bench.command(kind, &out);
    let ended = bench.run(kind, under_layer(&mut command).env("FAULT_COUNTS", &counted), LIMIT);
    assert!(ended.succeeded(), "{kind:?}: {}", ended.stderr);
    let result = bench.result(kind, &ended, &out);
    assert!(!result.is_empty(), "{kind:?}");
    bench.keep_pipelines(&out);
    Clean { counts: counts(&counted), result }
}

/// All trials, or a part of them that has every call with every code, and every moment.
fn trials(clean: &BTreeMap<Kind, Clean>, all: bool) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (pair, (call, code)) in
        CALLS.iter().flat_map(|(call, codes)| codes.iter().map(move |code| (call, code))).enumerate()
    {
        for (place, (&kind, Clean { counts, .. })) in clean.iter().enumerate() {
            let Some(&calls) = counts.get(*call) else { continue };
            let mut moments: Vec<u64> =
                MOMENTS.iter().map(|part| 1 + ((calls - 1) as f64 * part) as u64).collect();
            moments.dedup();
            if !all {
                // Other moments for every call and command, and more of the short commands.
                let share = match kind {
                    Kind::Generate => 3,
                    Kind::Chat => 2,
                    Kind::Score => 2,
                    Kind::Sft => usize::from(pair % 2 == 0),
                    Kind::Align => usize::from(pair % 3 == 0),
                };
                let by = (pair + place) % moments.len();
                moments.rotate_left(by);
                moments.truncate(share);
            }
            trials.extend(moments.into_iter().map(|at| Trial { kind, call, code, at }));
        }
    }
    trials
}

/// Whether the command went on after the fault, or what is wrong. A run that ends with an error is resumed, and
/// comes to the same bits.
fn tried(bench: &Bench, trial: &Trial, clean: &Clean, out: &Path) -> Result<bool, String> {
    let Trial { kind, call, code, at } = *trial;
    let mut command = bench.command(kind, out);
    under_layer(&mut command).env("FAULT_CALLS", format!("{call}:{code}:{at}"));
    let ended = bench.run(kind, &mut command, LIMIT);
    if let Some(fault) = ended.fault() {
        return Err(format!("{fault}: {}", tail(&ended)));
    }
    let mut last = ended.succeeded();
    let mut result = bench.result(kind, &ended, out);
    if !last && kind.trains() {
        let again = bench.run(kind, bench.command(kind, out).arg("--resume"), LIMIT);
        if !again.succeeded() {
            return Err(format!("it does not resume: {}", tail(&again)));
        }
        (last, result) = (true, bench.result(kind, &again, out));
    }
    // A refused kernel is replaced by one of the other family, which sums in another order. wgpu reports a device
    // that is lost while a pipeline is created as a refusal, too. Without such a record the bits are the same.
    let replaced = out.with_extension("cache").join("refused-kernels.json").exists();
    if last && result != clean.result && !replaced {
        return Err("the result is another one".to_owned());
    }
    Ok(ended.succeeded())
}

fn tail(ended: &Ended) -> String {
    ended.stderr.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
}

fn print_table(table: &BTreeMap<(&str, &str), BTreeMap<Kind, Tally>>) {
    println!("went on / ended with an error and was run again / wrong");
    let heads: String = Kind::ALL.iter().map(|kind| format!("{:>12}", kind.name())).collect();
    println!("{:34}{heads}", "call and code");
    for ((call, code), tallies) in table {
        let cells: String = Kind::ALL
            .iter()
            .map(|kind| match tallies.get(kind) {
                Some(Tally { went_on, told, wrong }) => {
                    format!("{:>12}", format!("{went_on}/{told}/{wrong}"))
                }
                None => format!("{:>12}", ""),
            })
            .collect();
        println!("{:34}{cells}", format!("{call} {code}"));
    }
}

#[test]
fn a_gpu_that_never_answers_counts_as_lost() {
    let _turn = alone();
    let bench = Bench::new();
    for kind in Kind::ALL {
        // Late, when all kernels ran before: those that run for the first time are given more time.
        let at = undisturbed(&bench, kind).counts["QueueSubmit"] * 3 / 4;
        let out = bench.path(&format!("silent-{}", kind.name()));
        let mut command = bench.command(kind, &out);
        under_layer(&mut command).env("FAULT_CALLS", format!("QueueSubmit:skip:{at}"));
        let ended = bench.run(kind, command.env("PARR_GPU_TIMEOUT", "0.5"), LIMIT);
        assert_eq!(ended.fault(), None, "{kind:?}: {}", ended.stderr);
        let told = ended.stderr.contains("did not answer for");
        assert!(ended.succeeded() || told, "{kind:?}: {}", ended.stderr);
    }
}

#[test]
fn a_kernel_that_the_driver_refuses_is_replaced_and_remembered() {
    let _turn = alone();
    let bench = Bench::new();
    let out = bench.path("refused");
    let refused = out.with_extension("cache").join("refused-kernels.json");
    // The kernels that every model needs come first. Some have nothing in their place; those work at the
    // second attempt.
    for at in 1..=8 {
        let mut command = bench.command(Kind::Chat, &out);
        under_layer(&mut command).env("FAULT_CALLS", format!("CreateComputePipelines:init:{at}"));
        let ended = bench.run(Kind::Chat, &mut command, LIMIT);
        assert!(ended.succeeded(), "{at}: {}", ended.stderr);
        assert!(!ended.stdout.is_empty());
    }
    let table = std::fs::read_to_string(&refused).expect("some kernels have a replacement");
    assert!(table.contains("\"family\": \"lane8\"") || table.contains("\"family\": \"tiled\""), "{table}");
    let ended = bench.run(Kind::Chat, &mut bench.command(Kind::Chat, &out), LIMIT);
    assert!(ended.succeeded(), "{}", ended.stderr);
}

#[test]
fn limits_that_are_too_small_are_told_before_anything_is_loaded() {
    let _turn = alone();
    let bench = Bench::new();
    let cases = [
        ("lanes=128", "it allows 128 lanes (invocations) per workgroup, and 256 are needed"),
        ("buffers=6", "storage buffers per shader, and 7 are needed"),
        ("shared=8192", "it allows 8192 bytes of workgroup memory, and 16384 are needed"),
        ("grid=1000", "it allows 1000 workgroups per axis of a dispatch, and 65535 are needed"),
        ("binding=65536", "bytes per storage binding"),
    ];
    for (limits, reason) in cases {
        let out = bench.path("small");
        let mut command = bench.command(Kind::Generate, &out);
        let ended = bench.run(Kind::Generate, under_layer(&mut command).env("FAULT_LIMITS", limits), LIMIT);
        assert_eq!(ended.fault(), None, "{limits}: {}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{limits}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{limits}: {}", ended.stderr);

        let mut list = std::process::Command::new(env!("CARGO_BIN_EXE_parr"));
        let list = under_layer(list.args(["doctor", "--gpus"])).env("FAULT_LIMITS", limits).output();
        let list = String::from_utf8(list.expect("the program starts").stdout).expect("UTF-8");
        assert!(list.contains(&format!("no: {reason}")) || list.contains(reason), "{limits}: {list}");
    }
}
