//! States that a run resumes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parr::file::FileError;
use parr::tensor::HostTensor;
use parr::train::state::{Latest, StateMeta};
use parr::train::{TrainError, TrainState};
use proptest::prelude::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Every kind of f32: NaNs with a payload, quiet and signalling, denormals, both zeros, infinities.
const BITS: [u32; 12] = [
    0x7FC0_0001,
    0x7F80_0001,
    0xFFFF_FFFF,
    0x0000_0001,
    0x807F_FFFF,
    0x8000_0000,
    0,
    0x7F80_0000,
    0xFF80_0000,
    0x3F80_0000,
    0x7F7F_FFFF,
    0x3DCC_CCCD,
];

fn state(step: u64) -> TrainState {
    let tensor = |shape: &[usize], shift: u32| {
        let count = shape.iter().product::<usize>();
        let data = BITS.iter().cycle().map(|bits| f32::from_bits(bits.rotate_left(shift))).take(count);
        HostTensor { shape: shape.to_vec(), data: data.collect() }
    };
    let tensors = [
        ("model.layers.0.self_attn.q_proj.lora_A", tensor(&[3, 5], 0)),
        ("a first name", tensor(&[12], 0)),
        ("m.empty", tensor(&[0, 4], 0)),
        ("v.scalar", tensor(&[], 1)),
        ("größe \"quoted\"", tensor(&[2, 2, 2], step as u32)),
    ];
    TrainState {
        meta: StateMeta {
            kind: "sft".to_owned(),
            step,
            tokens: u64::MAX,
            seed: u64::MAX - 1,
            config_sha256: "c".repeat(64),
            data_sha256: "d".repeat(64),
            base_sha256: "b".repeat(64),
            extra: BTreeMap::from([("kl_coefficient".to_owned(), 1.0 / 3.0), ("tiny".to_owned(), 5e-324)]),
        },
        tensors: tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect(),
    }
}

/// Equal to the last bit, NaNs too.
fn assert_same(left: &TrainState, right: &TrainState) {
    assert_eq!(left.meta, right.meta);
    let bits = |state: &TrainState| -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
        let tensors = state.tensors.iter();
        let bits = |tensor: &HostTensor| tensor.data.iter().map(|value| value.to_bits()).collect();
        tensors.map(|(name, tensor)| (name.clone(), (tensor.shape.clone(), bits(tensor)))).collect()
    };
    assert_eq!(bits(left), bits(right));
}

fn damaged(path: &Path) -> String {
    match TrainState::read(path).expect_err("a damaged state") {
        TrainError::State { rule, .. } => rule,
        other => panic!("an error of the wrong kind: {other}"),
    }
}

#[test]
fn a_state_comes_back_bit_for_bit() {
    let folder = folder();
    let checkpoints = folder.path().join("run/checkpoints");
    let state = state(40);
    let path = state.save(&checkpoints).expect("saved");
    assert_eq!(path, checkpoints.join("step-00000040.safetensors"));
    assert_same(&TrainState::read(&path).expect("sound"), &state);
    // Saving again replaces it.
    state.save(&checkpoints).expect("saved");
    assert_eq!(std::fs::read_dir(&checkpoints).expect("a folder").count(), 1);

    // Other programs read the tensors as well.
    let bytes = std::fs::read(&path).expect("bytes");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let view = file.tensor("model.layers.0.self_attn.q_proj.lora_A").expect("a tensor");
    assert_eq!((view.shape(), view.data()[..4].to_vec()), (&[3, 5][..], BITS[0].to_le_bytes().to_vec()));
    let start = bytes.len() - 4 * (15 + 12 + 1 + 8);
    assert_eq!(start % 8, 0, "the data is aligned");

    let empty = TrainState { meta: StateMeta::default(), tensors: BTreeMap::new() };
    let path = empty.save(&checkpoints).expect("saved");
    assert_same(&TrainState::read(&path).expect("sound"), &empty);
}

