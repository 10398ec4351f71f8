//! Logs of metrics.

use std::path::{Path, PathBuf};
use std::process::Command;

use parr::file::FileError;
use parr::train::TrainError;
use parr::train::metrics::{EvalMetrics, JsonlLog, Metrics, MetricsLog, StepMetrics, TensorBoardLog};

use crate::support::harness::ignore;

fn step(step: u64) -> StepMetrics {
    StepMetrics {
        step,
        loss: 1.0 / step as f64,
        learning_rate: 2e-4,
        num_tokens: 100 * step,
        objective: vec![("train/entropy", 0.5)],
        ..StepMetrics::default()
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn steps(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).expect("text");
    assert!(text.is_empty() || text.ends_with('\n'));
    let record = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a record");
    text.lines().map(|line| record(line)["step"].as_u64().expect("a step")).collect()
}

#[test]
fn records_are_objects_of_step_and_tags() {
    let folder = folder();
    let path = folder.path().join("metrics.jsonl");
    let mut log = JsonlLog::create(&path).expect("a new log");
    let metrics = StepMetrics { grad_norm: f64::NAN, eval_loss: Some(2.25), ..step(3) };
    log.write(&metrics).expect("written");
    log.write(&EvalMetrics { step: 3, loss: 2.5, ..EvalMetrics::default() }).expect("written");
    log.sync().expect("synced");
    let text = std::fs::read_to_string(&path).expect("text");
    let (first, second) = text.split_once('\n').expect("two lines");
    assert!(
        first.starts_with("{\"step\":3,\"train/loss\":0.3333333333333333,\"train/grad_norm\":null,"),
        "{first}"
    );
    let record: serde_json::Value = serde_json::from_str(first).expect("json");
    for (tag, value) in metrics.tags() {
        assert_eq!(record[tag].as_f64().unwrap_or(f64::NAN).to_bits(), value.to_bits(), "{tag}");
    }
    assert_eq!(second, "{\"step\":3,\"eval/loss\":2.5,\"eval/num_targets\":0.0,\"eval/runtime\":0.0}\n");

    let error = JsonlLog::create(&path).expect_err("metrics are not overwritten");
    assert!(matches!(error, TrainError::Io(FileError { action: "create", .. })), "{error}");
}

#[test]
fn a_resumed_log_is_as_it_was_at_that_step() {
    let folder = folder();
    let path = folder.path().join("metrics.jsonl");
    let mut log = JsonlLog::create(&path).expect("a new log");
    let mut at_step_3 = Vec::new();
    for number in 1..=6 {
        log.write(&step(number)).expect("written");
        if number == 3 {
            at_step_3 = std::fs::read(&path).expect("bytes");
        }
    }
    let whole = std::fs::read(&path).expect("bytes");
    drop(log);
    // However much of what came after is there, in however many pieces.
    for length in at_step_3.len()..=whole.len() {
        std::fs::write(&path, &whole[..length]).expect("written");
        let mut log = JsonlLog::resume(&path, 3).expect("a sound log");
        assert_eq!(std::fs::read(&path).expect("bytes"), at_step_3, "{length} bytes");
        if length % 50 == 0 {
            log.write(&step(4)).expect("written");
            assert_eq!(steps(&path), [1, 2, 3, 4]);
        }
    }
    // A block that the disk never wrote.
    std::fs::write(&path, [at_step_3.as_slice(), &[0; 512]].concat()).expect("written");
    JsonlLog::resume(&path, 3).expect("a sound log");
    assert_eq!(std::fs::read(&path).expect("bytes"), at_step_3);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "no temporary file stays");

    JsonlLog::resume(&path, 0).expect("a sound log");
    assert!(steps(&path).is_empty());
    let missing = folder.path().join("other.jsonl");
    JsonlLog::resume(&missing, 3).expect("a new log").write(&step(4)).expect("written");
    assert_eq!(steps(&missing), [4]);
}

#[test]
fn damage_amid_records_is_an_error_that_changes_nothing() {
    let folder = folder();
    let path = folder.path().join("metrics.jsonl");
    for (text, line) in [
        ("{\"step\":1}\nnonsense\n{\"step\":2}\n", 2),
        ("{\"step\":1}\n{\"step\":9}\n{\"step\":2}\n", 2),
        ("{\"train/loss\":1}\n{\"step\":1}\n", 1),
    ] {
        std::fs::write(&path, text).expect("written");
        match JsonlLog::resume(&path, 2).expect_err(text) {
            TrainError::Row { line: found, reason, .. } => {
                assert_eq!(found, line, "{reason}");
                assert!(reason.contains("repair the log, or move it away"), "{reason}");
            }
            other => panic!("an error of the wrong kind: {other}"),
        }
        assert_eq!(std::fs::read_to_string(&path).expect("text"), text);
    }
}

/// CRC-32C by polynomial division, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let top = (crc >> 31) ^ u32::from((byte >> bit) & 1);
            crc = (crc << 1) ^ (top * 0x1EDC_6F41);
        }
    }
    !crc.reverse_bits()
}

