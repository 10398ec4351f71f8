//! `parr serve` while the driver fails: no request is lost without an answer, and later ones work.

use std::process::Command;

use serde_json::{Value, json};

use super::bench::Bench;
use super::built::{counts, under_layer};
use crate::serve::program::start_with;
use crate::serve::{agent, parsed};
use crate::support::gpu::alone;

/// Calls that fail while requests are served, and with what. Each of them is also made while the server starts.
const CALLS: [(&str, &str); 14] = [
    ("QueueSubmit", "lost"),
    ("QueueSubmit", "oom"),
    ("WaitSemaphores", "lost"),
    ("GetSemaphoreCounterValue", "lost"),
    ("AllocateMemory", "oom"),
    ("MapMemory", "map"),
    ("BindBufferMemory", "oom"),
    ("CreateBuffer", "hostoom"),
    ("CreateShaderModule", "oom"),
    ("CreateComputePipelines", "lost"),
    ("AllocateDescriptorSets", "oom"),
    ("AllocateCommandBuffers", "oom"),
    ("BeginCommandBuffer", "oom"),
    ("EndCommandBuffer", "lost"),
];

/// Moments of each call, as parts of all calls of an undisturbed server.
const MOMENTS: [f64; 3] = [0.1, 0.6, 0.95];

const REQUESTS: u64 = 4;

/// The answers to the requests, one after the other.
fn ask(address: &str) -> Vec<(u16, Value)> {
    let client = agent();
    let one = |seed: u64| {
        let body = json!({ "prompt": [5, 6, 7], "max_tokens": 24, "temperature": 1, "seed": seed });
        let sent = client.post(format!("{address}/v1/completions")).send(body.to_string());
        parsed(sent.expect("an answer"))
    };
    (0..REQUESTS).map(one).collect()
}

fn text(answer: &Value) -> &Value {
    &answer["choices"][0]["text"]
}

/// What is wrong with a server under a fault, if anything. `Ok(None)` if it did not start, and said why.
fn tried(change: impl FnOnce(&mut Command), clean: &[(u16, Value)]) -> Result<Option<usize>, String> {
    let process = match start_with(change) {
        Ok(process) => process,
        Err(said) if said.contains("panicked") || !said.contains("error: ") => return Err(said),
        Err(_) => return Ok(None),
    };
    let answers = ask(&process.address);
    let (code, said) = process.end();
    if said.contains("panicked") || code != Some(0) {
        return Err(format!("it ended with {code:?}: {said}"));
    }
    let mut failed = 0;
    for ((status, answer), (_, wanted)) in answers.iter().zip(clean) {
        match status {
            200 if text(answer) == text(wanted) => (),
            200 => return Err(format!("{} instead of {}", text(answer), text(wanted))),
            500..=599 if answer["error"]["type"].is_string() && answer["error"]["message"].is_string() => {
                failed += 1;
            }
            _ => return Err(format!("{status}: {answer}")),
        }
    }
    if answers.last().is_some_and(|(status, _)| *status != 200) {
        return Err(format!("later requests fail: {}", answers[answers.len() - 1].1));
    }
    Ok(Some(failed))
}

#[test]
fn requests_are_answered_while_the_driver_fails() {
    let _turn = alone();
    let bench = Bench::new();
    let counted = bench.path("counts");
    let out = bench.path("clean-serve");
    let process = start_with(|command| {
        under_layer(command).env("FAULT_COUNTS", &counted).env("PARR_CACHE", out.with_extension("cache"));
    })
    .expect("it starts");
    let clean = ask(&process.address);
    assert!(clean.iter().all(|(status, _)| *status == 200), "{clean:?}");
    assert_eq!(process.end().0, Some(0));
    bench.keep_pipelines(&out);
    let counts = counts(&counted);

    let all = std::env::var_os("PARR_PROOF_FAULTS").is_some();
    let (mut wrong, mut failed, mut served) = (Vec::new(), 0, 0);
    for (place, (call, code)) in CALLS.into_iter().enumerate() {
        let calls = *counts.get(call).unwrap_or_else(|| panic!("no server calls {call}"));
        for (number, part) in MOMENTS.into_iter().enumerate() {
            if !all && number != place % MOMENTS.len() {
                continue;
            }
            let at = 1 + ((calls - 1) as f64 * part) as u64;
            let fault = format!("{call}:{code}:{at}");
            // A kernel that the driver refuses is remembered in the cache.
            let cache = bench.path(&format!("serve-{place}-{number}.cache"));
            bench.warm(&cache);
            let change = |command: &mut Command| {
                under_layer(command).env("FAULT_CALLS", &fault).env("PARR_CACHE", &cache);
            };
            match tried(change, &clean) {
                Ok(Some(n)) => (failed, served) = (failed + n, served + 1),
                Ok(None) => (),
                Err(reason) => wrong.push(format!("{fault}: {reason}")),
            }
        }
    }
    println!("{served} servers answered under faults; {failed} requests failed with an error");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(served >= CALLS.len() / 2, "most faults come while requests are served: {served}");
}