#[test]
fn every_damaged_byte_is_noticed() {
    let folder = folder();
    let path = state(1).save(folder.path()).expect("saved");
    let sound = std::fs::read(&path).expect("bytes");
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x04;
        std::fs::write(&path, &bytes).expect("written");
        assert!(TrainState::read(&path).is_err(), "byte {at} of {}", sound.len());
    }
    for length in 0..sound.len() {
        std::fs::write(&path, &sound[..length]).expect("written");
        assert!(TrainState::read(&path).is_err(), "{length} bytes of {}", sound.len());
    }
    std::fs::write(&path, [sound.as_slice(), b"x"].concat()).expect("written");
    assert!(TrainState::read(&path).is_err(), "a byte too many");
    std::fs::write(&path, &sound).expect("written");
    assert_same(&TrainState::read(&path).expect("sound"), &state(1));
}

#[test]
fn faults_say_what_is_wrong() {
    let folder = folder();
    let path = state(1).save(folder.path()).expect("saved");
    let mut bytes = std::fs::read(&path).expect("bytes");
    *bytes.last_mut().expect("one") ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    assert!(damaged(&path).starts_with("its content has sha256 "), "{}", damaged(&path));
    let error = TrainState::read(&path).expect_err("damaged").to_string();
    assert!(error.contains("step-00000001.safetensors is not a valid training state: "), "{error}");

    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).expect("a view");
    let other = safetensors::serialize([("x", view)], None).expect("a file");
    std::fs::write(&path, other).expect("written");
    assert_eq!(damaged(&path), "its metadata has no `parr_train_state`");
    assert!(matches!(
        TrainState::read(Path::new("no/such")),
        Err(TrainError::Io(FileError { action: "read", .. }))
    ));
}