fn masked(bytes: &[u8]) -> u32 {
    let crc = crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// A field of a protobuf message: its number, and its value as the wire has it.
#[derive(Debug)]
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a varint");
        *bytes = rest;
        value |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint of more than ten bytes");
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let number = key >> 3;
        let fixed = |bytes: &mut &[u8], length: usize| {
            let (value, rest) = bytes.split_at(length);
            *bytes = rest;
            value.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
        };
        found.push(match key & 7 {
            0 => Field::Number(number, varint(&mut bytes)),
            1 => Field::Number(number, fixed(&mut bytes, 8)),
            5 => Field::Number(number, fixed(&mut bytes, 4)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(number, value)
            }
            other => panic!("wire type {other}"),
        });
    }
    found
}

/// What an event file says, one line an event.
fn events(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).expect("bytes");
    let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes")) as usize;
        assert_eq!(word(&rest[8..12]), masked(&rest[..8]), "checksum of the length");
        let event = &rest[12..12 + length];
        assert_eq!(word(&rest[12 + length..16 + length]), masked(event), "checksum of the event");
        rest = &rest[16 + length..];
        let mut line = String::new();
        for field in fields(event) {
            match field {
                Field::Number(1, bits) => {
                    let age = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64()
                        - f64::from_bits(bits);
                    assert!((0.0..600.0).contains(&age), "wall time {age} s ago");
                }
                Field::Number(2, step) => line.push_str(&format!("step {step} ")),
                Field::Bytes(3, version) => line.push_str(std::str::from_utf8(version).expect("text")),
                Field::Bytes(5, summary) => {
                    for value in fields(summary) {
                        let Field::Bytes(1, value) = value else { panic!("{value:?}") };
                        let [Field::Bytes(1, tag), Field::Number(2, bits)] = fields(value)[..] else {
                            panic!("a value has tag and number");
                        };
                        let tag = std::str::from_utf8(tag).expect("text");
                        line.push_str(&format!("{tag}={} ", f32::from_bits(bits as u32)));
                    }
                }
                Field::Bytes(7, session) => {
                    assert!(matches!(fields(session)[..], [Field::Number(1, 1)]), "status = START");
                    line.push_str("start");
                }
                other => panic!("{other:?}"),
            }
        }
        events.push(line);
    }
    events
}

#[test]
fn event_files_are_read_by_other_code() {
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    let folder = folder();
    let mut log = TensorBoardLog::create(&folder.path().join("runs")).expect("a new file");
    for number in [1, 2, 300] {
        log.write(&step(number)).expect("written");
    }
    log.write(&EvalMetrics { step: 300, loss: f64::INFINITY, ..EvalMetrics::default() }).expect("written");
    log.sync().expect("synced");
    let events = events(log.path());
    assert_eq!(events.len(), 5);
    assert_eq!(events[0], "brain.Event:2");
    assert!(events[3].starts_with("step 300 train/loss=0.0033333334 train/grad_norm=0 "), "{}", events[3]);
    assert!(events[3].contains("train/num_tokens=30000 ") && events[3].ends_with("train/entropy=0.5 "));
    assert!(events[4].starts_with("step 300 eval/loss=inf "));
}

/// The event files of a folder in the order in which TensorBoard reads them.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn a_resumed_run_starts_a_file_that_voids_later_steps() {
    let folder = folder();
    for resumed in [None, Some(3), Some(5)] {
        let log = match resumed {
            None => TensorBoardLog::create(folder.path()),
            Some(step) => TensorBoardLog::resume(folder.path(), step),
        };
        let mut log = log.expect("a new file");
        let first = resumed.map_or(1, |step| step + 1);
        for number in first..first + 4 {
            log.write(&step(number)).expect("written");
        }
        // All in one second, and yet the newest comes last.
        let files = files(folder.path());
        assert_eq!(files.last().map(PathBuf::as_path), Some(log.path()));
    }
    let files = files(folder.path());
    assert_eq!(files.len(), 3);
    assert!(events(&files[0])[1].starts_with("step 1 train/loss"));
    assert_eq!(events(&files[1])[..2], ["brain.Event:2", "step 4 start"]);
    assert_eq!(events(&files[2])[..2], ["brain.Event:2", "step 6 start"]);
}

/// TensorBoard's own reader, where there is a Python that has it (`PARR_TEST_PYTHON`, or `python3`).
#[test]
fn tensorboard_reads_what_we_write() {
    let python = std::env::var("PARR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imports = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !imports.is_ok_and(|output| output.status.success()) {
        ignore(format_args!("{python} has no package `tensorboard`"));
    }
    let folder = folder();
    let mut log = TensorBoardLog::create(folder.path()).expect("a new file");
    (1..=6).for_each(|number| log.write(&step(number)).expect("written"));
    let mut log = TensorBoardLog::resume(folder.path(), 3).expect("a new file");
    (4..=5).for_each(|number| log.write(&StepMetrics { loss: 7.0, ..step(number) }).expect("written"));
    let script = "import sys\n\
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n\
        events = EventAccumulator(sys.argv[1])\n\
        events.Reload()\n\
        print([(e.step, round(e.value, 4)) for e in events.Scalars('train/loss')])\n";
    let output = Command::new(&python).args(["-c", script]).arg(folder.path()).output().expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = "[(1, 1.0), (2, 0.5), (3, 0.3333), (4, 7.0), (5, 7.0)]";
    assert_eq!(said.trim(), expected, "{}", String::from_utf8_lossy(&output.stderr));
}