/// A file that a later version wrote, or another one than its name says, is not taken for this one.
#[test]
fn other_versions_and_names_are_refused() {
    let folder = folder();
    let path = state(1).save(folder.path()).expect("saved");
    write_without_tensors(&path, r#"{"version":3,"meta":{"anything":"else"}}"#);
    assert_eq!(damaged(&path), "it has version 3, but this program reads versions 1 to 2");

    state(3).save(folder.path()).expect("saved");
    std::fs::rename(folder.path().join("step-00000003.safetensors"), &path).expect("renamed");
    let latest = TrainState::latest(folder.path()).expect("a folder");
    assert!(latest.found.is_none());
    assert!(latest.damaged[0].to_string().ends_with("it is of step 3, but its name is of step 1"));
}

/// A state without tensors, of this metadata.
fn write_without_tensors(path: &Path, text: &str) {
    // The length of the metadata, and the metadata.
    let hash = sha256(&[&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat());
    let metadata = std::collections::HashMap::from([
        ("parr_train_state".to_owned(), text.to_owned()),
        ("sha256".to_owned(), hash),
    ]);
    let none: [(&str, safetensors::tensor::TensorView); 0] = [];
    std::fs::write(path, safetensors::serialize(none, Some(metadata)).expect("a file")).expect("written");
}

/// Version 1 had a position and the best loss, which nothing read.
#[test]
fn states_of_the_first_version_still_load() {
    let folder = folder();
    let path = folder.path().join("step-00000007.safetensors");
    let text = |version: u32, more: &str| {
        format!(
            r#"{{"version":{version},"meta":{{"kind":"align","step":7,{more}"tokens":18446744073709551615,"seed":3,"config_sha256":"c","data_sha256":"d","base_sha256":"b","extra":{{"kl_coefficient":0.3333333333333333}}}}}}"#
        )
    };
    write_without_tensors(&path, &text(1, r#""position":56,"best_loss":null,"#));
    let first = TrainState::read(&path).expect("an old state");
    let expected = StateMeta {
        kind: "align".to_owned(),
        step: 7,
        tokens: u64::MAX,
        seed: 3,
        config_sha256: "c".to_owned(),
        data_sha256: "d".to_owned(),
        base_sha256: "b".to_owned(),
        extra: BTreeMap::from([("kl_coefficient".to_owned(), 1.0 / 3.0)]),
    };
    assert_eq!(first.meta, expected);
    let latest = TrainState::latest(folder.path()).expect("a folder");
    assert!(latest.damaged.is_empty() && latest.found.is_some_and(|(found, _)| found == path));
    write_without_tensors(&path, &text(2, ""));
    assert_eq!(TrainState::read(&path).expect("a new state").meta, expected);
    // What neither version has is still a fault.
    for (version, more) in [(1, r#""position":56,"other":1,"#), (2, r#""position":56,"#)] {
        write_without_tensors(&path, &text(version, more));
        assert!(damaged(&path).contains("unknown field"), "{}", damaged(&path));
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_newest_sound_state_is_taken_and_damage_reported() {
    let folder = folder();
    let latest = || TrainState::latest(folder.path()).expect("a folder");
    assert!(latest().found.is_none() && latest().damaged.is_empty());
    let missing = TrainState::latest(&folder.path().join("none")).expect("no folder is no error");
    assert!(missing.found.is_none());
    // Not in the order of their names as text, at the end.
    let paths: Vec<PathBuf> =
        [9, 40, 100_000_000, 99_999_999].map(|step| state(step).save(folder.path()).expect("saved")).to_vec();
    for noise in ["step-.safetensors", "step-7.safetensors", "step-99999999999.gguf", "notes", ".step-1.tmp"]
    {
        std::fs::write(folder.path().join(noise), "noise").expect("written");
    }
    let newest = || {
        let Latest { found, damaged } = latest();
        (found.expect("a sound one"), damaged)
    };
    let ((path, found), faults) = newest();
    assert_eq!((&path, faults.len()), (&paths[2], 0));
    assert_same(&found, &state(100_000_000));

    let bytes = std::fs::read(&paths[2]).expect("bytes");
    std::fs::write(&paths[2], &bytes[..bytes.len() / 2]).expect("written");
    std::fs::write(&paths[3], "").expect("written");
    let ((path, _), faults) = newest();
    assert_eq!((&path, faults.len()), (&paths[1], 2));
    let said = faults[0].to_string();
    assert!(said.contains("step-100000000.safetensors is not a valid training state"), "{said}");
}

#[test]
fn only_the_newest_are_kept() {
    let folder = folder();
    let names = || {
        let entries = std::fs::read_dir(folder.path()).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    };
    TrainState::keep_last(&folder.path().join("none"), 2).expect("nothing to remove");
    for step in [5, 10, 15] {
        state(step).save(folder.path()).expect("saved");
    }
    // What a killed process leaves, and what is not ours.
    std::fs::write(folder.path().join(".step-00000020.safetensors.123-0.tmp"), "half").expect("written");
    std::fs::write(folder.path().join("best.safetensors"), "another's").expect("written");
    TrainState::keep_last(folder.path(), 5).expect("removed");
    let states = ["step-00000005.safetensors", "step-00000010.safetensors", "step-00000015.safetensors"];
    assert_eq!(names(), [&["best.safetensors"], &states[..]].concat());
    TrainState::keep_last(folder.path(), 2).expect("removed");
    assert_eq!(names(), [&["best.safetensors"], &states[1..]].concat());
}

/// A reader sees no state or a whole one while another thread saves.
#[test]
fn a_half_written_state_is_never_seen() {
    let folder = folder();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for step in 0..40 {
                state(step).save(folder.path()).expect("saved");
            }
        });
        let mut last = 0;
        while !writer.is_finished() {
            let latest = TrainState::latest(folder.path()).expect("a folder");
            assert!(latest.damaged.is_empty(), "{:?}", latest.damaged);
            if let Some((_, found)) = latest.found {
                assert!(found.meta.step >= last);
                last = found.meta.step;
            }
        }
    });
}

proptest! {
    #![proptest_config(crate::support::cases(64))]

    #[test]
    fn numbers_come_back_whatever_they_are(
        bits in prop::collection::vec(any::<u32>(), 0..40),
        figure in any::<f64>().prop_filter("finite", |value| value.is_finite()),
        (step, seed) in (0u64..1 << 40, any::<u64>()),
    ) {
        let folder = folder();
        let data: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
        let tensor = HostTensor { shape: vec![data.len()], data };
        let extra = BTreeMap::from([("figure".to_owned(), figure)]);
        let meta = StateMeta { step, seed, extra, ..StateMeta::default() };
        let state = TrainState { meta, tensors: BTreeMap::from([("x".to_owned(), tensor)]) };
        let path = state.save(folder.path())?;
        let found = TrainState::read(&path)?;
        assert_same(&found, &state);
        prop_assert_eq!(found.meta.extra["figure"].to_bits(), figure.to_bits());
    }
}
